"""A pointwise function of the user's own comes in; a primitive like any other goes out."""

import keyword
from collections.abc import Callable
from typing import Any

from ..errors import CellError
from .graph import Builder
from .primitives import CUTS, LEAVES, NAME, PRIMITIVES, USER_C, apply, define


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
    from .values import VALUES  # late: only tensors need PyTorch

    define(name, arity, derivative, latex=latex)
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
    return lambda *operands: apply(name, *operands)


def _check_derivative(name: str) -> None:
    """Type it once on symbols, as the compiler will."""
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
