"""The parts of a network that says things come in; it goes out as a picture, folded and unrolled.

Many-to-many through an encoder and a decoder, or one-to-many from an image: what is read on the
left, what is said on the right, one colour for weights that are one.
"""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

from ...messages import tr
from ..shade import width
from ..spoken import Parts
from .style import COLOURS, Style, figure

SHOWN = 5  # steps of each side; of longer ones the first and the last
STEP = 1.05  # inches of a step
WORDS, NOTES = 11, 10  # sizes of letters that are read at half the size too
LETTERS = 10  # of a token


def saying(parts: Parts, style: Style) -> Any:
    """The network folded, and unrolled over what was read and said.

    Example:
        >>> parts = Parts(["ein", "Hund"], ["a", "dog", "<eos>"], "lstm", "lstm",
        ...               both=True, recurrent=True, looks=True, start="state")
        >>> drawn = saying(parts, Style())
        >>> len(drawn.axes)
        2
    """
    read, said = _few(parts.read), _few(parts.said)
    wide = len(read) + len(said)
    drawn = figure(3.4 + STEP * (wide + 0.8), 4.4)
    folded, unrolled = drawn.subplots(1, 2, width_ratios=[3.4, STEP * (wide + 0.8)])
    for axes in (folded, unrolled):
        axes.set_axis_off()
        axes.set_ylim(-1.2, 3.1)
    folded.set_xlim(-0.9, 2.6)
    unrolled.set_xlim(-0.6, wide + 0.2)
    folded.set_title(tr("folded"), fontsize=WORDS)
    unrolled.set_title(tr("unrolled: the same weights at every step"), fontsize=WORDS)
    _folded(folded, parts, style)
    for k, word in enumerate(read):
        if word is None:
            unrolled.text(k, 0.5, "…", ha="center", va="center", fontsize=14)
        else:
            _box(unrolled, k, 0.5, parts.reader if len(read) == 1 else "", COLOURS[0], style)
            _arrow(unrolled, (k, -0.3), (k, 0.2), style.ink)
            unrolled.text(k, -0.36, _token(word), ha="center", va="top", fontsize=WORDS)
        if k and parts.recurrent:
            _arrow(unrolled, (k - 0.7, 0.58), (k - 0.3, 0.58), COLOURS[0])
            if parts.both:
                _arrow(unrolled, (k - 0.3, 0.42), (k - 0.7, 0.42), COLOURS[0])
    first = len(read) + 0.4
    before = "<bos>"
    for k, word in enumerate(said):
        x = first + k
        if word is None:
            unrolled.text(x, 1.7, "…", ha="center", va="center", fontsize=14)
        else:
            _box(unrolled, x, 1.7, "", COLOURS[1], style)
            _arrow(unrolled, (x, 0.9), (x, 1.4), style.ink)
            _arrow(unrolled, (x, 2.0), (x, 2.5), style.ink)
            shown: Any = {"ha": "center", "fontsize": WORDS}
            unrolled.text(x, 0.84, _token(before), va="top", **shown)
            unrolled.text(x, 2.54, _token(word), va="bottom", fontweight="bold", **shown)
        if k:
            _arrow(unrolled, (x - 0.7, 1.7), (x - 0.3, 1.7), COLOURS[1])
        before = "…" if word is None else word
    _opened(unrolled, parts, len(read), first, style)
    if parts.looks:
        _looks(unrolled, parts, len(read), first)
    if parts.recurrent:
        words = tr(
            "many to many: {read} read, {said} said", read=len(parts.read), said=len(parts.said)
        )
    else:
        words = tr("one to many: one image read, {said} said", said=len(parts.said))
    unrolled.text(wide / 2, -1.15, words, ha="center", va="bottom", fontsize=NOTES)
    return drawn


