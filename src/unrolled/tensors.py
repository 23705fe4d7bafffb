"""Safetensors files, read as a stranger's: a path comes in, checked tensors or an error go out.

The header is checked against the file's size and against what the model expects before any weight
is read, so that no file can make us allocate more than it holds.
"""

import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unrolled import files
from unrolled.errors import ModelError
from unrolled.files import MEBI

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Entry(NamedTuple):
    """Where one tensor lies in a safetensors file, and what it is."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class TensorFile:
    """A safetensors file whose header has been checked against its size; no weight is read yet.

    Attributes:
        entries: name → what the tensor is.
        facts: the text → text table of the header.

    Raises:
        ModelError: it is missing, a pickle, cut short, too long, or lies about its sizes.
    """

    def __init__(self, path: Path, *, header_limit: int = 16 * MEBI):
        self.path = path
        try:
            facts = os.stat(path)
        except OSError as error:
            files.read(path, 0)  # says why in the words of every other file
            raise ModelError(f"{path} cannot be read", got=error.strerror) from None
        if not stat.S_ISREG(facts.st_mode):
            files.read(path, 0)
        try:
            with open(path, "rb") as file:
                first = file.read(8)
                length = int.from_bytes(first, "little")
                if len(first) < 8 or length > min(facts.st_size - 8, header_limit):
                    self._refuse_pickle(first)
                    raise self._broken("a header that fits the file", f"{facts.st_size} bytes")
                header = file.read(length)
        except OSError as error:
            raise ModelError(f"{path} cannot be read", got=error.strerror) from None
        table = files.parse_json(header, f"the header of {path}")
        if not isinstance(table, dict):
            raise self._broken("a table of tensors", type(table).__name__)
        self.facts = self._text_table(table.pop("__metadata__", {}))
        self.start = 8 + length
        self.entries = {name: self._entry(name, row) for name, row in table.items()}
        self._check_cover(facts.st_size - self.start)

    def expect(self, wanted: Mapping[str, torch.Tensor]) -> None:
        """Check names, shapes and dtypes against `wanted`, whose values (and device) play no part.

        Raises:
            ModelError: naming the file and the first tensor that differs.
        """
        missing, extra = wanted.keys() - self.entries.keys(), self.entries.keys() - wanted.keys()
        if missing or extra:
            raise ModelError(
                f"{self.path} does not fit config.json",
                expected=_names(missing) or f"{len(wanted)} tensors and no other",
                got=f"{_names(extra)} as well" if extra else "no such tensor",
                fix="Restore both files from one model.",
            )
        for name, tensor in wanted.items():
            entry = self.entries[name]
            if (entry.shape, entry.dtype) != (tuple(tensor.shape), tensor.dtype):
                raise ModelError(
                    f"{self.path}, tensor {name!r}",
                    expected=f"{tuple(tensor.shape)} of {_NAMES.get(tensor.dtype, tensor.dtype)}",
                    got=f"{entry.shape} of {_NAMES[entry.dtype]}",
                    fix="Restore model.safetensors and config.json from one model.",
                )

    def load(self, *, finite: bool = True) -> dict[str, torch.Tensor]:
        """Read every tensor, as its own memory.

        Raises:
            ModelError: a weight is NaN or infinite (unless `finite` is False).
        """
        size = max((entry.end for entry in self.entries.values()), default=0)
        data = bytearray(files.read(self.path, self.start + size))
        if len(data) != self.start + size:
            raise self._broken(f"{self.start + size} bytes", f"{len(data)} (it is being written)")
        tensors = {}
        for name, entry in self.entries.items():
            count = math.prod(entry.shape)
            if count == 0:
                tensors[name] = torch.empty(entry.shape, dtype=entry.dtype)
                continue
            piece = data[self.start + entry.begin : self.start + entry.end]
            tensor = torch.frombuffer(piece, dtype=entry.dtype).reshape(entry.shape)
            if finite and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise ModelError(
                    f"{self.path}, tensor {name!r}",
                    expected="finite weights",
                    got="NaN or infinity",
                    fix="Train again, or restore the file.",
                )
            tensors[name] = tensor
        return tensors

    def _entry(self, name: str, row: Any) -> Entry:
        try:
            dtype = DTYPES[row["dtype"]]
            shape = tuple(row["shape"])
            begin, end = row["data_offsets"]
            fine = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
        except (KeyError, TypeError, ValueError):
            raise self._broken(f"a known dtype, a shape and two offsets of {name!r}", row) from None
        if not fine or math.prod(shape) * dtype.itemsize != end - begin or len(shape) > 16:
            raise self._broken(f"offsets of {name!r} that hold its shape", row)
        return Entry(dtype, shape, begin, end)

    def _check_cover(self, size: int) -> None:
        place = 0
        for entry in sorted(self.entries.values(), key=lambda entry: (entry.begin, entry.end)):
            if entry.begin != place:
                raise self._broken("tensors one after the other", f"one at byte {entry.begin}")
            place = entry.end
        if place != size:
            raise self._broken(f"{place} bytes of weights", size)

    def _text_table(self, table: object) -> dict[str, str]:
        if isinstance(table, dict) and all(isinstance(text, str) for text in table.values()):
            return table
        raise self._broken("a table of texts as metadata", table)

    def _refuse_pickle(self, first: bytes) -> None:
        if first[:1] in (b"\x80", b"(", b"c") or first[:4] == b"PK\x03\x04":
            raise ModelError(
                f"{self.path} is a pickle or a zip archive, which can run code",
                expected="safetensors",
                fix="Turn a PyTorch checkpoint into a model with `unrolled import`.",
            )

    def _broken(self, expected: str, got: object) -> ModelError:
        return ModelError(
            f"{self.path} is not a whole safetensors file", expected=expected, got=files.short(got)
        )


def tensor_bytes(tensors: Mapping[str, torch.Tensor], facts: str = "") -> bytes:
    """A safetensors file of `tensors`, `facts` in its header; equal values give equal bytes."""
    from safetensors.torch import save

    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return save(own, metadata={"facts": facts} if facts else None)


def _names(names) -> str:
    some = sorted(names)
    return ", ".join(map(repr, some[:3])) + (f" and {len(some) - 3} more" if len(some) > 3 else "")
