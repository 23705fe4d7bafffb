"""Word vectors come in; a map of them in two dimensions goes out, near words near each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from unrolled.errors import UsageError
from unrolled.messages import tr

from .style import COLOURS, Style, figure

METHODS = ("tsne", "pca")


def placed(values: np.ndarray, *, method: str = "tsne", seed: int = 0) -> np.ndarray:
    """Places (N, 2) in the plane for N vectors (N, E), at least 3.

    Args:
        values: compared by their directions, as nearness is everywhere.
        method: "pca": the two directions along which they differ most; or "tsne": neighbours stay
            neighbours, while distances between groups say nothing (van der Maaten and Hinton 2008).
        seed: of "tsne".

    Raises:
        UsageError: the method is unknown, or there are too few.

    Example:
        >>> placed(np.eye(4), method="pca").shape
        (4, 2)
    """
    if method not in METHODS:
        raise UsageError("method", expected=" or ".join(METHODS), got=repr(method))
    if len(values) < 3:
        raise UsageError("the words of a map", expected="at least 3", got=len(values))
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    units = values / np.where(lengths > 0, lengths, 1)
    from sklearn.decomposition import PCA

    if method == "pca" or len(np.unique(units, axis=0)) < 3:
        return PCA(2, random_state=seed).fit_transform(units)
    from sklearn.manifold import TSNE

    # a neighbourhood smaller than the words there are
    perplexity = min(30.0, (len(units) - 1) / 3)
    reduced = PCA(min(50, *units.shape), random_state=seed).fit_transform(units)
    return TSNE(
        2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed
    ).fit_transform(reduced)


def word_map(
    words: Sequence[str],
    places: np.ndarray,
    *,
    groups: Sequence[int] | None = None,
    numbered: bool = False,
    style: Style | None = None,
) -> Any:
    """A figure with each word at its place.

    Args:
        words: N.
        places: (N, 2).
        groups: a number for each word, which chooses its colour; None is one colour.
        numbered: write numbers in place of words, where no font here draws them.
        style: light where nothing is said.
    """
    style = style or Style()
    side = float(np.clip(4 + 0.035 * len(words), 6, 16))
    drawn = figure(side, side)
    axes = drawn.subplots()
    chosen = groups or [0] * len(words)
    colours = [COLOURS[group % len(COLOURS)] for group in chosen]
    axes.scatter(places[:, 0], places[:, 1], s=9, c=colours, linewidths=0)
    for number, (word, place) in enumerate(zip(words, places, strict=True), 1):
        axes.annotate(
            str(number) if numbered else word[:24],
            tuple(place),
            xytext=(3, 2),
            textcoords="offset points",
            fontsize=8 if len(words) <= 150 else 6,
            color=style.ink,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.08)
    axes.set_title(tr("{count} words", count=len(words)))
    return drawn
