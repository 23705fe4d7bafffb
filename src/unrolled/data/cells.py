"""Cells of text come in; numbers go out, NaN where a value is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from unrolled.errors import DataError

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
_LARGEST = 3.4e38  # of float32


def numbers(cells: Sequence[str], missing: str, place: Callable[[int], str]) -> list[float]:
    """Read cells as finite numbers.

    Args:
        cells: text.
        missing: "error", or "mask": an empty cell, NA, NaN, null or ? becomes NaN.
        place: says where cell i stands.

    Raises:
        DataError: a cell is no number, infinite, or missing where it must not be.

    Example:
        >>> numbers(["1.5", "NA"], "mask", str)
        [1.5, nan]
    """
    try:
        if "_" in "".join(cells):  # Python reads 1_000 as a number; in data it is a slip or a name
            raise ValueError
        found = [float(cell) for cell in cells]
    except ValueError:
        found = [_number(cell, place, i) for i, cell in enumerate(cells)]
    # One test a row instead of one a cell: false as well where a value is NaN or infinite.
    if not sum(map(abs, found)) < _LARGEST:
        for i, value in enumerate(found):
            _check(value, cells[i], missing, place, i)
    return found


def moment(cell: str, place: str) -> float:
    """A time stamp: a number, or a date and time as in ISO 8601, in seconds since 1970.

    Raises:
        DataError: it is neither.

    Example:
        >>> moment("12.5", ""), moment("1970-01-02", "")
        (12.5, 86400.0)
    """
    try:
        value = float(cell)
    except ValueError:
        try:
            when = datetime.fromisoformat(cell.strip())
        except ValueError:
            value = math.nan
        else:
            value = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(value):
        raise DataError(
            place,
            expected="a time: a number or a date such as 2026-01-31T12:00:00",
            got=repr(cell),
            fix="Correct the cell.",
        )
    return value


def _number(cell: str, place: Callable[[int], str], i: int) -> float:
    try:
        if "_" in cell:
            raise ValueError
        return float(cell)
    except ValueError:
        if cell.strip().lower() in MISSING:
            return math.nan
        comma = cell.count(",") == 1 and cell.replace(",", "").lstrip("+-").isdigit()
        fix = "Write a decimal point, not a comma." if comma else ""
        raise DataError(
            place(i),
            expected="a number",
            got=repr(cell),
            fix=fix or "Correct the cell, or name the columns that are numbers: --features a,b,c",
        ) from None


def _check(value: float, cell: str, missing: str, place: Callable[[int], str], i: int) -> None:
    if math.isnan(value) and missing == "error":
        raise DataError(
            place(i),
            expected="a number",
            got=f"a missing value ({cell!r})",
            fix="Fill it in, or let the network see which values are missing: --missing mask",
        )
    if abs(value) > _LARGEST:
        raise DataError(
            place(i), expected="a finite number of 32 bits", got=repr(cell), fix="Correct the cell."
        )
