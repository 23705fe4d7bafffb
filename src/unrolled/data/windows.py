"""Token numbers of a long text come in; B streams of it, cut into windows of T steps, go out.

Row b of each window goes on where row b of the window before it ended, so that a state can be
carried from one to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unrolled.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100  # a target that is not counted
WARM = 512  # tokens that a stream of an evaluation reads before its first counted one
LEAST = 4096  # tokens that make a further stream of an evaluation worth its start


class Window(NamedTuple):
    """T steps of B streams.

    Attributes:
        inputs: int64 (B, T), token numbers.
        lengths: None: every row is T long.
        targets: int64 (B, T), the token after each input; `IGNORED` where it is not counted.
        index: int64 (n,): where in the text each counted target stands.
        fresh: bool (B,): rows that begin with the states before the first step.
    """

    inputs: Tensor
    lengths: None
    targets: Tensor
    index: Tensor  # type: ignore[assignment]  # tuple.index is hidden: nobody looks a window up
    fresh: Tensor


def count(tokens: int, size: int, window: int) -> int:
    """How many windows `training` yields of a text of so many tokens.

    Example:
        >>> count(tokens=1000, size=10, window=30)
        4
    """
    return -(-(tokens // size) // window)


def training(
    ids: np.ndarray,
    size: int,
    window: int,
    *,
    seed: int | None = None,
    epoch: int = 0,
    start: int = 0,
) -> Iterator[Window]:
    """The text once, as `size` streams side by side, cut into windows.

    The text is read as a circle, from a place that (seed, epoch) alone decides, so that each epoch
    cuts it elsewhere; the last N mod B tokens before that place are left out.

    Args:
        ids: token numbers (N,); may be a file mapped into memory.
        size: B, how many streams.
        window: T, steps of a window; the last one of a pass holds what is left.
        seed: None reads from the first token.
        epoch: which pass this is, from 0.
        start: how many windows of this pass to leave out, because they were done before.

    Raises:
        UsageError: the text has fewer tokens than streams.

    Example:
        >>> first, second = training(np.arange(12), size=2, window=4)
        >>> first.inputs.tolist(), second.inputs.tolist()
        ([[0, 1, 2, 3], [6, 7, 8, 9]], [[4, 5], [10, 11]])
        >>> first.targets.tolist(), first.fresh.tolist(), second.fresh.tolist()
        ([[1, 2, 3, 4], [7, 8, 9, 10]], [True, True], [False, False])
    """
    steps = len(ids) // size
    if steps < 1:
        raise UsageError(
            f"batch={size} streams of a text",
            expected=f"at most {len(ids)}, its tokens",
            got=size,
            fix="Give a longer text, or a smaller batch.",
        )
    return _training(ids, size, window, steps, seed, epoch, start)


def _training(ids, size, window, steps, seed, epoch, start) -> Iterator[Window]:
    first = 0
    if seed is not None:
        first = int(np.random.RandomState([seed % 2**32, epoch]).randint(len(ids)))
    begins = first + steps * np.arange(size)
    for k in range(start, -(-steps // window)):
        at = begins[:, None] + np.arange(k * window, min((k + 1) * window, steps) + 1)
        at %= len(ids)
        yield _window(ids, at, np.full(size, k == 0))


def evaluation(ids: np.ndarray, size: int, window: int) -> Iterator[Window]:
    """The text once, every token but the first counted as a target exactly once.

    Up to `size` streams of at least `LEAST` tokens run side by side; each but the first reads
    `WARM` tokens of the one before it, uncounted, so that it begins in a state that knows them.

    Args:
        ids: token numbers (N,), at least 2.
        size: the most streams.
        window: T, steps of a window.

    Example:
        >>> (only,) = evaluation(np.arange(5), size=8, window=100)
        >>> only.inputs.tolist(), only.targets.tolist()
        ([[0, 1, 2, 3]], [[1, 2, 3, 4]])
    """
    targets = len(ids) - 1
    size = min(size, max(targets // LEAST, 1))
    steps = -(-targets // size)
    begins = steps * np.arange(size)
    if size > 1:
        for k in range(-WARM, 0, window):
            at = begins[:, None] + np.arange(k, min(k + window, 0) + 1)
            yield _window(ids, np.maximum(at, 0), np.full(size, k == -WARM), uncounted=True)
    for k in range(0, steps, window):
        at = begins[:, None] + np.arange(k, min(k + window, steps) + 1)
        # the first stream's start is the text's: what it read to warm up is forgotten
        fresh = np.arange(size) == (0 if k == 0 else -1)
        yield _window(ids, at, fresh)


def _window(ids: np.ndarray, at: np.ndarray, fresh: np.ndarray, uncounted: bool = False) -> Window:
    """The window at positions (B, T + 1); those behind the end of the text are not counted."""
    import torch

    there = np.minimum(at, len(ids) - 1)
    # rows of one stretch are read as slices: a mapped file is not gathered one by one
    tokens = np.stack([_row(ids, row) for row in there]).astype(np.int64)
    targets = tokens[:, 1:].copy()
    targets[at[:, 1:] >= len(ids)] = IGNORED
    if uncounted:
        targets[:] = IGNORED
    return Window(
        torch.from_numpy(np.ascontiguousarray(tokens[:, :-1])),
        None,
        torch.from_numpy(targets),
        torch.from_numpy(there[:, 1:][targets != IGNORED]),
        torch.from_numpy(fresh),
    )


def _row(ids: np.ndarray, at: np.ndarray) -> np.ndarray:
    first, last = int(at[0]), int(at[-1])
    return ids[first : last + 1] if last - first == len(at) - 1 else ids[at]
