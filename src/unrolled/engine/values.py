"""What each primitive computes on tensors and numbers, in PyTorch."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

VALUES: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "absolute": torch.abs,
    "maximum": lambda a, b: torch.maximum(*_tensors(a, b)),
    "minimum": lambda a, b: torch.minimum(*_tensors(a, b)),
    "positive": lambda a: (a > 0).to(a.dtype),
    "prefer": lambda a, b: _prefer(*_tensors(a, b)),
}


def compute(name: str, *operands):
    """The value of a primitive, of tensors and numbers; of numbers alone it is a number."""
    if any(isinstance(v, Tensor) for v in operands):
        return VALUES[name](*operands)
    return _of_numbers(name, *operands)


@torch.compiler.assume_constant_result
def _of_numbers(name: str, *operands: float) -> float:
    return float(VALUES[name](*(torch.tensor(v, dtype=torch.float64) for v in operands)))


def _tensors(a, b) -> tuple[Tensor, Tensor]:
    like = a if isinstance(a, Tensor) else b
    a, b = (v if isinstance(v, Tensor) else torch.full_like(like, v) for v in (a, b))
    return a, b


def _prefer(a: Tensor, b: Tensor) -> Tensor:
    return (a > b).to(a.dtype) + 0.5 * (a == b).to(a.dtype)
