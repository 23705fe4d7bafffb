"""The task embed: vectors learnt by gensim, their directory, and the texts they are learnt from."""

import gzip
import json
import lzma

import numpy as np
import pytest

from unrolled import tasks
from unrolled.data import load, load_text
from unrolled.data.lines import Lines, load_lines, texts_of
from unrolled.errors import DataError, ModelError, UsageError
from unrolled.tasks import word2vec_runs
from unrolled.tasks.common_part import without_common
from unrolled.tasks.embed import Embed
from unrolled.tasks.word2vec import Options, words_of
from unrolled.text import read_vectors
from unrolled.text.likeness import Likeness

gensim = pytest.importorskip("gensim")

# Two worlds that share their little words: company alone tells them apart.
SEA, FIELD = "ship sail harbour wave captain 배".split(), "cow grass farmer plough barn 소".split()


def texts(count=400, seed=0):
    random = np.random.default_rng(seed)
    made = []
    for k in range(count):
        world = SEA if k % 2 else FIELD
        words = [word for pick in random.choice(world, 6) for word in ("the", str(pick))]
        made.append(" ".join(words) + " .")
    return made


@pytest.fixture(scope="module")
def learnt():
    return Embed.learn(texts(), embedding=12, epochs=8, least=2, lr=0.05, sample=0.01, window=3)


@pytest.mark.parametrize("method", ["skip-gram", "cbow"])
def test_words_in_one_company_come_near(method):
    task = Embed.learn(
        texts(), method=method, embedding=12, epochs=10, lr=0.1, sample=0.01, window=3
    )
    like = Likeness(task.vectors)
    for world in (SEA, FIELD):
        near = {word for word, _ in like.near(world[-1], 5)}
        assert len(near & set(world)) >= 4, (world[-1], near)


def test_one_seed_gives_the_same_bits(learnt):
    again = Embed.learn(texts(), embedding=12, epochs=8, least=2, lr=0.05, sample=0.01, window=3)
    assert again.labels == learnt.labels
    np.testing.assert_array_equal(again.vectors.values, learnt.vectors.values)
    other = Embed.learn(texts(), embedding=12, epochs=1, least=2, seed=1)
    assert not np.array_equal(other.vectors.values, learnt.vectors.values)


def test_what_is_read_of_a_text():
    assert words_of("It's <br />GOOD, isn't it?", Options()) == ["it's", "good", "isn't", "it"]
    assert words_of("재밌다!", Options(punctuation=True)) == ["재밌다", "!"]
    assert words_of("a-b C", Options(split_at="blanks", lower=False)) == ["a-b", "C"]
    assert words_of("x" * 500 + " y", Options()) == ["y"]


def test_the_common_part_is_taken_out():
    values = np.random.default_rng(0).standard_normal((50, 6)) * [9, 1, 1, 1, 1, 1] + 3
    found = without_common(values, 1)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)
    top = np.linalg.svd(values - values.mean(axis=0))[2][0]
    np.testing.assert_allclose(found @ top, 0, atol=1e-9)
    assert np.linalg.matrix_rank(found) == 5


def test_whitening_makes_what_is_left_alike_in_size_and_keeps_the_whole():
    values = np.random.default_rng(0).standard_normal((500, 4)) * [9, 3, 1, 0] + 2
    plain, white = without_common(values), without_common(values, whitened=1)
    sizes = np.linalg.svd(white)[1]
    np.testing.assert_allclose(sizes[:3], sizes[0], rtol=1e-9)  # the fourth has nothing in it
    np.testing.assert_allclose((white**2).mean(), (plain**2).mean(), rtol=1e-9)
    half = np.linalg.svd(without_common(values, whitened=0.5))[1][:3]
    np.testing.assert_allclose(
        half / half[0], np.sqrt(np.linalg.svd(plain)[1][:3] / np.linalg.svd(plain)[1][0])
    )


