"""What a user names comes in, such as quotes or a regular expression; a value for each letter of a
text, or each token, goes out: what a unit may follow.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError

PAIRS = {'"': '"', "“": "”", "«": "»", "「": "」", "『": "』", "‹": "›"}
BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


@dataclass(frozen=True)
class Predicate:
    """Something that is so, or how much, at each letter of a text.

    Args:
        name: as the user wrote it.
        of: from a text to a value for each letter, NaN where it is not counted.
        yes_or_no: whether values are 0 and 1.
    """

    name: str
    of: Callable[[str], np.ndarray]
    yes_or_no: bool = True

    def along(self, tokens: Sequence[str], joiner: str = "") -> np.ndarray:
        """The value after each token has been read, (T): that of its last letter.

        Example:
            >>> find("quotes").along(['say', '"no', 'way"', 'now'], " ").tolist()
            [0.0, 1.0, 0.0, 0.0]
        """
        if not tokens:
            return np.zeros(0)
        ends = np.cumsum([len(token) for token in tokens])
        ends += len(joiner) * np.arange(len(tokens))
        return self.of(joiner.join(tokens))[np.maximum(ends - 1, 0)]


def quotes(text: str) -> np.ndarray:
    """1 from a quotation's first mark to before its last; a blank line ends any.

    Example:
        >>> quotes('a "b" c').tolist()
        [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    """
    found, closing = np.zeros(len(text)), ""
    for k, letter in enumerate(text):
        if closing:
            blank = letter == "\n" and text[k - 1] == "\n"
            closing = "" if letter == closing or blank else closing
        else:
            closing = PAIRS.get(letter, "")
        found[k] = bool(closing)
    return found


def line_position(text: str) -> np.ndarray:
    """How many letters of its line have been read; 0 at a line's end.

    Example:
        >>> line_position("ab\\nc").tolist()
        [1.0, 2.0, 0.0, 1.0]
    """
    found, place = np.zeros(len(text)), 0
    for k, letter in enumerate(text):
        place = 0 if letter == "\n" else place + 1
        found[k] = place
    return found


def brackets(text: str) -> np.ndarray:
    """How many brackets of any kind are open.

    Example:
        >>> brackets("f(x[0])").tolist()
        [0.0, 1.0, 1.0, 2.0, 2.0, 1.0, 0.0]
    """
    return np.maximum(np.cumsum([float(BRACKETS.get(letter, 0)) for letter in text]), 0)


NAMED: dict[str, tuple[Callable[[str], np.ndarray], bool]] = {
    "quotes": (quotes, True),
    "line-position": (line_position, False),
    "brackets": (brackets, False),
}


def find(words: str) -> Predicate:
    """The predicate that a user names: one of `NAMED`, or a regular expression.

    Letters inside a match are 1. `(?=…)` and `(?<=…)` look around it: `.{1,5}(?=\\n)` is the end of
    a line, `^[A-Z ]+:` a speaker's name. `^` and `$` are a line's.

    Raises:
        UsageError: it is no regular expression.

    Example:
        >>> find("[0-9]+").of("a 12").tolist()
        [0.0, 0.0, 1.0, 1.0]
    """
    if words in NAMED:
        of, yes_or_no = NAMED[words]
        return Predicate(words, of, yes_or_no)
    try:
        pattern = re.compile(words, re.MULTILINE)
    except re.error as error:
        raise UsageError(
            f"--find {words}",
            expected=f"{', '.join(NAMED)}, or a regular expression",
            got=str(error),
        ) from None

    def matches(text: str) -> np.ndarray:
        found = np.zeros(len(text))
        for match in pattern.finditer(text):
            found[match.start() : match.end()] = 1
        return found

    return Predicate(words, matches)
