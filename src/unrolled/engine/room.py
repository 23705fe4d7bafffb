"""Shapes of buffers come in; one piece of memory that holds them all goes out."""

import ctypes

import torch
from torch import Tensor

from .pool import Pool, strides

POOL = Pool()
LINE = 64  # bytes of a cache line, where each buffer begins
Shapes = dict[str, tuple[tuple[int, ...], torch.dtype]]


def lying(value: Tensor) -> Tensor:
    """A tensor whose memory, read as it lies, is its values, in one piece.

    PyTorch has views whose sign is turned where they are read, and zeros that have no memory.
    """
    value = value.contiguous()
    return value.clone() if value.is_neg() or value._is_zerotensor() else value


def row(memory: Tensor, size: int) -> Tensor:
    """The first elements of a piece of memory, as a tensor that PyTorch counts as a holder."""
    return memory.as_strided((size,), (1,), 0)


class Places:
    """Where buffers lie in a piece of memory.

    Args:
        shapes: name → shape and dtype.
        dtype: of the piece, as the pool knows it.
    """

    def __init__(self, shapes: Shapes, dtype: torch.dtype):
        self.dtype, self.shapes = dtype, shapes
        self.strides = {name: strides(shape) for name, (shape, _) in shapes.items()}
        self.bytes: dict[str, tuple[int, int]] = {}  # first, and how many
        at = 0
        for name, (shape, kind) in shapes.items():
            size = kind.itemsize
            for n in shape:
                size *= n
            self.bytes[name] = at, size
            at += -(-size // LINE) * LINE
        self.size = at // dtype.itemsize


class Room:
    """Buffers in one piece of memory, held by this object.

    Args:
        places: where each lies.
        memory: the piece; one of the pool where it is not given.
        at: the first element of it.
    """

    def __init__(self, places: Places, memory: Tensor | None = None, at: int = 0):
        self._places, self._at = places, at
        self.memory = POOL.piece(places.size, places.dtype) if memory is None else memory

    def point(self, struct: ctypes.Structure) -> None:
        """Let the struct's fields of these names point here."""
        base = self.memory.data_ptr() + self._at * self._places.dtype.itemsize
        for name, (at, _) in self._places.bytes.items():
            setattr(struct, name, base + at)

    def own(self) -> list[Tensor]:
        """All of it, each piece as a tensor of one axis that PyTorch counts as a holder."""
        return [self.memory.as_strided((self._places.size,), (1,), self._at)]

    def tensor(self, name: str) -> Tensor:
        """One of the buffers."""
        at, size = self._places.bytes[name]
        shape, kind = self._places.shapes[name]
        own = self._places.dtype
        if kind is own:
            first = self._at + at // kind.itemsize
            return self.memory.as_strided(shape, self._places.strides[name], first)
        end = self._at - (-(at + size) // own.itemsize)
        piece = self.memory[self._at + at // own.itemsize : end]
        return piece.view(kind)[: size // kind.itemsize].view(shape)
