"""Spans by the rule of CoNLL: hand-made cases, in every scheme, and F1 as the script counts it."""

import itertools

import pytest

from unrolled.tasks.spans import f1, illegal, marks, rewritten, spans

# tags → spans, as the script of CoNLL-2000 finds them
CASES = {
    "O O": [],
    "B-A": [("A", 0, 1)],
    "B-A I-A O": [("A", 0, 2)],
    "B-A B-A": [("A", 0, 1), ("A", 1, 2)],
    "I-A I-A": [("A", 0, 2)],
    "O I-A": [("A", 1, 2)],
    "B-A I-B": [("A", 0, 1), ("B", 1, 2)],
    "I-A I-B I-B": [("A", 0, 1), ("B", 1, 3)],
    "I-A B-A I-A": [("A", 0, 1), ("A", 1, 3)],
    "S-A S-A": [("A", 0, 1), ("A", 1, 2)],
    "B-A I-A E-A": [("A", 0, 3)],
    "B-A E-A I-A": [("A", 0, 2), ("A", 2, 3)],
    "E-A E-A": [("A", 0, 1), ("A", 1, 2)],
    "S-A I-A": [("A", 0, 1), ("A", 1, 2)],
    "B-A S-B E-A": [("A", 0, 1), ("B", 1, 2), ("A", 2, 3)],
    "B-A-x I-A-x": [("A-x", 0, 2)],
}


@pytest.mark.parametrize("tags", CASES)
def test_spans_are_those_of_the_rule(tags):
    assert [tuple(span) for span in spans(tags.split())] == CASES[tags]


def test_figures_are_those_of_the_script():
    gold = "B-NP I-NP B-VP O B-NP".split(), "B-PP B-NP I-NP".split()
    said = "B-NP I-NP B-VP O O".split(), "B-PP B-NP B-NP".split()
    figures = f1(gold, said)
    # of 5 spans 3 are found exactly (NP, VP, PP) among 5 that were said: NP VP PP NP NP
    assert (figures["precision"], figures["recall"]) == (3 / 5, 3 / 5)
    assert figures["f1"] == pytest.approx(0.6)
    assert figures["per_class"]["NP"] == {
        "precision": 1 / 3, "recall": 1 / 3, "f1": pytest.approx(1 / 3), "count": 3,
    }  # fmt: skip
    assert figures["per_class"]["PP"]["f1"] == 1
    assert f1([["O"]], [["O"]])["f1"] == 0


def test_a_boundary_that_is_wrong_counts_twice():
    figures = f1([["B-A", "I-A", "O"]], [["B-A", "I-A", "I-A"]])
    assert (figures["precision"], figures["recall"], figures["f1"]) == (0, 0, 0)


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_rewriting_keeps_every_span(scheme):
    tags = ["O", "B-A", "I-A", "B-B", "I-B", "E-A", "S-B"]
    for sentence in itertools.product(tags, repeat=4):
        there = rewritten(sentence, scheme)
        assert spans(there) == spans(sentence)
        assert rewritten(rewritten(there, "bioes"), "bio") == rewritten(sentence, "bio")


@pytest.mark.parametrize(
    "labels", ["B-A I-A B-B I-B O".split(), "B-A I-A E-A S-A B-B E-B I-B O".split()]
)
def test_illegal_pairs_are_those_that_no_clean_sentence_has(labels):
    scheme = "bioes" if "S-A" in labels else "bio"
    kinds = sorted({marks(x)[1] for x in labels} - {""})
    plain = [f"{m}-{k}" for m in "BI" for k in kinds] + ["O"]
    seen = set()
    for sentence in itertools.product(plain, repeat=4):
        clean = rewritten(sentence, scheme)
        if all(tag in labels for tag in clean):
            numbers = [len(labels), *map(labels.index, clean), len(labels)]
            seen |= set(itertools.pairwise(numbers))
    everything = set(itertools.product(range(len(labels) + 1), repeat=2))
    assert set(illegal(labels)) == everything - seen - {(len(labels), len(labels))}
