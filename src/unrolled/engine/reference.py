"""The meaning of a cell: its graph, evaluated step by step in PyTorch, with PyTorch's gradients.

Every other backend is held against this one. Padded steps change no state and no gradient.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .call import Answer, Call, Params
from .primitives import CUTS, LEAVES
from .trace import Namespace
from .traced import Traced
from .values import compute

EPSILON = 1e-5  # of normalisations, as torch.nn.LayerNorm's


class Products:
    """The operands of a step: slices of W x, and U v for all gates that share v, computed once."""

    def __init__(self, traced: Traced, params: Params, units: int):
        self.traced, self.params, self.units = traced, params, units
        self._rows: dict[tuple[str, ...], tuple[Tensor, Tensor | None]] = {}
        shared: dict[int, list[str]] = {}
        for node in traced.graph.nodes:
            if node.op == "u":
                shared.setdefault(node.args[0], []).append(str(node.attr))
        # A gate that multiplies two different values belongs to each of their groups.
        self.groups = {k: tuple(v) for k, v in shared.items()}

    def of_x(self, x: Tensor) -> Tensor | None:
        """(…, K) → (…, Gx·H), for all steps at once."""
        p = self.params
        return None if p.x_weight is None else F.linear(x, p.x_weight, p.x_bias)

    def of_u(self, group: tuple[str, ...], v: Tensor) -> dict[str, Tensor]:
        """(B, H or P) → gate → (B, H), for the gates of a group."""
        if group not in self._rows:
            self._rows[group] = self._select(group)
        weight, bias = self._rows[group]
        return dict(zip(group, F.linear(v, weight, bias).chunk(len(group), -1), strict=True))

    def _select(self, group):
        weight, bias, order = self.params.u_weight, self.params.u_bias, self.traced.u_gates
        assert weight is not None  # a graph with `u` nodes comes with their rows
        if group == order:
            return weight, bias
        blocks = [order.index(g) for g in group]
        grid = weight.view(len(order), self.units, -1)[blocks].flatten(0, 1)
        return grid, None if bias is None else bias.view(len(order), self.units)[blocks].flatten()

    def norm(self, name: str, v: Tensor) -> Tensor:
        gain, bias = self.params.norms[name]
        return F.layer_norm(v, v.shape[-1:], gain, bias, EPSILON)


def evaluate(
    products: Products,
    xw: Tensor | None,
    states: Mapping[str, Tensor],
    noises: Mapping[str, Tensor],
    masks: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """One step of the graph: every named result, (B, width); `masks` in place of the params'."""
    traced, params = products.traced, products.params
    gates = _split(traced, xw)
    leaves: dict[str, Mapping] = {
        "x": gates,
        "state": states,
        "weight": params.weights,
        "mask": params.masks if masks is None else masks,
        "noise": noises,
    }
    values: list = []
    multiplied: dict[int, dict[str, Tensor]] = {}
    for node in traced.graph.nodes:
        name = str(node.attr)
        if node.op == "const":
            value: Any = node.attr
        elif node.op in LEAVES:
            value = leaves[node.op][name]
        elif node.op == "u":
            k = node.args[0]
            if k not in multiplied:
                multiplied[k] = products.of_u(products.groups[k], values[k])
            value = multiplied[k][name]
        elif node.op in CUTS:
            v = values[node.args[0]]
            value = products.norm(name, v) if node.op == "norm" else F.linear(v, params.projs[name])
        else:
            value = compute(node.op, *(values[a] for a in node.args))
        values.append(value)
    like = next(iter(states.values()))
    return {k: _shaped(values[v], like) for k, v in traced.graph.outputs.items()}


def _shaped(value, like: Tensor) -> Tensor:
    """A result that is a plain number, or one value a unit, is spread over the batch."""
    if not isinstance(value, Tensor):
        return torch.full_like(like, value)
    return value if value.dim() == like.dim() else value.expand(*like.shape[:-1], -1)


def _split(traced: Traced, xw: Tensor | None) -> Mapping[str, Tensor]:
    if xw is None:
        return {}
    gates = traced.x_gates
    return dict(zip(gates, xw.chunk(len(gates), -1), strict=True))


