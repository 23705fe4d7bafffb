"""Tokens and a value for each come in; the text goes out with these values in it: as colours of a
terminal, as heights below the lines where there are none, or as HTML.
"""

import html
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

HEIGHTS = "▁▂▃▄▅▆▇█"
# Of the 256 colours that terminals know, from pale to strong: blue is below 0, orange above.
BELOW, ABOVE = (195, 153, 117, 75, 33), (230, 223, 216, 209, 202)


@dataclass(frozen=True)
class Piece:
    """A token as it is written, and its value from -1 to 1; NaN is none."""

    text: str
    value: float


def width(words: str) -> int:
    """How many columns a text takes: Korean letters take two, marks above others none.

    Example:
        >>> width("ab"), width("나는")
        (2, 4)
    """
    return sum(
        0
        if unicodedata.combining(letter)
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in words
    )


def scaled(values: Any) -> np.ndarray:
    """Values over the largest of their sizes: from -1 to 1, what is none or infinite is NaN.

    Example:
        >>> scaled([2.0, -4.0, float("nan")]).tolist()
        [0.5, -1.0, nan]
    """
    found = np.asarray(values, float)
    found = np.where(np.isfinite(found), found, np.nan)
    most = np.nanmax(np.abs(found), initial=0.0)
    return found / most if most else found


def lines(
    tokens: Sequence[str], values: Any, joiner: str = "", columns: int = 80
) -> Iterator[list[Piece]]:
    """The text in lines of at most so many columns, broken where it has a line's end.

    Args:
        tokens: as they stand in the text; a line's end is shown as ↵, a tab as ⇥.
        values: one a token, from -1 to 1, NaN for none.
        joiner: what stands between two tokens.
        columns: of a line; a Korean letter takes two.

    Example:
        >>> [[p.text for p in row] for row in lines(["a", "b", "c"], [1, 0, 0], " ", columns=4)]
        [['a', ' ', 'b'], ['c']]
    """
    row: list[Piece] = []
    taken = 0
    for token, value in zip(tokens, values, strict=True):
        shown = token.replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍")
        between = joiner if row else ""
        if row and taken + width(between + shown) > columns:
            yield row
            row, taken, between = [], 0, ""
        if between:
            row.append(Piece(between, math.nan))
        row.append(Piece(shown, float(value)))
        taken += width(between + shown)
        if "\n" in token:
            yield row
            row, taken = [], 0
    if row:
        yield row


def for_terminal(
    tokens: Sequence[str],
    values: Any,
    joiner: str = "",
    *,
    colour: bool,
    columns: int = 80,
    most: int = 40,
) -> str:
    """The text for a terminal, at most so many lines of it.

    Args:
        tokens, joiner, columns: as for `lines`.
        values: one a token; they are scaled by the largest.
        colour: blue below 0 and orange above; without it a height stands under each letter, the
            middle one for 0.
        most: lines of the text.

    Example:
        >>> print(for_terminal(["to", "be"], [1.0, -1.0], " ", colour=False))
        to be
        ██ ▁▁
    """
    found = []
    rows = lines(tokens, scaled(values), joiner, columns)
    for row in islice(rows, most):
        if colour:
            found.append("".join(map(_coloured, row)))
        else:
            found += ["".join(p.text for p in row), "".join(map(_height, row)).rstrip()]
    if next(rows, None) is not None:
        found.append("…")
    return "\n".join(found)


def _coloured(piece: Piece) -> str:
    if not math.isfinite(piece.value) or abs(piece.value) < 0.1:
        return piece.text
    colours = ABOVE if piece.value > 0 else BELOW
    strength = min(int(abs(piece.value) * len(colours)), len(colours) - 1)
    return f"\x1b[38;5;16;48;5;{colours[strength]}m{piece.text}\x1b[0m"


def _height(piece: Piece) -> str:
    wide = width(piece.text)
    if not math.isfinite(piece.value):
        return " " * wide
    place = round((piece.value + 1) / 2 * (len(HEIGHTS) - 1))
    return HEIGHTS[place] * wide


def for_page(tokens: Sequence[str], values: Any, joiner: str = "", *, most: int = 5000) -> str:
    """The text as HTML whose colours can be read on a light and on a dark page.

    Args:
        tokens, joiner: as for `lines`; a blank line ends nothing here.
        values: one a token; they are scaled by the largest.
        most: tokens.

    Example:
        >>> page = for_page(["<b>"], [1.0])
        >>> "rgba(213,94,0,0.70)" in page, "&lt;b&gt;" in page
        (True, True)
    """
    parts = []
    for token, value, raw in islice(
        zip(tokens, scaled(values), np.asarray(values, float), strict=True), most
    ):
        text = html.escape(token).replace("\n", "↵<br>")
        if not math.isfinite(value) or abs(value) < 0.02:
            parts.append(text)
            continue
        colour = "213,94,0" if value > 0 else "0,114,178"
        parts.append(
            f'<span style="background:rgba({colour},{0.7 * abs(value):.2f})" '
            f'title="{raw:.3g}">{text}</span>'
        )
    more = " …" if len(tokens) > most else ""
    return f'<p class="shaded">{html.escape(joiner).join(parts)}{more}</p>'