def _folded(axes: Any, parts: Parts, style: Style) -> None:
    _box(axes, 0.1, 0.5, parts.reader, COLOURS[0], style, wide=1.3)
    _box(axes, 1.6, 1.7, parts.sayer, COLOURS[1], style, wide=1.2)
    _arrow(axes, (0.1, -0.3), (0.1, 0.2), style.ink)
    axes.text(0.1, -0.36, "x", ha="center", va="top", fontsize=WORDS)
    _arrow(axes, (1.6, 2.0), (1.6, 2.5), style.ink)
    axes.text(1.6, 2.54, "y", ha="center", va="bottom", fontweight="bold", fontsize=WORDS)
    loops = [(0.75, 0.5, COLOURS[0])] * parts.recurrent + [(2.2, 1.7, COLOURS[1])]
    for x, y, colour in loops:
        way = {"arrowstyle": "->", "color": colour, "lw": 1.8, "connectionstyle": "arc3,rad=1.6"}
        axes.annotate("", (x, y + 0.2), (x, y - 0.2), arrowprops=way)
        axes.text(x + 0.16, y - 0.24, "U", va="top", ha="left", fontsize=WORDS)
    _arrow(axes, (0.4, 0.82), (0.98, 1.5), COLOURS[2] if parts.looks else style.ink)
    way = {"arrowstyle": "->", "color": style.ink, "connectionstyle": "arc3,rad=0.6", "lw": 1.2,
           "ls": ":"}  # fmt: skip
    axes.annotate("", (0.97, 1.78), (1.48, 2.64), arrowprops=way)
    words = tr("what was said and\nlooked at is read next") if parts.fed else tr(
        "what was said\nis read next")  # fmt: skip
    axes.text(0.8, 2.3, words, fontsize=NOTES, ha="right", va="center")


def _looks(axes: Any, parts: Parts, count: int, first: float) -> None:
    """Every place that is read, to every step that says."""
    colour = COLOURS[2]
    axes.plot([-0.3, count - 0.7], [1.2, 1.2], color=colour, lw=1.5, ls=":")
    for k in range(count):
        axes.plot([k, k], [0.8, 1.2], color=colour, lw=1, ls=":")
    words = tr("attention: each step looks at every place")
    narrow = 0.095 * width(words) > STEP * (count + 0.2)
    axes.text(
        -0.5, 2.0 if narrow else 1.26, fill(words, 16) if narrow else words, color=colour,
        fontsize=NOTES, va="bottom",
    )  # fmt: skip
    axes.annotate(
        "", (first - 0.32, 1.85), (count - 0.7, 1.2),
        arrowprops={"arrowstyle": "->", "color": colour, "ls": ":"},
    )  # fmt: skip


def _opened(axes: Any, parts: Parts, count: int, first: float, style: Style) -> None:
    """How what was read opens the decoder."""
    if parts.start == "none":
        return
    end = (first - 0.32, 1.55) if parts.start == "state" else (first - 0.1, 1.4)
    _arrow(axes, (count - 0.68, 0.6), end, style.ink)
    words = tr("first state") if parts.start == "state" else tr("first input")
    axes.text(count - 0.6, 0.44, words, fontsize=NOTES, ha="left", va="top")


def _few(names: Sequence[str]) -> list[str | None]:
    if len(names) <= SHOWN:
        return list(names)
    return [*names[:3], None, *names[-1:]]


def _token(word: str, most: int = LETTERS) -> str:
    """A word as it fits under a step, or into a box: a Korean letter takes two places."""
    word = word.replace("\n", "↵").replace("\t", "⇥")
    kept = ""
    for letter in word.strip():
        if width(kept + letter) > most:
            return f"{kept[:-1]}…"
        kept += letter
    return kept or "␣"


def _box(axes, x, y, words, colour, style, wide=0.6) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch((x - wide / 2, y - 0.28), wide, 0.56, boxstyle="round,pad=0.02",
                       facecolor=style.paper, edgecolor=colour, lw=2)
    )  # fmt: skip
    if words:
        name = _token(words, round(11.5 * wide))
        axes.text(x, y, name, ha="center", va="center", fontsize=NOTES)


def _arrow(axes, start, end, colour) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.5})
