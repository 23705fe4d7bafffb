"""A layer's trace comes in; back-propagation through time, step by step, goes out: as a walk with
its numbers, and as what is lost where it is cut off after k steps.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from ..messages import tr
from .adjoint import Adjoint, Values
from .sharing import shares, together
from .traces import LayerTrace

SHOWN = 4  # units of a row of a walk


@dataclass(frozen=True)
class Truncation:
    """What is left of a gradient where the chain of steps is cut.

    Args:
        k: steps in a piece, counted from the end of the sequence; no gradient crosses a cut.
        angle: between the truncated and the full gradient of the layer's parameters, in degrees;
            None where one of them is zero.
        length: of the truncated gradient over that of the full one.
    """

    k: int
    angle: float | None
    length: float


def truncations(layer: LayerTrace, ks: Iterable[int] | None = None, b: int = 0) -> list[Truncation]:
    """What truncation at k steps loses of one sequence's gradient.

    Args:
        layer: one layer and direction, in a trace with a loss.
        ks: numbers of steps; None is 1 to T, at most 24 of them, evenly in the logarithm.
        b: which sequence.

    Raises:
        UsageError: the trace has no loss, or a k is not in 1 … T.

    Example:
        >>> from unrolled.inspect import trace
        >>> from unrolled.layers import Recurrent
        >>> seen = trace(Recurrent("gru", 3, 4), torch.randn(1, 6, 3))
        >>> [(t.k, round(t.length, 3)) for t in truncations(seen["l0"])][-1]
        (6, 1.0)
    """
    if layer.direct is None:
        raise UsageError("a gradient", expected="a trace with a loss", got="one without")
    one = layer.one.only(b)
    steps = one.steps
    alone = {s: v[:steps, b : b + 1] for s, v in layer.direct.items()}
    part = LayerTrace(one, alone)
    way = Adjoint(one, part.values)
    chosen = _spread(steps) if ks is None else list(ks)
    if bad := [k for k in chosen if not 1 <= k <= steps]:
        raise UsageError("k", expected=f"1 to T={steps}", got=bad[0])
    full = _flat(part, _arriving(way, alone, steps))
    found = []
    for k in chosen:
        cut = _flat(part, _arriving(way, alone, k))
        lengths = float(cut.norm()), float(full.norm())
        angle = None
        if all(lengths):
            cosine = float((cut / lengths[0]) @ (full / lengths[1]))
            angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        found.append(Truncation(k, angle, lengths[0] / lengths[1] if lengths[1] else 0.0))
    return found


def _spread(steps: int) -> list[int]:
    if steps <= 24:
        return list(range(1, steps + 1))
    return sorted({round(k) for k in np.geomspace(1, steps, 24)})


def _arriving(way: Adjoint, direct: dict[str, torch.Tensor], k: int) -> dict[str, torch.Tensor]:
    """∂L/∂(state after each step) where nothing crosses the cuts at T-k, T-2k, …."""
    steps = way.one.steps

    def cut(t: int, values: dict[str, np.ndarray]) -> None:
        if t and (steps - t) % k == 0:
            for s, value in values.items():
                value[...] = direct[s][t - 1].numpy() if s in direct else 0

    return {s: v[1:] for s, v in way.run(direct, cut).items()}


def _flat(layer: LayerTrace, arriving: dict[str, torch.Tensor]) -> torch.Tensor:
    values = Values(layer.one, {**(layer.direct or {}), **arriving})
    values.values |= layer.values.values
    return torch.cat([s.total.double().flatten() for s in shares(layer, values).values()])


def walk(layer: LayerTrace, b: int = 0) -> list[dict[str, Any]]:
    """Forward through the steps of one sequence, then back, with the numbers: a row each.

    Returns:
        Rows with `way` ("forward" or "backward"), `step` (of the input, from 1), and by name what
        was computed; going back what arrives at each state from the loss and the layers above
        (`direct h`), all that arrives (`d_h`), what arrives at each gate (`d_x.f`), and `share`,
        the step's part of the gradient of the layer's weights (the parts add up to 1).

    Raises:
        UsageError: the trace has no loss.

    Example:
        >>> from unrolled.inspect import trace
        >>> from unrolled.layers import Recurrent
        >>> seen = trace(Recurrent("rnn", 2, 3), torch.randn(1, 2, 2))
        >>> [(row["way"], row["step"]) for row in walk(seen["l0"])]
        [('forward', 1), ('forward', 2), ('backward', 2), ('backward', 1)]
    """
    if layer.direct is None:
        raise UsageError("a gradient", expected="a trace with a loss", got="one without")
    one = layer.one.only(b)
    steps = one.steps
    direct = {s: v[:steps, b : b + 1] for s, v in layer.direct.items()}
    part = LayerTrace(one, direct)
    order = list(range(steps, 0, -1)) if one.direction else list(range(1, steps + 1))
    forward: dict[str, np.ndarray] = {"x": part.values.input()[:, 0].numpy()}
    for name in (*part.traced.observed, *part.traced.states):
        forward[name] = part.values.full(part.traced.graph.outputs[name])[:, 0].numpy()
    back: dict[str, np.ndarray] = {}
    for s in part.traced.states:
        if s in direct:
            back[f"direct {s}"] = direct[s][:, 0].numpy()
        back[f"d_{s}"] = part.adjoint[s][:, 0].numpy()
    for gate, k in part.derivatives.derived.by_x.items():
        back[f"d_x.{gate}"] = part.derivatives.full(k)[:, 0].numpy()
    parts = together(shares(part))
    rows: list[dict[str, Any]] = [
        {"way": "forward", "step": order[t], **{k: v[t] for k, v in forward.items()}}
        for t in range(steps)
    ]
    for t in reversed(range(steps)):
        values = {k: v[t] for k, v in back.items()}
        rows.append({"way": "backward", "step": order[t], **values, "share": float(parts[t])})
    return rows


def walk_text(rows: list[dict[str, Any]], most: int = 12) -> str:
    """A walk as a table for a terminal, of the first units, steps in the middle left out.

    Args:
        rows: as `walk` gives them.
        most: steps that are shown each way.
    """
    lines: list[str] = []
    for way, title in (("forward", tr("forward")), ("backward", tr("backward"))):
        mine = [row for row in rows if row["way"] == way]
        lines += ["", title] if lines else [title]
        names = [k for k in mine[0] if k not in ("way", "step")]
        width = max(len(n) for n in names)
        for n, row in enumerate(mine):
            if len(mine) > most and most // 2 <= n < len(mine) - most // 2:
                if n == most // 2:
                    lines.append(f"  … {tr('{count} steps', count=len(mine) - 2 * (most // 2))} …")
                continue
            lines.append(f"  {tr('step {step}', step=row['step'])}")
            lines += [f"    {name:<{width}}  {_numbers(row[name])}" for name in names]
    return "\n".join(lines)


def _numbers(value: Any) -> str:
    values = np.atleast_1d(value)
    shown = " ".join(f"{v:>10.4g}" for v in values[:SHOWN])
    if len(values) <= SHOWN:
        return shown
    return f"{shown}  … ‖{np.linalg.norm(values):.4g}‖"
