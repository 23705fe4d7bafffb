"""A layer's trace comes in; pictures of its gates, states, memory and of the input go out."""

import math
from textwrap import fill
from typing import Any

import numpy as np

from ...messages import tr
from ..memory import LIMITS, histogram, units
from ..traces import LayerTrace, Trace
from ..words import said
from .style import COLOURS, Style, figure, logarithmic, name_steps, note, sampled

MOST_STEPS, MOST_UNITS, MOST_PANELS = 400, 128, 8


def _op(layer: LayerTrace, name: str) -> str:
    return layer.traced.graph.nodes[layer.traced.graph.outputs[name]].op


def values(layer: LayerTrace, style: Style, b: int = 0, tokens: Any = ()) -> Any:
    """Every gate and state of one sequence: units down, steps across."""
    length = int(layer.one.ends()[b])
    names = [*layer.traced.observed, *layer.traced.states][:MOST_PANELS]
    columns = 2 if len(names) > 1 else 1
    rows = math.ceil(len(names) / columns)
    drawn = figure(4.9 * columns, 0.5 + 2.3 * rows)
    steps = sampled(length, MOST_STEPS)
    grid = drawn.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(names):
            axes.set_axis_off()
            continue
        name = names[place]
        value = np.nan_to_num(layer[name][b][steps].astype(float))
        value = value[:, sampled(value.shape[1], MOST_UNITS)].T
        low, high = LIMITS.get(_op(layer, name), (None, None))
        if low == 0.0:
            image = axes.imshow(value, aspect="auto", cmap=style.graded, vmin=low, vmax=high,
                                interpolation="nearest")  # fmt: skip
        else:
            most = high or float(np.abs(value).max()) or 1.0
            image = axes.imshow(value, aspect="auto", cmap=style.signed, vmin=-most, vmax=most,
                                interpolation="nearest")  # fmt: skip
        drawn.colorbar(image, ax=axes, pad=0.02, fraction=0.05)
        words = said(layer.traced, name)
        axes.set_title(name if words == name else f"{name}: {words}")
        axes.set_ylabel(tr("unit") if place % columns == 0 else "")
        name_steps(axes, steps, tokens, each=place + columns >= len(names))
        if place + columns < len(names):
            axes.set_xlabel("")
    return drawn


def unit(
    layer: LayerTrace, number: int, style: Style, b: int = 0, tokens: Any = (), marked: Any = ()
) -> Any:
    """One unit of a layer along one sequence: its states above, its gates below.

    Args:
        layer: one layer and direction.
        number: the unit.
        style: light or dark.
        b: the sequence; tokens: what stands at each of its steps.
        marked: a value for each step; where it changes, a line is drawn.
    """
    length = int(layer.one.ends()[b])
    states = list(layer.traced.states)
    rest = [n for n in layer.traced.observed if _op(layer, n) == "sigmoid"]
    drawn = figure(max(6.0, min(13.0, 1.6 + 0.26 * length)), 2.7 + 2.0 * bool(rest))
    panels = drawn.subplots(1 + bool(rest), 1, sharex=True, squeeze=False)[:, 0]
    steps = sampled(length, MOST_STEPS)
    kinds = ("-", "--", ":", "-.")
    for axes, names in zip(panels, (states, rest), strict=False):
        for n, name in enumerate(names):
            value = np.nan_to_num(layer[name][b, steps, number].astype(float))
            words = said(layer.traced, name)
            axes.plot(value, color=COLOURS[n % 8], lw=1.6, ls=kinds[n % 4], marker="o", ms=3,
                      label=name if words == name else f"{name}: {words}")  # fmt: skip
        axes.grid(alpha=0.6, lw=0.5)
        axes.set_ylabel(tr("state") if names is states else tr("gate"))
        # beside the axes, where it covers nothing
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        told = [marked[t] for t in steps] if len(marked) else []
        for k in range(1, len(told)):
            if told[k] != told[k - 1] and told[k] == told[k]:
                axes.axvline(k, color=style.ink, lw=1.0, ls=(0, (2, 2)))
    panels[0].set_title(tr("{layer}, unit {unit}", layer=layer.title, unit=number))
    panels[0].axhline(0, color=style.ink, lw=0.8)
    if rest:
        panels[1].set_ylim(-0.03, 1.03)
    name_steps(panels[-1], steps, tokens, each=True)
    return drawn


