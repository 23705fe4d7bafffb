"""What a step computes, as data: primitives and operands come in, a graph of nodes goes out.

Evaluation order is kept as typed (rounding depends on it), equal nodes are shared, nothing is
simplified: exp(a) * exp(b) is not merged and a / a is not cancelled.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import CellError
from .primitives import CUTS, LEAVES, NAME, PRIMITIVES


class Node(NamedTuple):
    """One operation: its name, the indices of its operands, and what it is of (a gate, …)."""

    op: str
    args: tuple[int, ...] = ()
    attr: str | float | None = None


class Graph(NamedTuple):
    """A step: nodes in the order of evaluation, and which of them are its named results."""

    nodes: tuple[Node, ...]
    outputs: Mapping[str, int]

    def users(self) -> list[list[int]]:
        """For each node, the indices of the nodes that read it."""
        users: list[list[int]] = [[] for _ in self.nodes]
        for k, node in enumerate(self.nodes):
            for a in node.args:
                users[a].append(k)
        return users

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; numbers are written so that they read back to the last bit."""
        rows = [
            [n.op, list(n.args), repr(n.attr) if n.op == "const" else n.attr] for n in self.nodes
        ]
        return {"nodes": rows, "outputs": dict(self.outputs)}

    @classmethod
    def from_json(cls, data: Any) -> "Graph":
        """The graph that `to_json` wrote; every node is checked, nothing is evaluated."""
        try:
            nodes = tuple(_read_node(k, *row) for k, row in enumerate(data["nodes"]))
            outputs = {str(k): int(v) for k, v in data["outputs"].items()}
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise CellError(
                "the cell's graph cannot be read",
                expected="nodes and outputs as `to_json` writes them",
                got=f"{type(error).__name__}: {error}",
                fix="Write the model again.",
            ) from None
        if not nodes or not all(0 <= v < len(nodes) for v in outputs.values()):
            raise CellError("the cell's graph has results that are not nodes of it")
        return cls(nodes, outputs)


def _read_node(k: int, op: Any, args: Any, attr: Any) -> Node:
    arity = 0 if op in LEAVES else 1 if op in CUTS else PRIMITIVES[op].arity
    args = tuple(int(a) for a in args)
    if len(args) != arity or not all(0 <= a < k for a in args):
        raise ValueError(f"node {k}, {op}, has operands {args}")
    if op == "const":
        return Node(op, args, float(attr))
    if op in LEAVES or op in CUTS:
        if not (isinstance(attr, str) and NAME.match(attr)):
            raise ValueError(f"node {k}, {op}, is of {attr!r}")
        return Node(op, args, attr)
    return Node(op, args, None)


class Builder:
    """Collects nodes in the order they are typed, each once."""

    def __init__(self, nodes: Sequence[Node] = ()):
        self.nodes: list[Node] = list(nodes)
        self._index = {node: k for k, node in enumerate(self.nodes)}

    def add(self, op: str, *operands: "Symbol | float", attr: str | float | None = None):
        """The symbol of this operation; an equal one that is there already is used again."""
        args = tuple(self._operand(o, op) for o in operands)
        return Symbol(self, self._add(Node(op, args, attr)))

    def _add(self, node: Node) -> int:
        # 0.0 == -0.0 and True == 1.0 as dictionary keys: repr tells numbers apart.
        key = node if node.op != "const" else Node("const", (), repr(node.attr))
        if key not in self._index:
            self._index[key] = len(self.nodes)
            self.nodes.append(node)
        return self._index[key]

    def _operand(self, value, op: str) -> int:
        if isinstance(value, Symbol):
            if value.builder is not self:
                raise CellError("a step may not keep symbols of an earlier trace")
            return value.index
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise CellError(
                f"an operand of {op} in the step",
                expected="a state, a gate, a weight, a result of these, or a number",
                got=_kind(value),
                fix=_call_it(value),
            )
        if math.isnan(value):
            raise CellError(f"an operand of {op} in the step", expected="a number", got="NaN")
        return self._add(Node("const", (), float(value)))


def _kind(value) -> str:
    return f"a {type(value).__name__}"


def _call_it(value) -> str:
    if callable(value):
        return "A product is called with what it multiplies: `u.k(h)`, not `u.k`."
    return "Use the functions of `unrolled.cells` (sigmoid, tanh, maximum, …) on them."


class Symbol:
    """A value of a step that is being traced: it can be computed with, not looked at."""

    __slots__ = ("builder", "index")
    # NumPy then leaves `array * symbol` to us, where it is refused with a reason.
    __array_ufunc__ = None

    def __init__(self, builder: Builder, index: int):
        self.builder, self.index = builder, index

    def __add__(self, other):
        return self.builder.add("add", self, other)

    def __radd__(self, other):
        return self.builder.add("add", other, self)

    def __sub__(self, other):
        return self.builder.add("sub", self, other)

    def __rsub__(self, other):
        return self.builder.add("sub", other, self)

    def __mul__(self, other):
        return self.builder.add("mul", self, other)

    def __rmul__(self, other):
        return self.builder.add("mul", other, self)

    def __truediv__(self, other):
        return self.builder.add("div", self, other)

    def __rtruediv__(self, other):
        return self.builder.add("div", other, self)

    def __neg__(self):
        return self.builder.add("neg", self)

    def __abs__(self):
        return self.builder.add("absolute", self)

    def _looked_at(self, *_):
        raise CellError(
            "the step decides by a value (`if`, `while`, a comparison, an index or a conversion)",
            expected="the same equations at every step",
            got="Python control flow on a symbol",
            fix="Write `maximum`, `minimum`, `relu` or a gate that is multiplied in.",
        )

    __bool__ = __lt__ = __le__ = __gt__ = __ge__ = _looked_at
    __float__ = __int__ = __index__ = __len__ = __iter__ = __getitem__ = _looked_at
    __eq__ = __ne__ = _looked_at
    __hash__ = None  # type: ignore[assignment]  # a dictionary would compare symbols
    __matmul__ = __rmatmul__ = __pow__ = __rpow__ = __mod__ = __floordiv__ = None

    def __getattr__(self, name):
        raise CellError(
            f"the step calls `.{name}` on a value",
            expected="arithmetic (+ - * /) and the functions of `unrolled.cells`",
            got=f"`.{name}`",
            fix=f"Write `{name}(v)` with `from unrolled.cells import {name}` if it is there."
            if name in PRIMITIVES
            else "Matrix products are `u.k(v)`; there are no others inside a step.",
        )

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", str(function))
        raise CellError(
            f"the step calls PyTorch's `{name}`",
            expected="a function of `unrolled.cells`, which can be derived and compiled",
            got=f"torch.{name}",
            fix=f"Write `from unrolled.cells import {name}`."
            if name in PRIMITIVES
            else f"Known: {', '.join(PRIMITIVES)}.",
        )
