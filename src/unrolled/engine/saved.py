"""What a backward pass reads where the forward pass left it: autograd keeps it, and where it lies
by then goes to C.

Autograd lets it go once a gradient was taken, though the results live on, and shows it to hooks: a
checkpoint keeps nothing and computes it again, others move it elsewhere.
"""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import BackendError
from .gradients import Ran
from .room import lying


def is_hooked() -> bool:
    """Whether somebody sees what autograd keeps, and may give back something else."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


class Saved:
    """Where the tensors lay that autograd was given to keep.

    Args:
        tensors: those that structs of a call point at or into, and others.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        self._places = list(map(Tensor.data_ptr, tensors))
        self._looks: list[tuple[torch.Size, torch.dtype, bool]] | None = None
        if is_hooked():
            self._looks = [(v.shape, v.dtype, v.is_contiguous()) for v in tensors]

    def found(
        self, layers: Sequence[Ran | None], now: Sequence[Tensor]
    ) -> tuple[Sequence[Ran | None], list[Tensor]]:
        """The layers, pointed at where the tensors are now, and what to hold beside these.

        Args:
            layers: as they were run.
            now: what autograd gave back.

        Raises:
            BackendError: a tensor was given other memory, or a hook gave another one back.
        """
        if list(map(Tensor.data_ptr, now)) == self._places:
            return layers, []
        if self._looks is None:
            raise BackendError(
                "the gradient of a compiled cell",
                expected="parameters and inputs where they lay in the forward pass",
                got="one that was given other memory since",
                fix="Derive first, then assign `.data` or move the layer.",
            )
        moved, held = [], list[Tensor]()
        for place, (shape, dtype, whole), value in zip(self._places, self._looks, now, strict=True):
            if (value.shape, value.dtype) != (shape, dtype) or value.device.type != "cpu":
                got = tuple(value.shape)
                raise BackendError(
                    "a hook of saved tensors",
                    expected=f"to give back {tuple(shape)} of {dtype} on cpu",
                    got=f"{got} of {value.dtype} on {value.device}",
                    fix="Unpack what was packed, or run without such hooks.",
                )
            if whole:  # else C copied it
                held.append(lying(value))
                moved.append((place, value.nbytes, held[-1].data_ptr()))
        return [None if ran is None else _moved(ran, moved) for ran in layers], held


def _moved(ran: Ran, moved: Sequence[tuple[int, int, int]]) -> Ran:
    """A layer that points at memory elsewhere.

    Args:
        ran: the layer.
        moved: of each piece where it lay, its bytes, and where it lies.
    """
    bound = ran.bound.alike()
    for name, kind in bound.struct._fields_:
        place = getattr(bound.struct, name) if kind is ctypes.c_void_p else None
        if place is None:
            continue
        # Of views of one memory that which begins here; what else C points into is its own.
        fits = [
            (old != place, -size, new + place - old)
            for old, size, new in moved
            if old <= place < old + size
        ]
        if fits:
            setattr(bound.struct, name, min(fits)[2])
    return ran._replace(bound=bound)
