"""Tokens come in; what is written, and where was looked for it, goes out, of both sides of a pair.

One tokenizer serves both sides, or each has its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import ModelError
from unrolled.text import PAD, UNK, Tokenizer, from_json


@dataclass(frozen=True)
class Said:
    """One thing that was said.

    Args:
        text: of it.
        score: log P by its length to the power of the search.
        log_prob: log P in nats.
        pieces: its tokens as they are written, the end last.
        read: the sentence's tokens as they are written.
        looked: float32 (T, S), where was looked for each piece; or None.
    """

    text: str
    score: float
    log_prob: float
    pieces: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    looked: np.ndarray | None = None


class Languages:
    """The tokenizers of what is read and of what is said; one for both where it is joint."""

    def __init__(self, source: Tokenizer, target: Tokenizer | None):
        self.source, self.joint = source, target is None
        self.target = source if target is None else target

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `from_json` is the way back."""
        target = None if self.joint else self.target.to_json()
        return {"source": self.source.to_json(), "target": target}

    @classmethod
    def from_json(cls, table: Any) -> "Languages":
        """The tokenizers that `to_json` wrote.

        Raises:
            ModelError: a field is missing or unknown.
        """
        if not isinstance(table, dict) or set(table) != {"source", "target"}:
            raise ModelError("the tokenizers", expected="source and target")
        target = table["target"]
        return cls(from_json(table["source"]), None if target is None else from_json(target))


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of numbers as int64 (B, T), `PAD` behind each.

    Example:
        >>> padded([[7, 8], [9]]).tolist()
        [[7, 8], [9, 0]]
    """
    whole = np.full((len(rows), max(map(len, rows))), PAD, np.int64)
    for k, row in enumerate(rows):
        whole[k, : len(row)] = row
    return torch.from_numpy(whole)


def written(tokenizer: Tokenizer, numbers: Sequence[int]) -> Iterator[str]:
    """Each token as people can read it."""
    for number in numbers:
        yield tokenizer.decode([number]) or tokenizer.tokens[number]


def heard(
    tokenizer: Tokenizer, pieces: Sequence[str], numbers: Sequence[int], tokens: list[str]
) -> list[str]:
    """Put what stood in a text where "<unk>" was read of it; what that was.

    Args:
        tokenizer: that read it.
        pieces: of the text, as it splits it.
        numbers: that it read.
        tokens: the same as they are written; changed in place.

    Example:
        >>> from unrolled.text import learn
        >>> words = learn("words", ["a dog"])
        >>> tokens = ["a", "<unk>"]
        >>> heard(words, ["a", "yeti"], words.number(["a", "yeti"]), tokens), tokens
        (['yeti'], ['a', 'yeti'])
    """
    strange = [piece for piece in pieces if tokenizer.number([piece]) == [UNK]]
    places = [t for t, number in enumerate(numbers) if number == UNK]
    if len(strange) != len(places):
        return []
    for t, piece in zip(places, strange, strict=True):
        tokens[t] = piece
    return strange
