"""The training part comes in; the preparation learnt from it alone goes out."""

from __future__ import annotations

import numpy as np

from unrolled.errors import DataError, UsageError

from .preparation import MISSING, READINGS, SCALINGS, Preparation
from .raw import Inputs


def learn(
    inputs: Inputs,
    *,
    form: str,
    layout: str,
    read: str = "rows",
    seed: int = 0,
    scale: str | None = None,
    missing: str = "error",
    columns: list[str] | None = None,
    resize: bool = False,
) -> Preparation:
    """Learn offset and divisor of each channel from the training examples.

    Args:
        inputs: the raw examples of the training part.
        form: "image" or "series".
        layout: the kind of file: "images", "arrays", "rows" or "long".
        read: the order in which an image is read.
        seed: of the permutation of pixels.
        scale: "none", "unit" (to 0…1), "standard" (mean 0, deviation 1); None is "unit" for
            images and "standard" for series.
        missing: "error" or "mask".
        columns: names of what the user's file holds.
        resize: whether images of another size may be resized later.

    Raises:
        UsageError: read, scale or missing is none of the known ones, or cannot go with the form.
        DataError: there is nothing to learn from, or every value of a channel is missing.

    Example:
        >>> series = np.array([[[1.0], [3.0]]], np.float32)
        >>> prepare = learn(series, form="series", layout="arrays")
        >>> prepare(series)[0].tolist()
        [[[-1.0], [1.0]]]
    """
    scale = scale or ("unit" if form == "image" else "standard")
    for name, value, choices in (
        ("read", read, READINGS),
        ("scale", scale, SCALINGS),
        ("missing", missing, MISSING),
    ):
        if value not in choices:
            raise UsageError(name, expected="one of " + ", ".join(choices), got=repr(value))
    if form == "image" and missing == "mask":
        raise UsageError(
            "missing='mask'",
            expected="series",
            got="images, where no pixel can be missing",
            fix="Leave it out.",
        )
    if form == "series" and read != "rows":
        raise UsageError(
            f"read={read!r}",
            expected="images",
            got="series, which are read in the order of time",
            fix="Leave it out.",
        )
    if not len(inputs):
        raise DataError(
            "the training part", expected="at least 1 example", got="0", fix="Hold out fewer."
        )
    shape: tuple[int | None, ...]
    if isinstance(inputs, np.ndarray):
        shape = inputs.shape[1:]
    else:
        shape = (None, np.asarray(inputs[0]).shape[1])
    if form == "image":
        offset, divisor = _of_pixels(np.asarray(inputs), scale)
        background = _border(np.asarray(inputs))
    else:
        offset, divisor = _of_channels(inputs, scale, columns if layout == "long" else None)
        background = 0.0
    return Preparation(
        form,
        shape,
        read=read,
        seed=seed,
        scaling=scale,
        offset=offset,
        divisor=divisor,
        missing=missing,
        columns=None if columns is None else tuple(columns),
        layout=layout,
        background=background,
        resize=resize,
    )


Learnt = tuple[tuple[float, ...], tuple[float, ...]]


def _of_pixels(images: np.ndarray, scale: str) -> Learnt:
    if scale == "none":
        return (0.0,), (1.0,)
    if scale == "unit":
        return (0.0,), (float(np.iinfo(images.dtype).max),)
    axes = (0, 1, 2)
    mean = np.atleast_1d(images.mean(axis=axes, dtype=np.float64))
    # E[x²] − mean² in whole numbers and float64: no float copy of all pixels is made.
    squares = (
        [_mean_square(images[..., c]) for c in range(images.shape[3])]
        if images.ndim == 4
        else [_mean_square(images)]
    )
    deviation = np.sqrt(np.maximum(np.array(squares) - mean**2, 0))
    return _plain(mean, deviation)


def _mean_square(pixels: np.ndarray) -> float:
    values, counts = np.unique(pixels, return_counts=True)
    return float((values.astype(np.float64) ** 2 * counts).sum() / counts.sum())


def _of_channels(inputs: Inputs, scale: str, columns: list[str] | None) -> Learnt:
    if scale == "none":
        return (0.0,), (1.0,)
    flat = inputs if isinstance(inputs, np.ndarray) else np.concatenate(inputs)
    flat = flat.reshape(-1, flat.shape[-1]).astype(np.float64)
    empty = np.flatnonzero(np.isnan(flat).all(axis=0))
    if len(empty):
        name = columns[empty[0]] if columns else f"channel {empty[0]}"
        raise DataError(
            f"{name} in the training part",
            expected="some values",
            got="none, all are missing",
            fix="Leave that channel out.",
        )
    if scale == "unit":
        low = np.nanmin(flat, axis=0)
        return _plain(low, np.nanmax(flat, axis=0) - low)
    return _plain(np.nanmean(flat, axis=0), np.nanstd(flat, axis=0))


def _plain(offset: np.ndarray, divisor: np.ndarray) -> Learnt:
    # A channel that never changes carries nothing: dividing by 1 leaves it at 0.
    divisor = np.where(divisor > 1e-12 * np.maximum(np.abs(offset), 1), divisor, 1.0)
    return tuple(map(float, offset)), tuple(map(float, divisor))


def _border(images: np.ndarray) -> float:
    edges = [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]
    return float(np.median(np.concatenate([edge.ravel() for edge in edges])))
