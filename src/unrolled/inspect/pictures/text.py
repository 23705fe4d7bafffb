"""Tokens and a value for each come in; the text goes out as a picture, coloured by these values."""

import math
from collections.abc import Sequence
from itertools import islice
from textwrap import wrap
from typing import Any

import numpy as np

from ...messages import tr
from ..shade import lines, scaled, width
from ..traces import Trace
from .style import COLOURS, Style, figure, name_steps, note, sampled

COLUMNS, ROWS = 84, 28  # letters across and lines down that can be read in a picture
MOST_STEPS = 400
INCH = 0.085  # of a letter


def text(
    tokens: Sequence[str],
    values: Any,
    style: Style,
    *,
    joiner: str = "",
    title: str = "",
    label: str = "",
) -> Any:
    """A text whose letters stand on the colour of their token's value: blue below 0, orange above.

    Args:
        tokens, joiner: the text; its first 28 lines of 84 letters are drawn.
        values: one a token; NaN has no colour.
        style: light or dark.
        title: above the text.
        label: what the value is, beside the scale of colours.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.patches import Rectangle

    rows = list(islice(lines(tokens, scaled(values), joiner, COLUMNS), ROWS + 1))
    cut, rows = len(rows) > ROWS, rows[:ROWS]
    broad = max((sum(width(p.text) for p in row) for row in rows), default=1)
    room = max(broad, 40)
    above = wrap(title, int(0.95 * room))
    height = 0.75 + 0.17 * len(above) + 0.24 * (len(rows) + cut)
    drawn = figure(1.3 + INCH * room, height)
    axes = drawn.add_subplot()
    axes.set_axis_off()
    axes.set(xlim=(-0.5, room + 0.5), ylim=(len(rows) + cut + 0.1, -0.1))
    whole = style.signed
    # letters have to be read on it: its strongest colours are left out
    colours = ListedColormap(whole(np.linspace(0.15, 0.85, 256)))
    for k, row in enumerate(rows):
        place = 0
        for piece in row:
            wide = width(piece.text)
            if math.isfinite(piece.value):
                at = (piece.value + 1) / 2
                axes.add_patch(Rectangle((place, k + 0.05), wide, 0.9, color=colours(at), lw=0))
            for letter in piece.text:
                mine = width(letter)
                if letter.strip():
                    axes.text(place + mine / 2, k + 0.52, letter, ha="center", va="center",
                              fontsize=8.5, family=style.typewriter)  # fmt: skip
                place += mine
    if cut:
        axes.text(0, len(rows) + 0.5, "…", va="center")
    finite = np.nan_to_num(np.asarray(values, float), posinf=0, neginf=0)
    most = float(np.abs(finite).max(initial=0.0)) or 1.0
    # where nothing is below 0, that half of the scale would be a promise that is not kept
    low = -most if (finite < 0).any() else 0.0
    half = colours if low else ListedColormap(colours(np.linspace(0.5, 1, 128)))
    scale = ScalarMappable(Normalize(low, most), half)
    bar = drawn.colorbar(scale, ax=axes, pad=0.01, fraction=0.03, aspect=12)
    bar.set_label(label)
    axes.set_title("\n".join(above), loc="left")
    return drawn


def steps(
    values: Any,
    style: Style,
    *,
    tokens: Sequence[str] = (),
    title: str = "",
    label: str = "",
) -> Any:
    """A value for each step as bars, or as a line where there are many."""
    drawn = figure(9.5, 3.0)
    axes = drawn.add_subplot()
    shown = sampled(len(values), MOST_STEPS)
    some = np.asarray(values, float)[shown]
    if not np.isfinite(some).any():
        note(axes, tr("nothing to draw"))
        return drawn
    if len(shown) <= 60:
        signs = [COLOURS[5] if v > 0 else COLOURS[0] for v in some]
        axes.bar(range(len(some)), some, color=signs)
    else:
        axes.plot(some, color=COLOURS[0], lw=1.2)
    axes.axhline(0, color=style.ink, lw=0.8)
    axes.set_xlim(-0.7, len(some) - 0.3)
    axes.set_ylabel(label)
    axes.set_title(title)
    axes.grid(axis="y", alpha=0.6, lw=0.5)
    name_steps(axes, shown, tokens, each=True)
    return drawn


def surprise(trace: Trace, style: Style, b: int = 0) -> Any:
    """A text coloured by how little each token was expected, in bits."""
    sure = np.array(trace.told["probability"][b], float)
    bits = -np.log2(np.maximum(sure, 1e-30))
    return text(trace.tokens[b], list(bits), style, joiner=trace.joiner, label=tr("surprise, bits"),
                title=tr("how little each token was expected"))  # fmt: skip
