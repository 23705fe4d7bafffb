"""A layer's trace comes in; how far gradients reach through its steps goes out, with a verdict.

Everything here is exact: the derivative of the cell at the values that were recorded, step by step.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..messages import tr
from .adjoint import Adjoint
from .record import Pass
from .traces import LayerTrace

SURVIVES = 0.01  # a gradient below this share of where it came from teaches nothing
GROWS = 100.0
SEGMENT = 2**24  # values of a Jacobian that are held at a time


@dataclass(frozen=True)
class Flow:
    """How a gradient fares on its way back through one layer.

    Args:
        title: the layer.
        norms: state → ‖∂L/∂(state after step t)‖, (B, T) in the input's time.
        carried: ‖∂L/∂(all states after step t)‖ of what arrives at the last step alone, by
            distance from it, (T) or as far as a sequence with such a gradient goes: the geometric
            mean over those that are that long.
        rate: what a step back multiplies `carried` by.
        ratio: carried at the first step over that at the last.
        horizon: steps after which less than 1 % of it is left; None where more survives.
        verdict: `vanishing`, `healthy` or `exploding`.
        keeps: whether the cell has a way from a state to itself that no product lies on.
    """

    title: str
    norms: dict[str, np.ndarray]
    carried: np.ndarray
    rate: float
    ratio: float
    horizon: int | None
    verdict: str
    keeps: bool

    def said(self) -> str:
        """The verdict in words, with its rate and how far credit reaches."""
        if len(self.carried) < 2:
            return tr("{layer}: one step; there is no way back through time", layer=self.title)
        words = {
            "vanishing": tr("gradients vanish"),
            "healthy": tr("gradients reach the first step"),
            "exploding": tr("gradients explode"),
        }
        reach = (
            tr("more than 1 % survives all {steps} steps", steps=len(self.carried))
            if self.horizon is None
            else tr("less than 1 % is left after {steps} steps", steps=self.horizon)
        )
        return tr(
            "{layer}: {verdict}; each step back multiplies by {rate}, from the last step to the "
            "first by {ratio}; {reach}",
            layer=self.title,
            verdict=words[self.verdict],
            rate=f"{self.rate:.4g}",
            ratio=f"{self.ratio:.3g}",
            reach=reach,
        )

    def advice(self, *, once: bool = True) -> list[str]:
        """What to try, the likeliest first; nothing where all is well.

        Args:
            once: whether the network answers once, and so could read more outputs than it does.
        """
        if self.verdict == "exploding":
            return [
                tr("Clip gradients: `--set clip=1`."),
                tr("Lower the learning rate, or warm up longer."),
                tr("Start U orthogonal, whose powers neither grow nor shrink."),
            ]
        if self.verdict == "healthy":
            return []
        own = (
            tr("Let the cell keep more at the start: a higher bias of the gate that keeps.")
            if self.keeps
            else tr("Take a cell that keeps its state beside U: lstm, gru, mingru.")
        )
        more = [tr("Read outputs of all steps: `--pooling mean` or `attention`.")] if once else []
        return [
            own,
            *more,
            tr("Shorten the sequence, or feed it in larger pieces (rows, not pixels)."),
            tr("Start U orthogonal, whose powers neither grow nor shrink."),
        ]


def flow(layer: LayerTrace) -> Flow:
    """How far gradients reach in one layer and direction.

    Raises:
        UsageError: the trace has no loss.

    Example:
        >>> from unrolled.inspect import trace
        >>> from unrolled.layers import Recurrent
        >>> seen = trace(Recurrent("rnn", 3, 4), torch.randn(1, 50, 3))
        >>> flow(seen["l0"]).verdict
        'vanishing'
    """
    gradients = {s: layer.gradient(s).astype(np.float64) for s in layer.traced.states}
    norms = {s: np.linalg.norm(v, axis=-1) for s, v in gradients.items()}
    carried = carry(layer)
    rate, ratio = _rate(carried), _ratio(carried)
    most = np.maximum.accumulate(carried)
    below = np.flatnonzero(carried < SURVIVES * most)
    horizon = int(below[0]) if len(below) else None
    # A float that overflowed is no number any more: it grew beyond all others.
    grown = not np.isfinite(carried).all() or ratio > GROWS
    verdict = "exploding" if grown else "vanishing" if horizon is not None else "healthy"
    from .memory import keeps

    return Flow(layer.title, norms, carried, rate, ratio, horizon, verdict, bool(keeps(layer)))


def carry(layer: LayerTrace) -> np.ndarray:
    """What is left, at each distance from the end, of the gradient that arrives at the end alone.

    The geometric mean over the sequences at whose end one arrives: a sure and right answer's is 0
    by rounding, which says nothing of its way back.

    Raises:
        UsageError: the trace has no loss.
    """
    if layer.direct is None:
        raise UsageError("a gradient", expected="a trace with a loss", got="one without")
    one, ends = layer.one, layer.one.ends()
    some = (ends > 0).nonzero().squeeze(1)
    last = {}
    for name, value in layer.direct.items():
        last[name] = torch.zeros_like(value)
        last[name][ends[some] - 1, some] = value[ends[some] - 1, some]
    found = layer.way.run(last)
    every = torch.cat([v[1:].double() for v in found.values()], -1)
    most = every.abs().amax(-1, keepdim=True)  # squares of the smallest numbers are none any more
    joint = (every / most.clamp(min=1e-300)).norm(dim=-1) * most.squeeze(-1)
    told = [b for b in some.tolist() if joint[ends[b] - 1, b] != 0]
    if not told:
        return np.zeros(one.steps)
    logs = torch.full((int(ends[told].max()), len(ends)), float("nan"), dtype=torch.float64)
    for b in told:
        length = int(ends[b])
        logs[:length, b] = joint[:length, b].flip(0).log()
    return torch.nanmean(logs, 1).exp().numpy()


def _rate(carried: np.ndarray) -> float:
    """The slope of a straight line through the logarithms, as a factor."""
    fine = np.isfinite(carried) & (carried > 1e-37)
    distance = np.flatnonzero(fine)
    if len(distance) < 2:
        if len(carried) < 2:
            return 1.0
        return 0.0 if np.isfinite(carried).all() else math.inf
    logs = np.log(carried[distance])
    return float(math.exp(np.polyfit(distance, logs, 1)[0]))


def _ratio(carried: np.ndarray) -> float:
    return float(carried[-1] / carried[0]) if carried[0] > 0 else 0.0


def backwards(
    one: Pass, seeds: Mapping[str, Tensor], act: Callable[[int, dict[str, np.ndarray]], None]
) -> None:
    """Multiply row vectors by the Jacobian of each step of a sequence, from the last to the first.

    Args:
        one: a call of one sequence.
        seeds: state → (R, width), derivatives by the states after the last step.
        act: called with t and state → (R, width), derivatives by the states after t steps, for
            t = T-1 … 0; what it writes there is what goes on.
    """
    rows = next(iter(seeds.values())).shape[0]
    width = sum(one.before(s).shape[-1] for s in one.traced.states)
    size = max(1, min(one.steps, SEGMENT // max(1, rows * width)))
    now = {s: v.clone() for s, v in seeds.items()}
    for stop in range(one.steps, 0, -size):
        start = max(0, stop - size)
        part = one.span(start, stop)
        direct = {}
        for s, value in now.items():
            direct[s] = value.new_zeros(stop - start, *value.shape)
            direct[s][-1] = value

        def passed(t, values, start=start):
            act(start + t, values)

        found = Adjoint(part).run(direct, passed)
        now = {s: v[0] for s, v in found.items()}


def jacobians(layer: LayerTrace, b: int = 0) -> np.ndarray:
    """∂(h after the last step)/∂(all states after t steps), t = 0 … T: (T + 1, H, states side by
    side), of one sequence, h the layer's output, in the order in which the steps ran.

    Example:
        >>> from unrolled.inspect import trace
        >>> from unrolled.layers import Recurrent
        >>> seen = trace(Recurrent("lstm", 3, 4), torch.randn(1, 6, 3))
        >>> jacobians(seen["l0"]).shape
        (7, 4, 8)
    """
    one = layer.one.only(b)
    widths = {s: one.before(s).shape[-1] for s in one.traced.states}
    first = one.traced.states[0]
    like = one.before(first)
    eye = torch.eye(widths[first], dtype=like.dtype)
    seeds = {s: like.new_zeros(widths[first], w) for s, w in widths.items()}
    seeds[first] = eye
    found = np.zeros((one.steps + 1, widths[first], sum(widths.values())), eye.numpy().dtype)
    found[-1, :, : widths[first]] = eye.numpy()

    def keep(t: int, values: dict[str, np.ndarray]) -> None:
        found[t] = np.concatenate(list(values.values()), -1)

    backwards(one, seeds, keep)
    return found


def gains(layer: LayerTrace, b: int = 0, rows: int = 0) -> np.ndarray:
    """The root mean square of the singular values of ∂h_T/∂h_t, for t = 0 … T, of one sequence.

    Args:
        layer: one layer and direction.
        b: which sequence.
        rows: that many random directions instead of all units; 0 is all, and exact.
    """
    one = layer.one.only(b)
    first = one.traced.states[0]
    like = one.before(first)
    width = like.shape[-1]
    if rows and rows < width:
        generator = torch.Generator().manual_seed(0)
        eye = torch.randn(rows, width, generator=generator).to(like.dtype)
        eye /= eye.norm(dim=1, keepdim=True)
        spread = width / rows
    else:
        eye, spread = torch.eye(width, dtype=like.dtype), 1.0
    seeds = {s: like.new_zeros(len(eye), one.before(s).shape[-1]) for s in one.traced.states}
    seeds[first] = eye
    found = np.ones(one.steps + 1)

    def measure(t: int, values: dict[str, np.ndarray]) -> None:
        found[t] = math.sqrt(spread * float((values[first].astype(np.float64) ** 2).sum()) / width)

    backwards(one, seeds, measure)
    return found


def lyapunov(layer: LayerTrace, count: int = 4, b: int = 0) -> np.ndarray:
    """The leading Lyapunov exponents along one sequence, largest first, in nats a step.

    Row vectors go back through the Jacobians and are made orthogonal again at each step (Benettin
    and others 1980; for recurrent networks Vogt and others 2022, doi:10.3389/fams.2022.818799);
    the first tenth of the steps, in which they turn to where they belong, is left out.

    Example:
        >>> from unrolled.inspect import trace
        >>> from unrolled.layers import Recurrent
        >>> seen = trace(Recurrent("rnn", 3, 4), torch.randn(1, 60, 3))
        >>> bool(lyapunov(seen["l0"], 1)[0] < 0)
        True
    """
    one = layer.one.only(b)
    widths = {s: one.before(s).shape[-1] for s in one.traced.states}
    whole = sum(widths.values())
    count = min(count, whole)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(whole, count, generator=generator, dtype=torch.float64)
    first = torch.linalg.qr(start)[0].T.to(one.before(one.traced.states[0]).dtype)
    seeds = dict(zip(widths, first.split(list(widths.values()), 1), strict=True))
    steps, skip = one.steps, one.steps // 10
    sums, seen = np.zeros(count), 0
    places = np.cumsum([0, *widths.values()])

    def turn(t: int, values: dict[str, np.ndarray]) -> None:
        nonlocal seen
        matrix = np.concatenate([values[s] for s in widths], -1).T.astype(np.float64)
        q, r = np.linalg.qr(matrix)
        if steps - t > skip:
            seen += 1
            with np.errstate(divide="ignore"):  # a step that forgets all has the exponent -inf
                sums[:] += np.log(np.abs(np.diag(r)))
        for n, s in enumerate(widths):
            values[s][...] = q.T[:, places[n] : places[n + 1]]

    backwards(one, seeds, turn)
    return np.sort(sums / max(seen, 1))[::-1]


def table(flows: list[Flow]) -> list[dict[str, Any]]:
    """Flows as rows of plain numbers; what has none any more, as after an overflow, is None."""
    return [
        {
            "layer": f.title,
            "verdict": f.verdict,
            "rate": _finite(f.rate),
            "ratio": _finite(f.ratio),
            "horizon": f.horizon,
            "steps": len(f.carried),
        }
        for f in flows
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
