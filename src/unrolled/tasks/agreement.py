"""What a model said and what people said of the same come in; how well they agree goes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unrolled.errors import UsageError

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
