"""The parts of a network that says things come in; it goes out as a picture, folded and unrolled.

Many-to-many through an encoder and a decoder, or one-to-many from an image: what is read on the
left, what is said on the right, one colour for weights that are one.
"""

from collections.abc import Sequence
from typing import Any

from ...messages import tr
from ..spoken import Parts
from .style import COLOURS, Style, figure

SHOWN = 5  # steps of each side; of longer ones the first and the last


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
    drawn = figure(3.2 + 0.95 * wide, 4.4)
    folded, unrolled = drawn.subplots(1, 2, width_ratios=[2.6, 0.95 * wide])
    for axes in (folded, unrolled):
        axes.set_axis_off()
        axes.set_ylim(-1.1, 3.3)
    folded.set_xlim(-0.8, 2.5)
    unrolled.set_xlim(-0.6, wide + 0.2)
    folded.set_title(tr("folded"))
    unrolled.set_title(tr("unrolled: the same weights at every step"))
    _folded(folded, parts, style)
    for k, word in enumerate(read):
        if word is None:
            unrolled.text(k, 0.5, "…", ha="center", va="center", fontsize=14)
        else:
            _box(unrolled, k, 0.5, parts.reader if len(read) == 1 else "", COLOURS[0], style)
            _arrow(unrolled, (k, -0.3), (k, 0.2), style.ink)
            unrolled.text(k, -0.4, word[:10], ha="center", va="top", fontsize=8)
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
            shown = {"ha": "center", "fontsize": 8}
            unrolled.text(x, 0.82, before[:10], va="top", **shown)
            unrolled.text(x, 2.56, word[:10], va="bottom", fontweight="bold", **shown)
        if k:
            _arrow(unrolled, (x - 0.7, 1.7), (x - 0.3, 1.7), COLOURS[1])
        before = "…" if word is None else word
    _opened(unrolled, parts, len(read), first, style)
    if parts.looks:
        unrolled.plot([-0.3, len(read) - 0.7], [1.2, 1.2], color=COLOURS[2], lw=1.5, ls=":")
        for k in range(len(read)):
            unrolled.plot([k, k], [0.8, 1.2], color=COLOURS[2], lw=1, ls=":")
        shown = {"color": COLOURS[2], "fontsize": 8, "va": "bottom"}
        unrolled.text(-0.3, 1.26, tr("attention: each step looks at every place"), **shown)
        unrolled.annotate(
            "", (first - 0.32, 1.85), (len(read) - 0.7, 1.2),
            arrowprops={"arrowstyle": "->", "color": COLOURS[2], "ls": ":"},
        )  # fmt: skip
    if parts.recurrent:
        words = tr(
            "many to many: {read} read, {said} said", read=len(parts.read), said=len(parts.said)
        )
    else:
        words = tr("one to many: one image read, {said} said", said=len(parts.said))
    unrolled.text(wide / 2, -1.05, words, ha="center", va="bottom", fontsize=9)
    return drawn


def _folded(axes: Any, parts: Parts, style: Style) -> None:
    _box(axes, 0.2, 0.5, parts.reader, COLOURS[0], style, wide=1.2)
    _box(axes, 1.6, 1.7, parts.sayer, COLOURS[1], style, wide=1.0)
    _arrow(axes, (0.2, -0.3), (0.2, 0.2), style.ink)
    axes.text(0.2, -0.4, "x", ha="center", va="top")
    _arrow(axes, (1.6, 2.0), (1.6, 2.5), style.ink)
    axes.text(1.6, 2.56, "y", ha="center", va="bottom", fontweight="bold")
    loops = [(0.8, 0.5, COLOURS[0])] * parts.recurrent + [(2.1, 1.7, COLOURS[1])]
    for x, y, colour in loops:
        way = {"arrowstyle": "->", "color": colour, "lw": 1.8, "connectionstyle": "arc3,rad=1.6"}
        axes.annotate("", (x, y + 0.2), (x, y - 0.2), arrowprops=way)
        axes.text(x + 0.28, y - 0.3, "U", va="top")
    _arrow(axes, (0.5, 0.8), (1.1, 1.55), COLOURS[2] if parts.looks else style.ink)
    way = {"arrowstyle": "->", "color": style.faint, "connectionstyle": "arc3,rad=0.9", "lw": 1.2}
    axes.annotate("", (1.45, 1.4), (1.5, 2.6), arrowprops=way)
    axes.text(0.7, 2.5, tr("what was said\nis read next"), fontsize=7, ha="center", va="center")


def _opened(axes: Any, parts: Parts, count: int, first: float, style: Style) -> None:
    """How what was read opens the decoder."""
    if parts.start == "none":
        return
    end = (first - 0.32, 1.62) if parts.start == "state" else (first - 0.1, 1.4)
    _arrow(axes, (count - 0.68, 0.6), end, style.ink)
    words = tr("first state") if parts.start == "state" else tr("first input")
    axes.text(count - 0.35, 0.55, words, fontsize=7, ha="left", va="top")


def _few(names: Sequence[str]) -> list[str | None]:
    if len(names) <= SHOWN:
        return list(names)
    return [*names[:3], None, *names[-1:]]


def _box(axes, x, y, words, colour, style, wide=0.6) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch((x - wide / 2, y - 0.28), wide, 0.56, boxstyle="round,pad=0.02",
                       facecolor=style.paper, edgecolor=colour, lw=2)
    )  # fmt: skip
    axes.text(x, y, words, ha="center", va="center", fontsize=8)


def _arrow(axes, start, end, colour) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.5})
