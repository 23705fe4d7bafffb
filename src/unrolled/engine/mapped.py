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
        derive: from what arrives to what goes on; tensors that were mapped twice still are, once.
        grads: of which one at least is mapped.

    Raises:
        BackendError: maps of both kinds, or of the old kind, are inside each other.
    """
    mapped = {n: v for n, v in enumerate(grads) if v is not None and is_mapped(v)}
    members: dict[int, Tensor] = {}
    old = [functorch.is_legacy_batchedtensor(v) for v in mapped.values()]
    if not any(old):
        level = max(map(functorch.maybe_get_level, mapped.values()))  # the innermost
        for n, value in mapped.items():
            if functorch.maybe_get_level(value) == level:
                members[n] = functorch._remove_batch_dim(value, level, 1, 0)
        put: Callable[..., Tensor] = functorch._add_batch_dim
    else:
        torch._C._vmapmode_increment_nesting()
        level = torch._C._vmapmode_decrement_nesting()  # PyTorch does not tell it otherwise
        put = torch._add_batch_dim
        if all(old):
            members = {n: torch._remove_batch_dim(v, level, 1, 0) for n, v in mapped.items()}
        if not all(old) or any(map(is_mapped, members.values())):
            raise BackendError(
                "the gradient of a compiled cell",
                expected="gradients that are mapped over once, or by torch.vmap alone",
                got="a map of maps",
                fix='Take backend="reference" for it.',
            )
    count = len(next(iter(members.values())))
    each = [
        derive([members[n][k] if n in members else v for n, v in enumerate(grads)])
        for k in range(count)
    ]
    if not count:  # of what shape nothing is, one says
        one = {n: v.new_zeros(v.shape[1:]) for n, v in members.items()}
        each = [derive([one.get(n, v) for n, v in enumerate(grads)])]
    return [
        None if values[0] is None else put(_stacked(values)[:count], 0, level)
        for values in zip(*each, strict=True)
    ]


def _stacked(values: Sequence[Tensor | None]) -> Tensor:
    return torch.stack([v for v in values if v is not None])
