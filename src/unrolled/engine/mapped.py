"""Gradients that PyTorch maps over (`is_grads_batched`, `torch.vmap` around a backward pass) come
in; they are derived one by one, and what goes out is mapped again.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._C import _functorch as functorch

from ..errors import BackendError

Gradients = Sequence[Tensor | None]


def is_mapped(value: Tensor | None) -> bool:
    """Whether a tensor stands for all its members at once; C needs them one by one."""
    return value is not None and (
        functorch.is_legacy_batchedtensor(value) or functorch.is_batchedtensor(value)
    )


def one_by_one(derive: Callable[[Gradients], Gradients], grads: Gradients) -> list[Tensor | None]:
    """What `derive` gives for each member, mapped as `grads` are.

    Args:
        derive: from what arrives to what goes on, of tensors that are not mapped.
        grads: of which one at least is mapped.

    Raises:
        BackendError: a member is mapped itself.
    """
    places = [n for n, value in enumerate(grads) if is_mapped(value)]
    members = {n: _members(grads[n]) for n in places}
    if any(is_mapped(value) for value, _ in members.values()):
        raise BackendError(
            "the gradient of a compiled cell",
            expected="gradients that are mapped over once",
            got="a map of maps",
            fix='Take backend="reference" for it.',
        )
    (whole, put), *_ = members.values()
    each = [
        derive([members[n][0][k] if n in members else value for n, value in enumerate(grads)])
        for k in range(len(whole))
    ]
    return [
        None if values[0] is None else put(torch.stack([v for v in values if v is not None]))
        for values in zip(*each, strict=True)
    ]


def _members(value: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """All members, (N, …), and what maps such again."""
    assert value is not None
    if functorch.is_batchedtensor(value):
        level = functorch.maybe_get_level(value)
        found = functorch._remove_batch_dim(value, level, 1, 0)
        return found, lambda whole: functorch._add_batch_dim(whole, 0, level)
    torch._C._vmapmode_increment_nesting()
    level = torch._C._vmapmode_decrement_nesting()  # PyTorch does not tell it otherwise
    found = torch._remove_batch_dim(value, level, 1, 0)
    return found, lambda whole: torch._add_batch_dim(whole, 0, level)
