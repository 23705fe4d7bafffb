"""What `gradients` found comes in; a picture of measured curves beside theory's lines goes out."""

from typing import Any

import numpy as np

from unrolled.inspect.flows import SURVIVES
from unrolled.inspect.pictures.style import COLOURS, MARKS, Style, figure, logarithmic
from unrolled.messages import tr

from .reaching import PHASES, Gradients

FLOOR = 1e-12  # below it nothing is left that a float32 beside 1 could add up


def picture(found: Gradients, style: Style) -> Any:
    """How much is left by distance, in each phase; below, the network that explodes."""
    from matplotlib.lines import Line2D

    phases = [p for p in PHASES if any(r["key"]["phase"] == p for r in found.rows)]
    drawn = figure(9.5, 7.4 if found.clips else 4.2)
    grid = drawn.subplots(2 if found.clips else 1, 2, squeeze=False)
    upper = grid[0]
    if len(phases) == 1:
        upper[1].set_axis_off()
    words = {"start": tr("at the start"), "trained": tr("after training")}
    names = list(dict.fromkeys(row["key"]["cell"] for row in found.rows))
    for axes, phase in zip(upper, phases, strict=False):
        for row in found.rows:
            if row["key"]["phase"] == phase:
                _curve(axes, row, names.index(row["key"]["cell"]))
        axes.axhline(SURVIVES, color=style.ink, lw=0.8, ls=(0, (1, 3)))
        axes.set_title(words[phase])
        axes.set_xlabel(tr("distance k back from the end, steps"))
        axes.grid(alpha=0.6, lw=0.5)
    low, high = _limits(found)
    longest = max(len(row["gain"]) - 1 for row in found.rows)
    for axes in upper[: len(phases)]:
        axes.set_ylim(low, high)
        axes.set_xlim(-0.02 * longest, 1.02 * longest)
        logarithmic(axes)
    upper[0].set_ylabel(tr("size of ∂h(T)/∂state(T−k)"))
    handles = [
        Line2D([], [], color=COLOURS[n % 8], marker=MARKS[n % 8], ms=5, label=name[:24])
        for n, name in enumerate(names)
    ]
    lines = (
        (tr("theory: (spectral radius) to the power k"), "--", 1.2),
        (tr("theory: product of the gates"), ":", 1.6),
        (tr("1 %: credit is lost"), (0, (1, 3)), 0.8),
    )
    handles += [
        Line2D([], [], color=style.ink, label=what, ls=dashes, lw=width)
        for what, dashes, width in lines
    ]
    if found.clips:
        _clips(grid[1], found, style)
    drawn.legend(handles=handles, loc="outside upper center", ncols=4)
    return drawn


def _curve(axes: Any, row: dict[str, Any], place: int) -> None:
    colour, mark = COLOURS[place % 8], MARKS[place % 8]
    gain = np.array(row["gain"])
    ks = np.arange(len(gain))
    every = max(1, len(ks) // 9)
    axes.plot(ks, _seen(gain), color=colour, marker=mark, ms=5, lw=1.7,
              markevery=(place % every, every))  # fmt: skip
    axes.plot(ks, _seen(row["radius"] ** ks), color=colour, ls="--", lw=1.2)
    if row["gates"] is not None:
        axes.plot(ks, _seen(np.array(row["gates"])), color=colour, ls=":", lw=1.6)


def _seen(values: np.ndarray) -> np.ndarray:
    """What has a place on the axis; a line goes on to one value below it, and ends."""
    below = np.flatnonzero(values < FLOOR / 100)
    values = values.astype(float).copy()
    if len(below):
        values[below[0] + 1 :] = np.nan
        values[below[0]] = max(values[below[0]], FLOOR / 1e6)
    return values


def _limits(found: Gradients) -> tuple[float, float]:
    whole = np.concatenate([row["gain"] for row in found.rows])
    fine = whole[np.isfinite(whole) & (whole > 0)]
    low = max(FLOOR, min(fine.min() / 3, 1e-3))
    return low, min(1e12, max(10.0, 3 * fine.max()))


def _clips(axes: Any, found: Gradients, style: Style) -> None:
    left, right = axes
    for n, row in enumerate(found.clips):
        key = row["key"]
        lost = row["stop"] == "diverged"
        how = tr("clipped at {clip}", clip=f"{key['clip']:g}") if key["clip"] else tr("not clipped")
        label = tr("{how}: diverged at update {update}", how=how, update=len(row["losses"]) + 1)
        label = label if lost else how
        look = {"color": COLOURS[(5, 0)[n]], "lw": 1.3, "marker": "X" if lost else "",
                "ms": 9, "label": label}  # fmt: skip
        updates = np.arange(1, len(row["norms"]) + 1)
        left.plot(updates, row["norms"], **look)
        right.plot(updates, row["losses"], **look)
    if found.clips[1]["key"]["clip"]:
        left.axhline(found.clips[1]["key"]["clip"], color=style.ink, lw=0.9, ls=":")
    key = found.clips[0]["key"]
    left.set_title(
        tr("{cell}, U = {rho} times the identity", cell=key["cell"], rho=f"{key['rho']:g}")
    )
    left.set_ylabel(tr("norm of the gradient, before clipping"))
    right.set_title(tr("the same network's loss"))
    right.set_ylabel(tr("loss"))
    for one in axes:
        one.set_xlabel(tr("update"))
        one.grid(alpha=0.6, lw=0.5)
        logarithmic(one)
        one.legend(loc="upper right")
