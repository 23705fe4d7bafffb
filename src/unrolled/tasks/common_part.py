"""Vectors of words come in; they go out without what all have in common, and alike in size."""

from __future__ import annotations

import numpy as np


def without_common(
    values: np.ndarray, components: int = 0, whitened: float = 0.0, trimmed: int = 0
) -> np.ndarray:
    """Vectors without what all have in common: their mean, and their first principal components.

    Args:
        values: (V, E).
        components: how many.
        whitened: the power of its deviation by which each other component is divided; the mean
            square stays as it is, and so do the directions.
        trimmed: how many of the last.

    Source: Mu and Viswanath 2018, arXiv:1702.01417; for the power Bullinaria and Levy 2012,
    doi:10.3758/s13428-011-0183-8.

    Example:
        >>> without_common(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
        >>> long = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> without_common(long, whitened=1).round(3).tolist()[1:3]
        [[-2.236, 0.0], [0.0, 2.236]]
    """
    centred = values - values.mean(axis=0)
    if not components and not whitened and not trimmed:
        return centred
    exact = centred.astype(np.float64)
    sizes, directions = np.linalg.eigh(exact.T @ exact)
    directions = directions[:, trimmed : len(sizes) - components]  # the smallest first
    kept = exact @ directions
    before = (kept**2).mean()
    seen = (deviations := kept.std(axis=0)) > deviations.max(initial=0) * 1e-6
    kept[:, seen] /= deviations[seen] ** whitened
    kept *= np.sqrt(before / max((kept**2).mean(), 1e-30))
    return (kept @ directions.T).astype(values.dtype)