def gates(layer: LayerTrace, style: Style) -> Any:
    """How the values of each gate and state are distributed, saturation in numbers."""
    from ..memory import statistics

    found = statistics(layer)[-MOST_PANELS:]
    columns = min(4, len(found))
    rows = math.ceil(len(found) / columns)
    drawn = figure(2.6 * columns + 0.4, 0.5 + 2.1 * rows)
    grid = drawn.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(found):
            axes.set_axis_off()
            continue
        one = found[place]
        counts, edges = histogram(layer, one.name)
        share = counts / max(1, counts.sum())
        axes.bar(edges[:-1], share, np.diff(edges), align="edge", color=COLOURS[0])
        words = said(layer.traced, one.name)
        axes.set_title(one.name if words == one.name else f"{one.name}: {words}")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        if one.low is not None and one.high is not None:
            axes.set_xlabel(
                tr("{low} % low, {high} % high", low=f"{100 * one.low:.0f}",
                   high=f"{100 * one.high:.0f}")
            )  # fmt: skip
        else:
            axes.set_xlabel(f"{one.mean:.2g} ± {one.std:.2g}")
    return drawn


def memory(layers: list[LayerTrace], style: Style) -> Any:
    """How long each unit remembers, the longest first; a line a layer and state."""
    drawn = figure(9.5, 3.4)
    axes = drawn.add_subplot()
    count = longest = 0
    for layer in layers:
        ranked = units(layer)
        for s in dict.fromkeys(u.state for u in ranked):
            mine = [u for u in ranked if u.state == s]
            steps = np.array([min(u.steps, 1e6) for u in mine])
            places = np.arange(1, len(mine) + 1)
            look = {"color": COLOURS[count % 8], "lw": 1.6, "ls": ("-", "--", ":")[count % 3]}
            axes.plot(places, np.maximum(steps, 1e-2), label=f"{layer.title} {s}", **look)
            dead = [u.dead for u in mine]
            if any(dead):
                axes.plot(places[dead], np.maximum(steps[dead], 1e-2), "x", color=style.ink, ms=5)
            count, longest = count + 1, max(longest, layer.one.steps)
    if not count:
        note(axes, tr("nothing to rank"))
        return drawn
    words = tr("length of the input, {steps} steps", steps=longest)
    axes.axhline(longest, color=style.ink, lw=0.9, ls="--", label=fill(words, 22))
    axes.set(xlabel=tr("units, the longest memory first (× hardly moves)"),
             ylabel=tr("time constant, steps"))  # fmt: skip
    axes.grid(alpha=0.6, lw=0.5)
    logarithmic(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # where it covers nothing
    return drawn


def looked_at(trace: Trace, style: Style, b: int = 0) -> Any:
    """The input of one sequence, and gradient times input: what the loss looked at."""
    assert trace.x_gradient is not None  # the caller asked
    length = int(trace.lengths[b])
    x = trace.x[b][:length]
    return features(x, x * trace.x_gradient[b][:length], style,
                    title=tr("gradient × input: what the answer looked at"))  # fmt: skip


def features(x: np.ndarray, parts: np.ndarray, style: Style, *, title: str) -> Any:
    """An input (T, I) and what each of its numbers had a part in, side by side."""
    steps = sampled(len(x), MOST_STEPS)
    x, parts = x[steps].astype(float), parts[steps].astype(float)
    narrow = x.shape[1] <= 3
    drawn = figure(9.5, 2.9)
    left, right = drawn.subplots(1, 2)
    titles = (tr("the input"), title)
    for axes, value, title in zip((left, right), (x, parts), titles, strict=True):
        if narrow:
            for n, row in enumerate(value.T):
                axes.plot(row, color=COLOURS[n], lw=1.3, ls=("-", "--", ":")[n])
            axes.set_ylabel(tr("value"))
            axes.grid(alpha=0.6, lw=0.5)
        else:
            most = float(np.abs(value).max()) or 1.0
            signed = bool((value < 0).any())
            image = axes.imshow(value.T, aspect="auto", interpolation="nearest",
                                cmap=style.signed if signed else style.graded,
                                vmin=-most if signed else 0, vmax=most)  # fmt: skip
            drawn.colorbar(image, ax=axes, pad=0.02, fraction=0.05)
            axes.set_ylabel(tr("feature"))
        axes.set_title(title)
        name_steps(axes, steps, (), each=False)
    return drawn
