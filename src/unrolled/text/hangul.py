"""Hangul syllables come in; their letters (jamo) go out, and back again, by arithmetic alone."""

import re

from unrolled.errors import UsageError

_FIRST, _LEAD, _VOWEL, _TAIL = 0xAC00, 0x1100, 0x1161, 0x11A7
_VOWELS, _TAILS = 21, 28
_SYLLABLE = re.compile("[가-힣]")
_JAMO = re.compile("([\u1100-\u1112])([\u1161-\u1175])([\u11a8-\u11c2]?)")


def decompose(text: str) -> str:
    """Each syllable as its two or three letters; the rest as it is.

    Example:
        >>> [ord(letter) - 0x1100 for letter in decompose("한")]
        [18, 97, 171]
    """
    return _SYLLABLE.sub(_apart, text)


def compose(text: str) -> str:
    """Letters put together to syllables; the way back from `decompose`.

    Example:
        >>> compose(decompose("안녕, world"))
        '안녕, world'
    """
    return _JAMO.sub(_together, text)


def checked_jamo(jamo: object, form: str) -> bool:
    """Whether syllables are taken apart, which needs a form in which the way back is one.

    Raises:
        UsageError: it is no truth value, or the form is "none".
    """
    if not isinstance(jamo, bool):
        raise UsageError("jamo", expected="true or false", got=repr(jamo))
    if jamo and form == "none":
        raise UsageError(
            "jamo", expected="form NFC or NFKC, so that the way back is one", got="none"
        )
    return jamo


def _apart(found: re.Match[str]) -> str:
    place = ord(found[0]) - _FIRST
    rest, tail = divmod(place, _TAILS)
    lead, vowel = divmod(rest, _VOWELS)
    letters = chr(_LEAD + lead) + chr(_VOWEL + vowel)
    return letters + chr(_TAIL + tail) if tail else letters


def _together(found: re.Match[str]) -> str:
    lead, vowel = ord(found[1]) - _LEAD, ord(found[2]) - _VOWEL
    tail = ord(found[3]) - _TAIL if found[3] else 0
    return chr(_FIRST + (lead * _VOWELS + vowel) * _TAILS + tail)
