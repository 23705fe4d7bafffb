"""A text comes in; numbers of its subwords go out: byte-pair encoding over bytes, none unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

from unrolled.errors import ModelError, UsageError

from .hangul import checked_jamo, compose, decompose
from .tokenizer import BOS, EOS, SPECIAL, Tokenizer, normalised


class Subwords(Tokenizer):
    """Frequent pieces of words, learnt by byte-pair encoding; every text has its exact way back.

    It works on UTF-8's bytes, so that nothing is unknown: a rare letter is several tokens. Needs
    the package tokenizers (Sennrich, Haddow and Birch 2016, arXiv:1508.07909).

    Args:
        tokens: as for `Tokenizer`.
        merges: pairs of pieces that become one, the first learnt first.
        jamo: whether a Hangul syllable becomes its letters first, so that pieces may part it.

    Raises:
        UsageError: the package is not installed, or a value that it cannot have.

    Example:
        >>> pieces = Subwords.learn(["low lower lowest", "low"] * 9, size=266)
        >>> pieces.decode(pieces.encode("a lower 낮은 bow"))
        'a lower 낮은 bow'
        >>> stems = Subwords.learn(["가다 간다 갔다", "보다 본다 봤다"] * 9, size=290, jamo=True)
        >>> stems.decode(stems.encode("간다 본다"))
        '간다 본다'
    """

    level = "subwords"
    options = ("lower", "form", "jamo", "merges")
    assumed: ClassVar[dict[str, Any]] = {"jamo": False}

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        merges: Sequence[Sequence[str]],
        lower: bool = False,
        form: str = "NFC",
        jamo: bool = False,
    ):
        self.jamo = checked_jamo(jamo, form)
        super().__init__(tokens, lower=lower, form=form)
        good = isinstance(merges, Sequence) and all(
            isinstance(pair, Sequence) and len(pair) == 2 and {*pair} <= self.numbers.keys()
            for pair in merges
        )
        if not good or not all("".join(pair) in self.numbers for pair in merges):
            raise ModelError("a tokenizer's merges", expected="pairs of its tokens")
        self.merges = [list(pair) for pair in merges]

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        *,
        size: int | None = 8000,
        least: int = 2,
        lower: bool = False,
        form: str = "NFC",
        jamo: bool = False,
    ) -> Subwords:
        """The most frequent pieces of `texts`.

        Args:
            texts: the training part, and nothing else.
            size: V, the 256 bytes and 4 special tokens included.
            least: how often a pair has to be seen to become one.
            lower, form, jamo: as for the class.

        Raises:
            UsageError: the package is not installed, or the size is below 260.
        """
        checked_jamo(jamo, form)
        size = 8000 if size is None else size
        if type(size) is not int or size < 260:
            raise UsageError("vocabulary", expected="at least 260 for subwords", got=repr(size))
        package = _package()
        model = _pipeline(package, package.models.BPE())
        trainer = package.trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=least,
            special_tokens=list(SPECIAL),
            initial_alphabet=sorted(package.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        whole = (normalised(text, lower=lower, form=form) for text in texts)
        clean = map(decompose, whole) if jamo else whole
        model.train_from_iterator(clean, trainer)
        import json

        learnt = json.loads(model.to_str())["model"]
        tokens = sorted(learnt["vocab"], key=learnt["vocab"].__getitem__)
        merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in learnt["merges"]]
        return cls(tokens, merges=merges, lower=lower, form=form, jamo=jamo)

    @cached_property
    def _model(self) -> Any:
        package = _package()
        pairs = [(one, other) for one, other in self.merges]
        return _pipeline(package, package.models.BPE(vocab=self.numbers, merges=pairs))

    def split(self, text: str) -> list[str]:
        """The pieces of a normalised text, spelt in letters that stand for bytes."""
        return self._model.encode(self._read(text), add_special_tokens=False).tokens

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """Numbers of the pieces of any text; none is unknown."""
        found = self._model.encode(self._read(self.normalise(text)), add_special_tokens=False).ids
        return [BOS] * bos + found + [EOS] * eos

    def join(self, tokens: Sequence[str]) -> str:
        """The text of pieces."""
        text = self._model.decoder.decode([token for token in tokens if token not in SPECIAL])
        return compose(text) if self.jamo else text

    def _read(self, text: str) -> str:
        return _sound(decompose(text) if self.jamo else text)


def _pipeline(package: Any, model: Any) -> Any:
    whole = package.Tokenizer(model)
    whole.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder = package.decoders.ByteLevel()
    return whole


def _sound(text: str) -> str:
    # Half a surrogate pair, as broken JSON can hold, has no bytes in UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")


def _package() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise UsageError(
            "subwords",
            expected="the package tokenizers",
            got="none installed",
            fix="pip install 'unrolled[text]'",
        ) from None
    return tokenizers
