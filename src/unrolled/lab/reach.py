"""A layer's trace comes in; how far its gradients reach goes out, beside what theory says.

Measured is the exact product of the Jacobians of all steps. Theory has two short forms of it: the
spectral radius to the power of the distance, and the product of the gates that keep.
"""

from dataclasses import dataclass

import numpy as np
import torch

from unrolled.inspect import LayerTrace, lyapunov
from unrolled.inspect.flows import SURVIVES, backwards
from unrolled.inspect.memory import keeps

SAMPLED = 8  # steps whose spectral radius is looked at
LEAST = 1e-300


@dataclass(frozen=True)
class Reach:
    """How far gradients reach back in one layer; all arrays are over the distance k = 0, 1, ….

    Args:
        gain: the size of ∂h_T/∂(states after step T-k): the root mean square of its singular
            values, so that a matrix that neither grows nor shrinks anything has 1.
        gates: the root mean square over units of the product of what each of the last k steps
            keeps, ∂s'/∂s beside U; None in a cell that has no such way.
        radius: the spectral radius of one step's Jacobian, the geometric mean over steps.
        exponent: the leading Lyapunov exponent, nats a step.
    """

    gain: np.ndarray
    gates: np.ndarray | None
    radius: float
    exponent: float

    @property
    def rate(self) -> float:
        """What a step back multiplies by: the slope of the gain's logarithm, from k = 1 on."""
        fine = np.isfinite(self.gain) & (self.gain > 1e-37)
        places = np.flatnonzero(fine)[1:]
        if len(places) < 2:
            return self.radius
        return float(np.exp(np.polyfit(places, np.log(self.gain[places]), 1)[0]))

    @property
    def horizon(self) -> int | None:
        """Steps after which less than 1 % is left of the largest before; None where more is."""
        below = np.flatnonzero(self.gain < SURVIVES * np.maximum.accumulate(self.gain))
        return int(below[0]) if len(below) else None


def reach(layer: LayerTrace, sequences: int = 4) -> Reach:
    """How far gradients reach, the geometric mean over the first sequences of the batch.

    Example:
        >>> from unrolled import Recurrent
        >>> from unrolled.inspect import trace
        >>> seen = trace(Recurrent("mingru", 3, 4), torch.randn(2, 30, 3), loss=None)
        >>> found = reach(seen["l0"])
        >>> bool(np.allclose(found.gain, found.gates, rtol=1e-4))  # its gate is all there is
        True
    """
    count = min(sequences, len(layer.one.ends()))
    some = range(count)
    kept = [_gates(layer, b) for b in some]
    gates = None if any(k is None for k in kept) else _mean([k for k in kept if k is not None])
    radii = [_radius(layer, b) for b in some]
    return Reach(
        _mean([_gain(layer, b) for b in some]),
        gates,
        float(np.exp(np.mean(np.log(np.maximum(radii, LEAST))))),
        float(np.mean([lyapunov(layer, 1, b)[0] for b in some])),
    )


def _mean(curves: list[np.ndarray]) -> np.ndarray:
    """Over the sequences that are that long, of logarithms."""
    longest = max(map(len, curves))
    logs = np.full((len(curves), longest), np.nan)
    for row, curve in zip(logs, curves, strict=True):
        row[: len(curve)] = np.log(np.maximum(curve, LEAST))
    return np.exp(np.nanmean(logs, 0))


def _gain(layer: LayerTrace, b: int) -> np.ndarray:
    one = layer.one.only(b)
    first = one.traced.states[0]
    like = one.before(first)
    width = like.shape[-1]
    seeds = {s: like.new_zeros(width, one.before(s).shape[-1]) for s in one.traced.states}
    seeds[first] = torch.eye(width, dtype=like.dtype)
    found = np.ones(one.steps + 1)

    def measure(t: int, values: dict[str, np.ndarray]) -> None:
        whole = sum(float((v.astype(np.float64) ** 2).sum()) for v in values.values())
        found[one.steps - t] = np.sqrt(whole / width)

    backwards(one, seeds, measure)
    return found


def _gates(layer: LayerTrace, b: int) -> np.ndarray | None:
    ways = keeps(layer)
    if not ways:
        return None
    end = int(layer.one.ends()[b])
    found = []
    for way in ways.values():
        logs = way[:end, b].double().abs().clamp(min=LEAST).log().flip(0).numpy()
        products = np.concatenate([np.zeros((1, logs.shape[1])), logs.cumsum(0)])
        found.append(2 * products)
    squares = np.exp(np.concatenate(found, 1))
    return np.sqrt(squares.mean(1))


def _radius(layer: LayerTrace, b: int) -> float:
    one = layer.one.only(b)
    steps = np.unique(np.linspace(0, one.steps - 1, SAMPLED).astype(int))
    logs = [np.log(max(_step_radius(one, int(t)), LEAST)) for t in steps]
    return float(np.exp(np.mean(logs)))


def _step_radius(one, t: int) -> float:
    """The largest modulus of an eigenvalue of ∂(states after)/∂(states before) of one step."""
    part = one.span(t, t + 1)
    widths = {s: one.before(s).shape[-1] for s in one.traced.states}
    whole = sum(widths.values())
    eye = torch.eye(whole, dtype=one.before(one.traced.states[0]).dtype)
    seeds = dict(zip(widths, eye.split(list(widths.values()), 1), strict=True))
    found: list[np.ndarray] = []

    def keep(_: int, values: dict[str, np.ndarray]) -> None:
        found.append(np.concatenate([values[s] for s in widths], -1).astype(np.float64))

    backwards(part, seeds, keep)
    matrix = found[-1]
    return float(np.abs(np.linalg.eigvals(matrix)).max()) if np.isfinite(matrix).all() else np.inf
