"""Pointwise functions: a name, an arity, a derivative and a spelling each, one line a primitive.

Called on symbols they are typed into a graph, called on tensors they are computed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import CellError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")

# What a step reads. `x`: (W x + b)_gate; `state`: a state before the step; `weight`: one value a
# unit; `const`: a number; `mask`: one value a unit, drawn once a sequence; `noise`: one a step.
LEAVES = ("x", "state", "weight", "const", "mask", "noise")
# Where a step needs all units of a value at once: products, normalisations and projections.
CUTS = ("u", "norm", "proj")


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
USER_C: dict[str, str] = {}  # of those that users add, as C expressions


def define(name, arity, derivative, text=None, latex=None):
    """Write a primitive into the table; what it is not told it is written as a call."""
    operands = ", ".join(f"{{{k}}}" for k in range(arity))
    default = rf"\operatorname{{{{{name}}}}}({operands})"
    PRIMITIVES[name] = Primitive(
        name, arity, derivative, text or f"{name}({operands})", latex or default
    )


define("add", 2, lambda y, a, b: (1.0, 1.0), "{0} + {1}", "{0} + {1}")
define("sub", 2, lambda y, a, b: (1.0, -1.0), "{0} - {1}", "{0} - {1}")
define("mul", 2, lambda y, a, b: (b, a), "{0} * {1}", r"{0} \odot {1}")
define("div", 2, lambda y, a, b: (1.0 / b, -(y / b)), "{0} / {1}", r"\frac{{{0}}}{{{1}}}")
define("neg", 1, lambda y, a: (-1.0,), "-{0}", "-{0}")
define("sigmoid", 1, lambda y, a: (y * (1.0 - y),), None, r"\sigma({0})")
define("tanh", 1, lambda y, a: (1.0 - y * y,), None, r"\tanh({0})")
define("relu", 1, lambda y, a: (positive(y),))
define("exp", 1, lambda y, a: (y,), None, r"\exp({0})")
define("log", 1, lambda y, a: (1.0 / a,), None, r"\log({0})")
define("sqrt", 1, lambda y, a: (0.5 / y,), None, r"\sqrt{{{0}}}")
define("sin", 1, lambda y, a: (cos(a),), None, r"\sin({0})")
define("cos", 1, lambda y, a: (-sin(a),), None, r"\cos({0})")
define("softplus", 1, lambda y, a: (sigmoid(a),))
define("logsigmoid", 1, lambda y, a: (sigmoid(-a),), None, r"\log\sigma({0})")
define("absolute", 1, lambda y, a: (positive(a) - positive(-a),), "|{0}|", r"\lvert {0} \rvert")
define("maximum", 2, lambda y, a, b: (prefer(a, b), prefer(b, a)), None, r"\max({0}, {1})")
define("minimum", 2, lambda y, a, b: (prefer(b, a), prefer(a, b)), None, r"\min({0}, {1})")
define("positive", 1, lambda y, a: (None,), "[{0} > 0]", "[{0} > 0]")
define("prefer", 2, lambda y, a, b: (None, None), "[{0} > {1}]", "[{0} > {1}]")


def _kind(value) -> str:
    return f"a {type(value).__name__}"


def _call_it(value) -> str:
    if type(value).__name__ == "Namespace":
        return "Name what is read of it: `x.k`, `u.k(v)`, `w.k`."
    if callable(value):
        return "A product is called with what it multiplies: `u.k(h)`, not `u.k`."
    if hasattr(value, "shape"):
        return "A vector of values is a weight, `w.k`; a number that stays is declared in `hyper`."
    return "Use the functions of `unrolled.cells` (sigmoid, tanh, maximum, …) on them."


def refuse(value, op: str) -> NoReturn:
    """Say that this is no operand."""
    raise CellError(
        f"an operand of {op} in the step",
        expected="a state, a gate, a weight, a result of these, or a number",
        got=_kind(value),
        fix=_call_it(value),
    )


def apply(name: str, *operands):
    """Type a primitive on symbols, or compute it on tensors."""
    for operand in operands:
        if hasattr(type(operand), "builder"):  # a Symbol
            return operand.builder.add(name, *operands)
    for operand in operands:
        if callable(operand):
            refuse(operand, name)
    from .values import compute  # late: only tensors need PyTorch

    return compute(name, *operands)


def sigmoid(a):
    """1 / (1 + exp(-a))."""
    return apply("sigmoid", a)


def tanh(a):
    """The hyperbolic tangent."""
    return apply("tanh", a)


def relu(a):
    """max(a, 0); its derivative at 0 is 0."""
    return apply("relu", a)


def exp(a):
    """The exponential."""
    return apply("exp", a)


def log(a):
    """The natural logarithm."""
    return apply("log", a)


def sqrt(a):
    """The square root."""
    return apply("sqrt", a)


def sin(a):
    """The sine, of radians."""
    return apply("sin", a)


def cos(a):
    """The cosine, of radians."""
    return apply("cos", a)


def softplus(a):
    """log(1 + exp(a))."""
    return apply("softplus", a)


def logsigmoid(a):
    """log(sigmoid(a)), without overflow."""
    return apply("logsigmoid", a)


def absolute(a):
    """|a|; its derivative at 0 is 0."""
    return apply("absolute", a)


def maximum(a, b):
    """The larger of the two; where they are equal each gets half of the gradient."""
    return apply("maximum", a, b)


def minimum(a, b):
    """The smaller of the two; where they are equal each gets half of the gradient."""
    return apply("minimum", a, b)


def positive(a):
    """1 where a > 0, else 0."""
    return apply("positive", a)


def prefer(a, b):
    """1 where a > b, a half where they are equal, else 0."""
    return apply("prefer", a, b)
