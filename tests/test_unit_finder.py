"""The unit finder: what is planted is found, what is not is told from chance on another half."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from unrolled import Recurrent, UnrolledError, checkpoint
from unrolled.data import pronouns
from unrolled.data.corpus import corpus_of
from unrolled.data.pairs import PairDataset, Pairs
from unrolled.data.wording import learn_texts
from unrolled.errors import UsageError
from unrolled.inspect.finder import Part, aucs, correlations, followers
from unrolled.inspect.predicates import find
from unrolled.tasks.classify import Classify
from unrolled.tasks.following import following, halves, states_of
from unrolled.tasks.language import Language
from unrolled.tasks.translate import Translate
from unrolled.text.embedding import OneHot

QUOTED = 'he said "no, not that" to me and "yes" to you.\n'


def test_areas_and_correlations_are_those_of_scikit_learn_and_numpy():
    rng = np.random.RandomState(0)
    values = np.round(rng.randn(80, 4), 1)  # with ties
    wanted = rng.randint(0, 2, (3, 80))
    for k in range(3):
        for j in range(4):
            area = roc_auc_score(wanted[k], values[:, j])
            assert aucs(values, wanted)[k, j] == pytest.approx(area, abs=1e-12)
            by_numpy = np.corrcoef(values[:, j], wanted[k])[0, 1]
            assert correlations(values, wanted.astype(float))[k, j] == pytest.approx(by_numpy)


def noise(seed, planted=0.0, steps=600):
    rng = np.random.RandomState(seed)
    wanted = np.repeat(rng.randint(0, 2, steps // 10), 10).astype(float)
    values = rng.randn(steps, 40)
    values[:, 7] -= planted * wanted
    return Part({"l0.h": values[:, :20], "l0.c": values[:, 20:]}, wanted)


def test_a_planted_unit_is_found_with_its_sign_and_threshold():
    best = followers(noise(0, 6.0), noise(1, 6.0), yes_or_no=True)[0]
    assert (best.name, best.unit, best.sign) == ("l0.h", 7, -1)
    assert best.held > 0.99 > 0.7 > best.chance
    assert best.accuracy > 0.98 > best.usual
    assert -4 < best.threshold < -2


def test_the_best_of_many_that_follow_nothing_is_no_better_than_chance_elsewhere():
    best = followers(noise(2), noise(3), yes_or_no=True)[0]
    assert best.chosen > 0.55  # chosen among forty: it looks better than it is
    assert best.held <= best.chance + 0.03
    assert abs(best.held - 0.5) < 0.06


def test_what_is_the_same_everywhere_cannot_be_followed():
    part = noise(0)
    with pytest.raises(UnrolledError, match="so here and not there"):
        followers(part, Part(part.values, np.ones(600)), yes_or_no=True)


@pytest.mark.parametrize(
    ("words", "text", "wanted"),
    [
        ("quotes", 'a "b" “c” d', [0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0]),
        ("quotes", '"a\n\nb', [1, 1, 1, 0, 0]),
        ("line-position", "ab\n\nc", [1, 2, 0, 0, 1]),
        ("brackets", "(a[b])c)d", [1, 1, 2, 2, 1, 0, 0, 0, 0]),
        ("^[A-Z]+:", "HE: I\nme: A", [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        (r".{1,2}(?=\n)", "abcd\ne", [0, 0, 1, 1, 0, 0]),
    ],
)
def test_what_may_be_followed_is_known_at_each_letter(words, text, wanted):
    assert find(words).of(text).tolist() == wanted


def test_a_token_has_the_value_of_its_last_letter():
    words = ["say", '"no', 'way"', "now"]
    assert find("quotes").along(words, " ").tolist() == [0, 1, 0, 0]
    assert find("no").along(words, " ").tolist() == [0, 1, 0, 0]
    assert find("line-position").along(["ab", "\n", "c"]).tolist() == [2, 0, 1]
    assert find("quotes").along([]).tolist() == []
    with pytest.raises(UnrolledError, match="a regular expression"):
        find("(")


def test_the_subject_of_a_story_is_known_at_each_letter():
    text = (
        "a man called Tom took the chair . he saw a woman named Ida in the street . "
        "then a woman named Eve came in . the one who sat there was"
    )
    gender = pronouns.subjects(text)
    assert np.isnan(gender[: len("a ma")]).all()
    assert (gender[len("a ma") : text.index("then")] == 0).all()
    assert (gender[text.index("then a woman") + len("then a woma") :] == 1).all()
    korean = (
        "민수 라는 남자 가 들어왔다 . 그때 지영 라는 여자 가 말을 시작했다 . "
        "그녀는 길에서 서준 라는 남자 를 보았다 ."
    )
    gender = pronouns.subjects(korean)
    assert gender[korean.index("남자") + 1] == 0
    assert gender[korean.index("여자") + 1] == gender[-1] == 1


def test_the_last_subject_of_every_story_is_its_answer():
    part = pronouns.stories().train
    for text, answer in list(zip(part.inputs, part.answers, strict=True))[:300]:
        assert pronouns.subjects(text)[-1] == answer


def latch():
    """A language model with one unit that is told by hand to keep whether a quotation is open."""
    torch.manual_seed(0)
    corpus = corpus_of(QUOTED * 20)
    task = Language.for_dataset(
        corpus, cell="gru", hidden=6, embedding="one-hot", backend="reference"
    )
    layer, mark = task.model.recurrent, corpus.tokenizer.numbers['"']
    with torch.no_grad():
        for weight in (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0):
            rows = weight.view(3, 6, -1)[:, 4]  # r, z, n of unit 4
            rows.zero_()
        layer.bias_ih_l0[6 + 4] = 20.0  # it keeps what it has,
        layer.weight_ih_l0[6 + 4, mark] = -40.0  # but at a mark it is turned
        layer.bias_ih_l0[4] = 20.0
        layer.bias_ih_l0[12 + 4] = 20.0
        layer.weight_hh_l0[12 + 4, 4] = -40.0
    return task


def test_a_unit_that_keeps_quotations_is_found_and_seen_to_be_turned():
    task = latch()
    found = following(task, [QUOTED * 12], "quotes")
    best = found.units[0]
    assert (best.name, best.unit) == ("l0.h", 4)
    assert best.held > 0.99 > best.chance
    assert best.accuracy > 0.99
    assert found.gates["z"] == pytest.approx((0, 0, 1), abs=1e-3)
    assert len(found.held) == 1


def test_a_unit_that_there_is_not_is_told_by_its_range():
    with pytest.raises(UsageError, match=r"unit of l0.h: expected 0 to 5, got 99"):
        following(latch(), [QUOTED * 12], "quotes", unit=("l0.h", 99))


def test_a_translator_has_no_units_to_follow(unrolled, tmp_path):
    pairs = Pairs(["a b", "b a"] * 9, [["x y"], ["y x"]] * 9)
    task = Translate.for_dataset(PairDataset("p", pairs, pairs), level="words", hidden=4)
    checkpoint.save(tmp_path / "pairs", task)
    ran = unrolled("inspect", tmp_path / "pairs", "a b", "--find", "a", "--follow", "c[0]")
    assert ran.code == 2
    assert "--find: expected a classifier or tagger of texts" in ran.err


def test_parts_of_each_step_make_no_network_answer_at_each():
    trace = latch().inspect([QUOTED])
    trace.told, trace.said = {"why_gradient": [[0.0]]}, []
    assert trace.once
    trace.told["probability"] = [[0.0]]
    assert not trace.once


def test_windows_of_a_long_text_make_no_difference(monkeypatch):
    task = latch()
    (whole,) = states_of(task, [QUOTED * 3], ("h",))
    monkeypatch.setattr("unrolled.tasks.following.WINDOW", 7)
    (cut,) = states_of(task, [QUOTED * 3], ("h",))
    assert np.allclose(whole.values["l0.h"], cut.values["l0.h"], atol=1e-6)
    first, second = halves([whole])
    assert len(first[0].tokens) + len(second[0].tokens) == len(whole.tokens)


def test_units_of_texts_and_of_tags_are_found():
    texts = ["x y a", "a b a b", "b b b a x", "x", "a x y", "y b a"] * 3
    prepare = learn_texts(texts, level="words")
    layers = Recurrent("lstm", prepare.features, 5, 2, backend="reference", bidirectional=True)
    task = Classify(layers, prepare, ["p", "q"], encoder=OneHot(prepare.features))
    seen = list(states_of(task, texts, ("h", "c")))
    assert [row.tokens for row in seen] == [text.split() for text in texts]
    assert set(seen[0].values) == {
        f"{place}.{name}" for place in ("l0", "l0_reverse", "l1", "l1_reverse") for name in "hc"
    }
    trace = task.inspect(texts[:6])
    for b in range(6):
        for key, value in seen[b].values.items():
            title, name = key.split(".")
            assert np.allclose(value, trace[title][name][b, : len(value)], atol=1e-6)
    assert following(task, texts, "a").units[0].measure == "AUC"
    tags = [["yes" if word == "a" else "no" for word in text.split()] for text in texts]
    tagged = following(task, texts, "tag:yes", tags=tags)
    assert tagged.units == following(task, texts, "a").units
    with pytest.raises(UnrolledError, match="a file of columns"):
        following(task, texts, "tag:yes")


def test_the_command_finds_draws_and_tells(unrolled, tmp_path):
    checkpoint.save(tmp_path / "latch", latch())
    (tmp_path / "text.txt").write_text(QUOTED * 12, encoding="utf-8")
    common = (
        "inspect",
        tmp_path / "latch",
        "--backend",
        "reference",
        tmp_path / "text.txt",
        "--find",
        "quotes",
        "--backend",
        "reference",
    )
    ran = unrolled(*common, "--picture", tmp_path / "p.png")
    assert ran.code == 0, ran.err
    assert "l0.h[4]" in ran.out.splitlines()[3]
    assert "r 1.00, z 0.00, n -1.00  where it ends or falls" in ran.out
    Image.open(tmp_path / "p.png").verify()
    facts = json.loads(unrolled(*common, "--json").out)
    assert facts["find"]["units"][0]["unit"] == 4
    ran = unrolled(
        "inspect", tmp_path / "latch", "--backend", "reference", 'he "said" no', "--follow", "h[4]"
    )
    assert ran.code == 0, ran.err
    assert "█" in ran.out
    assert (
        unrolled(
            "inspect", tmp_path / "latch", "--backend", "reference", "he", "--follow", "h[9]"
        ).code
        == 2
    )


@pytest.mark.slow
def test_the_report_tells_of_units_and_of_each_token(unrolled, tmp_path):
    checkpoint.save(tmp_path / "latch", latch())
    (tmp_path / "text.txt").write_text(QUOTED * 12, encoding="utf-8")
    ran = unrolled("inspect", tmp_path / "latch", "--backend", "reference", tmp_path / "text.txt",
                   "--find", "quotes", "--report", tmp_path / "r.html")  # fmt: skip
    assert ran.code == 0, ran.err
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    for words in ("Units that follow quotes", "rgba(213,94,0", "expected was", "occlusion"):
        assert words in page
    assert len(page) < 5_000_000
