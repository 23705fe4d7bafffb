"""Pointwise functions: a name, an arity, a derivative and a spelling each, one line a primitive.

Called on symbols they are typed into a graph, called on tensors they are computed.
"""

import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    for operand in operands:
        if hasattr(type(operand), "builder"):  # a Symbol
            return operand.builder.add(name, *operands)
    for operand in operands:
        if callable(operand):
            from .graph import refuse  # late: graphs are made of primitives

            refuse(operand, name)
    from .reference import compute  # late: only tensors need PyTorch

    return compute(name, *operands)


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
        CellError: the name is taken or is not a name, or the derivative cannot be typed.

    Example:
        >>> import torch
        >>> square = add_primitive("square", value=torch.square, derivative=lambda y, a: (2.0 * a,))
        >>> square(torch.tensor(3.0))
        tensor(9.)
    """
    word = NAME.match(name) and not keyword.iskeyword(name)
    if name in PRIMITIVES or name in LEAVES + CUTS or not word:
        raise CellError(
            f"the primitive {name!r}",
            expected="a new name",
            got="a name that is taken" if word else "not a name",
            fix=f"Taken: {', '.join([*PRIMITIVES, *LEAVES, *CUTS])}.",
        )
    from .reference import VALUES

    _primitive(name, arity, derivative, latex=latex)
    try:
        _check_derivative(name)
    except CellError as error:
        del PRIMITIVES[name]
        raise CellError(
            f"the derivative of {name}: {error.what}",
            expected=error.expected,
            got=error.got,
            fix=error.fix,
        ) from None
    VALUES[name] = value
    if c is not None:
        USER_C[name] = c
    return lambda *operands: _apply(name, *operands)


def _check_derivative(name: str) -> None:
    """Type it once on symbols, as the compiler will."""
    from .graph import Builder  # late: graphs are made of primitives

    builder, arity = Builder(), PRIMITIVES[name].arity
    operands = [builder.add("state", attr=f"v{k}") for k in range(arity)]
    expected = f"{arity} partial derivative{'s' * (arity > 1)} in a tuple"
    try:
        partials = PRIMITIVES[name].derivative(builder.add(name, *operands), *operands)
    except CellError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a user's function raises, in one line
        raise CellError(
            "it cannot be typed",
            expected="a function of the result and the operands",
            got=f"{type(error).__name__}: {error}",
        ) from None
    if not isinstance(partials, tuple):
        raise CellError(
            "its result",
            expected=f"{expected}, a tuple",
            got=f"a {type(partials).__name__}",
            fix="A tuple of one ends in a comma: `lambda y, a: (2.0 * a,)`.",
        )
    if len(partials) != arity:
        raise CellError("its result", expected=expected, got=len(partials))
    for partial in partials:
        if partial is not None:
            builder._operand(partial, "the derivative")


USER_C: dict[str, str] = {}
