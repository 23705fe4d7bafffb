"""Captions by a model and by people come in; how much they agree on what is telling goes out.

CIDEr-D of Vedantam, Zitnick and Parikh 2015 (arXiv:1411.5726), sections 3 and 8: words are taken as
they are, without stems.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Grams = Counter[tuple[str, ...]]

ORDERS = 4  # n-grams of one to four words
SPREAD = 6.0  # σ of the penalty on lengths that differ


def cider(said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    """CIDEr-D, from 0 to 10: the mean over captions, orders and references, times ten.

    Args:
        said: the words of one caption for each image.
        references: the words of people's captions for each image, at least one.

    Example:
        >>> people = [[["a", "red", "dog", "runs"]], [["two", "cats", "sleep", "here"]]]
        >>> cider([people[0][0], people[1][0]], people)
        10.0
    """
    if not said:
        return 0.0
    counted = [[grams(words) for words in row] for row in references]
    seen: Grams = Counter()
    for row in counted:
        seen.update({gram for one in row for gram in one})
    whole = math.log(len(references))
    rarity = {gram: whole - math.log(count) for gram, count in seen.items()}
    total = 0.0
    for words, row in zip(said, counted, strict=True):
        mine = grams(words)
        total += sum(_likeness(mine, theirs, rarity, whole) for theirs in row) / len(row)
    return 10 * total / len(said)


def grams(words: Sequence[str]) -> Grams:
    """How often each sequence of one to four words stands in a caption.

    Example:
        >>> grams(["a", "b", "a"])[("a",)]
        2
    """
    return Counter(
        tuple(words[k : k + n]) for n in range(1, ORDERS + 1) for k in range(len(words) - n + 1)
    )


def _likeness(
    mine: Grams, theirs: Grams, rarity: dict[tuple[str, ...], float], unseen: float
) -> float:
    """The mean over the orders of clipped cosines, less what the lengths differ by."""
    both = 0.0
    for n in range(1, ORDERS + 1):
        one = {g: c * rarity.get(g, unseen) for g, c in mine.items() if len(g) == n}
        other = {g: c * rarity.get(g, unseen) for g, c in theirs.items() if len(g) == n}
        # a caption gains nothing by saying a word more often than people do
        product = sum(min(v, other[g]) * other[g] for g, v in one.items() if g in other)
        lengths = _length(one) * _length(other)
        both += product / lengths if lengths else 0.0
    apart = _words(mine) - _words(theirs)
    return both / ORDERS * math.exp(-(apart**2) / (2 * SPREAD**2))


def _length(vector: dict[tuple[str, ...], float]) -> float:
    return math.sqrt(sum(value**2 for value in vector.values()))


def _words(found: Grams) -> int:
    return sum(count for gram, count in found.items() if len(gram) == 1)
