"""Tags such as B-NP come in; the spans that they mark, and F1 over spans, go out.

The rule is that of the script of the CoNLL shared tasks (Tjong Kim Sang and Buchholz 2000): a span
counts when its type, beginning and end are all right, and a stray I- or E- begins a span.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

MARKS = "BIESO"


class Span(NamedTuple):
    """Tokens from `start` to before `end`, of one kind."""

    kind: str
    start: int
    end: int


def marks(tag: str) -> tuple[str, str]:
    """The mark and the kind of a tag: ("B", "NP") of "B-NP", ("O", "") of "O".

    Example:
        >>> marks("I-VP"), marks("O"), marks("NOUN")
        (('I', 'VP'), ('O', ''), ('', 'NOUN'))
    """
    if tag == "O":
        return "O", ""
    mark, dash, kind = tag.partition("-")
    return (mark, kind) if dash and mark in MARKS else ("", tag)


def are_spans(tags: Iterable[str]) -> bool:
    """Whether a set of tags marks spans: every one is O or B-, I-, E-, S- and a kind.

    Example:
        >>> are_spans(["O", "B-NP", "I-NP"]), are_spans(["NOUN", "X"]), are_spans(["O"])
        (True, False, False)
    """
    found = [marks(tag)[0] for tag in tags]
    return all(found) and any(mark != "O" for mark in found)


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans of one sentence, in order.

    Example:
        >>> [tuple(span) for span in spans(['B-NP', 'I-NP', 'O', 'I-VP'])]
        [('NP', 0, 2), ('VP', 3, 4)]
    """
    found, start = [], 0
    before, kind_before = "O", ""
    for place, tag in enumerate([*tags, "O"]):
        mark, kind = marks(tag)
        inside = before != "O"
        ends = before in ("E", "S") or mark in ("B", "S", "O") or kind != kind_before
        if inside and ends:
            found.append(Span(kind_before, start, place))
        if mark != "O" and (not inside or ends):
            start = place
        before, kind_before = mark, kind
    return found


def rewritten(tags: Sequence[str], scheme: str) -> list[str]:
    """The same spans in another scheme, "bio" (IOB2) or "bioes".

    Example:
        >>> rewritten(["B-NP", "I-NP", "B-VP"], "bioes")
        ['B-NP', 'E-NP', 'S-VP']
    """
    out = ["O"] * len(tags)
    for kind, start, end in spans(tags):
        for place in range(start, end):
            mark = "B" if place == start else "I"
            if scheme == "bioes" and place == end - 1:
                mark = "S" if place == start else "E"
            out[place] = f"{mark}-{kind}"
    return out


def illegal(labels: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of labels that never follow one another in clean IOB2 or IOBES, by number.

    The number of labels stands for the beginning (first of a pair) and the end (second).

    Example:
        >>> illegal(["B-NP", "I-NP", "O"])  # O then I-NP; I-NP at the beginning
        [(2, 1), (3, 1)]
    """
    endings = {marks(label)[0] for label in labels} & {"E", "S"}
    named = [marks(label) for label in labels]
    pairs = []
    for i, (before, kind_before) in enumerate([*named, ("O", "")]):
        for j, (after, kind) in enumerate([*named, ("O", "")]):
            goes_on = after in ("I", "E")
            opened = before in ("B", "I")
            fits = opened and kind == kind_before
            broken = goes_on and not fits
            if endings and opened:
                broken |= not (goes_on and fits)
            if broken:
                pairs.append((i, j))
    return pairs


def f1(gold: Iterable[Sequence[str]], said: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Precision, recall and F1 over the spans of all sentences, in all and by kind.

    Returns:
        `precision`, `recall`, `f1` (micro), and `per_class`: the same and `count` by kind.

    Example:
        >>> figures = f1([["B-NP", "I-NP", "B-VP"]], [["B-NP", "B-NP", "B-VP"]])
        >>> round(figures["precision"], 3), figures["recall"], figures["f1"]
        (0.333, 0.5, 0.4)
    """
    right: dict[str, int] = {}
    there: dict[str, int] = {}
    found: dict[str, int] = {}
    for truth, guess in zip(gold, said, strict=True):
        wanted, got = set(spans(truth)), set(spans(guess))
        for table, chosen in ((there, wanted), (found, got), (right, wanted & got)):
            for span in chosen:
                table[span.kind] = table.get(span.kind, 0) + 1
    kinds = sorted({*there, *found})
    total = _figures(sum(right.values()), sum(found.values()), sum(there.values()))
    del total["count"]
    rows = {k: _figures(right.get(k, 0), found.get(k, 0), there.get(k, 0)) for k in kinds}
    return {**total, "per_class": rows}


def _figures(right: int, found: int, there: int) -> dict[str, Any]:
    return {
        "precision": right / found if found else 0.0,
        "recall": right / there if there else 0.0,
        "f1": 2 * right / (found + there) if found + there else 0.0,
        "count": there,
    }


def barred(labels: Sequence[str], tags: Sequence[Sequence[str]]) -> list[list[int]]:
    """Pairs that clean spans never have, if the training part has none of them either."""
    if not are_spans(labels):
        return []
    numbers = {label: k for k, label in enumerate(labels)}
    seen: Counter[tuple[int, int]] = Counter()
    for row in tags:
        path = [len(labels), *(numbers[tag] for tag in row), len(labels)]
        seen.update(pairwise(path))
    return [list(pair) for pair in illegal(labels) if pair not in seen]
