"""A trace comes in; the network goes out as a picture: folded, and unrolled over its steps.

What is read and what is answered is seen in the trace itself: an output counts where the loss reads
it.
"""

from typing import Any

import numpy as np

from ...messages import tr
from ..traces import LayerTrace, Trace
from .style import COLOURS, Style, figure

SHOWN = 6  # steps; of longer sequences the first and the last


def topology(trace: Trace, style: Style, b: int = 0) -> Any:
    """Layers from the bottom up, time from left to right, one colour for weights that are one."""
    layers = list({layer.title: layer for layer in trace.layers}.values())
    length = int(trace.lengths[b])
    steps: list[int | None] = list(range(length))
    if length > SHOWN:
        steps = [0, 1, 2, None, length - 2, length - 1]
    read = _read(layers, b)
    height = 0.8 + len(layers)
    drawn = figure(9.5, 1.3 + 0.85 * height)
    folded, unrolled = drawn.subplots(1, 2, width_ratios=[1, 3.4])
    first = layers[0]
    features = first.one.call.x.shape[-1]
    for axes in (folded, unrolled):
        axes.set_axis_off()
        axes.set_ylim(-0.9, height)
    folded.set_xlim(-0.9, 1.2)
    unrolled.set_xlim(-0.6, len(steps) - 0.4)
    folded.set_title(tr("folded"))
    unrolled.set_title(tr("unrolled: the same weights at every step"))
    tops = [i for i, layer in enumerate(layers) if read[layer.title].any()]
    for i, layer in enumerate(layers):
        colour = COLOURS[i % 8]
        short = layer.title.rpartition(".")[2]
        _box(folded, 0, i + 0.5, f"{short}\n{layer.traced.name}", colour, style, wide=1.0)
        back = bool(layer.one.direction)
        ends = [(0.5, i + 0.72), (0.5, i + 0.28)]
        way = {"arrowstyle": "->", "color": colour, "lw": 1.8,
               "connectionstyle": f"arc3,rad={-1.4 if back else 1.4}"}  # fmt: skip
        folded.annotate("", *(ends[::-1] if back else ends), arrowprops=way)
        folded.text(0.94, i + 0.5, "U", color=style.ink, va="center", ha="left")
        for place, t in enumerate(steps):
            if t is None:
                unrolled.text(place, i + 0.5, "…", ha="center", va="center", fontsize=14)
            else:
                _box(unrolled, place, i + 0.5, layer.title.rpartition(".")[2], colour, style)
            if place:
                left, right = place - 0.7, place - 0.3
                start, end = (right, left) if back else (left, right)
                _arrow(unrolled, start, end, i + 0.5, colour)
    _ins_and_outs(folded, unrolled, steps, layers, read, tops, features, length, style)
    return drawn


def _ins_and_outs(folded, unrolled, steps, layers, read, tops, features, length, style) -> None:
    count = len(layers)
    folded.text(0, -0.4, f"x  ({features})", ha="center", va="top")
    below = _below(layers)
    for i in range(count):
        for j in below[i]:
            _up(folded, 0, j, i, style)
    if tops:
        _out(folded, 0, count, style)
        folded.text(0, count + 0.28, tr("output"), ha="center", va="bottom")
    for place, t in enumerate(steps):
        if t is None:
            continue
        unrolled.text(place, -0.4, f"x{t + 1}", ha="center", va="top")
        for i in range(count):
            for j in below[i]:
                _up(unrolled, place, j, i, style)
        if any(read[layers[i].title][t] for i in tops):
            _out(unrolled, place, count, style)
            unrolled.text(place, count + 0.32, f"y{t + 1}", ha="center", va="bottom")
    told = sum(bool(any(read[layers[i].title][t] for i in tops)) for t in range(length))
    words = tr("{steps} inputs; the loss reads {outputs} outputs", steps=length, outputs=told)
    unrolled.text((len(steps) - 1) / 2, -0.87, words, ha="center", va="bottom", fontsize=9)


def _read(layers: list[LayerTrace], b: int) -> dict[str, np.ndarray]:
    """For layers at the top, at which steps the loss itself reads the output."""
    found = {}
    depth: dict[str, int] = {}
    for layer in layers:
        depth[layer.one.name] = max(depth.get(layer.one.name, 0), layer.one.layer)
    last = layers[-1].one.name
    for layer in layers:
        direct = (layer.direct or {}).get(layer.traced.states[0])
        top = layer.one.name == last and layer.one.layer == depth[layer.one.name]
        if direct is None or not top:
            found[layer.title] = np.zeros(layer.one.steps, bool)
        else:
            found[layer.title] = layer.in_time(direct)[b].any(-1)
    return found


def _box(axes, x, y, words, colour, style, wide=0.56) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch((x - wide / 2, y - 0.28), wide, 0.56, boxstyle="round,pad=0.02",
                       facecolor=style.paper, edgecolor=colour, lw=2)
    )  # fmt: skip
    axes.text(x, y, words, ha="center", va="center", fontsize=8)


def _arrow(axes, x0, x1, y, colour) -> None:
    axes.annotate("", (x1, y), (x0, y), arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.8})


def _below(layers: list[LayerTrace]) -> list[list[int]]:
    """For each row, the rows that it reads from; -1 is the input."""
    found: list[list[int]] = []
    for layer in layers:
        one = layer.one
        rows = [
            j for j, other in enumerate(layers)
            if other.one.name == one.name and other.one.layer == one.layer - 1
        ]  # fmt: skip
        before = len(found) - 1 - one.direction
        # A first layer reads the input, or what ran before it in another part of the module.
        found.append(rows or [before if before < 0 or layers[before].one.name != one.name else -1])
    return found


def _up(axes, x, j, i, style) -> None:
    """From row j, or the input, to row i; around the rows between them."""
    start, end = (-0.35 if j < 0 else j + 0.8), i + 0.2
    far = i - j > 1
    shift = -0.24 if far else 0.0
    axes.annotate(
        "", (x + shift, end), (x + shift, start), zorder=0,
        arrowprops={"arrowstyle": "->", "color": style.ink, "lw": 1.1, "ls": ":" if far else "-"},
    )  # fmt: skip


def _out(axes, x, count, style) -> None:
    arrow = {"arrowstyle": "->", "color": style.ink, "lw": 1.2}
    axes.annotate("", (x, count + 0.22), (x, count - 0.2), arrowprops=arrow)
