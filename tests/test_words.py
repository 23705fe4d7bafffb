"""Asking word vectors: neighbours, analogies and lists by hand and by closed forms; the command."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from unrolled.errors import DataError, UsageError
from unrolled.inspect.pictures import words as pictures
from unrolled.text.judged import measure, parse, pearson, spearman
from unrolled.text.likeness import Likeness, spelt_nearly
from unrolled.text.vectors import Vectors, write_vectors

# gender, royalty, youth
PEOPLE = {
    "man": (1, 0, 0), "woman": (-1, 0, 0), "king": (1, 1, 0), "queen": (-1, 1, 0),
    "boy": (1, 0, 1), "girl": (-1, 0, 1), "prince": (1, 1, 1), "princess": (-1, 1, 1),
}  # fmt: skip


@pytest.fixture
def like():
    return Likeness(Vectors(list(PEOPLE), np.array(list(PEOPLE.values()), np.float32)))


@pytest.fixture
def file(like, tmp_path):
    return write_vectors(tmp_path / "people.vec", like.vectors)


def test_neighbours_are_those_of_every_cosine(like):
    random = np.random.default_rng(0)
    values = random.standard_normal((300, 8)).astype(np.float32)
    many = Likeness(Vectors([f"w{k}" for k in range(300)], values))
    cosines = values @ values[7] / np.linalg.norm(values, axis=1) / np.linalg.norm(values[7])
    order = [k for k in np.argsort(-cosines) if k != 7][:12]
    found = many.near("w7", 12)
    assert [word for word, _ in found] == [f"w{k}" for k in order]
    np.testing.assert_allclose([cosine for _, cosine in found], cosines[order], rtol=1e-5)
    assert like.between("man", "woman") == -1
    assert len(like.near("man", 99)) == 7
    assert {word for word, _ in like.near(["king", "princess"], 2)} <= set(PEOPLE)


def test_a_vector_of_zeros_is_near_nothing_and_breaks_nothing():
    like = Likeness(Vectors(["a", "b", "c"], np.array([[1, 0], [0, 0], [1, 1]], np.float32)))
    assert [cosine for _, cosine in like.near("b")] == [0, 0]
    assert like.near("a")[0][0] == "c"


def test_an_analogy_leaves_out_the_three_that_are_asked(like):
    assert like.analogy("man", "king", "woman", 1)[0][0] == "queen"
    assert like.analogy("boy", "prince", "girl", 1)[0][0] == "princess"
    assert not {"man", "king", "boy"} & {word for word, _ in like.analogy("man", "king", "boy")}


def test_an_unknown_word_is_named_with_those_spelt_nearly_so(like):
    with pytest.raises(UsageError, match=r"'prinzess'.*one of the 8.*Did you mean princess"):
        like.near("prinzess")
    assert like.near("KING", 1) == like.near("king", 1)
    assert spelt_nearly("감둑", ["감독", "영화"]) == ["감독"]
    with pytest.raises(UsageError, match="count"):
        like.near("king", 0)


def test_the_rank_correlation_is_scipys():
    random = np.random.default_rng(1)
    one = random.integers(0, 8, 60).astype(float)
    other = one + random.standard_normal(60).round(1)
    assert spearman(one, other) == pytest.approx(spearmanr(one, other)[0], abs=1e-9)
    assert spearman(np.array([1.0, 2, 3]), np.array([9.0, 5, 1])) == -1
    assert pearson(np.ones(5), np.arange(5.0)) is None
    assert pearson(np.array([1.0, 2]), np.array([1.0, 2])) is None


def test_pairs_are_read_however_they_are_written(like):
    tabs = parse("# made up\r\nWord 1\tWord 2\tHuman\r\nman\tking\t9\r\n\r\nman\tqueen\t1.5\r\n")
    commas = parse('\ufeffword1,word2,score\n"man",king,9\nman,queen,1.5\n')
    blanks = parse("man king 9\nman queen 1.5\n")
    assert tabs.pairs == commas.pairs == blanks.pairs == [("man", "king", 9), ("man", "queen", 1.5)]


def test_pairs_without_a_vector_are_passed_over_and_counted(like):
    list_ = "man king 9\nman boy 8\nman queen 3\nman girl 2\nman zebra 1\n"
    found = measure(like, parse(list_, "mine"))
    assert (found["count"], found["covered"]) == (5, 4)
    cosines = [like.between("man", word) for word in ("king", "boy", "queen", "girl")]
    assert found["spearman"] == pytest.approx(spearmanr(cosines, [9, 8, 3, 2])[0])
    with pytest.raises(UsageError, match="none of 1 entries"):
        measure(like, parse("zebra lion 7\n"))


def test_analogies_are_counted_by_section(like):
    found = measure(
        like,
        parse(
            ": royal\nman king woman queen\nboy prince girl princess\nman king boy queen\n"
            ": strange\nman king zebra lion\n"
        ),
    )
    assert (found["count"], found["covered"], found["right"]) == (4, 3, 2)
    assert found["sections"]["royal"] == {
        "count": 3, "covered": 3, "right": 2, "accuracy": 2 / 3,
    }  # fmt: skip
    assert found["sections"]["strange"]["accuracy"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected pairs of words or analogies, got none"),
        ("man king\n", "line 1: expected two words and a number, got man king"),
        ("man king 9\nman queen much\n", "line 2: expected two words and a number"),
        ("man king 9\nman queen nan\n", "line 2"),
        (": a\nman king woman\n", "line 2: expected four words"),
    ],
)
def test_a_list_that_is_none_is_named_with_its_line(text, said):
    with pytest.raises(DataError, match=said):
        parse(text, "mine.txt")


def test_a_map_keeps_near_what_is_near():
    random = np.random.default_rng(0)
    centres = np.repeat(np.eye(6)[:3] * 5, 12, axis=0)
    values = centres + 0.3 * random.standard_normal((36, 6))
    for method in pictures.METHODS:
        places = pictures.placed(values, method=method, seed=1)
        apart = np.linalg.norm(places[:, None] - places[None], axis=2)
        group = np.repeat(np.arange(3), 12)
        same = group[:, None] == group[None]
        assert apart[same].max() < apart[~same].min(), method
    with pytest.raises(UsageError, match="at least 3"):
        pictures.placed(values[:2])
    with pytest.raises(UsageError, match="tsne or pca"):
        pictures.placed(values, method="umap")


class TestCommand:
    """`unrolled words` on any file."""

    def test_near_and_analogy(self, unrolled, file):
        assert unrolled("words", "near", file, "king", "--count", 1).out == "0.8165\tprince\n"
        ran = unrolled("words", "analogy", file, "man", "king", "woman", "--json")
        assert json.loads(ran.out)[0]["word"] == "queen"
        ran = unrolled("words", "near", file, "prinze")
        assert (ran.code, "Did you mean prince" in ran.err) == (2, True)

    def test_eval_of_a_list_of_ones_own(self, unrolled, file, tmp_path):
        list_ = tmp_path / "mine.tsv"
        list_.write_text("man\tking\t9\nman\tboy\t8\nman\tgirl\t2\nman\tzebra\t2\n")
        ran = unrolled("words", "eval", file, list_)
        assert "3 of 4 covered (75.0 %)" in ran.out
        assert json.loads(unrolled("words", "eval", file, list_, "--json").out)[str(list_)][
            "covered"
        ]
        ran = unrolled("words", "eval", file, "wordsim")
        assert (ran.code, "wordsim353, simlex999, analogies" in ran.err) == (2, True)
        assert "film reviews" not in unrolled("words", "eval", file, "imdb").out

    def test_the_lists_by_name_are_the_published_ones(self, unrolled, file):
        pytest.importorskip("gensim")
        figures = json.loads(unrolled("words", "eval", file, "--json").out)
        counts = {name: row["count"] for name, row in figures.items()}
        assert counts == {"wordsim353": 353, "simlex999": 999, "analogies": 19544}
        assert figures["analogies"]["sections"]["family"]["right"] > 10

    def test_map_draws_words_or_says_why_not(self, unrolled, file, tmp_path, monkeypatch):
        target = tmp_path / "map.png"
        ran = unrolled("words", "map", file, "--out", target, "--method", "pca")
        assert (ran.code, ran.out.strip()) == (0, str(target))
        assert target.read_bytes().startswith(b"\x89PNG")
        monkeypatch.setattr("unrolled.inspect.pictures.style.korean_family", lambda: "")
        korean = tmp_path / "k.vec"
        korean.write_text("영화 1 0\n배우 0 1\n눈물 1 1\n감동 1 2\n")
        ran = unrolled("words", "map", korean, "--out", target, "--method", "pca")
        assert "No font here draws these words" in ran.out
        assert "2\t배우" in ran.out
        ran = unrolled("words", "map", korean, "--out", target, "--method", "pca", "--lang", "ko")
        assert "글꼴" in ran.out

    def test_given_words_bring_their_neighbours(self, unrolled, file, tmp_path):
        from unrolled.cli.words import _chosen

        like = Likeness(Vectors(list(PEOPLE), np.array(list(PEOPLE.values()), np.float32)))
        words, groups = _chosen(like, ["king", "girl"], 2)
        assert words[:2] == ["king", "girl"]
        assert groups[:2] == [0, 1]
        assert len(words) >= 4
        assert _chosen(like, [], 3) == (list(PEOPLE)[:3], [0, 0, 0])
