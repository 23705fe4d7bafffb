"""Recorded values of a call come in; the derivative of a loss by any value at any step goes out.

All that does not depend on what arrives from later steps is computed for all steps at once; what is
left, a chain of products a step, runs from the last step to the first in NumPy, whose calls cost a
third of PyTorch's on values this small.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..engine.reference import EPSILON, turned
from ..engine.values import compute
from .record import Pass

BACKWARD = ("u_back", "norm_back", "proj_back")


class Values:
    """Values of a step's nodes and of its derivative's, (T, B, width), computed when asked for.

    Args:
        one: the recorded call.
        arriving: name of a result → ∂L/∂ of it at every step, (T, R, width); without it only
            forward nodes, and what the derivative needs of them, can be asked for.
        own: how a derivative goes through U: "" as it does; "none", so that only the way through
            a unit itself remains; "diagonal", from each unit to itself alone.
    """

    def __init__(self, one: Pass, arriving: Mapping[str, Tensor] | None = None, own: str = ""):
        self.one, self.arriving, self.own = one, arriving or {}, own
        self.derived = one.made.derived
        self.nodes = self.derived.nodes
        self.values: dict[int, Any] = dict(one.nodes)
        params, traced = one.call.params, one.traced
        with torch.no_grad():
            self.weights = {k: v.detach() for k, v in params.weights.items()}
        self.units = _gates(params.u_weight, traced.u_gates)
        self.biases = _gates(params.u_bias, traced.u_gates)
        self.x: dict[str, Tensor] | None = None

    @torch.no_grad()
    def __getitem__(self, k: int) -> Any:
        """A number, (width), or (T, B, width)."""
        if k not in self.values:
            self.values[k] = self._compute(k)
        return self.values[k]

    def full(self, k: int) -> Tensor:
        """The same, spread over steps and sequences, zero where padded."""
        like = self.one.nodes[self.one.traced.graph.outputs[self.one.traced.states[0]]]
        value = self[k]
        if not isinstance(value, Tensor):
            value = like.new_full(like.shape, float(value))
        value = value if value.dim() == 3 else value.expand(*like.shape[:2], -1)
        return self.masked(value)

    def masked(self, value: Tensor) -> Tensor:
        """Zero where a sequence has ended: a cell's values there mean nothing."""
        valid = self.one.valid()
        return value if valid is None else value.masked_fill(~valid, 0)

    def _compute(self, k: int) -> Any:
        node, params = self.nodes[k], self.one.call.params
        name = str(node.attr)
        if node.op == "const":
            return node.attr
        if node.op == "state":
            return self.one.before(name)
        if node.op == "weight":
            return self.weights[name]
        if node.op in ("mask", "noise"):
            return (params.masks if node.op == "mask" else params.noises)[name].detach()
        if node.op == "x":
            return self._of_x()[name]
        if node.op == "grad":
            return self.arriving[name]
        if node.op == "u":
            bias = self.biases.get(name)
            return F.linear(self[node.args[0]], self.units[name], bias)
        if node.op == "norm":
            v = self[node.args[0]]
            gain, shift = params.norms[name]
            return F.layer_norm(v, v.shape[-1:], gain, shift, EPSILON)
        if node.op == "proj":
            return F.linear(self[node.args[0]], params.projs[name])
        if node.op in BACKWARD:
            if self.own == "diagonal" and node.op == "u_back":
                gates = self.gates_of(int(name[1:]))
                return sum(
                    self[a] * self.units[g].diagonal()
                    for a, g in zip(node.args, gates, strict=True)
                )
            if self.own:
                return 0.0
            return self._back(node.op, name, [self[a] for a in node.args])
        return compute(node.op, *(self[a] for a in node.args))

    def _of_x(self) -> dict[str, Tensor]:
        if self.x is None:
            params, gates = self.one.call.params, self.one.traced.x_gates
            assert params.x_weight is not None  # a graph with `x` nodes comes with their rows
            x = F.linear(self.input(), params.x_weight.detach(), params.x_bias)
            self.x = dict(zip(gates, x.chunk(len(gates), -1), strict=True))
        return self.x

    def input(self) -> Tensor:
        """x (T, B, K) in the order in which the steps ran, zero where padded."""
        one = self.one
        return self.masked(_order(one, one.call.x.detach().to(_dtype(one))))

    def gates_of(self, k: int) -> list[str]:
        """The gates whose rows of U multiply the value `k`, as far as a loss reaches them."""
        by_u = self.derived.by_u
        forward = enumerate(self.nodes[: self.derived.forward])
        return [str(n.attr) for j, n in forward if n.op == "u" and n.args[0] == k and j in by_u]

    def normalised(self, name: str) -> tuple[Tensor, Tensor]:
        """(v - mean) / deviation of what a norm is of, and 1 / deviation."""
        k = next(n.args[0] for n in self.nodes if n.op == "norm" and n.attr == name)
        v = self[k]
        inverse = torch.rsqrt(v.var(-1, unbiased=False, keepdim=True) + EPSILON)
        return (v - v.mean(-1, keepdim=True)) * inverse, inverse

    def _back(self, op: str, name: str, operands: list[Tensor]) -> Tensor:
        if op == "u_back":
            rows = torch.cat([self.units[g] for g in self.gates_of(int(name[1:]))])
            return torch.cat(operands, -1) @ rows
        if op == "proj_back":
            return operands[0] @ self.one.call.params.projs[name].detach()
        scaled = operands[0] * self.one.call.params.norms[name][0].detach()
        hat, inverse = self.normalised(name)
        return (scaled - scaled.mean(-1, keepdim=True)
                - hat * (scaled * hat).mean(-1, keepdim=True)) * inverse  # fmt: skip


