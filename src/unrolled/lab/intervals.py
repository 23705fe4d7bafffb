"""Figures of several seeds come in; their mean goes out, and how sure of it one can be.

Intervals are Student's, of 95 %: seeds are few, and a bootstrap of few is too narrow.
"""

import math
from collections.abc import Sequence

LEVEL = 0.95


def mean(values: Sequence[float]) -> float:
    """The mean; NaN of nothing."""
    return sum(values) / len(values) if values else math.nan


def half_width(values: Sequence[float], level: float = LEVEL) -> float | None:
    """How far to each side of the mean the interval reaches; None of fewer than two.

    Example:
        >>> round(half_width([1.0, 2.0, 3.0]), 4)
        2.4841
    """
    from scipy.stats import t

    count = len(values)
    if count < 2:
        return None
    middle = mean(values)
    spread = math.sqrt(sum((v - middle) ** 2 for v in values) / (count - 1))
    return float(t.ppf((1 + level) / 2, count - 1)) * spread / math.sqrt(count)


def differences(first: dict[int, float], other: dict[int, float]) -> list[float]:
    """`other` less `first`, seed by seed, of the seeds that both have.

    Example:
        >>> differences({0: 1.0, 1: 2.0}, {1: 2.5, 2: 9.0})
        [0.5]
    """
    return [other[seed] - first[seed] for seed in first if seed in other]