def test_the_last_components_are_taken_out():
    values = np.random.default_rng(0).standard_normal((50, 6)) * [9, 7, 5, 3, 0.2, 0.1]
    found = without_common(values, trimmed=2)
    sizes = np.linalg.svd(found)[1]
    assert (sizes[:4] > 1).all()
    np.testing.assert_allclose(sizes[4:], 0, atol=1e-12)
    # the others stay as they are
    ratio = sizes[:4] / np.linalg.svd(without_common(values))[1][:4]
    np.testing.assert_allclose(ratio, 1)


def test_runs_lie_side_by_side_each_as_if_it_were_alone():
    how = {"embedding": 6, "epochs": 3, "least": 2}
    both = Embed.learn(texts(), runs=2, seed=4, **how)
    first, second = (Embed.learn(texts(), seed=seed, **how) for seed in (4, 5))
    assert both.vectors.size == both.options.width == 12
    expected = np.concatenate([first.vectors.values, second.vectors.values], 1)
    assert np.array_equal(both.vectors.values, expected)
    assert [row["run"] for row in both.epochs] == [1, 1, 1, 2, 2, 2]


def test_input_and_output_vectors_have_an_even_say():
    how = {"embedding": 6, "epochs": 3, "least": 2}
    alone, mean, even = (
        Embed.learn(texts(), output=output, **how).vectors.values
        for output in ("input", "mean", "even")
    )
    expected = np.zeros_like(even)
    for table in (alone, 2 * mean - alone):
        centred = table - table.mean(axis=0)
        expected += centred / np.linalg.norm(centred, axis=1, keepdims=True) / 2
    np.testing.assert_allclose(even, expected, atol=1e-5)


