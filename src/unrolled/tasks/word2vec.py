"""Texts and options come in; a vector for each frequent word goes out, learnt by gensim's word2vec.

The texts are written once as a file of words, which gensim's threads read without Python; so they
may be larger than memory.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unrolled.data.lines import Lines
from unrolled.errors import DataError, UsageError
from unrolled.messages import tr
from unrolled.text.tokenizer import normalised
from unrolled.text.words import split

from .common_part import without_common
from .word2vec_options import Options
from .word2vec_runs import Corpus, gensim, side_by_side

_LONGEST = 200  # letters of a word: a longer one is a piece of a file that is no text


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
