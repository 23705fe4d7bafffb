"""What every tokenizer is: a text comes in, numbers of its tokens go out, and back again."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, cast

from unrolled.errors import ModelError, UsageError

PAD, UNK, BOS, EOS = range(4)
SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
FORMS = ("NFC", "NFKC", "none")


class Tokenizer(ABC):
    """From text to numbers of tokens and back; the first four are those of `SPECIAL`.

    A text is normalised first: `decode(encode(text))` is `normalise(text)`, as far as its tokens
    are known (see each kind for what it promises). No text can spell a special token: in a text,
    their names are unknown words.

    Args:
        tokens: V names, `SPECIAL` first, each once.
        lower: whether letters are made small.
        form: Unicode's "NFC" or "NFKC" (wide letters and ligatures become plain), or "none".

    Raises:
        UsageError: a value that it cannot have.
        ModelError: the tokens are not as they have to be.
    """

    level: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ("lower", "form")
    assumed: ClassVar[dict[str, Any]] = {}  # of files from before there was such an option

    def __init__(self, tokens: Sequence[str], *, lower: bool = False, form: str = "NFC"):
        if form not in FORMS:
            raise UsageError("form", expected="one of " + ", ".join(FORMS), got=repr(form))
        if not isinstance(lower, bool):
            raise UsageError("lower", expected="true or false", got=repr(lower))
        good = isinstance(tokens, Sequence) and all(isinstance(token, str) for token in tokens)
        if not good or tuple(tokens[: len(SPECIAL)]) != SPECIAL:
            raise ModelError("a tokenizer's tokens", expected=f"texts, {', '.join(SPECIAL)} first")
        self.tokens, self.lower, self.form = list(tokens), lower, form
        self.numbers = {token: number for number, token in enumerate(self.tokens)}
        if len(self.numbers) < len(self.tokens):
            raise ModelError("a tokenizer's tokens", expected="each once", got="one twice")

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """The tokens of a normalised text, known or not."""

    @abstractmethod
    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens that `split` gave."""

    def __len__(self) -> int:
        return len(self.tokens)

    def normalise(self, text: str) -> str:
        """The text as this tokenizer reads it: letters made small, one Unicode form."""
        return normalised(text, lower=self.lower, form=self.form)

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """Numbers of the tokens of any text; what is not known is `UNK`.

        Args:
            text: as people write it.
            bos: whether to begin with `BOS`.
            eos: whether to end with `EOS`.
        """
        return self.number(self.split(self.normalise(text)), bos=bos, eos=eos)

    def number(self, tokens: Iterable[str], *, bos: bool = False, eos: bool = False) -> list[int]:
        """Numbers of tokens that are split already, as those of a tagged sentence."""
        find = self.numbers.get
        # Their names in a text are words like any other, and unknown ones.
        found = [n if (n := find(token, UNK)) > EOS else UNK for token in tokens]
        return [BOS] * bos + found + [EOS] * eos

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token numbers; special tokens are left out, but "<unk>" is shown.

        Raises:
            UsageError: a number is none of a token.
        """
        tokens = []
        for number in ids:
            if not 0 <= number < len(self.tokens):
                raise UsageError(
                    "a token's number", expected=f"0 to {len(self.tokens) - 1}", got=number
                )
            if number > EOS or number == UNK:
                tokens.append(self.tokens[number])
        return self.join(tokens)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `unrolled.text.from_json` is the way back."""
        settings = {name: getattr(self, name) for name in self.options}
        return {"level": self.level, **settings, "tokens": self.tokens}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]  # compared by content, which is large: not a key


def normalised(text: str, *, lower: bool, form: str) -> str:
    """A text with small letters, if wanted, in one Unicode form.

    Example:
        >>> normalised("ＡBC", lower=True, form="NFKC")
        'abc'
    """
    if text.isascii():
        return text.lower() if lower else text
    # Some small letters of composed capitals come apart: the form has to be made last.
    text = text.lower() if lower else text
    if form == "none":
        return text
    known = cast(Literal["NFC", "NFKC"], form)
    text = unicodedata.normalize(known, text)
    return unicodedata.normalize(known, text.lower()) if lower else text


def vocabulary(counts: Counter[str], *, size: int | None = None, least: int = 1) -> list[str]:
    """`SPECIAL`, then the tokens seen at least `least` times, most frequent first, `size` in all.

    Raises:
        UsageError: the size leaves no room, or `least` is below 1.

    Example:
        >>> vocabulary(Counter("abracadabra"), least=2)
        ['<pad>', '<unk>', '<bos>', '<eos>', 'a', 'b', 'r']
    """
    if type(least) is not int or least < 1:
        raise UsageError("least", expected="a whole number of at least 1", got=repr(least))
    if size is not None and (type(size) is not int or size <= len(SPECIAL)):
        raise UsageError("vocabulary", expected=f"more than {len(SPECIAL)}", got=repr(size))
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    kept = [token for token, count in ranked if count >= least and token not in SPECIAL]
    return [*SPECIAL, *kept][:size]
