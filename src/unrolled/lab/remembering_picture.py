"""What `memory` found comes in; a picture of which cell remembers how far goes out."""

from statistics import median
from typing import Any

from unrolled.inspect.pictures.style import COLOURS, MARKS, Style, figure, logarithmic
from unrolled.messages import tr

from . import budget
from .remembering import Memory, lengths

LEAST = 1e-4  # an error of 0 has no place on a logarithmic axis


def picture(found: Memory, style: Style) -> Any:
    """A row a test: the error by T at equal updates, and at equal time; the network is the same."""
    plan = found.plan
    drawn = figure(9.5, 0.7 + 3.0 * len(plan.tasks))
    grid = drawn.subplots(len(plan.tasks), 2, squeeze=False, sharey="row")
    for task, (left, right) in zip(plan.tasks, grid, strict=True):
        row = next(r for r in found.rows if r["key"]["task"] == task)
        for axes, limit in ((left, "updates"), (right, "seconds")):
            _panel(axes, found, task, limit, row, style)
        words = {
            "adding": tr("mean squared error"),
            "copy": tr("share of symbols that are wrong"),
            "parity": tr("share of wrong answers"),
            "pixels": tr("share of wrong answers"),
        }
        left.set_ylabel(words[task])
        left.set_title(
            tr("{task}: after {updates} updates", task=task, updates=f"{plan.updates:,}")
        )
        right.set_title(tr("{task}: after {seconds} s", task=task, seconds=f"{plan.seconds:g}"))
    handles, names = grid[0][0].get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside lower center", ncols=min(6, len(names)))
    return drawn


def _panel(axes: Any, found: Memory, task: str, limit: str, row: Any, style: Style) -> None:
    tried = lengths(found.plan, task)
    drawn = []
    for n, cell in enumerate(map(budget.title, found.plan.cells)):
        values = {steps: found.at(task, cell, steps, limit) for steps in tried}
        places = [steps for steps in tried if values[steps]]
        rows = [[max(v, LEAST) for v in values[steps]] for steps in places]
        drawn += rows
        colour, mark = COLOURS[n % 8], MARKS[n % 8]
        axes.plot(places, [median(v) for v in rows], color=colour, marker=mark, ms=6, lw=1.6,
                  label=cell)  # fmt: skip
        for place, errors in zip(places, rows, strict=True):
            if len(errors) > 1:
                axes.plot([place] * 2, [min(errors), max(errors)], color=colour, lw=1.0)
            if median(errors) >= row["bar"]:  # hollow: it did not solve this length
                axes.plot(
                    place, median(errors), mark, color=colour, mfc=style.paper, ms=6, zorder=3
                )
    axes.axhline(row["baseline"], color=style.ink, lw=0.9, ls="--", label=tr("without memory"))
    axes.axhline(
        row["bar"], color=style.ink, lw=0.9, ls=":", label=tr("solved below it (filled marks)")
    )
    axes.set_xscale("log")
    axes.set_xlim(tried[0] / 1.15, tried[-1] * 1.15)
    axes.set_xticks(tried, [str(n) for n in tried], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel(tr("length T, steps"))
    axes.grid(alpha=0.6, lw=0.5)
    low = min([row["bar"] / 4, *(min(v) / 1.3 for v in drawn)])
    axes.set_ylim(low, 2 * row["baseline"])
    logarithmic(axes)
