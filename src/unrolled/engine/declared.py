"""Parts of a cell's declaration come in, as typed or as a file has them; checked values go out.

Each function says what it expected, what it got, and, where there is one, the fix.
"""

import keyword
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import CellError
from .primitives import NAME

RESERVED = {"ih", "hh", "hr", "x", "u", "w", "norm", "proj", "self"}
STRUCTURES = ("shared", "antisymmetric", "blocks")
CELL_NAME = re.compile(r"\w[\w.+-]{0,99}\Z")
LONGEST = 64  # letters of a name
WIDEST = 1000  # inputs of a window
WAYS = (
    "a number, zeros, ones, orthogonal, identity, xavier, "
    '("uniform", low, high), ("normal", deviation), ("logit", low, high) or ("chrono", steps)'
)


def kind(value: Any) -> str:
    """What a value is, in a few words: `'abc'`, `3`, `a list`, `NaN`."""
    if isinstance(value, str):
        return repr(value) if len(value) < 40 else f"a text of {len(value)} letters"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return f"a {type(value).__name__}"


def names(value: Any, what: str) -> tuple[str, ...]:
    """Names of gates, states or results: words in one text, or a sequence of words."""
    if not isinstance(value, (str, tuple, list)):
        raise CellError(what, expected="names in a text", got=kind(value))
    found = tuple(value.split()) if isinstance(value, str) else tuple(value)
    for n in found:
        good = isinstance(n, str) and NAME.match(n) and len(n) <= LONGEST
        if not good or keyword.iskeyword(n) or n in RESERVED:
            raise CellError(
                f"{what} {kind(n)}",
                expected="letters, digits and underscores, beginning with a letter",
                got="a reserved word" if good else kind(n),
                fix="Choose another name.",
            )
    if twice := [n for k, n in enumerate(found) if n in found[:k]]:
        raise CellError(
            f"{what} {' '.join(found)!r}", expected="each name once", got=f"{twice[0]} twice"
        )
    return found


def number(value: Any, what: str) -> float:
    """A number, infinite perhaps, never NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise CellError(what, expected="a number", got=kind(value))
    try:
        return float(value)
    except OverflowError:
        raise CellError(what, expected="a number", got="one too large") from None


def written(value: Any, what: str) -> float:
    """A number as `repr` wrote it into a file."""
    try:
        return number(float(value) if isinstance(value, str) else value, what)
    except ValueError:
        raise CellError(what, expected="a number", got=kind(value)) from None


def whole(value: Any, what: str, most: float = math.inf) -> int:
    """A whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        limit = "" if most == math.inf else f" to {most}"
        raise CellError(what, expected=f"a whole number from 1{limit}", got=kind(value))
    return value


def table(value: Any, what: str, keys: Iterable[str] | None = None) -> dict[str, Any]:
    """A dictionary, of these keys at most."""
    if not isinstance(value, Mapping):
        raise CellError(what, expected="a dict", got=kind(value))
    known = None if keys is None else tuple(keys)
    for key in value:
        if not isinstance(key, str) or (known is not None and key not in known):
            raise CellError(
                f"{what} of {kind(key)}",
                expected=f"one of {', '.join(known)}" if known else "a name",
                got=kind(key),
                fix="Correct the name, or take it out.",
            )
    return dict(value)


def text(value: Any, what: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise CellError(what, expected="a text", got=kind(value))
    return value


def truth(value: Any, what: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise CellError(what, expected="True or False", got=kind(value))
    return value


def cell_name(value: Any) -> str:
    """What a cell is called."""
    if not isinstance(value, str) or not CELL_NAME.match(value):
        raise CellError(
            "the cell's name",
            expected="letters, digits and - . + _, 100 at most",
            got=kind(value),
        )
    return value


def structure(value: Any) -> dict[str, str]:
    """Which named parametrizations make W, U and the weights a unit."""
    found = table(value, "structure", ("x", "u", "w"))
    for side, said in found.items():
        allowed = STRUCTURES if side == "u" else ("shared",)
        if not isinstance(said, str) or any(n not in allowed for n in said.split()):
            raise CellError(
                f"structure of {side!r}",
                expected=f"any of {', '.join(allowed)}",
                got=kind(said),
            )
    return found


def labels(value: Any) -> dict[str, tuple[str, str]]:
    """Words for gates and states, in English and Korean."""
    found = table(value, "labels")
    for name, pair in found.items():
        fits = isinstance(pair, (tuple, list)) and len(pair) == 2
        if not fits or not all(isinstance(word, str) for word in pair):
            raise CellError(
                f"labels of {name!r}",
                expected="a word in English and one in Korean",
                got=kind(pair),
                fix=f'Write `{{"{name}": ("forget gate", "망각 게이트")}}`.',
            )
    return {name: (pair[0], pair[1]) for name, pair in found.items()}


def start(value: Any) -> dict[str, Any]:
    """How parameters are initialised; that their names are there is seen with the graph."""
    found = table(value, "start")
    for key, way in found.items():
        if not _is_way(way):
            raise CellError(f"start of {key!r}", expected=WAYS, got=repr(way)[:40])
    return {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}


def _is_way(way: Any) -> bool:
    if isinstance(way, str):
        return way in ("zeros", "ones", "orthogonal", "identity", "xavier")
    if isinstance(way, (tuple, list)) and way:
        counts = {"uniform": 3, "normal": 2, "logit": 3, "chrono": 2}
        if not isinstance(way[0], str) or len(way) != counts.get(way[0]):
            return False
        if not all(map(_is_number, way[1:])):
            return False
        if way[0] == "logit":
            return 0 < way[1] <= way[2] < 1
        return way[0] != "chrono" or way[1] > 2
    return _is_number(way)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
