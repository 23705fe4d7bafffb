"""A comparison comes in; a picture of quality, tuning, time and memory goes out."""

from typing import Any

import numpy as np

from unrolled.inspect.pictures.style import COLOURS, MARKS, Style, figure, note
from unrolled.messages import tr

from .comparing import Comparison, Contender
from .intervals import half_width, mean
from .paper import scale


def picture(found: Comparison, style: Style) -> Any:
    """Four panels: each seed's figure with the interval, the tuning, seconds, memory."""
    count = len(found.contenders)
    drawn = figure(9.5, 3.4 + 0.62 * max(count, 3))
    (quality, tuning), (time, memory) = drawn.subplots(2, 2)
    many = 100 if found.percent else 1
    _rows(quality, found, [[many * v for v in c.values(found.metric).values()]
                           for c in found.contenders], style)  # fmt: skip
    quality.set_xlabel(named(found))
    quality.set_title(
        tr("quality on the test part") if found.part == "test" else tr("quality on validation")
    )
    _tuning(tuning, found, many, style)
    _rows(time, found, [list(c.values("seconds").values()) for c in found.contenders], style)
    time.set_xlim(left=0)
    time.set_xlabel(tr("seconds of training"))
    time.set_title(tr("time"))
    _memory(memory, found, style)
    return drawn


def _rows(axes: Any, found: Comparison, values: list[list[float]], style: Style) -> None:
    """A row a cell: a pale mark a seed, the mean and its interval."""
    for n, (contender, own) in enumerate(zip(found.contenders, values, strict=True)):
        colour, mark = COLOURS[n % 8], MARKS[n % 8]
        axes.plot(own, np.full(len(own), n), mark, color=colour, ms=5, alpha=0.45, mew=0)
        if own:
            width = half_width(own)
            axes.errorbar(mean(own), n, xerr=width, fmt=mark, color=colour, ms=8, lw=1.8,
                          capsize=5, mec=style.ink, mew=0.8)  # fmt: skip
        elif contender.lr is None:
            axes.text(0.5, n, tr("diverged"), ha="center", va="center",
                      transform=axes.get_yaxis_transform())  # fmt: skip
    _cells(axes, found.contenders)


def _cells(axes: Any, contenders: list[Contender]) -> None:
    axes.set_yticks(range(len(contenders)), [c.title[:24] for c in contenders])
    axes.set_ylim(len(contenders) - 0.5, -0.5)
    axes.set_axisbelow(True)
    axes.grid(axis="x", alpha=0.6, lw=0.5)


def _tuning(axes: Any, found: Comparison, many: float, style: Style) -> None:
    for n, contender in enumerate(found.contenders):
        colour, mark = COLOURS[n % 8], MARKS[n % 8]
        good = sorted(
            (row["key"]["lr"], abs(many * row["score"][0]))
            for row in contender.tries
            if row["stop"] == "done"
        )
        if not good:
            continue
        rates, scores = zip(*good, strict=True)
        axes.plot(
            rates, scores, color=colour, marker=mark, ms=5, lw=1.5, label=contender.title[:24]
        )
        best = rates.index(contender.lr)
        axes.plot(rates[best], scores[best], mark, color=colour, ms=9, mec=style.ink, mew=1.2)
    every = sorted({row["key"]["lr"] for c in found.contenders for row in c.tries})
    axes.set_xscale("log")
    axes.set_xticks(every, [f"{rate:g}" for rate in every])
    axes.set_xticks([], minor=True)
    axes.set(xlabel=tr("learning rate (the chosen one is large)"), ylabel=named(found))
    axes.set_title(tr("tuning, on validation"))
    axes.grid(alpha=0.6, lw=0.5)
    axes.legend(loc="best")


def _memory(axes: Any, found: Comparison, style: Style) -> None:
    axes.set_title(tr("memory that training needs"))
    if all(c.bytes is None for c in found.contenders):
        note(axes, tr("not measured"))
        return
    unit, name = scale(found)
    for n, contender in enumerate(found.contenders):
        size = (contender.bytes or 0) / unit
        axes.barh(n, size, 0.55, color=COLOURS[n % 8], hatch=("", "///", "...", "xxx")[n % 4],
                  edgecolor=style.paper)  # fmt: skip
        words = tr("{count} parameters", count=f"{contender.parameters:,}")
        axes.annotate(words, (size, n), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlabel(tr("{unit}, at its peak", unit=name))
    _cells(axes, found.contenders)
    axes.set_xlim(0, 1.45 * axes.dataLim.x1)


def named(found: Comparison) -> str:
    """The figure that cells are compared by, in words."""
    words = {
        "accuracy": tr("accuracy, %"),
        "micro_f1": tr("micro F1, %"),
        "f1": tr("F1, %"),
        "rmse": tr("RMSE"),
        "loss": tr("loss"),
    }
    return words.get(found.metric, found.metric.replace("_", " ") + ", %" * found.percent)
