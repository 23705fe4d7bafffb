"""A layer's trace comes in; what its gates do, and how long each unit remembers, goes out."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .adjoint import Values
from .traces import LayerTrace

EDGE = 0.05  # a gate nearer than this to its limit is saturated
STILL = 1e-3  # a state that moves less than this between all steps and sequences is dead
# Where a function is flat: its limits.
LIMITS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


@dataclass(frozen=True)
class Statistics:
    """How one named value was distributed over sequences, steps and units.

    Args:
        name: of the value.
        mean, std: over all of it.
        low, high: shares within 5 % of the lower and the upper limit of its function; None where
            it has none.
        stuck: units that are at a limit at every step of every sequence.
    """

    name: str
    mean: float
    std: float
    low: float | None
    high: float | None
    stuck: tuple[int, ...]


def statistics(layer: LayerTrace) -> list[Statistics]:
    """Activation and saturation of everything that a cell names.

    Example:
        >>> from unrolled.inspect import trace
        >>> from unrolled.layers import Recurrent
        >>> seen = trace(Recurrent("gru", 3, 4), torch.randn(2, 9, 3))
        >>> [s.name for s in statistics(seen["l0"])], statistics(seen["l0"])[1].high
        (['h', 'r', 'z', 'n'], 0.0)
    """
    graph = layer.traced.graph
    found = []
    for name in (*layer.traced.states, *layer.traced.observed):
        value = valid(layer, layer.values.full(graph.outputs[name]))
        limits = LIMITS.get(graph.nodes[graph.outputs[name]].op)
        low = high = None
        stuck: tuple[int, ...] = ()
        if limits is not None and len(value):
            room = EDGE * (limits[1] - limits[0])
            below, above = value < limits[0] + room, value > limits[1] - room
            low, high = float(below.double().mean()), float(above.double().mean())
            stuck = tuple((below | above).all(0).nonzero().flatten().tolist())
        wide = value.double()
        std = float(wide.std(unbiased=False)) if wide.numel() else 0.0
        mean = float(wide.mean()) if wide.numel() else 0.0
        found.append(Statistics(name, mean, std, low, high, stuck))
    return found


def valid(layer: LayerTrace, value: Tensor) -> Tensor:
    """(T, B, width) to (steps inside their sequences, width)."""
    inside = layer.one.valid()
    flat = value.flatten(0, 1)
    return flat if inside is None else flat[inside.flatten()]


def keeps(layer: LayerTrace) -> dict[str, Tensor]:
    """State → ∂s'/∂s of each unit by the way that no product lies on, (T, B, width).

    For an LSTM's c that is its forget gate, for a GRU's h its update gate. States without such a
    way, as an RNN's h, are not in it. It follows from the graph; no cell declares it.
    """
    return {s: v for s, v in _own(layer, "none").items() if bool(v.any())}


def _own(layer: LayerTrace, way: str) -> dict[str, Tensor]:
    one, found = layer.one, {}
    likes = {s: one.before(s) for s in layer.traced.states}
    names = (*layer.traced.states, *one.observed, *(layer.direct or {}))
    some = next(iter(likes.values()))
    for s, k in one.made.derived.by_state.items():
        ones = {n: torch.zeros_like(likes.get(n, some)) for n in names}
        ones[s] = torch.ones_like(likes[s])
        values = Values(one, ones, way)
        values.values |= {j: v for j, v in layer.values.values.items() if _forward(one, j)}
        value = values[k]
        if isinstance(value, Tensor):
            value = value.expand_as(likes[s]) if value.dim() < 3 else value
            found[s] = values.masked(value)
    return found


def _forward(one, k: int) -> bool:
    return k < one.made.derived.forward


@dataclass(frozen=True)
class Unit:
    """How long one unit of a state remembers.

    Args:
        state, unit: which one.
        keep: what a step leaves of it, the geometric mean over steps and sequences.
        steps: its time constant, -1 / log keep: after that many steps 1/e is left.
        dead: whether it hardly moves at all.
        spread: deviation of its value over steps and sequences.
    """

    state: str
    unit: int
    keep: float
    steps: float
    dead: bool
    spread: float


def units(layer: LayerTrace) -> list[Unit]:
    """All units, the longest memory first.

    A state that has no way to itself beside U is measured by the way from each unit to itself
    through U's diagonal.

    Example:
        >>> from unrolled.inspect import trace
        >>> from unrolled.layers import Recurrent
        >>> seen = trace(Recurrent("lstm", 3, 4), torch.randn(2, 9, 3))
        >>> best = units(seen["l0"])[0]
        >>> best.state, 0 < best.keep < 1
        ('c', True)
    """
    ways = keeps(layer) or _own(layer, "diagonal")
    found = []
    for s, way in ways.items():
        kept = valid(layer, way).double().abs()
        value = valid(layer, layer.values.full(layer.traced.graph.outputs[s])).double()
        value = value.nan_to_num(0, 0, 0)
        if not len(kept):
            continue
        means = kept.clamp(min=1e-30).log().mean(0).exp()
        spreads = value.std(0, unbiased=False)
        moves = value.amax(0) - value.amin(0)
        for j, (keep, spread, move) in enumerate(
            zip(means.tolist(), spreads.tolist(), moves.tolist(), strict=True)
        ):
            steps = math.inf if keep >= 1 else -1 / math.log(keep)
            found.append(Unit(s, j, keep, steps, move < STILL, spread))
    return sorted(found, key=lambda u: -u.keep)


def by_way(layer: LayerTrace) -> str:
    """`kept` where units keep their state beside U, `through U` where they do not."""
    return "kept" if keeps(layer) else "through U"


def saturated(layer: LayerTrace) -> dict[str, tuple[int, ...]]:
    """Gate → units that sit at a limit of it at every step."""
    return {s.name: s.stuck for s in statistics(layer) if s.stuck}


def histogram(layer: LayerTrace, name: str, bins: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Counts and edges of a value over all valid steps, sequences and units."""
    node = {**layer.traced.graph.outputs, **layer.one.made.named}[name]
    value = valid(layer, layer.values.full(node)).double().numpy()
    value = value[np.isfinite(value)]
    op = layer.traced.graph.nodes[node].op
    return np.histogram(value, bins, range=LIMITS.get(op))
