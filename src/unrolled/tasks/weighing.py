"""What each class counts in the loss: a word or numbers come in, checked numbers go out."""

from collections.abc import Sequence

import numpy as np

from unrolled.data import Dataset
from unrolled.errors import UsageError


def checked(weights: Sequence[float] | None, count: int, kind: str) -> list[float] | None:
    """What each of `count` classes counts, as plain numbers.

    Raises:
        UsageError: they are not as many numbers of at least 0, or the task has no classes.

    Example:
        >>> checked([1, 2], 2, "single")
        [1.0, 2.0]
    """
    if weights is None:
        return None
    if kind == "regression":
        raise UsageError("class_weights", expected="a task with classes", got="regression")
    good = isinstance(weights, Sequence | np.ndarray) and len(weights) == count
    if not good or not all(isinstance(w, int | float) and 0 <= w < 1e9 for w in weights):
        raise UsageError("class_weights", expected=f"{count} numbers of at least 0", got=weights)
    return [float(weight) for weight in weights]


def for_dataset(weights: str | Sequence[float], dataset: Dataset) -> Sequence[float] | None:
    """The weights that a word stands for in `dataset`: "balanced" counts rare classes more.

    Raises:
        UsageError: the word is none of those known, or the task has no classes.
    """
    if not isinstance(weights, str):
        return weights
    if weights not in ("none", "balanced"):
        raise UsageError("class_weights", expected="'none', 'balanced' or a list", got=weights)
    if weights == "none":
        return None
    targets = np.asarray(dataset.train.targets)
    if dataset.kind == "multi":
        there = np.maximum(targets.sum(axis=0), 1)
        return ((len(targets) - there) / there).tolist()
    if dataset.kind == "regression":
        raise UsageError("class_weights", expected="a task with classes", got="regression")
    counts = np.maximum(np.bincount(targets, minlength=len(dataset.labels)), 1)
    return (len(targets) / (len(counts) * counts)).tolist()
