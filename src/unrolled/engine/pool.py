"""A shape comes in, a buffer that nobody holds any more goes out.

Fresh megabytes at every call cost more in page faults than the arithmetic they serve.
"""

import functools
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from . import forks

MOST_BYTES = 1 << 30  # kept for reuse; what is held by others beyond it is not counted
# Buffers of one size that are looked at for a free one. A program that holds so many, as a record
# of what a layer said, keeps them: looking at all of them at every call would be its main work.
MOST_OF_A_SIZE = 128


class Buffer(NamedTuple):
    """Memory of the pool, where it lies, and where PyTorch counts who holds it."""

    tensor: Tensor
    bytes: int
    place: int
    storage: int

    def lost(self) -> bool:
        """Whether others gave its storage other memory: shared with a process, or none at all."""
        return self.tensor.data_ptr() != self.place

    def free(self) -> bool:
        """Whether the pool alone holds it.

        Its tensor has one object of Python's, which the buffer holds and the question; other
        tensors of the same memory are counted by their storage.
        """
        alone = sys.getrefcount(self.tensor) <= 2
        return alone and torch._C._storage_Use_Count(self.storage) <= 2


class Pool:
    """Buffers that are used again once only the pool holds them."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, torch.dtype], list[Buffer]] = {}
        self._bytes = 0
        self._unlock()
        forks.anew(self._unlock)  # another thread may have held it when the process was forked

    def _unlock(self) -> None:
        self._lock = threading.Lock()

    def take(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """A contiguous CPU tensor of this shape, with any content.

        Example:
            >>> pool = Pool()
            >>> first = pool.take(3, 4, dtype=torch.float32).data_ptr()
            >>> pool.take(2, 6, dtype=torch.float32).data_ptr() == first
            True
        """
        size = 1
        for n in shape:
            size *= n
        return (
            shaped(self.piece(size, dtype), shape)
            if size
            else torch.empty(shape, dtype=dtype, device="cpu")
        )

    def piece(self, size: int, dtype: torch.dtype) -> Tensor:
        """Memory of at least so many elements, with any content: a tensor of one axis.

        It is used again once nobody holds this object or another tensor of its memory. What only C
        reads needs no other: making one costs more than all else here.
        """
        rounded = _rounded(size)
        with self._lock:
            held = self._held.setdefault((rounded, dtype), [])
            for buffer in held:
                if buffer.free():
                    if not buffer.lost():
                        return buffer.tensor
                    self._drop(held, lambda one: one.lost())
                    break
            if len(held) >= MOST_OF_A_SIZE:
                self._drop(held, lambda one: not one.free())
            with torch.inference_mode(False):  # later calls may be outside it
                tensor = torch.empty(rounded, dtype=dtype, device="cpu")
            bytes_ = rounded * tensor.element_size()
            if self._bytes + bytes_ > MOST_BYTES:
                self._drop_free()
            if self._bytes + bytes_ <= MOST_BYTES:
                where = tensor.data_ptr(), tensor.untyped_storage()._cdata
                held.append(Buffer(tensor, bytes_, *where))
                self._bytes += bytes_
            return tensor

    def _drop_free(self) -> None:
        for held in self._held.values():
            self._drop(held, Buffer.free)

    def _drop(self, held: list[Buffer], which: Callable[[Buffer], bool]) -> None:
        goes = [which(buffer) for buffer in held]
        self._bytes -= sum(buffer.bytes for buffer, gone in zip(held, goes, strict=True) if gone)
        held[:] = [buffer for buffer, gone in zip(held, goes, strict=True) if not gone]


def shaped(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A contiguous tensor of this shape, from the first element of `memory` on.

    One call of PyTorch where slicing and viewing are two: a call costs as much as a small step's
    arithmetic.
    """
    return memory.as_strided(shape, strides(shape), 0)


@functools.lru_cache(maxsize=4096)
def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a contiguous tensor of this shape."""
    found, stride = [], 1
    for n in reversed(shape):
        found.append(stride)
        stride *= n
    return tuple(found[::-1])


@functools.lru_cache(maxsize=4096)
def _rounded(size: int) -> int:
    """Up to the next of eight sizes an octave: batches of nearly one length share buffers."""
    step = 1 << max(0, size.bit_length() - 4)
    return -(-size // step) * step
