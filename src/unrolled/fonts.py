"""Warnings of letters that a picture could not write come in; one sentence on fonts goes out."""

import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from unrolled.errors import FontWarning
from unrolled.messages import tr

_GLYPH = re.compile(r"Glyph (\d+) ")
_SHOWN = 8  # letters of the sentence
# A family that draws a script, by the first word of its letters' names in Unicode.
_FAMILIES = {
    "HANGUL": "Nanum Gothic (fonts-nanum)",
    "CJK": "Noto Sans CJK (fonts-noto-cjk)",
    "HIRAGANA": "Noto Sans CJK (fonts-noto-cjk)",
    "KATAKANA": "Noto Sans CJK (fonts-noto-cjk)",
}

_TOLD: set[str] = set()  # families that were asked for in this process: each once


@contextmanager
def boxes_told() -> Iterator[None]:
    """Let Matplotlib's warnings of letters that no font here draws be one, after the block.

    Warns:
        FontWarning: which letters are drawn as boxes, and what to install; once for each font.

    Example:
        >>> with boxes_told():
        ...     pass
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    letters: dict[str, None] = {}
    for one in caught:
        found = _GLYPH.match(str(one.message))
        if found:
            letters[chr(int(found[1]))] = None
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in letters}
    families = {_FAMILIES.get(script, "Noto (fonts-noto)") for script in scripts}
    if families <= _TOLD:
        return
    _TOLD.update(families)
    shown = " ".join(list(letters)[:_SHOWN]) + (" …" if len(letters) > _SHOWN else "")
    warnings.warn(
        tr(
            "No font here draws {letters}: boxes stand for them in pictures. Install one, such as "
            "{families}.",
            letters=shown,
            families=", ".join(sorted(families)),
        ),
        FontWarning,
        stacklevel=3,
    )
