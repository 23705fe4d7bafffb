"""Raw examples come in; float32 sequences (B, T, I) and their lengths go out.

Everything learnt from the training part (offset and divisor of each channel) is kept here and
travels with the model, so that new data is treated exactly as the old was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from unrolled.errors import DataError, ShapeError

from .raw import Inputs

READINGS = ("rows", "columns", "pixels", "permuted")
SCALINGS = ("none", "unit", "standard")
MISSING = ("error", "mask")


@dataclass(frozen=True)
class Preparation:
    """How raw examples become the sequences that a network reads.

    An image of H × W pixels with C colours is read as H rows of W·C features, as W columns of
    H·C, or as H·W pixels of C; "permuted" is the pixels in one fixed random order. A series
    (T, C) is read as it is. With `missing="mask"` each missing value becomes 0 and every channel
    gets a second one behind the C values, 1 where the value was missing.

    Args:
        form: "image" or "series".
        shape: of one raw example: (H, W), (H, W, C) or (T, C), T None where lengths vary.
        read: "rows", "columns", "pixels" or "permuted" (images only).
        seed: of the permutation.
        scaling: "none", "unit" or "standard": how `offset` and `divisor` were found.
        offset: subtracted from each channel, (C,) or one value.
        divisor: what is left is divided by it, (C,) or one value.
        missing: "error", or "mask" (series only).
        columns: names of the channels, or of the T values of a row, in the user's file.
        layout: the kind of file it was learnt from: "images", "arrays", "rows" or "long".
        background: the grey that an image's border mostly has: what shifts uncover.
        resize: whether images of another size are to be resized instead of refused.

    Raises:
        DataError: a field has a value it cannot have.

    Example:
        >>> prepare = Preparation("image", (2, 3), divisor=(255.0,))
        >>> x, lengths = prepare(np.full((1, 2, 3), 255, np.uint8))
        >>> x.tolist(), lengths, prepare.features
        ([[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]], None, 3)
    """

    form: str
    shape: tuple[int | None, ...]
    read: str = "rows"
    seed: int = 0
    scaling: str = "none"
    offset: tuple[float, ...] = (0.0,)
    divisor: tuple[float, ...] = (1.0,)
    missing: str = "error"
    columns: tuple[str, ...] | None = None
    layout: str = "arrays"
    background: float = 0.0
    resize: bool = False

    def __post_init__(self):
        for name in ("shape", "offset", "divisor", "columns"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        allowed = {
            "form": ("image", "series"),
            "read": READINGS,
            "scaling": SCALINGS,
            "missing": MISSING,
            "layout": ("images", "arrays", "rows", "long"),
        }
        for name, choices in allowed.items():
            if getattr(self, name) not in choices:
                raise _bad(name, "one of " + ", ".join(choices), repr(getattr(self, name)))
        if self.form == "image" and self.missing == "mask":
            raise _bad("missing", "'error' for images, whose pixels are all there", "'mask'")
        ranks = (2, 3) if self.form == "image" else (2,)
        sizes = self.shape if self.form == "image" else self.shape[1:]
        if len(self.shape) not in ranks or not all(map(_positive, sizes)):
            raise _bad("shape", "(H, W), (H, W, C) or (T, C), all positive", self.shape)
        for name in ("offset", "divisor"):
            values = getattr(self, name)
            if len(values) not in (1, self.channels) or not all(map(_finite, values)):
                raise _bad(name, f"1 or {self.channels} finite numbers", values)
        if 0 in self.divisor:
            raise _bad("divisor", "no zero", self.divisor)
        if not _whole(self.seed) or not 0 <= self.seed < 2**32:
            raise _bad("seed", "a whole number from 0 to 4294967295", self.seed)

    @property
    def channels(self) -> int:
        """C: values of one pixel, or of one moment of a series, in the raw data."""
        if self.form == "image" and len(self.shape) == 2:
            return 1
        return self._sizes[-1]

    @property
    def features(self) -> int:
        """I: features of one step of the sequences that go out."""
        if self.form == "series":
            return self.channels * (2 if self.missing == "mask" else 1)
        height, width = self._sizes[:2]
        return {"rows": width, "columns": height}.get(self.read, 1) * self.channels

    @property
    def steps(self) -> int | None:
        """T: steps of every sequence, or None where they vary."""
        if self.form == "series":
            return self.shape[0]
        height, width = self._sizes[:2]
        return {"rows": height, "columns": width}.get(self.read, height * width)

    def __call__(self, raw: Inputs) -> tuple[np.ndarray, np.ndarray | None]:
        """Prepare B raw examples.

        Returns:
            Inputs float32 (B, T, I), zero behind each end, and lengths int64 (B,), None where all
            are T long.

        Raises:
            DataError: a value is missing or infinite, or a sequence has no step.
            ShapeError: the examples have another shape than those learnt from.
        """
        if self.form == "image":
            return self._images(np.asarray(raw)), None
        if isinstance(raw, np.ndarray):
            self._check_width(raw.shape[1:], raw.ndim == 3)
            return self._values(raw), None
        return self._ragged(raw)  # type: ignore[arg-type]  # texts have another preparation

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; `from_json` is the way back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, config: dict[str, Any]) -> Preparation:
        """A preparation as `to_json` wrote it.

        Raises:
            DataError: a field is unknown, absent or has a value it cannot have.
        """
        known = {f.name for f in fields(cls)}
        if not isinstance(config, dict) or set(config) - known or {"form", "shape"} - set(config):
            got = sorted(config) if isinstance(config, dict) else type(config).__name__
            raise DataError("a preparation in JSON", expected=f"fields {sorted(known)}", got=got)
        try:
            return cls(**config)
        except TypeError as error:
            raise DataError("a preparation in JSON cannot be read", got=error) from None

    @cached_property
    def _order(self) -> np.ndarray:
        # RandomState, not Generator: NumPy promises that its stream never changes, and a model
        # must find the same order in ten years.
        height, width = self._sizes[:2]
        return np.random.RandomState(self.seed).permutation(height * width)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(size or 0 for size in self.shape)

    def _scaled(self, raw: np.ndarray) -> np.ndarray:
        x = raw.astype(np.float32)
        if any(self.offset):
            x -= np.array(self.offset, np.float32)
        if self.divisor != (1.0,):
            x /= np.array(self.divisor, np.float32)
        return x

    def _images(self, raw: np.ndarray) -> np.ndarray:
        if raw.shape[1:] != self.shape:
            raise ShapeError("images", expected=_size(self.shape), got=_size(raw.shape[1:]))
        x = self._scaled(raw)
        count, height, width = x.shape[:3]
        if self.read == "rows":
            return x.reshape(count, height, width * self.channels)
        if self.read == "columns":
            turned = np.ascontiguousarray(x.swapaxes(1, 2))
            return turned.reshape(count, width, height * self.channels)
        x = x.reshape(count, height * width, self.channels)
        return x if self.read == "pixels" else x.take(self._order, axis=1)

    def _check_width(self, shape: Sequence[int], shaped: bool = True) -> None:
        steps, width = self.shape
        if not shaped or shape[-1] != width:
            raise ShapeError(
                "series", expected=f"(T, {width}), {width} channels a step", got=tuple(shape)
            )
        if steps is not None and shape[0] != steps and self.layout == "rows":
            raise ShapeError("series", expected=f"{steps} steps", got=f"{shape[0]}")
        if shape[0] == 0:
            raise DataError(
                "a sequence has no step", expected="at least 1", got="0", fix="Leave it out."
            )

    def _values(self, raw: np.ndarray) -> np.ndarray:
        x = self._scaled(raw)
        finite = np.isfinite(x)
        if self.missing == "mask":
            gone = np.isnan(x)
            x[gone] = 0
            finite |= gone
            x = np.concatenate([x, gone.astype(np.float32)], axis=-1)
        if not finite.all():
            raise DataError(
                "values that are missing (NaN) or infinite",
                expected="finite numbers",
                got=f"{(~finite).sum()} others in {finite.size}",
                fix="Fill them in; a model trained with missing='mask' reads NaN as missing.",
            )
        return x

    def _ragged(self, raw: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        lengths = np.array([len(one) for one in raw], np.int64)
        for one in raw:
            self._check_width(one.shape, one.ndim == 2)
        longest = int(lengths.max(initial=0))
        x = np.zeros((len(raw), longest, self.features), np.float32)
        if len(raw):
            flat = self._values(np.concatenate(list(raw)))
            x[np.arange(longest) < lengths[:, None]] = flat
        return x, lengths


def _bad(name: str, expected: object, got: object) -> DataError:
    return DataError(f"preparation: {name}", expected=expected, got=got)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _positive(value: object) -> bool:
    return isinstance(value, int) and _whole(value) and value > 0


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _size(shape: Sequence[int | None]) -> str:
    return " x ".join(map(str, shape))
