"""A text comes in; numbers of its words go out, split at blanks, or apart from punctuation too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from unrolled.errors import UsageError

from .tokenizer import Tokenizer, normalised, vocabulary

SPLITS = ("blanks", "words")
# A tag of HTML, a word with its inner apostrophes and marks (Hindi's vowels, say), or one sign.
_WORD = re.compile(r"<\w+ ?/?>|\w+(?:[\u0300-\u036f\u0900-\u0dff’'·]\w*)*|[^\w\s]")


class Words(Tokenizer):
    """Each word is a token; joined by single blanks on the way back.

    Split at "blanks", `decode(encode(text))` is the normalised text with single blanks, where its
    words are known. Split as "words", punctuation stands apart, and the way back shows it so.

    Args:
        tokens: as for `Tokenizer`.
        split_at: "words", or "blanks" for text that is split already.

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> words = Words.learn(["The film isn't bad.", "a film"], lower=True)
        >>> words.split("the film isn't bad.")
        ['the', 'film', "isn't", 'bad', '.']
        >>> words.decode(words.encode("A good film."))
        'a <unk> film .'
    """

    level = "words"
    options = ("lower", "form", "split_at")

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        lower: bool = False,
        form: str = "NFC",
        split_at: str = "words",
    ):
        super().__init__(tokens, lower=lower, form=form)
        _check_split(split_at)
        self.split_at = split_at

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        *,
        size: int | None = None,
        least: int = 1,
        lower: bool = False,
        form: str = "NFC",
        split_at: str = "words",
    ) -> Words:
        """The words of `texts`, most frequent first.

        Args:
            texts: the training part, and nothing else.
            size: V at most; None takes all.
            least: how often a word has to be seen.
            lower, form, split_at: as for the class.
        """
        _check_split(split_at)
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(split(normalised(text, lower=lower, form=form), split_at))
        tokens = vocabulary(counts, size=size, least=least)
        return cls(tokens, lower=lower, form=form, split_at=split_at)

    def split(self, text: str) -> list[str]:
        """The words of a normalised text."""
        return split(text, self.split_at)

    def join(self, tokens: Sequence[str]) -> str:
        """Words joined by single blanks."""
        return " ".join(tokens)


def split(text: str, split_at: str = "words") -> list[str]:
    """The words of a text, without a vocabulary.

    Example:
        >>> split("재밌다!! <br />good", "words")
        ['재밌다', '!', '!', '<br />', 'good']
    """
    return text.split() if split_at == "blanks" else _WORD.findall(text)


def _check_split(split_at: str) -> None:
    if split_at not in SPLITS:
        raise UsageError("split_at", expected=" or ".join(SPLITS), got=repr(split_at))
