"""Weights of an attention come in; a map of which target looked at which source goes out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ShapeError
from ...messages import tr
from ..shade import width
from .style import Style, figure, sampled

MOST_NAMED = 60  # names along an axis: beyond it every n-th is written


def attention(
    weights: Any,
    source: Sequence[str],
    target: Sequence[str],
    style: Style,
    *,
    title: str = "",
) -> Any:
    """Source tokens across, target tokens down, the darker the more was looked at.

    Args:
        weights: (targets, sources), what each target's step gave each source, from 0 to 1.
        source: the tokens that are looked at.
        target: the tokens that look, such as the words written so far.
        style: light or dark.
        title: above the map; "" says what it is.

    Raises:
        ShapeError: the weights are not (targets, sources).

    Example:
        >>> drawn = attention([[0.9, 0.1], [0.2, 0.8]], ["고양이", "<eos>"], ["cat", "."], Style())
        >>> [label.get_text() for label in drawn.axes[0].get_yticklabels()]
        ['cat', '.']
    """
    value = np.asarray(weights, float)
    if value.shape != (len(target), len(source)):
        raise ShapeError(
            "attention weights",
            expected=f"({len(target)}, {len(source)}), targets and sources",
            got=str(value.shape),
        )
    across, down = max(1, len(source)), max(1, len(target))
    long = max((width(_shown(word)) for word in [*source, *target]), default=1)
    side = 0.34 if max(across, down) <= 24 else 0.2 if max(across, down) <= 60 else 0.1
    margin = 0.5 + 0.11 * min(long, 18)
    drawn = figure(
        min(14, max(3.8, margin + 1.2 + side * across)), min(14, max(2.6, margin + side * down))
    )
    axes = drawn.add_subplot()
    image = axes.imshow(
        value, aspect="auto", cmap=style.weight, vmin=0, vmax=max(float(value.max(initial=0)), 1e-9)
    )
    bar = drawn.colorbar(image, ax=axes, pad=0.02, fraction=0.05)
    bar.set_label(tr("weight"))
    small = 10 if side > 0.3 else 8
    for axis, words in ((axes.xaxis, source), (axes.yaxis, target)):
        places = sampled(len(words), MOST_NAMED)
        named = [_shown(words[p]) for p in places]
        axis.set_ticks(places, named, fontsize=small)
    axes.tick_params(axis="x", top=True, bottom=False, labeltop=True, labelbottom=False)
    room = side * max(1, -(-len(source) // MOST_NAMED))  # inches that a name has for itself
    labels = axes.get_xticklabels()
    wide = [label for label in labels if width(label.get_text()) * 0.011 * small > room]
    for label in labels if 4 * len(wide) > len(labels) else wide:
        label.set_rotation(90)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(tr("source: what is looked at"))
    axes.xaxis.set_label_position("top")
    axes.set_ylabel(tr("target: what looks"))
    if title:
        drawn.suptitle(title, fontsize=10)
    return drawn


def _shown(word: str) -> str:
    """A token as it can be read on an axis: blanks and line ends have a sign."""
    word = word.replace("\n", "↵").replace("\t", "⇥")
    return (word[:17] + "…" if len(word) > 18 else word) if word.strip() else "␣"
