"""Flows, shares and truncations come in; pictures of gradients through time go out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...messages import tr
from ..bptt import Truncation
from ..flows import SURVIVES, Flow
from ..sharing import Share
from .style import COLOURS, MARKS, Style, beneath, figure, logarithmic, note, whole_steps

LEAST = 1e-30  # below it a logarithmic axis shows nothing anybody could use


def flows(found: Sequence[Flow], style: Style) -> Any:
    """‖∂L/∂state‖ at every step, and what is left of the gradient of the end by distance."""
    named = max(sum(len(f.norms) for f in found), len(found) + 1)
    drawn = figure(9.5, 3.7 + 0.2 * named)
    left, right = drawn.subplots(1, 2)
    count = 0
    for f in found:
        for s, norms in f.norms.items():
            mean = np.exp(np.log(np.maximum(norms, LEAST)).mean(0))
            if not (mean > 10 * LEAST).any():
                continue
            line, width = COLOURS[count % 8], len(mean)
            mean = np.where(mean > 10 * LEAST, mean, np.nan)
            left.plot(np.arange(1, width + 1), mean, color=line,
                      lw=1.6, marker=MARKS[count % 8], markevery=max(1, width // 8), ms=4,
                      label=f"{f.title} {s}")  # fmt: skip
            count += 1
    left.set(xlabel=tr("step"), ylabel=tr("‖∂L/∂state‖, mean over sequences"))
    left.set_title(tr("gradient of the loss by each state"))
    for n, f in enumerate(found):
        share = f.carried / f.carried[0] if f.carried[0] > 0 else f.carried
        share = np.where(np.isfinite(share) & (share > LEAST), share, np.nan)
        right.plot(np.arange(len(share)), share, color=COLOURS[n % 8], lw=1.6,
                   marker=MARKS[n % 8], markevery=max(1, len(share) // 8), ms=4,
                   label=tr("{layer}: × {rate} a step", layer=f.title, rate=f"{f.rate:.3f}"),
                   )  # fmt: skip
    right.axhline(SURVIVES, color=style.ink, lw=0.9, ls="--", label=tr("1 %: credit is lost"))
    right.set(xlabel=tr("steps back from the end"), ylabel=tr("share that is left"))
    right.set_title(tr("what arrives at the end, on its way back"))
    for axes in (left, right):
        axes.grid(alpha=0.6, lw=0.5)
        logarithmic(axes)
        whole_steps(axes)
    for axes in (left, right) if count else (right,):
        beneath(axes)
    if not count:
        note(left, tr("no gradient arrives"))
    return drawn


def parts(found: Mapping[str, Mapping[str, Share]], style: Style) -> Any:
    """Each step's part of ∂L/∂W and ∂L/∂U, which add up to 1; a row a layer."""
    rows = len(found)
    drawn = figure(9.5, 0.9 + 1.9 * rows)
    for axes, (title, shares) in zip(
        drawn.subplots(rows, 1, squeeze=False)[:, 0], found.items(), strict=True
    ):
        axes.axhline(0, color=style.ink, lw=0.8)
        for n, (key, letter) in enumerate((("x_weight", "W"), ("u_weight", "U"))):
            if key not in shares:
                continue
            values = shares[key].parts
            steps = np.arange(1, len(values) + 1)
            if len(values) <= 60:
                axes.bar(steps + (n - 0.5) * 0.4, values, 0.4, color=COLOURS[n],
                         hatch=("", "///")[n], edgecolor=style.paper, label=letter)  # fmt: skip
            else:
                axes.plot(steps, values, color=COLOURS[n], ls=("-", "--")[n], lw=1.3, label=letter)
        axes.set_title(tr("{layer}: each step's part of the gradient of its weights", layer=title))
        axes.set_ylabel(tr("part of the sum"))
        whole_steps(axes)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # where it covers nothing
    axes.set_xlabel(tr("step, in the order in which the layer ran"))
    return drawn


def truncation(found: Mapping[str, Sequence[Truncation]], style: Style) -> Any:
    """Angle and length of a gradient that was cut after k steps, against the full one."""
    drawn = figure(9.5, 3.4)
    left, right = drawn.subplots(1, 2)
    for n, (title, cuts) in enumerate(found.items()):
        look = {"color": COLOURS[n % 8], "marker": MARKS[n % 8], "ms": 4, "lw": 1.5, "label": title}
        ks = [c.k for c in cuts]
        left.plot(ks, [np.nan if c.angle is None else c.angle for c in cuts], **look)
        right.plot(ks, [c.length for c in cuts], **look)
    left.axhline(0, color=style.ink, lw=0.9, ls="--")
    right.axhline(1, color=style.ink, lw=0.9, ls="--")
    left.set(xlabel=tr("steps k before the cut"), ylabel=tr("angle to the full gradient, degrees"))
    right.set(xlabel=tr("steps k before the cut"), ylabel=tr("length over that of the full one"))
    left.set_title(tr("direction that truncation loses"))
    right.set_title(tr("length that truncation leaves"))
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.grid(alpha=0.6, lw=0.5)
        whole_steps(axes)
    handles, names = left.get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside lower center", ncols=3)
    return drawn
