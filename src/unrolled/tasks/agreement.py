"""What a model said and what people said of the same come in; how well they agree goes out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from unrolled.errors import UsageError
from unrolled.tasks.cider import cider, grams

MEASURES = ("bleu", "exact")


def agreement(
    said: Sequence[str], references: Sequence[Sequence[str]], measure: str = "bleu"
) -> dict[str, Any]:
    """Figures over all sentences.

    Args:
        said: by the model.
        references: by people; as many for each sentence.
        measure: "bleu" for sacreBLEU (small letters, 13a) and chrF too, or "exact" alone.

    Returns:
        `exact`, the share said as one of the references, letters' case aside, and `distinct`, the
        share of different sentences; with "bleu" also `bleu` and `chrf`, from 0 to 100, and
        `signature`, how they were counted (Post 2018, arXiv:1804.08771).

    Raises:
        UsageError: there is no such measure, or its package is not installed.

    Example:
        >>> agreement(["a dog", "a cat"], [["A dog"], ["two cats"]], "exact")
        {'exact': 0.5, 'distinct': 1.0}
    """
    if measure not in MEASURES:
        raise UsageError("measure", expected=", ".join(MEASURES), got=repr(measure))
    count = max(len(said), 1)
    right = sum(
        one.casefold() in {text.casefold() for text in texts}
        for one, texts in zip(said, references, strict=True)
    )
    figures: dict[str, Any] = {"exact": right / count, "distinct": len(set(said)) / count}
    if measure == "exact" or not said:
        return figures
    metrics = _package()
    most = max(map(len, references))
    # where somebody said less often, sacreBLEU is told that there is nothing
    columns = [[row[k] if k < len(row) else None for row in references] for k in range(most)]
    bleu = metrics.BLEU(lowercase=True, tokenize="13a")
    chrf = metrics.CHRF(lowercase=True)
    figures["bleu"] = bleu.corpus_score(list(said), columns).score
    if most == len(min(references, key=len)):
        figures["chrf"] = chrf.corpus_score(list(said), columns).score
    figures["signature"] = str(bleu.get_signature())
    return figures


def _package() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError:
        raise UsageError(
            "measure='bleu'",
            expected="the package sacrebleu",
            got="none installed",
            fix="pip install 'unrolled[translate]', or take measure='exact'.",
        ) from None
    return metrics


def captions_agreement(
    said: Sequence[str], references: Sequence[Sequence[str]], seed: int = 0
) -> dict[str, float]:
    """Figures of captions, of their words in small letters without punctuation.

    Args:
        said: by the model, one for each image.
        references: by people, some for each image.
        seed: of the permutation of images for the control.

    Returns:
        `bleu1` to `bleu4` of the whole corpus, the nearest reference's length counting (Papineni
        and others 2002), `cider` (CIDEr-D), `distinct`, the share of different captions, `exact`;
        and `bleu4_shuffled`: the same captions held against what people say of other images.

    Example:
        >>> people = [["A dog runs here."], ["b"]]
        >>> found = captions_agreement(["a dog runs here", "two cats"], people)
        >>> found["distinct"], round(found["bleu1"], 1)
        (1.0, 66.7)
    """
    mine = [words_of(text) for text in said]
    theirs = [[words_of(text) for text in row] for row in references]
    figures = {f"bleu{n}": bleu(mine, theirs, n) for n in range(1, 5)}
    order = np.random.RandomState(seed).permutation(len(said))
    # each image gets the captions of the next one of a permutation: none keeps its own
    after = np.empty_like(order)
    after[order] = np.roll(order, 1)
    figures["bleu4_shuffled"] = bleu(mine, [theirs[k] for k in after], 4)
    figures["cider"] = cider(mine, theirs)
    figures["distinct"] = len(set(said)) / max(len(said), 1)
    figures["exact"] = agreement(said, references, "exact")["exact"]
    return figures


def words_of(text: str) -> list[str]:
    """The words of a caption: small letters, no punctuation.

    Example:
        >>> words_of("A man's dog , running .")
        ['a', "man's", 'dog', 'running']
    """
    return re.findall(r"\w+(?:['’]\w+)*", text.lower())


def bleu(said: Sequence[list[str]], references: Sequence[Sequence[list[str]]], most: int) -> float:
    """Corpus BLEU of n-grams up to `most`, from 0 to 100, without smoothing.

    Example:
        >>> round(bleu([["a", "b", "c"]], [[["a", "b", "d"]]], 2), 2)
        57.74
    """
    right, total = np.zeros(most), np.zeros(most)
    length, nearest = 0, 0
    for words, row in zip(said, references, strict=True):
        length += len(words)
        nearest += min((abs(len(one) - len(words)), len(one)) for one in row)[1]
        theirs: Counter[tuple[str, ...]] = Counter()
        for one in row:
            theirs |= grams(one)
        for gram, count in grams(words).items():
            if len(gram) <= most:
                total[len(gram) - 1] += count
                right[len(gram) - 1] += min(count, theirs[gram])
    if not length or not right.all():
        return 0.0
    short = min(0.0, 1 - nearest / length)
    return float(100 * np.exp(short + np.log(right / total).mean()))
