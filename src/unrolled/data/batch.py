"""A split comes in; batches of tensors go out, in an order that (seed, epoch) alone decides.

Whoever stops at step k of an epoch and asks again with `start=k` gets the same bits as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unrolled.errors import UsageError

from .dataset import Split, pick
from .preparation import Preparation
from .wording import TextPreparation

if TYPE_CHECKING:
    from torch import Tensor

_ORDER, _SHIFT, _BATCHES = (
    0,
    1,
    2,
)  # what a draw is for: two uses of one (seed, epoch) never share a stream


class Batch(NamedTuple):
    """B examples as tensors.

    Attributes:
        inputs: float32 (B, T, I), zero where padded; of texts the numbers int64 (B, T).
        lengths: int64 (B,) on the CPU, or None where every sequence is T long.
        targets: int64 (B,) for single labels, float32 (B, K) for several or for regression, or
            None.
        index: int64 (B,): where in the split each example stands.
    """

    inputs: Tensor
    lengths: Tensor | None
    targets: Tensor | None
    index: Tensor  # type: ignore[assignment]  # tuple.index is hidden: nobody looks a batch up


def batches(
    split: Split,
    preparation: Preparation | TextPreparation,
    size: int,
    *,
    seed: int | None = None,
    epoch: int = 0,
    start: int = 0,
    augment: str | None = None,
) -> Iterator[Batch]:
    """Yield a split in batches of `size`; the last one holds what is left.

    Args:
        split: what to read.
        preparation: from raw examples to (B, T, I).
        size: B, at least 1.
        seed: None reads in order; a number shuffles, as a pure function of (seed, epoch). Texts of
            about one length come together, in either case: `index` says which they are.
        epoch: which pass this is, from 0.
        start: how many batches of this pass to leave out, because they were done before.
        augment: "shift2" moves each image by up to 2 pixels each way, as a pure function of
            (seed, epoch, step); what is uncovered gets the background's grey.

    Raises:
        UsageError: the size, the start or the augmentation cannot be.

    Example:
        >>> from unrolled.data import load
        >>> digits = load("digits")
        >>> first = next(batches(digits.train, digits.preparation, 100, seed=0))
        >>> tuple(first.inputs.shape), tuple(first.targets.shape)
        ((100, 8, 8), (100,))
    """
    reach = _reach(augment, preparation)
    for name, value, least in (("size", size, 1), ("start", start, 0), ("epoch", epoch, 0)):
        if value < least:
            raise UsageError(f"batches: {name}", expected=f"at least {least}", got=value)
    return _batches(split, preparation, size, seed, epoch, start, reach)


def _batches(split, preparation, size, seed, epoch, start, reach) -> Iterator[Batch]:
    import torch

    count = len(split)
    order = np.arange(count)
    if seed is not None:
        order = _random(seed, epoch, _ORDER).permutation(count)
    if isinstance(preparation, TextPreparation):
        yield from _text_batches(split, preparation, size, seed, epoch, start, order)
        return
    for step in range(start, -(-count // size)):
        index = order[step * size : (step + 1) * size]
        raw = pick(split.inputs, index)
        if reach:
            random = _random(seed or 0, epoch, _SHIFT, step)
            raw = shifted(np.asarray(raw), reach, random, preparation.background)
        inputs, lengths = preparation(raw)
        yield Batch(
            torch.from_numpy(inputs),
            None if lengths is None else torch.from_numpy(lengths),
            None if split.targets is None else torch.from_numpy(split.targets[index]),
            torch.from_numpy(index),
        )


def _text_batches(split, preparation, size, seed, epoch, start, order) -> Iterator[Batch]:
    import torch

    rows = preparation.encoded(split)
    lengths = np.array([len(row) for row in rows], np.int64)
    for index in bucketed(lengths, size, order, shuffle=(seed, epoch))[start:]:
        ids, own = preparation.padded([rows[i] for i in index])
        yield Batch(
            torch.from_numpy(ids),
            torch.from_numpy(own),
            None if split.targets is None else torch.from_numpy(split.targets[index]),
            torch.from_numpy(index),
        )


def bucketed(
    lengths: np.ndarray, size: int, order: np.ndarray, *, shuffle: tuple[int | None, int]
) -> list[np.ndarray]:
    """Batches of examples whose lengths are near one another, so that little is padding.

    Args:
        lengths: (N,) of all examples.
        size: B.
        order: (N,), from which pools of 64 batches are taken, and each pool is sorted by length.
        shuffle: (seed, epoch) of the order of the batches; seed None leaves them sorted.

    Example:
        >>> [b.tolist() for b in bucketed(np.array([3, 1, 2]), 2, np.arange(3), shuffle=(None, 0))]
        [[1, 2], [0]]
    """
    seed, epoch = shuffle
    pool = 64 * size if seed is not None else max(len(order), 1)
    found: list[np.ndarray] = []
    for first in range(0, len(order), pool):
        some = order[first : first + pool]
        some = some[np.argsort(lengths[some], kind="stable")]
        found += [some[at : at + size] for at in range(0, len(some), size)]
    if seed is not None:
        # The short batch at a pool's end moves as well; the number of batches stays the same.
        found = [found[at] for at in _random(seed, epoch, _BATCHES).permutation(len(found))]
    return found


def alike(
    lengths: np.ndarray, size: int, *, seed: int | None, epoch: int, spread: float
) -> list[np.ndarray]:
    """Batches of examples of about one length, from all of them at once.

    Args:
        lengths: (N,) of all examples.
        size: B.
        seed: None sorts; with one, who is together and what comes first is drawn anew each epoch.
        epoch: which pass this is.
        spread: up to how much longer an example may be taken to be, so that neighbours change.

    Example:
        >>> [b.tolist() for b in alike(np.array([3, 1, 2]), 2, seed=None, epoch=0, spread=2)]
        [[1, 2], [0]]
    """
    if seed is None:
        order = np.argsort(lengths, kind="stable")
        return [order[k : k + size] for k in range(0, len(order), size)]
    random = _random(seed, epoch)
    order = np.argsort(lengths + spread * random.random_sample(len(lengths)), kind="stable")
    found = [order[k : k + size] for k in range(0, len(order), size)]
    return [found[k] for k in random.permutation(len(found))]


def checked_request(size: int, augment: str | None, fit: str) -> None:
    """Raise unless batches can have this size, and no augmentation is asked for.

    Raises:
        UsageError: saying what would fit.
    """
    if augment not in (None, "none"):
        raise UsageError("augment", expected=fit, got=repr(augment))
    if size < 1:
        raise UsageError("batches: size", expected="at least 1", got=size)


def shifted(
    images: np.ndarray, reach: int, random: np.random.RandomState, background: float = 0
) -> np.ndarray:
    """Each image (B, H, W) or (B, H, W, C) moved by up to `reach` pixels down and across."""
    count, height, width = images.shape[:3]
    frame = [(0, 0), (reach, reach), (reach, reach)] + [(0, 0)] * (images.ndim - 3)
    framed = np.pad(images, frame, constant_values=images.dtype.type(background))
    windows = np.lib.stride_tricks.sliding_window_view(framed, (height, width), axis=(1, 2))
    down, across = random.randint(0, 2 * reach + 1, size=(2, count))
    moved = windows[np.arange(count), down, across]
    return moved if images.ndim == 3 else np.moveaxis(moved, 1, -1)


def _random(*words: int) -> np.random.RandomState:
    # RandomState's streams are frozen by NumPy's promise; Generator's may change with a release.
    return np.random.RandomState([word % 2**32 for word in words])


def _reach(augment: str | None, preparation: Preparation | TextPreparation) -> int:
    if augment is None or augment == "none":
        return 0
    digits = augment.removeprefix("shift")
    if not augment.startswith("shift") or not digits.isdigit() or not int(digits):
        raise UsageError("augment", expected="'shift2' or 'none'", got=repr(augment))
    if preparation.form != "image":
        raise UsageError(
            f"augment={augment!r}", expected="images", got="series", fix="Leave augment out."
        )
    return int(digits)
