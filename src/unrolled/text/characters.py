"""A text comes in; numbers of its characters go out, Hangul as letters (jamo) on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .hangul import checked_jamo, compose, decompose
from .tokenizer import Tokenizer, normalised, vocabulary


class Characters(Tokenizer):
    """Each code point is a token; `decode(encode(text))` is the normalised text, where known.

    Args:
        tokens: as for `Tokenizer`.
        jamo: whether a Hangul syllable becomes its two or three letters (needs a `form`).

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> letters = Characters.learn(["안녕하세요"], jamo=True)
        >>> letters.encode("하나")
        [8, 5, 6, 5]
        >>> letters.decode(letters.encode("하세요", eos=True))
        '하세요'
    """

    level = "characters"
    options = ("lower", "form", "jamo")

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        lower: bool = False,
        form: str = "NFC",
        jamo: bool = False,
    ):
        super().__init__(tokens, lower=lower, form=form)
        self.jamo = checked_jamo(jamo, form)

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        *,
        size: int | None = None,
        least: int = 1,
        lower: bool = False,
        form: str = "NFC",
        jamo: bool = False,
    ) -> Characters:
        """The characters of `texts`, most frequent first.

        Args:
            texts: the training part, and nothing else.
            size: V at most; None takes all.
            least: how often a character has to be seen.
            lower, form, jamo: as for the class.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            text = normalised(text, lower=lower, form=form)
            counts.update(decompose(text) if jamo else text)
        tokens = vocabulary(counts, size=size, least=least)
        return cls(tokens, lower=lower, form=form, jamo=jamo)

    def split(self, text: str) -> list[str]:
        """The characters of a normalised text."""
        return list(decompose(text) if self.jamo else text)

    def join(self, tokens: Sequence[str]) -> str:
        """The text of characters."""
        text = "".join(tokens)
        return compose(text) if self.jamo else text
