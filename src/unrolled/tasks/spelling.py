"""Sentences come in; numbers of their words, of the words' characters and of their case go out."""

from typing import Any

import numpy as np
import torch

from unrolled.data.sentences import Tagged
from unrolled.errors import ModelError
from unrolled.tasks.tagger import Words, case_of
from unrolled.text import PAD, UNK, Characters, from_json
from unrolled.text import Words as Vocabulary

LONGEST = 60  # characters of a word that are read: its first and last halves


class Reader:
    """What a tagger reads by: words and characters that are known.

    Args:
        words: the vocabulary of words.
        letters: that of characters.
    """

    def __init__(self, words: Vocabulary, letters: Characters):
        self.words, self.letters = words, letters
        self.known: dict[str, tuple[int, int, list[int]]] = {}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `from_json` is the way back."""
        return {"words": self.words.to_json(), "characters": self.letters.to_json()}

    @classmethod
    def from_json(cls, table: Any) -> "Reader":
        """The reader that `to_json` wrote.

        Raises:
            ModelError: it is something else.
        """
        if not isinstance(table, dict) or set(table) != {"words", "characters"}:
            raise ModelError("a tagger's tokenizer", expected="words and characters")
        words, letters = from_json(table["words"]), from_json(table["characters"])
        if not isinstance(words, Vocabulary) or not isinstance(letters, Characters):
            raise ModelError("a tagger's tokenizer", expected="words and characters")
        return cls(words, letters)

    def word(self, word: str) -> tuple[int, int, list[int]]:
        """A word's number, its case, and the numbers of its characters."""
        found = self.known.get(word)
        if found is None:
            normal = self.words.normalise(word)
            letters = self.letters.encode(word) or [UNK]
            if len(letters) > LONGEST:
                letters = letters[: LONGEST // 2] + letters[-LONGEST // 2 :]
            found = self.words.number([normal])[0], case_of(word), letters
            if len(self.known) < 1_000_000:
                self.known[word] = found
        return found

    def read(
        self,
        part: Tagged,
        index: np.ndarray,
        targets: list[list[int]] | None,
        others: list[list[int]] | None = None,
    ) -> Words:
        """A batch of the sentences of `part`, which stand at `index` in theirs."""
        lengths = np.array([len(words) for words in part.words], np.int64)
        shape = len(part), int(lengths.max(initial=1))
        ids, cases, places = (np.full(shape, PAD, np.int64) for _ in range(3))
        tags, beside = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
        own: dict[str, int] = {}
        spelt: list[list[int]] = []
        for row, words in enumerate(part.words):
            for t, word in enumerate(words):
                number, case, letters = self.word(word)
                place = own.get(word)
                if place is None:
                    place = own[word] = len(spelt)
                    spelt.append(letters)
                ids[row, t], cases[row, t], places[row, t] = number, case, place
            if targets is not None:
                tags[row, : len(words)] = targets[row]
            if others is not None:
                beside[row, : len(words)] = others[row]
        sizes = np.array([len(letters) for letters in spelt], np.int64)
        table = np.full((len(spelt), int(sizes.max(initial=1))), PAD, np.int64)
        for row, letters in enumerate(spelt):
            table[row, : len(letters)] = letters
        whole = bool((lengths == shape[1]).all())
        return Words(
            torch.from_numpy(ids),
            None if whole else torch.from_numpy(lengths),
            None if targets is None else torch.from_numpy(tags),
            torch.from_numpy(np.asarray(index)),
            torch.from_numpy(cases),
            torch.from_numpy(table),
            torch.from_numpy(sizes),
            torch.from_numpy(places),
            None if others is None else torch.from_numpy(beside),
        )
