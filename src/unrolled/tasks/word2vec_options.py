"""How word vectors are learnt: every option, with what it may be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from unrolled.errors import UsageError
from unrolled.text.tokenizer import FORMS
from unrolled.text.words import SPLITS

METHODS = ("skip-gram", "cbow")
OUTPUTS = ("input", "mean", "even")


@dataclass(frozen=True)
class Options:
    """How vectors are learnt; every value is checked here.

    Args:
        method: "skip-gram" (each word says its neighbours) or "cbow" (the neighbours say the word).
        embedding: numbers a word of one run.
        runs: learn this many times, from other first vectors each time, and lay what comes out side
            by side: E = runs · embedding numbers a word. Runs go on at the same time.
        window: words on each side that are neighbours, at most: each time a number up to it is
            drawn.
        negative: words drawn against each true one.
        exponent: the power of a word's frequency by which they are drawn.
        sample: frequent words are read less: those with a larger share than about this.
        least: how often a word has to be seen to get a vector.
        vocabulary: the most words, the most frequent ones; 0 for all.
        lower: whether letters are made small.
        form: Unicode's, as for tokenizers.
        split_at: "words" (punctuation apart) or "blanks".
        punctuation: whether signs get vectors too; without, and tags of HTML in any case, they are
            left out of the text.
        output: "input" vectors, as word2vec gives them; the "mean" of input and output vectors; or
            "even", their mean where each is centred, whitened as the result is, and at length 1, so
            that both have a like say in every word.
        centred: whether the mean of all vectors is subtracted in the end.
        components: how many of their principal components are taken out as well (all but the top:
            Mu and Viswanath 2018, arXiv:1702.01417).
        trimmed: how many of the last, the smallest, are taken out: of several runs what they do not
            agree on.
        whitened: how far the components that are left are made alike in size, from 0 (not at all)
            to 1 (wholly), all but a handful of themes having little say without it (the power P of
            Bullinaria and Levy 2012, doi:10.3758/s13428-011-0183-8).
        epochs: passes over the texts.
        lr: learning rate at the start; it falls to almost 0.
        seed: of the first vectors and all draws; each further run has the next.
        threads: of each run, that learn at once. With one, a seed gives the same bits every time;
            several write over each other, and no two runs are alike.

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> Options(window=0)
        Traceback (most recent call last):
        unrolled.errors.UsageError: window: expected a whole number of at least 1, got 0.
    """

    method: str = "skip-gram"
    embedding: int = 100
    runs: int = 1
    window: int = 5
    negative: int = 5
    exponent: float = 0.75
    sample: float = 1e-3
    least: int = 5
    vocabulary: int = 0
    lower: bool = True
    form: str = "NFC"
    split_at: str = "words"
    punctuation: bool = False
    output: str = "input"
    centred: bool = False
    components: int = 0
    trimmed: int = 0
    whitened: float = 0.0
    epochs: int = 5
    lr: float = 0.025
    seed: int = 0
    threads: int = 1

    def __post_init__(self):
        for name, known in (
            ("method", METHODS), ("output", OUTPUTS), ("form", FORMS), ("split_at", SPLITS),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise UsageError(name, expected=" or ".join(known), got=repr(getattr(self, name)))
        for name in ("embedding", "runs", "window", "negative", "least", "epochs", "threads"):
            _whole(name, getattr(self, name), 1)
        for name in ("vocabulary", "components", "trimmed", "seed"):
            _whole(name, getattr(self, name), 0)
        for name in ("lower", "punctuation", "centred"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(name, expected="true or false", got=repr(getattr(self, name)))
        for name, low, high in (
            ("exponent", -2, 2), ("sample", 0, 1), ("lr", 0, 1),
            ("whitened", 0, 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int | float) or not low <= value <= high:
                raise UsageError(name, expected=f"a number from {low} to {high}", got=repr(value))
        for name in ("components", "trimmed", "whitened"):
            if getattr(self, name) and not self.centred:
                raise UsageError(
                    name, expected="0 without centred", got=getattr(self, name),
                    fix="Say centred=true too.",
                )  # fmt: skip
        if self.components + self.trimmed >= self.width:
            raise UsageError(
                "components and trimmed",
                expected=f"fewer than the {self.width} numbers a word",
                got=self.components + self.trimmed,
            )

    @property
    def width(self) -> int:
        """E, numbers a word."""
        return self.runs * self.embedding

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def _whole(name: str, value: object, least: int) -> None:
    if type(value) is not int or not least <= value < 2**31:
        raise UsageError(name, expected=f"a whole number of at least {least}", got=repr(value))
