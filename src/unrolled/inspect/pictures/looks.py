"""An image, words and where each looked come in; the image lit up once a word goes out."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ShapeError
from .style import Style, figure

COLUMNS, MOST = 6, 30  # of words in a row, and in all


def looks(image: Any, weights: Any, words: Sequence[str], style: Style) -> Any:
    """What each word of a caption looked at.

    Args:
        image: (H, W) or (H, W, 3), bytes.
        weights: (words, h, w), the shares of a grid over the image.
        words: of the caption.
        style: light or dark.

    Raises:
        ShapeError: the weights are not a grid for each word.

    Example:
        >>> image, weights = np.zeros((8, 8), np.uint8), np.full((2, 2, 2), 0.25)
        >>> drawn = looks(image, weights, ["a", "개"], Style())
        >>> [axes.get_title() for axes in drawn.axes]
        ['a', '개']
    """
    image, weights = np.asarray(image), np.asarray(weights, float)
    if weights.ndim != 3 or len(weights) != len(words):
        raise ShapeError(
            "attention weights", expected=f"({len(words)}, h, w)", got=str(weights.shape)
        )
    count = min(len(words), MOST)
    columns = min(COLUMNS, max(count, 1))
    rows = math.ceil(count / columns)
    height, width = image.shape[:2]
    tall = 1.5 * min(max(height / width, 0.3), 3)
    drawn = figure(1.6 * columns, (tall + 0.35) * rows)
    cells = np.ravel(drawn.subplots(rows, columns, squeeze=False))
    for k, axes in enumerate(cells):
        axes.set_axis_off()
        if k >= count:
            axes.remove()
            continue
        whole = (-0.5, width - 0.5, height - 0.5, -0.5)
        axes.imshow(image, cmap="gray", extent=whole, interpolation="nearest")
        axes.imshow(
            weights[k], cmap=style.weight, alpha=0.55, extent=whole, vmin=0,
            vmax=max(float(weights[k].max()), 1e-9), interpolation="bilinear", aspect="auto",
        )  # fmt: skip
        axes.set_xlim(whole[0], whole[1])
        axes.set_ylim(whole[2], whole[3])
        axes.set_title(words[k][:18].strip() or "␣", fontsize=9)
    return drawn
