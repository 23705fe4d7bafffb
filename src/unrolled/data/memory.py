"""Arrays in memory come in; they are checked, and raw examples go out."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.errors import DataError

from .raw import Raw


def from_arrays(
    values: Any,
    answers: np.ndarray | None = None,
    *,
    lengths: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
    ids: list[str] | None = None,
    source: str = "arrays",
    missing: str = "error",
    sha256: dict[str, str] | None = None,
) -> Raw:
    """Check arrays, or a list of series, and turn them into raw examples.

    Args:
        values: (N, T), (N, T, C), a list of (Tᵢ, C) or (Tᵢ,), or images uint8 (N, H, W[, C]).
        answers: (N,) or (N, K), or None.
        lengths: whole numbers (N,): how many of the T moments of each series count.
        groups: (N,), whom each comes from.
        times: (N,), when each was taken.
        ids: N names.
        source: what to call them in messages.
        missing: "error", or "mask" to allow NaN.
        sha256: checksums to record.

    Raises:
        DataError: counts differ, a series has no moment, or a value is no number, missing or
            infinite.
    """
    ragged = isinstance(values, list | tuple)
    inputs: Any
    if ragged:
        inputs = [_one_series(one, i, source) for i, one in enumerate(values)]
        for i, one in enumerate(inputs):
            if one.shape[1] != inputs[0].shape[1]:
                raise DataError(
                    f"{source}, series {i}",
                    expected=f"{inputs[0].shape[1]} channels as series 0 has",
                    got=one.shape[1],
                    fix="Give every series the same channels.",
                )
        form = "series"
    else:
        values = _numeric(np.asarray(values), source)
        image = values.dtype == np.uint8 and values.ndim in (3, 4)
        form = "image" if image else "series"
        inputs = values if image else _as_series(values, source)
    count = len(inputs)
    if not count:
        raise DataError(source, expected="at least 1 example", got="0")
    for name, other in (("y", answers), ("lengths", lengths), ("groups", groups), ("ids", ids)):
        if other is not None and len(other) != count:
            raise DataError(
                f"{source}: x and {name}",
                expected=f"{count} values of {name}, one for each example",
                got=len(other),
                fix="Give both for the same examples, in the same order.",
            )
    if lengths is not None:
        inputs = _cut(inputs, lengths, source)
    if form == "series":
        _check_values(inputs, source, missing)
    return Raw(
        inputs,
        form,
        "images" if form == "image" else "arrays",
        answers=None if answers is None else np.asarray(answers),
        ids=ids,
        groups=groups,
        times=times,
        source=source,
        sha256=sha256 or {},
    )


def _numeric(values: np.ndarray, source: str) -> np.ndarray:
    real = values.dtype == bool or np.issubdtype(values.dtype, np.number)
    if real and not np.iscomplexobj(values):
        return values
    raise DataError(f"{source}: x", expected="real numbers", got=f"values of type {values.dtype}")


def _as_series(values: np.ndarray, source: str) -> np.ndarray:
    if values.ndim not in (2, 3):
        raise DataError(
            f"{source}: x",
            expected="the shape (N, T) or (N, T, I), or images uint8 (N, H, W)",
            got=values.shape,
        )
    values = values[:, :, None] if values.ndim == 2 else values
    if not all(values.shape[1:]):
        raise DataError(f"{source}: x", expected="at least 1 step and 1 channel", got=values.shape)
    return _float32(values)


def _one_series(one: Any, i: int, source: str) -> np.ndarray:
    place = f"{source}, series {i}"
    values = _numeric(np.asarray(one), place)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not all(values.shape):
        raise DataError(
            place,
            expected="the shape (T, I) with at least 1 step",
            got=np.shape(one),
            fix="Leave it out, or give it its values.",
        )
    return _float32(values)


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
        return values.astype(np.float32)


def _cut(inputs: np.ndarray, lengths: np.ndarray, source: str) -> list[np.ndarray]:
    lengths = np.asarray(lengths)
    steps = inputs.shape[1]
    wrong = np.flatnonzero((lengths < 1) | (lengths > steps) | (lengths != lengths.astype(int)))
    if len(wrong):
        raise DataError(
            f"{source}: length of series {wrong[0]}",
            expected=f"a whole number from 1 to {steps}",
            got=lengths[wrong[0]],
            fix="Leave out series without a step.",
        )
    return [one[: int(n)] for one, n in zip(inputs, lengths, strict=True)]


def _check_values(inputs: np.ndarray | list[np.ndarray], source: str, missing: str) -> None:
    for i, one in enumerate(inputs):
        good = np.isfinite(one) | (np.isnan(one) if missing == "mask" else False)
        if not good.all():
            step, channel = np.argwhere(~good)[0]
            nan = np.isnan(one[step, channel])
            raise DataError(
                f"{source}, example {i}, step {step}, channel {channel}",
                expected="a finite number",
                got="NaN" if nan else "an infinite one",
                fix="Fill it in, or let the network see which values are missing: --missing mask"
                if nan
                else "Correct it.",
            )