def _gates(stacked: Tensor | None, gates: tuple[str, ...]) -> dict[str, Tensor]:
    if stacked is None:
        return {}
    return dict(zip(gates, stacked.detach().chunk(len(gates)), strict=True))


def _order(one: Pass, x: Tensor) -> Tensor:
    return turned(x, one.lengths) if one.call.reverse else x


def _dtype(one: Pass) -> torch.dtype:
    return next(iter(one.nodes.values())).dtype


class Adjoint:
    """The way of derivatives from step to step through one recorded call.

    Args:
        one: the recorded call.
        values: its values, where they are at hand.

    Example:
        >>> from unrolled.layers import Recurrent
        >>> from unrolled.inspect.record import recording
        >>> layer = Recurrent("rnn", 3, 4)
        >>> with recording(layer) as passes:
        ...     _ = layer(torch.zeros(1, 6, 3))
        >>> way = Adjoint(passes[0])
        >>> way.run({"h": torch.ones(6, 1, 4)})["h"].shape
        torch.Size([7, 1, 4])
    """

    def __init__(self, one: Pass, values: Values | None = None):
        self.one = one
        self.values = values or Values(one)
        nodes, first = self.values.nodes, self.values.derived.forward
        self.carried = {k for k, n in enumerate(nodes) if n.op == "grad"}
        for k in range(first, len(nodes)):
            if any(a in self.carried for a in nodes[k].args):
                self.carried.add(k)

    @torch.no_grad()
    def run(self, direct: Mapping[str, Tensor], every: Callable[..., None] | None = None):
        """∂L/∂(state after each step), from what arrives at each step from outside.

        Args:
            direct: state or observed value → (T, R, width), R the batch, or any number of rows
                where the batch is one sequence.
            every: called with the step that was just passed and state → (R, width), which it may
                change.

        Returns:
            state → (T + 1, R, width); the first is that of the state before the first step.
        """
        one, traced = self.one, self.one.traced
        arriving = {k: v.numpy() for k, v in direct.items()}
        some = next(iter(arriving.values()))
        rows, kind = some.shape[1], some.dtype
        found = {}
        for s in traced.states:
            width = one.call.states[s].shape[-1]
            found[s] = np.zeros((one.steps + 1, rows, width), kind)
            if s in arriving:
                found[s][1:] = arriving[s]
        zero = np.zeros((one.steps, rows, 1), kind)
        program, results = self._program(found, arriving, rows, kind, zero)
        with np.errstate(over="ignore", invalid="ignore"):  # what explodes is to be seen exploding
            for t in reversed(range(one.steps)):
                for act in program:
                    act(t)
                for s, value in results.items():
                    found[s][t] += value(t)
                if every is not None:
                    every(t, {s: v[t] for s, v in found.items()})
        return {s: torch.from_numpy(v) for s, v in found.items()}

    def _program(self, found, arriving, rows, kind, zero):
        """One action a node, in order, each writing its own buffer; and where results are read."""
        nodes, derived = self.values.nodes, self.values.derived
        needed = self._ancestors(derived.by_state.values())
        users = {k: [j for j in needed if k in nodes[j].args] for k in needed}
        last = set(derived.by_state.values())
        factor: dict[int, Any] = {}
        source: dict[int, int] = {}
        for k in needed:  # chains of products by known values become one product
            if nodes[k].op in ("mul", "neg"):
                way, by = self._product(k)
                if way in source and users[way] == [k] and way not in last:
                    by, way = by * factor[way], source[way]
                source[k], factor[k] = way, by
        buffers: dict[int, np.ndarray] = {}
        slots = self._slots(needed, rows, kind)
        program: list[Callable[[int], Any]] = []

        def read(k: int) -> Callable[[int], np.ndarray]:
            if nodes[k].op == "grad":
                name = str(nodes[k].attr)
                if name in found:
                    whole = found[name]
                    return lambda t: whole[t + 1]
                other = arriving.get(name, zero)
                return lambda t: other[t]
            held = buffers[k]
            return lambda t: held

        read_on = {source[k] for k in source} | {
            a for k in needed if k not in source for a in nodes[k].args if a in self.carried
        } | last  # fmt: skip
        for k in needed:
            if nodes[k].op == "grad" or (k in source and k not in read_on and k not in last):
                continue
            out = slots[k] if k in slots else np.zeros((rows, self._width(k)), kind)
            buffers[k] = out
            if k in source:
                program.append(_multiply(read(source[k]), factor[k], out))
            elif nodes[k].op == "add":
                first, second = map(read, nodes[k].args)
                program.append(_add(first, second, out))
            else:
                program.append(self._cut(k, [read(a) for a in nodes[k].args], slots, out))
        return program, {s: read(k) for s, k in derived.by_state.items() if k in self.carried}

    def _ancestors(self, wanted) -> list[int]:
        nodes, seen, stack = self.values.nodes, set(), [k for k in wanted if k in self.carried]
        while stack:
            k = stack.pop()
            if k not in seen:
                seen.add(k)
                stack += [a for a in nodes[k].args if a in self.carried]
        return sorted(seen)

    def _product(self, k: int) -> tuple[int, Any]:
        """What flows into a product, and the known factor."""
        node = self.values.nodes[k]
        if node.op == "neg":
            return node.args[0], -1.0
        way, by = node.args if node.args[0] in self.carried else node.args[::-1]
        factor = self.values[by]
        if isinstance(factor, Tensor) and factor.dim() == 3:
            factor = self.values.masked(factor)
        return way, factor

    def _width(self, k: int) -> int:
        node, params = self.values.nodes[k], self.one.call.params
        if node.op == "u_back":
            return next(iter(self.values.units.values())).shape[1]
        if node.op == "proj_back":
            return params.projs[str(node.attr)].shape[1]
        for a in node.args:
            if a in self.carried:
                if self.values.nodes[a].op == "grad":
                    name = str(self.values.nodes[a].attr)
                    letter = self.one.nodes[self.one.traced.graph.outputs[name]]
                    return letter.shape[-1]
                return self._width(a)
        raise AssertionError("a derivative that nothing arrives at")

    def _slots(self, needed, rows, kind) -> dict[int, np.ndarray]:
        """Where the operands of a product with U lie side by side, so that it is one product."""
        slots: dict[int, np.ndarray] = {}
        nodes = self.values.nodes
        for k in needed:
            if nodes[k].op != "u_back":
                continue
            widths = [self._width(a) if nodes[a].op != "grad" else 0 for a in nodes[k].args]
            if 0 in widths or any(a in slots for a in nodes[k].args):
                continue
            whole = np.zeros((rows, sum(widths)), kind)
            slots[-k] = whole
            place = np.cumsum([0, *widths])
            for n, a in enumerate(nodes[k].args):
                slots[a] = whole[:, place[n] : place[n + 1]]
        return slots

    def _cut(self, k, operands, slots, out):
        node, values = self.values.nodes[k], self.values
        name = str(node.attr)
        if node.op == "u_back":
            gates = values.gates_of(int(name[1:]))
            matrix = torch.cat([values.units[g] for g in gates]).numpy()
            if -k in slots:
                side = slots[-k]
                return lambda t: np.matmul(side, matrix, out=out)
            parts = np.split(matrix, len(gates))

            def several(t):
                np.matmul(operands[0](t), parts[0], out=out)
                for d, part in zip(operands[1:], parts[1:], strict=True):
                    np.add(out, d(t) @ part, out=out)

            return several
        if node.op == "proj_back":
            matrix = self.one.call.params.projs[name].detach().numpy()
            return lambda t: np.matmul(operands[0](t), matrix, out=out)
        gain = self.one.call.params.norms[name][0].detach().numpy()
        hat, inverse = (values.masked(v).numpy() for v in values.normalised(name))

        def normalised(t):
            scaled = operands[0](t) * gain
            inner = (scaled * hat[t]).mean(-1, keepdims=True)
            np.multiply(scaled - scaled.mean(-1, keepdims=True) - hat[t] * inner, inverse[t], out)

        return normalised


def _multiply(read, factor, out):
    if isinstance(factor, Tensor) and factor.dim() == 3:
        by = factor.numpy()
        return lambda t: np.multiply(read(t), by[t], out=out)
    fixed = factor.numpy() if isinstance(factor, Tensor) else factor
    return lambda t: np.multiply(read(t), fixed, out=out)


def _add(first, second, out):
    return lambda t: np.add(first(t), second(t), out=out)
