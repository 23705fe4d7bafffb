"""What a backward pass reads where the forward pass left it: autograd keeps it, and where it lies
by then goes to C.

Autograd lets it go once a gradient was taken, though the results live on, and shows it to hooks: a
checkpoint keeps nothing and computes it again, others move it elsewhere.
"""

import ctypes
from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import Tensor

from ..errors import BackendError
from .bound import place
from .gradients import Ran
from .room import lying

_LOOKS = attrgetter("shape", "dtype")


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
        self._looks = list(map(_LOOKS, tensors))
        self._whole = list(map(Tensor.is_contiguous, tensors))

    def found(
        self, layers: Sequence[Ran | None], now: Sequence[Tensor]
    ) -> tuple[Sequence[Ran | None], list[Tensor]]:
        """The layers, pointed at where the tensors are now, and what to hold beside these.

        They lie elsewhere where a hook gave others back, or somebody gave one other memory, as
        what shards or shares weights does; PyTorch's own layers read what is there then, too.

        Args:
            layers: as they were run.
            now: what autograd gave back.

        Raises:
            BackendError: one is not like the one that was kept.
        """
        if list(map(Tensor.data_ptr, now)) == self._places:
            return layers, []
        moved, held = [], list[Tensor]()
        before = zip(self._places, self._looks, self._whole, strict=True)
        for (at, looks, whole), value in zip(before, now, strict=True):
            if _LOOKS(value) != looks or value.device.type != "cpu":
                shape, dtype = looks
                got = tuple(value.shape)
                raise BackendError(
                    "the gradient of a compiled cell",
                    expected=f"what it kept, {tuple(shape)} of {dtype} on cpu",
                    got=f"{got} of {value.dtype} on {value.device}",
                    fix="Derive first, then assign `.data` or move the layer; hooks of saved "
                    "tensors give back what they took.",
                )
            if whole:  # else C copied it
                place(value)
                held.append(lying(value))
                moved.append((at, value.nbytes, place(held[-1])))
        return [None if ran is None else _moved(ran, moved) for ran in layers], held


def _moved(ran: Ran, moved: Sequence[tuple[int, int, int]]) -> Ran:
    """A layer that points at memory elsewhere.

    Args:
        ran: the layer.
        moved: of each piece where it lay, its bytes, and where it lies.
    """
    bound = ran.bound.alike()
    for name, kind in bound.struct._fields_:
        at = getattr(bound.struct, name) if kind is ctypes.c_void_p else None
        if at is None:
            continue
        # Of views of one memory that which begins here; what else C points into is its own.
        fits = [
            (old != at, -size, new + at - old) for old, size, new in moved if old <= at < old + size
        ]
        if fits:
            setattr(bound.struct, name, min(fits)[2])
    return ran._replace(bound=bound)
