"""What a step computes, as data: primitives and operands come in, a graph of nodes goes out.

Evaluation order is kept as typed (rounding depends on it), equal nodes are shared, nothing is
simplified: exp(a) * exp(b) is not merged and a / a is not cancelled.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import CellError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")

# What a step reads. `x`: (W x + b)_gate; `state`: a state before the step; `weight`: one value a
# unit; `const`: a number; `mask`: one value a unit, drawn once a sequence; `noise`: one a step.
LEAVES = ("x", "state", "weight", "const", "mask", "noise")
# Where a step needs all units of a value at once: products, normalisations and projections.
CUTS = ("u", "norm", "proj")


class Node(NamedTuple):
    """One operation: its name, the indices of its operands, and what it is of (a gate, a number)."""

    op: str
    args: tuple[int, ...] = ()
    attr: str | float | None = None


@dataclass(frozen=True)
class Primitive:
    """A pointwise function: arity, derivative, and how it is written.

    Args:
        name: its name, as a step and every emitter spell it.
        arity: the number of operands.
        derivative: from the result and the operands to one partial derivative an operand, typed
            with the same primitives; `None` where it is zero everywhere it exists.
        text: a template of one line of text, `latex` likewise.
    """

    name: str
    arity: int
    derivative: Callable[..., tuple[Any, ...]]
    text: str
    latex: str


PRIMITIVES: dict[str, Primitive] = {}


def _primitive(name, arity, derivative, text=None, latex=None):
    operands = ", ".join(f"{{{k}}}" for k in range(arity))
    default = rf"\operatorname{{{{{name}}}}}({operands})"
    PRIMITIVES[name] = Primitive(
        name, arity, derivative, text or f"{name}({operands})", latex or default
    )


_primitive("add", 2, lambda y, a, b: (1.0, 1.0), "{0} + {1}", "{0} + {1}")
_primitive("sub", 2, lambda y, a, b: (1.0, -1.0), "{0} - {1}", "{0} - {1}")
_primitive("mul", 2, lambda y, a, b: (b, a), "{0} * {1}", r"{0} \odot {1}")
_primitive("div", 2, lambda y, a, b: (1.0 / b, -(y / b)), "{0} / {1}", r"\frac{{{0}}}{{{1}}}")
_primitive("neg", 1, lambda y, a: (-1.0,), "-{0}", "-{0}")
_primitive("sigmoid", 1, lambda y, a: (y * (1.0 - y),), None, r"\sigma({0})")
_primitive("tanh", 1, lambda y, a: (1.0 - y * y,), None, r"\tanh({0})")
_primitive("relu", 1, lambda y, a: (positive(a),))
_primitive("exp", 1, lambda y, a: (y,), None, r"\exp({0})")
_primitive("log", 1, lambda y, a: (1.0 / a,), None, r"\log({0})")
_primitive("sqrt", 1, lambda y, a: (0.5 / y,), None, r"\sqrt{{{0}}}")
_primitive("sin", 1, lambda y, a: (cos(a),), None, r"\sin({0})")
_primitive("cos", 1, lambda y, a: (-sin(a),), None, r"\cos({0})")
_primitive("softplus", 1, lambda y, a: (sigmoid(a),))
_primitive("logsigmoid", 1, lambda y, a: (sigmoid(-a),), None, r"\log\sigma({0})")
_primitive("absolute", 1, lambda y, a: (positive(a) - positive(-a),), "|{0}|", r"\lvert {0} \rvert")
_primitive("maximum", 2, lambda y, a, b: (prefer(a, b), prefer(b, a)), None, r"\max({0}, {1})")
_primitive("minimum", 2, lambda y, a, b: (prefer(b, a), prefer(a, b)), None, r"\min({0}, {1})")
_primitive("positive", 1, lambda y, a: (None,), "[{0} > 0]", "[{0} > 0]")
_primitive("prefer", 2, lambda y, a, b: (None, None), "[{0} > {1}]", "[{0} > {1}]")


def _apply(name: str, *operands):
    """Type a primitive on symbols, or compute it on tensors."""
    builder = next((o.builder for o in operands if isinstance(o, Symbol)), None)
    if builder is not None:
        return builder.add(name, *operands)
    from .reference import VALUES  # late: only tensors need PyTorch

    return VALUES[name](*operands)


def sigmoid(a):
    """1 / (1 + exp(-a))."""
    return _apply("sigmoid", a)


def tanh(a):
    """The hyperbolic tangent."""
    return _apply("tanh", a)


def relu(a):
    """max(a, 0); its derivative at 0 is 0."""
    return _apply("relu", a)


def exp(a):
    """The exponential."""
    return _apply("exp", a)


def log(a):
    """The natural logarithm."""
    return _apply("log", a)


def sqrt(a):
    """The square root."""
    return _apply("sqrt", a)


def sin(a):
    """The sine, of radians."""
    return _apply("sin", a)


def cos(a):
    """The cosine, of radians."""
    return _apply("cos", a)


def softplus(a):
    """log(1 + exp(a))."""
    return _apply("softplus", a)


def logsigmoid(a):
    """log(sigmoid(a)), without overflow."""
    return _apply("logsigmoid", a)


def absolute(a):
    """|a|; its derivative at 0 is 0."""
    return _apply("absolute", a)


def maximum(a, b):
    """The larger of the two; where they are equal each gets half of the gradient."""
    return _apply("maximum", a, b)


def minimum(a, b):
    """The smaller of the two; where they are equal each gets half of the gradient."""
    return _apply("minimum", a, b)


def positive(a):
    """1 where a > 0, else 0."""
    return _apply("positive", a)


def prefer(a, b):
    """1 where a > b, a half where they are equal, else 0."""
    return _apply("prefer", a, b)


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
    __eq__ = __ne__ = _looked_at  # type: ignore[assignment]  # they answer nothing on purpose
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


def add_primitive(
    name: str,
    *,
    value: Callable,
    derivative: Callable[..., tuple[Any, ...]],
    arity: int = 1,
    c: str | None = None,
    latex: str | None = None,
) -> Callable:
    """Add a pointwise function of your own with its derivative; returns it, to be typed in steps.

    Args:
        name: a new name, as Python spells names.
        value: from tensors to a tensor, element by element.
        derivative: from the result and the operands to one partial derivative an operand, typed
            with the functions of `unrolled.cells`.
        arity: how many operands it takes.
        c: its value as a C expression of `{0}`, `{1}`, …, for the compiled backend.
        latex: its LaTeX, likewise.

    Raises:
        CellError: the name is taken or is not a name.

    Example:
        >>> import torch
        >>> square = add_primitive("square", value=torch.square, derivative=lambda y, a: (2.0 * a,))
        >>> square(torch.tensor(3.0))
        tensor(9.)
    """
    if name in PRIMITIVES or name in LEAVES + CUTS or not NAME.match(name):
        raise CellError(
            f"the primitive {name!r}",
            expected="a new name",
            got="a name that is taken" if NAME.match(name) else "not a name",
            fix=f"Taken: {', '.join([*PRIMITIVES, *LEAVES, *CUTS])}.",
        )
    from .reference import VALUES

    _primitive(name, arity, derivative, latex=latex)
    VALUES[name] = value
    if c is not None:
        USER_C[name] = c
    return lambda *operands: _apply(name, *operands)


USER_C: dict[str, str] = {}
