"""Words, their characters and their case come in; scores of K tags a word go out.

B sentences, T words, N different words of a batch, C characters, K tags.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolled.errors import UsageError
from unrolled.layers import Recurrent
from unrolled.layers.crf import ChainField
from unrolled.text import UNK
from unrolled.text.embedding import Embedding
from unrolled.text.spelling import Spelling

CASES = ("padding", "small", "First", "CAPITALS", "mIxed", "digits", "with a digit", "no letter")


class Words(NamedTuple):
    """A batch of sentences as numbers.

    Attributes:
        inputs: int64 (B, T), the words that are known, padding 0.
        lengths: int64 (B,) on the CPU, or None.
        targets: int64 (B, T) or None; -1 where a tag is not known to the model.
        index: int64 (B,): where in the split each sentence stands.
        cases: int64 (B, T), of `CASES`.
        spelt: int64 (N, C), the different words of the batch by their characters.
        sizes: int64 (N,), how many characters, on the CPU.
        places: int64 (B, T): which of the N words stands there.
        others: int64 (B, T) or None: tags that are learnt beside; -1 where one is not known.
    """

    inputs: Tensor
    lengths: Tensor | None
    targets: Tensor | None
    index: Tensor  # type: ignore[assignment]  # tuple.index is hidden: nobody looks a batch up
    cases: Tensor
    spelt: Tensor
    sizes: Tensor
    places: Tensor
    others: Tensor | None = None


class Tagger(nn.Module):
    """Recurrent layers over words and their characters, and a score for each tag.

    Args:
        recurrent: the layers over words; their input is as wide as `width_of` says.
        words: V, words known.
        characters: how many characters are known.
        tags: K.
        embedding: E of a word; 0 leaves words out.
        character_width: of a character's vector; 0 leaves characters out.
        character_hidden: units of each direction over characters.
        case_width: of a vector for a word's case; 0 leaves it out.
        crf: whether a chain field scores whole sequences of tags.
        barred: pairs of tags that never follow one another, for the chain field.
        word_dropout: probability that a word of the training part is read as unknown.
        input_dropout: probability of dropping a number of a word's input.
        head_dropout: the same before the head.
        beside: how many tags of another kind are learnt beside, by a head of their own (Plank,
            Søgaard and Goldberg 2016, doi:10.18653/v1/P16-2067); 0 for none.

    Raises:
        UsageError: a value that it cannot have.
    """

    def __init__(
        self,
        recurrent: Recurrent,
        words: int,
        characters: int,
        tags: int,
        *,
        embedding: int,
        character_width: int,
        character_hidden: int,
        case_width: int,
        crf: bool,
        barred: list[list[int]],
        word_dropout: float,
        input_dropout: float,
        head_dropout: float,
        beside: int = 0,
    ):
        super().__init__()
        for name, rate in (
            ("word_dropout", word_dropout),
            ("input_dropout", input_dropout),
            ("head_dropout", head_dropout),
        ):
            if not isinstance(rate, int | float) or not 0 <= rate < 1:
                raise UsageError(name, expected="0 ≤ it < 1", got=repr(rate))
        self.word_dropout = float(word_dropout)
        self.recurrent = recurrent
        self.words = Embedding(words, embedding) if embedding else None
        self.spelling = (
            Spelling(characters, character_width, character_hidden, dropout=0.0)
            if character_width
            else None
        )
        self.cases = Embedding(len(CASES), case_width) if case_width else None
        self.input_dropout, self.head_dropout = nn.Dropout(input_dropout), nn.Dropout(head_dropout)
        self.head = nn.Linear(recurrent.output_size, tags)
        self.beside = nn.Linear(recurrent.output_size, beside) if beside else None
        self.chain = ChainField(tags, [(a, b) for a, b in barred]) if crf else None

    @staticmethod
    def width_of(embedding: int, character_width: int, character_hidden: int, case: int) -> int:
        """I: numbers a word that the recurrent layers read.

        Raises:
            UsageError: there are none.
        """
        width = embedding + (2 * character_hidden if character_width else 0) + case
        if not width:
            raise UsageError(
                "what is read of a word", expected="embedding, characters or case_width", got="0"
            )
        return width

    def forward(self, batch: Words) -> Tensor:
        """Scores (B, T, K)."""
        return self.head(self.read(batch))

    def read(self, batch: Words) -> Tensor:
        """What heads read: (B, T, D·H)."""
        parts = []
        if self.words is not None:
            ids = batch.inputs
            if self.training and self.word_dropout:
                gone = torch.rand(ids.shape, device=ids.device) < self.word_dropout
                ids = ids.masked_fill(gone & (ids > UNK), UNK)
            parts.append(self.words(ids))
        if self.spelling is not None:
            parts.append(self.spelling(batch.spelt, batch.sizes)[batch.places])
        if self.cases is not None:
            parts.append(self.cases(batch.cases))
        read = self.input_dropout(torch.cat(parts, dim=2))
        output, _ = self.recurrent(read, lengths=batch.lengths)
        return self.head_dropout(output)


def case_of(word: str) -> int:
    """Which of `CASES` a word is.

    Example:
        >>> [CASES[case_of(word)] for word in ("dog", "Dog", "DOG", "iPad", "12", "b2", "!")]
        ['small', 'First', 'CAPITALS', 'mIxed', 'digits', 'with a digit', 'no letter']
    """
    if word.isdigit():
        return 5
    if any(letter.isdigit() for letter in word):
        return 6
    if not any(letter.isalpha() for letter in word):
        return 7
    if word.isupper():
        return 3 if len(word) > 1 else 2
    if word[0].isupper() and not any(letter.isupper() for letter in word[1:]):
        return 2
    return 4 if any(letter.isupper() for letter in word) else 1


def config_of(config: Any, wanted: dict[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """The fields of a configuration, each of its kind.

    Raises:
        UsageError: one is missing, unknown or of another kind.
    """
    if not isinstance(config, dict) or set(config) != set(wanted):
        got = sorted(set(config) ^ set(wanted)) if isinstance(config, dict) else "no table"
        raise UsageError("the network", expected=f"the fields {sorted(wanted)}", got=got)
    for name, kind in wanted.items():
        if not isinstance(config[name], kind) or (
            kind is int and not 0 <= config[name] <= 10_000_000
        ):
            raise UsageError(name, expected="a value of its kind", got=repr(config[name])[:60])
    return config
