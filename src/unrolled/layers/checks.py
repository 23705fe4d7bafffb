"""What a user hands to a layer comes in; the same goes out, or an error that says what is wrong."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..engine.precision import is_autocast
from ..errors import ShapeError

States = dict[str, Tensor]
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def checked_lengths(lengths, steps: int, batch: int) -> Tensor | None:
    """Lengths as (B) of int64 on the CPU; `None` where every sequence is whole.

    Raises:
        ShapeError: their number, type or values are wrong.
    """
    if lengths is None:
        return None
    try:
        # A copy: whoever gave them may change them before the gradient.
        lengths = torch.as_tensor(lengths, device="cpu").detach().clone()
    except (TypeError, ValueError, RuntimeError):
        raise ShapeError(
            "lengths",
            expected=f"{batch} whole numbers, one a sequence",
            got=f"a {_kind(lengths)} of something else",
        ) from None
    if lengths.shape != (batch,) or lengths.dtype not in WHOLE:
        raise ShapeError(
            "lengths",
            expected=f"{batch} whole numbers, one a sequence",
            got=f"{lengths.dtype} of shape {tuple(lengths.shape)}",
        )
    lengths = lengths.to(torch.int64)
    if torch.compiler.is_compiling():  # they have no values yet: what runs looks at them
        return lengths
    if batch and (int(lengths.min()) < 0 or int(lengths.max()) > steps):
        raise ShapeError(
            "lengths",
            expected=f"numbers from 0 to T={steps}",
            got=f"{int(lengths.min())} to {int(lengths.max())}",
            fix="Padding is a suffix; a length counts the valid steps before it.",
        )
    return None if bool((lengths == steps).all()) else lengths


def checked_input(x, features: int, dims: str, weight: Tensor | None) -> None:
    """Raise unless x is a floating tensor of these axes with this number of features."""
    if not isinstance(x, Tensor):
        raise ShapeError("the input", expected=f"a tensor ({dims})", got=f"a {type(x).__name__}")
    _check_dense("the input", x)
    axes = len(dims.split(","))
    if x.dim() != axes or x.shape[-1] != features:
        raise ShapeError(
            "the input",
            expected=f"({dims}) with I={features}",
            got=f"shape {tuple(x.shape)}",
            fix="Set input_size to the number of features, or turn the axes.",
        )
    if not x.is_floating_point():
        raise ShapeError("the input", expected="floating point", got=x.dtype, fix="Use x.float().")
    if weight is None or is_autocast(x.device.type):
        return
    if weight.dtype != x.dtype or weight.device != x.device:
        raise ShapeError(
            "the input",
            expected=f"{weight.dtype} on {weight.device}, as the parameters",
            got=f"{x.dtype} on {x.device}",
            fix="Move one of them with `.to(...)`.",
        )


def checked_states(given: Mapping[str, Tensor] | None, default: States) -> States:
    """The states to start from, checked against the shapes of the default ones.

    Raises:
        ShapeError: a name, a shape, a dtype or a device is wrong.
    """
    if given is None:
        return default
    if not isinstance(given, Mapping):
        raise ShapeError(
            "state",
            expected=f"a dict of {', '.join(default)}, each (L·D, B, width)",
            got=f"a {type(given).__name__}",
            fix=f"Write `{{{', '.join(f'{name!r}: {name}' for name in default)}}}`.",
        )
    for name, value in given.items():
        if name not in default:
            raise ShapeError(
                f"state {name!r}",
                expected=f"one of {', '.join(default)}",
                got=repr(name),
                fix="The others start as the cell says.",
            )
        like = default[name]
        if isinstance(value, Tensor):
            _check_dense(f"state {name!r}", value)
        if not isinstance(value, Tensor) or value.shape != like.shape:
            raise ShapeError(
                f"state {name!r}",
                expected=f"(L·D, B, width) = {tuple(like.shape)}",
                got=tuple(value.shape) if isinstance(value, Tensor) else f"a {_kind(value)}",
            )
        same = value.dtype == like.dtype or is_autocast(like.device.type)
        if not same or value.device != like.device:
            raise ShapeError(
                f"state {name!r}",
                expected=f"{like.dtype} on {like.device}, as the input",
                got=f"{value.dtype} on {value.device}",
                fix="Move it with `.to(...)`.",
            )
    return {**default, **given}


def _check_dense(what: str, value: Tensor) -> None:
    if value.layout is not torch.strided or value.is_nested:
        raise ShapeError(
            what,
            expected="a dense tensor",
            got="a nested one" if value.is_nested else f"one of layout {value.layout}",
            fix="Pad it, and say the lengths." if value.is_nested else "Use `.to_dense()`.",
        )


def _kind(value) -> str:
    return type(value).__name__
