"""Texts and options come in; a vector for each frequent word goes out, learnt by gensim's word2vec.

The texts are written once as a file of words, which gensim's threads read without Python; so they
may be larger than memory.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unrolled.data.lines import Lines
from unrolled.errors import DataError, UsageError
from unrolled.messages import tr
from unrolled.text.tokenizer import FORMS, normalised
from unrolled.text.words import SPLITS, split

from .word2vec_runs import Corpus, gensim, side_by_side

METHODS = ("skip-gram", "cbow")
OUTPUTS = ("input", "mean")
_LONGEST = 200  # letters of a word: a longer one is a piece of a file that is no text


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
        output: "input" vectors, as word2vec gives them, or the "mean" of input and output vectors.
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


class Learnt(NamedTuple):
    """What came out: words, the most frequent first, their counts and vectors, and the figures."""

    words: list[str]
    counts: np.ndarray
    values: np.ndarray
    facts: dict[str, Any]
    epochs: list[dict[str, Any]]


def words_of(text: str, options: Options) -> list[str]:
    """The words of a text as they are learnt.

    Example:
        >>> words_of("The film isn't bad.<br />Go!", Options())
        ['the', 'film', "isn't", 'bad', 'go']
        >>> words_of("재밌다!", Options(punctuation=True))
        ['재밌다', '!']
    """
    found = split(normalised(text, lower=options.lower, form=options.form), options.split_at)
    if options.split_at == "blanks":
        return [word for word in found if len(word) <= _LONGEST]
    return [
        word
        for word in found
        if len(word) <= _LONGEST
        and (word[0].isalnum() or word[0] == "_" or (options.punctuation and len(word) == 1))
    ]


def learn(
    lines: Lines, options: Options, told: Callable[[float, str], Any] | None = None
) -> Learnt:
    """Learn a vector for each word that is frequent enough.

    Args:
        lines: the texts; read once.
        options: how.
        told: called with the share of the work that is done, and what is going on in words.

    Raises:
        DataError: too few words are frequent enough.
        UsageError: gensim is not installed.
    """
    told = told or (lambda share, what: None)
    gensim()  # where it is not installed, that is said before the texts are read
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="unrolled-") as folder:
        path = Path(folder, "words.txt")
        counts, texts = _write(path, lines, options, told)
        kept = _kept(counts, options, lines.name)
        total, read = sum(counts.values()), time.monotonic() - began
        text = Corpus(path, kept, texts, total)
        values, rows = side_by_side(text, options, told)
    if not np.isfinite(values).all():
        raise UsageError(
            "the vectors", expected="finite numbers", got="others", fix="Lower the rate: --lr"
        )
    if options.centred:
        values = without_common(values, options.components, options.whitened, options.trimmed)
    words = list(kept)
    facts = {
        "texts": texts,
        "running_words": total,
        "words": len(words),
        "covered": sum(kept.values()) / total,
        "seconds": round(time.monotonic() - began, 2),
        "seconds_reading": round(read, 2),
    }
    return Learnt(
        words,
        np.array([kept[word] for word in words], np.int64),
        np.ascontiguousarray(values, np.float32),
        facts,
        rows,
    )


def without_common(
    values: np.ndarray, components: int = 0, whitened: float = 0.0, trimmed: int = 0
) -> np.ndarray:
    """Vectors without what all have in common: their mean, and their first principal components.

    Args:
        values: (V, E).
        components: how many.
        whitened: the power of its deviation by which each other component is divided; the mean
            square stays as it is, and so do the directions.
        trimmed: how many of the last.

    Source: Mu and Viswanath 2018, arXiv:1702.01417; for the power Bullinaria and Levy 2012,
    doi:10.3758/s13428-011-0183-8.

    Example:
        >>> without_common(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
        >>> long = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> without_common(long, whitened=1).round(3).tolist()[1:3]
        [[-2.236, 0.0], [0.0, 2.236]]
    """
    centred = values - values.mean(axis=0)
    if not components and not whitened and not trimmed:
        return centred
    exact = centred.astype(np.float64)
    sizes, directions = np.linalg.eigh(exact.T @ exact)
    directions = directions[:, trimmed : len(sizes) - components]  # the smallest first
    kept = exact @ directions
    before = (kept**2).mean()
    seen = (deviations := kept.std(axis=0)) > deviations.max(initial=0) * 1e-6
    kept[:, seen] /= deviations[seen] ** whitened
    kept *= np.sqrt(before / max((kept**2).mean(), 1e-30))
    return (kept @ directions.T).astype(values.dtype)


def _write(
    path: Path, lines: Lines, options: Options, told: Callable[[float, str], Any]
) -> tuple[Counter[str], int]:
    if lines.in_words and options.split_at == "words":
        options = Options(**{**asdict(options), "split_at": "blanks"})
    counts: Counter[str] = Counter()
    texts = 0
    with path.open("w", encoding="utf-8") as file:
        for text in lines:
            words = words_of(text, options)
            if words:
                counts.update(words)
                file.write(" ".join(words) + "\n")
                texts += 1
                if texts % 5000 == 0:
                    told(0.0, tr("{count} texts read", count=f"{texts:,}"))
    return counts, texts


def _kept(counts: Counter[str], options: Options, name: str) -> dict[str, int]:
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    frequent = {word: count for word, count in ranked if count >= options.least}
    if len(frequent) < 2:
        most = ranked[0][1] if ranked else 0
        raise DataError(
            f"the words of {name}",
            expected=f"at least 2 that are seen {options.least} times",
            got=f"{len(ranked)} words, the most frequent {most} times",
            fix="Give more text, or ask for less: --set least=1",
        )
    if options.vocabulary:
        frequent = dict(list(frequent.items())[: max(options.vocabulary, 2)])
    return frequent


def _whole(name: str, value: object, least: int) -> None:
    if type(value) is not int or not least <= value < 2**31:
        raise UsageError(name, expected=f"a whole number of at least {least}", got=repr(value))