def test_what_goes_wrong_in_a_run_is_heard(monkeypatch):
    def broken(corpus, options, run, told):
        if run == 1:
            raise MemoryError
        return np.zeros((len(corpus.counts), options.embedding)), []

    monkeypatch.setattr(word2vec_runs, "_learnt", broken)
    with pytest.raises(MemoryError):
        Embed.learn(texts(), runs=2, least=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "glove"}, "method: expected skip-gram or cbow"),
        ({"embedding": 0}, "embedding: expected a whole number of at least 1"),
        ({"embedding": "x.vec"}, "embedding: expected a whole number"),
        ({"sample": 2}, "sample: expected a number from 0 to 1"),
        ({"components": 1}, "components: expected 0 without centred"),
        ({"whitened": 0.5}, "whitened: expected 0 without centred"),
        ({"whitened": 2, "centred": True}, "whitened: expected a number from 0 to 1"),
        ({"trimmed": 1}, "trimmed: expected 0 without centred"),
        ({"runs": 0}, "runs: expected a whole number of at least 1"),
        ({"components": 100, "centred": True}, "components and trimmed: expected fewer than"),
        ({"runs": 2, "components": 50, "trimmed": 150, "centred": True}, "than the 200 numbers"),
        ({"lower": 1}, "lower: expected true or false"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        Options(**options)


def test_too_little_text_is_said():
    with pytest.raises(DataError, match=r"at least 2 that are seen 5 times.*the most frequent 1"):
        Embed.learn(["so few words"])
    with pytest.raises(DataError, match="0 words"):
        Embed.learn(["", "  ", "!!"])


def test_the_directory_gives_the_vectors_back(learnt, tmp_path):
    target = learnt.save(tmp_path / "v", source="made", command="unrolled train made")
    found = read_vectors(target)
    assert found.words == learnt.labels
    np.testing.assert_array_equal(found.values, learnt.vectors.values)
    rows = [json.loads(line) for line in (target / "metrics.jsonl").read_text().splitlines()]
    assert [row["event"] for row in rows] == ["epoch"] * 8 + ["result"]
    assert rows[-1]["covered"] == 1
    assert "unrolled words near" in (target / "README.md").read_text()
    with pytest.raises(ModelError, match="holds a model"):
        learnt.save(target)
    learnt.save(target, overwrite=True)
    with pytest.raises(ModelError, match=r"holds word vectors.*unrolled words near"):
        tasks.load(target)


def test_a_directory_whose_files_do_not_fit_is_refused(learnt, tmp_path):
    target = learnt.save(tmp_path / "v")
    (target / "labels.json").write_text('["one"]')
    with pytest.raises(DataError, match="as many words"):
        read_vectors(target)


class TestTexts:
    """Where the texts come from."""

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.txt", b"\xef\xbb\xbfto be\r\n\r\nor not\n"),
            ("a.txt.gz", gzip.compress(b"to be\nor not", mtime=0)),
            ("a.txt.xz", lzma.compress(b"to be\nor not\n")),
            ("a.csv", b"document,label\nto be,1\nor not,0\n"),
            ("a.jsonl", b'{"text": "to be"}\n{"text": "or not"}\n'),
            ("a.conll", b"to X\nbe X\n\nor X\nnot X\n"),
        ],
    )
    def test_of_files_of_many_kinds(self, name, content, tmp_path):
        path = tmp_path / name
        path.write_bytes(content)
        lines = load_lines(path)
        assert list(lines) == ["to be", "or not"]
        assert list(lines) == ["to be", "or not"]

    def test_of_a_folder(self, tmp_path):
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "2.txt").write_text("or not\n")
        (tmp_path / "1.txt").write_text("to be\n")
        (tmp_path / "x.png").write_bytes(b"\x89PNG")
        assert list(load_lines(tmp_path)) == ["to be", "or not"]
        (tmp_path / "train.txt").write_text("only this\n")
        assert list(load_lines(tmp_path)) == ["only this"]

    def test_of_datasets_by_name_without_their_test_part(self):
        stories = list(load_lines("pronouns"))
        assert len(stories) == len(load("pronouns").train)
        assert len(list(load_lines("pydocs"))) > 1000

    def test_one_endless_line_is_cut_at_blanks(self, monkeypatch):
        monkeypatch.setattr("unrolled.data.lines.PIECE", 20)
        words = [f"w{k}" for k in range(100)]
        whole = " ".join(words)
        parts = list(texts_of(whole[k : k + 7] for k in range(0, len(whole), 7)))
        assert len(parts) > 5
        assert " ".join(parts).split() == words

    def test_what_is_no_text_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match="digits as texts"):
            load_lines("digits")
        with pytest.raises(DataError, match="unknown dataset"):
            load_lines("imbd")
        with pytest.raises(DataError, match="text files"):
            load_lines(tmp_path)
        path = tmp_path / "a.txt.xz"
        path.write_bytes(lzma.compress(b"to be " * 100)[:-20])
        with pytest.raises(DataError, match="a whole xz file"):
            list(load_lines(path))
        path.write_text("nicht l\xf6schen", encoding="latin-1")
        with pytest.raises(DataError, match="line 1: expected text in utf-8"):
            list(load_lines(path))
        assert list(load_lines(path, encoding="latin-1")) == ["nicht löschen"]
        assert load_text(str(tmp_path / "a.txt.xz"), encoding="latin-1").name


