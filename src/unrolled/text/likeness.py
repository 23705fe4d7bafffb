"""Word vectors come in; which words lie near, what stands to what, and how near people are said.

V words, E numbers a word. Nearness is the cosine; what a vector of zeros is near to is nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from unrolled.errors import UsageError

from .hangul import decompose
from .vectors import Vectors

_SPELLED = 50_000  # words among which a misspelt one is looked for: the most frequent
_ROWS = 256  # rows of a product with all V words at a time


class Likeness:
    """How near the words of a table are to each other.

    Args:
        vectors: the table.

    Example:
        >>> values = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)
        >>> like = Likeness(Vectors(["king", "queen", "man", "woman"], values))
        >>> [word for word, _ in like.near("king", 2)]
        ['queen', 'woman']
    """

    def __init__(self, vectors: Vectors):
        self.vectors = vectors

    @cached_property
    def units(self) -> np.ndarray:
        """float32 (V, E): the vectors at length 1."""
        return at_length_one(np.asarray(self.vectors.values, np.float32))

    def row(self, word: str) -> int:
        """The row of a word as it is written, or else in small letters.

        Raises:
            UsageError: the table has none; the message names words spelt nearly so.
        """
        place = self.vectors.find(word)
        if place is None:
            near = spelt_nearly(word, self.vectors.words)
            raise UsageError(
                f"the word {word!r}",
                expected=f"one of the {len(self.vectors)} that have a vector",
                got="an unknown word",
                fix=f"Did you mean {', '.join(near)}?" if near else "",
            )
        return place

    def between(self, one: str, other: str) -> float:
        """The cosine between two words, from -1 to 1."""
        return float(self.units[self.row(one)] @ self.units[self.row(other)])

    def near(self, words: str | Sequence[str], count: int = 10) -> list[tuple[str, float]]:
        """The words that lie nearest to a word, or to the middle of several, nearest first.

        Raises:
            UsageError: a word has no vector, or the count cannot be.
        """
        if type(count) is not int or count < 1:
            raise UsageError("count", expected="a whole number of at least 1", got=repr(count))
        rows = [self.row(word) for word in ([words] if isinstance(words, str) else words)]
        return self._best(self.units[rows].sum(axis=0), rows, count)

    def analogy(self, a: str, b: str, c: str, count: int = 10) -> list[tuple[str, float]]:
        """Words that stand to `c` as `b` stands to `a`: those nearest to b - a + c.

        The three themselves are left out (Mikolov and others 2013, arXiv:1301.3781).

        Raises:
            UsageError: a word has no vector, or the count cannot be.

        Example:
            >>> values = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1]], np.float32)
            >>> like = Likeness(Vectors(["man", "king", "woman", "queen"], values))
            >>> like.analogy("man", "king", "woman", 1)[0][0]
            'queen'
        """
        if type(count) is not int or count < 1:
            raise UsageError("count", expected="a whole number of at least 1", got=repr(count))
        rows = [self.row(word) for word in (a, b, c)]
        one, two, three = self.units[rows]
        return self._best(two - one + three, rows, count)

    def answers(self, rows: np.ndarray) -> np.ndarray:
        """The row nearest to b - a + c of each question (N, 3), the three rows left out: (N,)."""
        best = np.empty(len(rows), np.int64)
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            a, b, c = (self.units[part[:, k]] for k in range(3))
            scores = (b - a + c) @ self.units.T
            np.put_along_axis(scores, part, -np.inf, axis=1)
            best[start : start + _ROWS] = scores.argmax(axis=1)
        return best

    def _best(self, middle: np.ndarray, without: Sequence[int], count: int) -> list:
        length = np.linalg.norm(middle)
        scores = self.units @ (middle / (length if length > 0 else 1))
        scores[list(without)] = -np.inf
        count = min(count, len(scores) - len(set(without)))
        if count < 1:
            return []
        top = np.argpartition(-scores, count - 1)[:count]
        top = top[np.lexsort((top, -scores[top]))]
        return [(self.vectors.words[k], float(scores[k])) for k in top]


def spelt_nearly(word: str, words: Sequence[str], count: int = 3) -> list[str]:
    """Known words that are spelt nearly as `word`; Hangul is compared letter by letter.

    Example:
        >>> spelt_nearly("theatr", ["cinema", "theater", "theatre"])
        ['theatre', 'theater']
        >>> spelt_nearly("영하", ["영화", "감독"])
        ['영화']
    """
    letters = decompose(word.lower())
    near: dict[str, str] = {}
    for known in words[:_SPELLED]:
        spelt = decompose(known.lower())
        if abs(len(spelt) - len(letters)) <= 2:
            near.setdefault(spelt, known)
    found = difflib.get_close_matches(letters, near, n=count, cutoff=0.75)
    return [near[spelt] for spelt in found]


def at_length_one(values: np.ndarray) -> np.ndarray:
    """Vectors (V, E), each divided by its length; zeros stay zeros.

    Example:
        >>> at_length_one(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(lengths > 0, lengths, 1)
