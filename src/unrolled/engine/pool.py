"""A shape comes in, a buffer that nobody holds any more goes out.

Fresh megabytes at every call cost more in page faults than the arithmetic they serve.
"""

import threading

import torch
from torch import Tensor

MOST_BYTES = 1 << 30  # kept for reuse; what is held by others beyond it is not counted


class Pool:
    """Buffers that are used again once only the pool holds them."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, torch.dtype], list[Tensor]] = {}
        self._bytes = 0
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
        if not size:
            return torch.empty(shape, dtype=dtype)
        rounded = _rounded(size)
        with self._lock:
            held = self._held.setdefault((rounded, dtype), [])
            for tensor in held:
                if _free(tensor):
                    return tensor[:size].view(shape)
            tensor = torch.empty(rounded, dtype=dtype)
            bytes_ = rounded * tensor.element_size()
            if self._bytes + bytes_ > MOST_BYTES:
                self._drop_free()
            if self._bytes + bytes_ <= MOST_BYTES:
                held.append(tensor)
                self._bytes += bytes_
            return tensor[:size].view(shape)

    def _drop_free(self) -> None:
        for key, held in self._held.items():
            kept = [tensor for tensor in held if not _free(tensor)]
            self._bytes -= (len(held) - len(kept)) * key[0] * key[1].itemsize
            held[:] = kept


def _free(tensor: Tensor) -> bool:
    # Two holders: the pool's tensor, and the storage object made by asking.
    return torch._C._storage_Use_Count(tensor.untyped_storage()._cdata) <= 2


def _rounded(size: int) -> int:
    """Up to the next of eight sizes an octave: batches of nearly one length share buffers."""
    step = 1 << max(0, size.bit_length() - 4)
    return -(-size // step) * step