class TestCommand:
    """`unrolled train … --task embed`, and what others do with the directory."""

    @pytest.fixture
    def corpus(self, tmp_path):
        path = tmp_path / "corpus.txt"
        path.write_text("\n".join(texts()), encoding="utf-8")
        return path

    def train(self, unrolled, corpus, out, *more):
        return unrolled(
            "train", corpus, "--task", "embed", "--out", out, "--embedding", 12, "--epochs", 6,
            "--lr", 0.1, "--set", "sample=0.01", *more,
        )  # fmt: skip

    def test_from_a_file_to_neighbours(self, unrolled, corpus, tmp_path):
        ran = self.train(unrolled, corpus, tmp_path / "v")
        assert ran.code == 0, ran.err
        assert ran.out.splitlines()[-1] == f"model: {tmp_path / 'v'}"
        near = unrolled("words", "near", tmp_path / "v", "소", "--count", 3).out
        assert {line.split("\t")[1] for line in near.splitlines()} <= {*FIELD, "the"}
        ran = self.train(unrolled, corpus, tmp_path / "v")
        assert (ran.code, "--overwrite" in ran.err) == (2, True)
        ran = self.train(unrolled, corpus, tmp_path / "v", "--overwrite", "--json")
        assert json.loads(ran.out)["words"] == 13
        for verb in ("eval", "predict"):
            ran = unrolled(verb, tmp_path / "v", corpus)
            assert (ran.code, "unrolled words near" in ran.err) == (2, True)

    def test_a_rehearsal_writes_nothing(self, unrolled, corpus, tmp_path):
        ran = self.train(unrolled, corpus, tmp_path / "v", "--dry-run")
        assert "the first words: the" in ran.out
        assert not (tmp_path / "v").exists()

    def test_what_cannot_be_is_one_line(self, unrolled, corpus, tmp_path):
        for more, said in (
            (("--resume",), "--resume: expected a network"),
            (("--set", "windows=3"), "Did you mean 'window'"),
            (("--set", "method=glove"), "skip-gram or cbow"),
            (("--batch", "3"), "batch"),
        ):
            ran = self.train(unrolled, corpus, tmp_path / "v", *more)
            assert ran.code == 2, more
            assert said in ran.err, more
            assert ran.err.count("\n") == 1
        assert not (tmp_path / "v").exists()

    def test_a_language_model_starts_from_the_directory(self, learnt, unrolled, corpus, tmp_path):
        vectors = learnt.save(tmp_path / "v")
        ran = unrolled(
            "train", corpus, "--task", "language", "--level", "words", "--out", tmp_path / "m",
            "--embedding", vectors, "--hidden", 8, "--epochs", 1, "--lr", 0, "--window", 8,
        )  # fmt: skip
        assert ran.code == 0, ran.err
        model = tasks.load(tmp_path / "m")
        at = [model.tokenizer.numbers[word] for word in ("cow", "ship", "배")]
        rows = model.model.embedding.weight[at].detach().numpy()
        wanted = np.stack([learnt.vectors[word] for word in ("cow", "ship", "배")])
        np.testing.assert_allclose(rows / rows[0, 0], wanted / wanted[0, 0], rtol=1e-4)

    @pytest.mark.parametrize("task", ["classify", "tag"])
    def test_a_task_starts_from_the_directory(self, task, learnt, unrolled, tmp_path):
        vectors = learnt.save(tmp_path / "v")
        if task == "classify":
            data = tmp_path / "d.csv"
            rows = [f"{text},{'sea' if k % 2 else 'field'}" for k, text in enumerate(texts(60))]
            data.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
            more = ["--text", "text", "--set", "freeze=-1"]
        else:
            data = tmp_path / "d.conll"
            rows = ["\n".join(f"{w} X" for w in text.split()) for text in texts(60)]
            data.write_text("\n\n".join(rows) + "\n", encoding="utf-8")
            more = ["--task", "tag", "--set", "crf=false"]
        ran = unrolled(
            "train", data, "--out", tmp_path / "m", "--embedding", vectors, "--hidden", 8,
            "--epochs", 1, *more,
        )  # fmt: skip
        assert ran.code == 0, ran.err
        model = tasks.load(tmp_path / "m")
        if task == "classify":
            at = model.preparation.tokenizer.numbers["cow"]
            row = model.model.encoder.weight[at].detach().numpy()
            np.testing.assert_array_equal(row, learnt.vectors["cow"])
        else:
            assert model.model.words.width == 12


def test_texts_that_are_in_words_stay_so():
    lines = Lines("made", lambda: iter(["do n't go", "do n't stay"] * 5), in_words=True)
    assert "n't" in Embed.learn(lines, embedding=4, epochs=1).labels
