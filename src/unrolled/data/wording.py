"""Texts come in; numbers of their tokens (B, T) and their lengths go out.

The vocabulary is learnt from the training part alone and travels with the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from unrolled.errors import DataError, ModelError, ShapeError, UsageError
from unrolled.text import EOS, Tokenizer, from_json, learn

KEPT = ("start", "end", "both")
LONGEST = 2**20  # tokens: what a text may hold unless a limit is given


@dataclass(frozen=True, eq=False)
class TextPreparation:
    """How texts become the numbers that a network reads.

    Args:
        tokenizer: from text to numbers.
        limit: tokens of a text that are read; 0 reads all.
        kept: of a longer text: its "start", its "end", or "both" (half of each).
        columns: name of the column of texts in the user's file, if any.

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> prepare = TextPreparation(learn("characters", ["ab"]), limit=3)
        >>> ids, lengths = prepare(["abab", ""])
        >>> ids.tolist(), lengths.tolist()
        ([[4, 5, 4], [3, 0, 0]], [3, 1])
    """

    tokenizer: Tokenizer
    limit: int = 0
    kept: str = "start"
    columns: tuple[str, ...] | None = None
    _known: Any = field(default_factory=WeakKeyDictionary, repr=False)

    form: ClassVar[str] = "text"
    layout: ClassVar[str] = "texts"
    shape: ClassVar[tuple[int | None, ...]] = (None,)
    steps: ClassVar[int | None] = None
    missing: ClassVar[str] = "error"
    resize: ClassVar[bool] = False

    def __post_init__(self):
        if type(self.limit) is not int or self.limit < 0:
            raise UsageError("limit", expected="a whole number of at least 0", got=self.limit)
        if self.kept not in KEPT:
            raise UsageError("kept", expected="one of " + ", ".join(KEPT), got=repr(self.kept))

    @property
    def features(self) -> int:
        """V: how many tokens there are."""
        return len(self.tokenizer)

    @property
    def channels(self) -> int:
        """One token a step."""
        return 1

    def __call__(self, raw: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Prepare B texts.

        Returns:
            Numbers int64 (B, T), `PAD` behind each end, and lengths int64 (B,).

        Raises:
            ShapeError: what comes in are no texts.
        """
        return self.padded([self.encode(text) for text in raw])

    def encode(self, text: str) -> np.ndarray:
        """The numbers of one text, int32 (T,): at least one, since a network has to read something.

        Raises:
            ShapeError: it is no text.
        """
        if not isinstance(text, str):
            raise ShapeError("the inputs", expected="texts", got=type(text).__name__)
        return np.array(self._cut(self.tokenizer.encode(text) or [EOS]), np.int32)

    def pieces(self, text: str) -> list[str]:
        """What stands in a text at each of its numbers, known to the network or not."""
        split = self.tokenizer.split(self.tokenizer.normalise(text))
        return self._cut(split or [self.tokenizer.tokens[EOS]])

    def _cut(self, row: list[Any]) -> list[Any]:
        limit = self.limit or LONGEST
        if len(row) <= limit:
            return row
        half = {"start": limit, "end": 0, "both": limit - limit // 2}[self.kept]
        rest = limit - half
        return row[:half] + (row[-rest:] if rest else [])

    def encoded(self, split: Any) -> list[np.ndarray]:
        """The numbers of every text of a split, found once."""
        if split not in self._known:
            self._known[split] = [self.encode(text) for text in split.inputs]
        return self._known[split]

    @staticmethod
    def padded(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Rows of numbers, int (Tᵢ,), as one array int64 (B, T), and their lengths."""
        lengths = np.array([len(row) for row in rows], np.int64)
        ids = np.zeros((len(rows), int(lengths.max(initial=0))), np.int64)
        if len(rows):
            ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(list(rows))
        return ids, lengths

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, without the tokenizer, which has a file of its own."""
        columns = None if self.columns is None else list(self.columns)
        return {"form": "text", "limit": self.limit, "kept": self.kept, "columns": columns}

    @classmethod
    def from_json(cls, table: Any, tokenizer: Any) -> TextPreparation:
        """A preparation as `to_json` wrote it, and its tokenizer's JSON.

        Raises:
            ModelError: a field is missing, unknown, or has a value it cannot have.
        """
        if not isinstance(table, dict) or set(table) != {"form", "limit", "kept", "columns"}:
            raise ModelError("a preparation in JSON", expected="form, limit, kept, columns")
        columns = table["columns"]
        named = isinstance(columns, list) and all(isinstance(name, str) for name in columns)
        if columns is not None and not named:
            raise ModelError("a preparation in JSON", expected="names of columns")
        return cls(
            from_json(tokenizer),
            table["limit"],
            table["kept"],
            tuple(columns) if named else None,
        )


def learn_texts(
    texts: Sequence[str],
    *,
    level: str = "words",
    vocabulary: int = 0,
    least: int = 1,
    limit: int = 0,
    kept: str = "start",
    columns: Sequence[str] | None = None,
    **options: Any,
) -> TextPreparation:
    """Learn the vocabulary from the training part.

    Args:
        texts: the training part.
        level: "words", "characters" or "subwords".
        vocabulary: V at most; 0 for all.
        least: how often a token has to be seen.
        limit, kept, columns: as for `TextPreparation`.
        options: of the level's tokenizer; those that another level has are passed over.

    Raises:
        UsageError: a value that it cannot have.
        DataError: there is nothing to learn from.
    """
    if not len(texts):
        raise DataError(
            "the training part", expected="at least 1 example", got="0", fix="Hold out fewer."
        )
    own = {
        "characters": ("lower", "form", "jamo"),
        "words": ("lower", "form", "split_at"),
        "subwords": ("lower", "form", "jamo"),
    }.get(level, ())
    fitting = {name: value for name, value in options.items() if name in own}
    found = learn(level, texts, size=vocabulary or None, least=least, **fitting)
    return TextPreparation(found, limit, kept, None if columns is None else tuple(columns))
