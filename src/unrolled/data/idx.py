"""A file in MNIST's idx format comes in, gzipped or raw; an array of bytes goes out.

The format: two zero bytes, the type of a value (8: unsigned byte), the number of axes, the length
of each axis as a big-endian 32-bit number, and the values.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from unrolled.errors import DataError

from .content import content, head

_BYTE = 8
_WHAT = {1: "labels (1 axis)", 3: "images (3 axes)"}


def read_idx(path: Path, axes: int) -> tuple[np.ndarray, str]:
    """Read an idx file of unsigned bytes.

    Args:
        path: the file.
        axes: 3 for images (N, H, W), 1 for labels (N,).

    Returns:
        The values, uint8, and the SHA-256 of the uncompressed file.

    Raises:
        DataError: it is no idx file, has other axes, or is shorter or longer than it says.
    """
    shape = read_shape(path, axes)
    start = 4 + 4 * axes
    size = start + math.prod(shape)
    whole = content(path, limit=size)
    if len(whole.data) < size:
        raise DataError(
            str(path),
            expected=f"{size} bytes for {' x '.join(map(str, shape))} values",
            got=f"{len(whole.data)}",
            fix="Get the file again: it is cut off.",
        )
    return np.frombuffer(whole.data, np.uint8, offset=start).reshape(shape), whole.sha256


def read_shape(path: Path, axes: int) -> tuple[int, ...]:
    """The shape an idx file declares, from its first bytes alone.

    Raises:
        DataError: it is no idx file of unsigned bytes, or has other axes than `axes`.
    """
    first = head(path, 4 + 4 * axes)
    if not first:
        raise DataError(
            str(path), expected="an idx file", got="an empty file", fix="Get the file again."
        )
    magic = first[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != _BYTE:
        raise DataError(
            str(path),
            expected=f"an idx file, whose first bytes are 00 00 08 {axes:02x}",
            got=magic.hex(" ") or "nothing",
            fix="Get the file again, or check that it is the right one.",
        )
    if magic[3] != axes:
        other = _WHAT.get(magic[3], f"{magic[3]} axes")
        swapped = magic[3] in _WHAT
        raise DataError(
            str(path),
            expected=_WHAT[axes],
            got=other,
            fix="The image and label files are swapped: rename them." if swapped else "",
        )
    if len(first) < 4 + 4 * axes:
        raise DataError(
            str(path),
            expected=f"a header of {4 + 4 * axes} bytes",
            got=f"{len(first)}",
            fix="Get the file again: it is cut off.",
        )
    return struct.unpack(f">{axes}I", first[4:])


def read_pair(
    images: Path, labels: Path, classes: int | None
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Images with their labels.

    Args:
        images: idx file of (N, H, W).
        labels: idx file of (N,).
        classes: how many there are; None takes what the labels say.

    Returns:
        Images uint8 (N, H, W), labels int64 (N,), and {file name: SHA-256}.

    Raises:
        DataError: the counts differ, there are none, or a label is out of range.
    """
    pixels, pixels_sha = read_idx(images, 3)
    answers, answers_sha = read_idx(labels, 1)
    if len(pixels) != len(answers):
        raise DataError(
            f"{images.name} and {labels.name}",
            expected="as many images as labels",
            got=f"{len(pixels)} images, {len(answers)} labels",
            fix="Take both files from the same source.",
        )
    if not pixels.size:
        raise DataError(str(images), expected="at least 1 image", got=f"shape {pixels.shape}")
    if classes is not None and answers.max() >= classes:
        first = int(np.argmax(answers >= classes))
        raise DataError(
            f"{labels}, label {first}",
            expected=f"0 to {classes - 1}",
            got=int(answers[first]),
            fix="Get the file again, or give its folder as DATA to use classes of your own.",
        )
    return pixels, answers.astype(np.int64), {images.name: pixels_sha, labels.name: answers_sha}
