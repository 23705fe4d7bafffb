"""What a step computes, as data: primitives and operands come in, a graph of nodes goes out.

Evaluation order is kept as typed (rounding depends on it), equal nodes are shared, nothing is
simplified: exp(a) * exp(b) is not merged and a / a is not cancelled.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple, NoReturn

from ..errors import CellError
from .declared import kind, names, table, written
from .primitives import CUTS, LEAVES, PRIMITIVES, refuse

BY_SIGN = ("add", "sub", "mul", "div", "neg")  # typed as + - * / -, not by name
MOST = 1000  # nodes of a graph in a file: a cell has tens


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
        data = table(data, "the graph")
        rows = data.get("nodes")
        if not isinstance(rows, list) or not 0 < len(rows) <= MOST:
            got = f"{len(rows)}" if isinstance(rows, list) else kind(rows)
            raise CellError("the graph's nodes", expected=f"a list of 1 to {MOST} nodes", got=got)
        nodes = tuple(_read_node(k, row) for k, row in enumerate(rows))
        outputs = table(data.get("outputs"), "the graph's outputs")
        names(list(outputs), "the graph's output")
        for name, k in outputs.items():
            if not _is_index(k, len(nodes)):
                raise CellError(
                    f"the graph's output {name!r}",
                    expected=f"a node, from 0 to {len(nodes) - 1}",
                    got=kind(k),
                )
        return cls(nodes, outputs)


def _is_index(value: Any, below: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def _read_node(k: int, row: Any) -> Node:
    where = f"the graph's node {k}"
    if not isinstance(row, list) or len(row) != 3:
        raise CellError(where, expected="a list [operation, operands, of what]", got=kind(row))
    op, args, attr = row
    if not isinstance(op, str) or op not in (*LEAVES, *CUTS, *PRIMITIVES):
        raise CellError(
            where,
            expected="an operation that is known",
            got=kind(op),
            fix="Add a primitive of your own with `add_primitive` before loading.",
        )
    arity = 0 if op in LEAVES else 1 if op in CUTS else PRIMITIVES[op].arity
    fits = isinstance(args, list) and len(args) == arity
    if not fits or not all(_is_index(a, k) for a in args):
        raise CellError(
            f"{where}, {op}",
            expected=f"a list of operands, {arity} of them, each the whole number of an earlier "
            "node",
            got=f"has operands {str(args)[:40]}",
        )
    if op == "const":
        return Node(op, (), written(attr, f"{where}, {op}"))
    if op in LEAVES or op in CUTS:
        return Node(op, tuple(args), names([attr], f"{where}, {op} of")[0])
    if attr is not None:
        raise CellError(f"{where}, {op}", expected="of nothing", got=kind(attr))
    return Node(op, tuple(args), None)


class Builder:
    """Collects nodes in the order they are typed, each once."""

    def __init__(self, nodes: Sequence[Node] = ()):
        self.nodes: list[Node] = list(nodes)
        self._index = {_key(node): k for k, node in enumerate(self.nodes)}

    def add(self, op: str, *operands: "Symbol | float", attr: str | float | None = None):
        """The symbol of this operation; an equal one that is there already is used again."""
        args = tuple(self._operand(o, op) for o in operands)
        return Symbol(self, self._add(Node(op, args, attr)))

    def _add(self, node: Node) -> int:
        key = _key(node)
        if key not in self._index:
            self._index[key] = len(self.nodes)
            self.nodes.append(node)
        return self._index[key]

    def _operand(self, value, op: str) -> int:
        if isinstance(value, Symbol):
            if value.builder is not self:
                raise CellError("a step may not keep symbols of an earlier trace")
            return value.index
        if isinstance(value, bool) or not isinstance(value, Real):
            refuse(value, op)
        if math.isnan(value):
            raise CellError(f"an operand of {op} in the step", expected="a number", got="NaN")
        return self._add(Node("const", (), float(value)))


def _key(node: Node) -> Node:
    # 0.0 == -0.0 as dictionary keys, and they are not the same number: repr tells them apart.
    return node if node.op != "const" else Node("const", (), repr(node.attr))


# What other libraries call a primitive.
ALIASES = {
    "abs": "absolute",
    "negative": "neg",
    "log_sigmoid": "logsigmoid",
    "max": "maximum",
    "min": "minimum",
    "fmax": "maximum",
    "fmin": "minimum",
}
ARITHMETIC = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div"}


def _import_it(name: str) -> str:
    ours = ALIASES.get(name, name)
    if ours in PRIMITIVES and ours not in BY_SIGN:
        return f"Write `{ours}(v)` with `from unrolled.cells import {ours}`."
    return ""


def _unknown(sign: str, fix: str = "The arithmetic of a step is + - * /."):
    def method(self, *_):
        raise CellError(
            f"the step uses {sign} on a value",
            expected="arithmetic (+ - * /) and the functions of `unrolled.cells`",
            got=sign,
            fix=fix,
        )

    return method


class Symbol:
    """A value of a step that is being traced: it can be computed with, not looked at."""

    __slots__ = ("builder", "index")

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

    __pow__ = __rpow__ = _unknown("a power, `**`", "Write `v * v`, `sqrt(v)` or `exp(v)`.")
    __matmul__ = __rmatmul__ = _unknown("`@`", "Matrix products are `u.k(v)`.")
    __mod__ = __rmod__ = _unknown("`%`")
    __floordiv__ = __rfloordiv__ = _unknown("`//`")
    __and__ = __rand__ = _unknown("`&`")
    __or__ = __ror__ = _unknown("`|`")
    __xor__ = __rxor__ = _unknown("`^`")
    __invert__ = _unknown("`~`")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise CellError(
            f"the step calls `.{name}` on a value",
            expected="arithmetic (+ - * /) and the functions of `unrolled.cells`",
            got=f"`.{name}`",
            fix=_import_it(name)
            or "Matrix products are `u.k(v)`; there are no others inside a step.",
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **_):
        if method == "__call__" and ufunc.__name__ in ARITHMETIC:  # NumPy's number * symbol
            return self.builder.add(ARITHMETIC[ufunc.__name__], *inputs)
        return self._foreign("NumPy", "numpy", ufunc.__name__)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", str(function))
        for value in args if name.strip("_") in BY_SIGN else ():
            if not isinstance(value, (Symbol, Real)):
                refuse(value, name.strip("_"))
        cls._foreign("PyTorch", "torch", name)

    @classmethod
    def _foreign(cls, library: str, module: str, name: str) -> NoReturn:
        raise CellError(
            f"the step calls {library}'s `{name}`",
            expected="a function of `unrolled.cells`, which can be derived and compiled",
            got=f"{module}.{name}",
            fix=_import_it(name)
            or f"Known: {', '.join(k for k in PRIMITIVES if k not in BY_SIGN)}.",
        )