def step_on_tensors(cell, products: Products, xw: Tensor | None, states: Mapping[str, Tensor]):
    """One step by the cell's own `step`, run on tensors: what `evaluate` must equal to the bit.

    Args:
        cell: the cell, its `step` as typed.
        products: its operands.
        xw: (B, Gx·H), W x + b of this step.
        states: name → (B, width).

    Returns:
        Every named result, as the step returns it.
    """
    traced, params = products.traced, products.params
    gates, seen = _split(traced, xw), {}
    group_of = {g: group for group in products.groups.values() for g in group}

    def u(name):
        def product(v):
            key = (id(v), group_of[name])
            if key not in seen:
                seen[key] = (v, products.of_u(group_of[name], v))
            return seen[key][1][name]

        return product

    given = {
        "x": Namespace(gates.__getitem__),
        "u": Namespace(u),
        "w": Namespace(params.weights.__getitem__),
        "norm": Namespace(lambda name: lambda v: products.norm(name, v)),
        "proj": Namespace(lambda name: lambda v: F.linear(v, params.projs[name])),
        **states,
    }
    code = type(cell).step.__code__
    wanted = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    return cell.step(**{k: given[k] for k in wanted})


def run(call: Call) -> Answer:
    """The whole sequence, one step after another."""
    traced, params = call.traced, call.params
    steps, batch = call.x.shape[:2]
    products = Products(traced, params, _units(call))
    x, lengths = call.x, call.lengths
    if lengths is not None:
        times = torch.arange(steps, device=x.device).unsqueeze(1)
        padding = (times >= lengths.to(x.device)).unsqueeze(-1)
        x = x.masked_fill(padding, 0)  # it may hold anything, NaN included
    noises = params.noises  # one draw belongs to a time, whichever way the layer runs
    if call.reverse:
        x = turned(x, lengths)
        noises = {k: turned(v, lengths) for k, v in noises.items()}
    # Taken apart at once: a gradient that comes back by an index fills a sequence of zeros a step.
    xw = products.of_x(x)
    every_xw = [None] * steps if xw is None else xw.unbind(0)
    every_noise = {k: v.unbind(0) for k, v in noises.items()}
    states = dict(call.states)
    names = dict.fromkeys((traced.states[0], *call.observe))
    recorded: dict[str, list[Tensor]] = {name: [] for name in names}
    for t in range(steps):
        operands: list[Any] = [
            every_xw[t],
            states,
            {k: v[t] for k, v in every_noise.items()},
            params.masks,
        ]
        rows = None if lengths is None else _rows(lengths, t, x.device)
        if rows is None:
            results = evaluate(products, *operands)
            states = {s: results[s] for s in traced.states}
        else:
            results = evaluate(products, *(_only(rows, v) for v in operands))
            states = {s: _put(v, rows, results[s]) for s, v in states.items()}
            results = {
                k: results[k].new_zeros(batch, results[k].shape[-1]).index_copy(0, rows, results[k])
                for k in names
            }
        for name, values in recorded.items():
            values.append(results[name])

    def stacked(values):
        value = torch.stack(values)
        return turned(value, lengths) if call.reverse else value

    whole = {name: stacked(values) for name, values in recorded.items()}
    return Answer(whole[traced.states[0]], states, {name: whole[name] for name in call.observe})


def _rows(lengths: Tensor, t: int, device) -> Tensor | None:
    """The sequences that have a step t, or `None` where all do.

    The others are left out of it: a value that is thrown away may still give a gradient of NaN.
    """
    rows = (lengths > t).nonzero().squeeze(1)
    return None if len(rows) == len(lengths) else rows.to(device)


def _only(rows: Tensor, value):
    if isinstance(value, Mapping):
        return {k: v[rows] for k, v in value.items()}
    return None if value is None else value[rows]


def _put(old: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    kind = torch.promote_types(old.dtype, new.dtype)  # autocast makes them differ
    return old.to(kind).index_copy(0, rows, new.to(kind))


def _units(call: Call) -> int:
    traced, p = call.traced, call.params
    if p.x_weight is not None and traced.x_gates:
        return p.x_weight.shape[0] // len(traced.x_gates)
    if p.u_weight is not None:
        return p.u_weight.shape[0] // len(traced.u_gates)
    return call.states[traced.states[0]].shape[-1]


def turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(T, B, …) with each sequence's valid steps in the opposite order, padding left in place."""
    if lengths is None:
        return x.flip(0)
    times = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    ends = lengths.to(x.device).unsqueeze(0)
    index = torch.where(times < ends, ends - 1 - times, times)
    return x.gather(0, index.view(*index.shape, *[1] * (x.dim() - 2)).expand_as(x))
