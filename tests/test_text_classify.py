"""Texts with labels: files of every kind are read right or named, learnt, saved and answered."""

import io
import json
import unicodedata

import numpy as np
import pytest
import torch

from unrolled import tasks, train
from unrolled.data import Split, from_arrays, load
from unrolled.data.batch import batches, bucketed
from unrolled.data.show import one_hot, show
from unrolled.errors import DataError, ModelError, ShapeError, UnrolledError, UsageError
from unrolled.optimise import Settings
from unrolled.runs import Run
from unrolled.tasks.classify import Classify
from unrolled.text import EOS

GOOD = ["good film", "영화 재밌다", "a good, good film 😀", "fun", "very good fun", "재밌다 good"]
BAD = ["bad film", "영화 지루하다", "a bad, bad film 😡", "dull", "very bad", "지루하다 bad"]
ROWS = [(text, "pos") for text in GOOD] + [(text, "neg") for text in BAD]


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def as_csv(rows=ROWS, end="\n"):
    return "document,label" + end + "".join(f"{quoted(t)},{label}{end}" for t, label in rows)


def written(folder, data, name="reviews.csv"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def texts_of(path, **options):
    options = {"valid": 0, "test": 0, "lower": False, **options}
    found = load(path, **options)
    return found, list(found.train.inputs), [found.labels[i] for i in found.train.targets]


WHOLE = [t for t, _ in ROWS], [label for _, label in ROWS]


@pytest.mark.parametrize(
    ("name", "data", "options"),
    [
        ("a.csv", as_csv(), {"text": "document", "label": "label"}),
        ("a.csv", as_csv(end="\r\n"), {"text": "document"}),
        ("a.csv", "\ufeff" + as_csv(), {"text": 0}),
        ("a.csv", as_csv().encode("cp949", "ignore"), {"text": "document", "encoding": "cp949"}),
        ("a.csv", as_csv().encode("utf-16"), {"text": "document", "encoding": "utf-16"}),
        ("a.tsv", "document\tlabel\n" + "".join(f"{t}\t{y}\n" for t, y in ROWS), {"text": 0}),
        ("a.txt", "document\tlabel\r\n" + "".join(f"{t}\t{y}\n" for t, y in ROWS), {"text": 0}),
        (
            "a.tsv",
            "\n".join(f"{t}\t{y}" for t, y in ROWS),
            {"text": 0, "label": 1, "header": False},
        ),
        ("a.jsonl", "".join(json.dumps({"text": t, "label": y}) + "\r\n" for t, y in ROWS), {}),
        (
            "a.jsonl",
            "\n\n".join(json.dumps({"y": y, "t": t}, ensure_ascii=False) for t, y in ROWS),
            {"text": "t", "label": "y"},
        ),
    ],
)
def test_one_set_of_reviews_is_the_same_in_every_kind_of_file(tmp_path, name, data, options):
    _, texts, labels = texts_of(written(tmp_path, data, name), **options)
    assert labels == WHOLE[1]
    gone = {"cp949"} & {options.get("encoding")}
    assert texts == [t.encode("cp949", "ignore").decode("cp949") if gone else t for t in WHOLE[0]]


HARD = [
    ('she said ""no"" and "left', "a"),
    ("", "b"),
    ("שלום, עולם! مرحبا", "a"),
    ("👨‍👩‍👧 🇰🇷 é", "b"),
    ("  blanks  ", "a"),
    ("line\u2028separator \x85 next", "b"),
    ("x" * 1_000_000, "a"),
]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_hard_texts_come_through_as_they_are(tmp_path, kind):
    if kind == "csv":
        data = as_csv(HARD)
    elif kind == "tsv":
        data = "document\tlabel\n" + "".join(f"{t}\t{y}\n" for t, y in HARD)
    else:
        data = "".join(json.dumps({"document": t, "label": y}) + "\n" for t, y in HARD)
    found, texts, labels = texts_of(written(tmp_path, data, f"a.{kind}"), text="document")
    assert texts == [t for t, _ in HARD]
    assert labels == [y for _, y in HARD]
    ids, lengths = found.preparation(["", "blanks"])
    assert ids[0, 0] == EOS
    assert lengths.tolist() == [1, 1]


def test_mixed_line_ends_and_a_cell_of_two_lines_keep_their_line_numbers(tmp_path):
    path = written(tmp_path, 'text,label\r\n"a\nb",x\nc,y\rd,\n')
    with pytest.raises(DataError, match="line 5: expected an answer"):
        load(path, text="text", valid=0, test=0)


WRONG = {
    "no such column": (as_csv(), {"text": "documnt"}, "Did you mean 'document'?"),
    "no label": ("text,stars\na,b\n", {"text": "text"}, "--label COLUMN"),
    "ragged": (as_csv() + "one,two,three\n", {"text": "document"}, "line 14: expected 2 columns"),
    "one class": (as_csv(ROWS[:6]), {"text": "document"}, "at least 2 classes, got only 'pos'"),
    "encoding": (as_csv().encode("cp949", "ignore"), {"text": "document"}, "--encoding cp949"),
    "utf-16": (as_csv().encode("utf-16"), {"text": "document"}, "--encoding utf-16"),
    "unknown encoding": (as_csv(), {"text": "document", "encoding": "korean8"}, "cp949"),
    "header only": ("document,label\n", {"text": "document"}, "rows below the header"),
    "zero byte": ("document,label\na\0b,x\n", {"text": "document"}, "line 2: expected text"),
    "open quote": ('document,label\n"a,x\n', {"text": "document"}, "line 2: expected rows"),
    "two columns": (as_csv(), {"text": ["document", "label"]}, "text: expected one column"),
    "pixels": (as_csv(), {"text": "document", "channels": 3}, "channels=3"),
    "level": (as_csv(), {"text": "document", "level": "sounds"}, "level: expected one of"),
    "kept": (as_csv(), {"text": "document", "kept": "middle"}, "kept: expected one of"),
    "limit": (as_csv(), {"text": "document", "limit": -1}, "limit: expected a whole number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_line(tmp_path, name):
    data, options, message = WRONG[name]
    with pytest.raises(UnrolledError) as error:
        load(written(tmp_path, data), valid=0, test=0, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


LINES = {
    "no JSON": ('{"text": "a", "label": 1}\n{oops\n', "line 2: expected a JSON object"),
    "a list": ('{"text": "a", "label": 1}\n[1]\n', "line 2: expected a JSON object"),
    "a number": ('{"text": 3, "label": 1}\n', "line 1, 'text': expected a text, got int"),
    "no field": ('{"text": "a", "label": 1}\n{"label": 2}\n', "line 2: no field for text"),
    "no text": ('{"x": "a", "label": 1}\n', "which column is the text?"),
    "no answer": ('{"text": "a"}\n', "no field for label"),
    "null": ('{"text": "a", "label": null}\n{"text": "b", "label": 1}\n', "line 1: expected an an"),
    "deep": ("[" * 100_000 + "\n", "line 1: expected a JSON object"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_json_that_is_wrong_is_named(tmp_path, name):
    data, message = LINES[name]
    with pytest.raises(DataError) as error:
        load(written(tmp_path, data, "a.jsonl"), valid=0, test=0)
    assert message in str(error.value)


def small(tmp_path, **options):
    path = written(tmp_path, as_csv())
    return load(path, text="document", valid=path, test=path, **options)


def test_a_tiny_set_is_learnt_by_heart_saved_and_known_again(tmp_path):
    data = small(tmp_path)
    task = Classify.for_dataset(
        data, cell="gru", hidden=12, embedding=8, bidirectional=True, pooling="max"
    )
    result = train.train(
        task, data, Settings(epochs=25, batch=4, lr=0.03), tmp_path / "m", progress=False
    )
    assert result.test["accuracy"] == 1
    again = tasks.load(tmp_path / "m")
    assert again.preparation.tokenizer == data.preparation.tokenizer
    new = ["so good", "so bad", ""]
    assert again.predict(new).names[:2] == ["pos", "neg"]
    np.testing.assert_array_equal(again.predict_proba(new), task.predict_proba(new))
    assert (tmp_path / "m" / "tokenizer.json").exists()


@pytest.mark.parametrize("options", [{"embedding": "one-hot"}, {"embedding": 5}])
@pytest.mark.parametrize("level", ["characters", "words", "subwords"])
def test_a_padded_batch_is_each_text_alone(tmp_path, level, options):
    data = small(tmp_path, level=level)
    for pooling in ("last", "mean", "max", "attention"):
        task = Classify.for_dataset(
            data, cell="lstm", hidden=6, bidirectional=True, pooling=pooling, **options
        )
        texts = [*WHOLE[0], "", "neue Wörter 새말", "good " * 40]
        together = task.predict_proba(texts)
        alone = np.concatenate([task.predict_proba([text]) for text in texts])
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


def test_only_the_training_part_makes_the_vocabulary(tmp_path):
    data = load(written(tmp_path, as_csv()), text="document", valid=4, test=2, seed=3)
    seen = {w for t in data.train.inputs for w in data.preparation.tokenizer.split(t.lower())}
    assert set(data.preparation.tokenizer.tokens[4:]) == seen
    held_out = {w for part in (data.valid, data.test) for t in part.inputs for w in t.split()}
    assert held_out - seen


def test_batches_of_about_one_length_hold_everyone_once_and_can_go_on_anywhere():
    rng = np.random.RandomState(0)
    texts = ["x" * n for n in rng.randint(1, 200, size=500)]
    split = Split(texts, np.arange(500))
    from unrolled.data.wording import learn_texts

    prepare = learn_texts(texts, level="characters")
    whole = list(batches(split, prepare, 32, seed=1, epoch=2))
    assert sorted(np.concatenate([b.index for b in whole]).tolist()) == list(range(500))
    assert len(whole) == 16
    padding = sum(int((b.inputs == 0).sum()) for b in whole) / sum(b.inputs.numel() for b in whole)
    assert padding < 0.1
    rest = list(batches(split, prepare, 32, seed=1, epoch=2, start=10))
    assert all(torch.equal(a.index, b.index) for a, b in zip(whole[10:], rest, strict=True))
    other = list(batches(split, prepare, 32, seed=1, epoch=3))
    assert not all(torch.equal(a.index, b.index) for a, b in zip(whole, other, strict=True))
    for batch in whole:
        assert [len(texts[i]) for i in batch.index] == batch.lengths.tolist()


def test_pools_keep_the_number_of_batches():
    for count in (1, 63, 64, 65, 130, 129 * 3 + 1):
        found = bucketed(np.arange(count), 3, np.arange(count), shuffle=(0, 0))
        assert len(found) == -(-count // 3)


def test_long_texts_are_cut_where_they_are_told(tmp_path):
    letters = {"level": "characters", "limit": 4}
    for kept, left in (("start", "abcd"), ("end", "wxyz"), ("both", "abyz")):
        path = written(tmp_path, "text,label\nabcdefuvwxyz,1\nb,2\n", "a.csv")
        prepare = load(path, text="text", valid=0, test=0, kept=kept, **letters).preparation
        assert prepare.tokenizer.decode(prepare.encode("abcdefuvwxyz")) == left


def test_vectors_from_a_file_are_taken_and_kept_until_they_are_learnt(tmp_path):
    vectors = written(tmp_path, "good 1 2 3\nbad -1 -2 -3\n재밌다 1 1 1\n", "v.txt")
    data = small(tmp_path)
    number = data.preparation.tokenizer.numbers

    def trained(freeze, epochs):
        task = Classify.for_dataset(data, hidden=4, embedding=str(vectors), freeze=freeze)
        before = task.model.encoder.weight.detach().clone()
        assert before[number["good"]].tolist() == [1, 2, 3]
        train.train(task, data, Settings(epochs=epochs, batch=4, keep="last"), progress=False)
        return torch.equal(before, task.model.encoder.weight)

    assert trained(-1, 2)
    assert not trained(0, 1)
    assert trained(2, 2)
    assert not trained(1, 2)


@pytest.mark.parametrize(("freeze", "saves"), [(1, 1), (1, 3), (-1, 2)])
def test_a_run_with_frozen_vectors_goes_on_to_the_same_bits(tmp_path, monkeypatch, freeze, saves):
    """Cut while the vectors stand still, and after they have begun to move."""
    vectors = written(tmp_path, "good 1 2 3\nbad -1 -2 -3\n재밌다 1 1 1\n", "v.txt")
    data = small(tmp_path)
    settings = Settings(epochs=3, batch=4, checkpoint_every=2)

    def run(folder, **how):
        task = Classify.for_dataset(data, hidden=4, embedding=str(vectors), freeze=freeze)
        return train.train(task, data, settings, folder, progress=False, **how)

    whole, save, done = run(tmp_path / "whole"), Run.save, []

    def failing(self):
        save(self)
        done.append(1)
        if len(done) == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "save", failing)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut")
    monkeypatch.setattr(Run, "save", save)
    again = run(tmp_path / "cut", resume=True)
    for name, value in whole.task.model.state_dict().items():
        assert torch.equal(value, again.task.model.state_dict()[name]), name


def test_unknown_labels_at_evaluation_are_named_with_their_line(tmp_path):
    data = small(tmp_path)
    task = Classify.for_dataset(data, hidden=2)
    other = written(tmp_path, as_csv([*ROWS, ("so so", "neutral")]), "other.csv")
    with pytest.raises(DataError, match=r"line 14: expected one of the labels neg, pos, got 'neu"):
        load(other, text="document", preparation=task.preparation, labels=task.labels, valid=0)


def test_what_is_no_text_is_refused(tmp_path):
    data = small(tmp_path)
    task = Classify.for_dataset(data, hidden=2)
    with pytest.raises(UsageError, match="a list of texts"):
        task.predict("good")
    with pytest.raises(ShapeError, match="expected texts, got int"):
        task.predict([3])
    for wrong, message in (
        ({"embedding": 2.5}, "a width, 'one-hot' or a file"),
        ({"freeze": -2}, "freeze: expected"),
        ({"embedding": 0}, "embedding width"),
    ):
        with pytest.raises(UsageError, match=message):
            Classify.for_dataset(data, hidden=2, **wrong)
    numbers = from_arrays(np.zeros((4, 3)), [0, 1, 0, 1], valid=0)
    with pytest.raises(UsageError, match="encoder: expected one for texts"):
        Classify(
            Classify.for_dataset(numbers, hidden=2).model.recurrent, data.preparation, ["a", "b"]
        )


def test_a_model_of_texts_without_its_tokenizer_is_refused(tmp_path):
    data = small(tmp_path)
    tasks.save(tmp_path / "m", Classify.for_dataset(data, hidden=2))
    file = tmp_path / "m" / "tokenizer.json"
    table = json.loads(file.read_text())
    file.write_text(json.dumps({**table, "tokens": table["tokens"][:-1]}))
    with pytest.raises(ModelError, match="the encoder's size"):
        tasks.load(tmp_path / "m")
    file.unlink()
    with pytest.raises(ModelError, match="a tokenizer"):
        tasks.load(tmp_path / "m")


class TestPronouns:
    """Stories whose subject changes."""

    def test_names_and_lengths_of_the_test_are_unseen_and_classes_balanced(self):
        data = load("pronouns")
        assert (len(data.train), len(data.valid), len(data.test)) == (8000, 1000, 2000)
        known = set(data.preparation.tokenizer.tokens)
        for name in ("Zoe", "Will", "철수", "영희"):
            assert name.lower() not in known
            assert any(name in text for text in data.test.inputs)
        longest = max(text.count(" .") for text in data.train.inputs)
        assert max(text.count(" .") for text in data.test.inputs) > longest
        for split in (data.train, data.test):
            assert 0.45 < split.targets.mean() < 0.55

    def test_the_last_subject_decides_and_not_who_is_seen(self):
        data = load("pronouns")
        for text, answer in zip(data.test.inputs, data.test.targets, strict=True):
            sentences = text.split(" .")
            came = [s for s in sentences if any(w in s for w in ("came in", "took the", "began to",
                    "들어왔다", "앉았다", "시작했다"))]  # fmt: skip
            woman = "woman" in came[-1] or "여자" in came[-1]
            assert woman == bool(answer)


def test_texts_and_their_one_hot_matrix_are_drawn(tmp_path):
    data = small(tmp_path)
    assert show(data, tmp_path / "a.png", count=2).stat().st_size > 1000
    assert one_hot(data, tmp_path / "b.png").stat().st_size > 1000
    with pytest.raises(UsageError, match="one-hot: expected texts"):
        one_hot(from_arrays(np.zeros((4, 3)), [0, 1, 0, 1], valid=0), tmp_path / "c.png")


class TestCommand:
    """Texts on the command line."""

    @pytest.fixture
    def model(self, tmp_path, unrolled, monkeypatch):
        monkeypatch.chdir(tmp_path)
        written(tmp_path, as_csv())
        ran = unrolled(
            *"train reviews.csv --task classify --text document --label label --hidden 12".split(),
            *"--embedding 8 --epochs 25 --batch 4 --lr 0.03 --valid reviews.csv".split(),
            *"--test reviews.csv --out m".split(),
        )
        assert ran.code == 0, ran.err
        return "m"

    def test_train_eval_and_predict_keep_the_users_columns(self, model, unrolled, tmp_path):
        ran = unrolled("eval", model, "reviews.csv", "--json")
        assert json.loads(ran.out)["accuracy"] == 1
        written(tmp_path, 'n,document\n1,"so good, really"\n2,so bad\n', "new.csv")
        assert unrolled("predict", model, "new.csv", "--out", "scored.csv").code == 0
        lines = (tmp_path / "scored.csv").read_text().splitlines()
        assert lines[0] == "n,document,prediction,probability"
        assert lines[1].startswith('1,"so good, really",pos,0.')
        assert lines[2].startswith("2,so bad,neg,0.")

    def test_tabs_and_lines_of_json_keep_their_form(self, model, unrolled, tmp_path):
        written(tmp_path, 'document\tn\nhe said ""good""\t1\n', "new.tsv")
        assert unrolled("predict", model, "new.tsv", "--out", "scored.tsv").code == 0
        lines = (tmp_path / "scored.tsv").read_text().splitlines()
        assert lines[1].startswith('he said ""good""\t1\tpos\t0.')
        written(tmp_path, '{"document": "bad", "prediction": 7}\n', "new.jsonl")
        assert unrolled("predict", model, "new.jsonl", "--out", "s.jsonl").code == 0
        row = json.loads((tmp_path / "s.jsonl").read_text())
        assert (row["document"], row["prediction"], row["prediction 2"]) == ("bad", 7, "neg")

    def test_a_pipe_gets_a_line_of_json_for_each_of_its_lines(self, model, unrolled, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO("good\n재밌다 good\r\n\nbad"))
        rows = [json.loads(line) for line in unrolled("predict", model).out.splitlines()]
        assert [row["text"] for row in rows] == ["good", "재밌다 good", "", "bad"]
        assert [row["prediction"] for row in rows][::3] == ["pos", "neg"]

    def test_who_types_is_answered_at_once(self, model, unrolled, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO("good\nbad\n\nnever read\n"))
        out = unrolled("predict", model, "--interactive").out
        assert "pos" in out
        assert "neg" in out

    def test_a_model_of_numbers_is_not_talked_to(self, unrolled, tmp_path):
        numbers = from_arrays(np.zeros((4, 3)), [0, 1, 0, 1], valid=0)
        tasks.save(tmp_path / "n", Classify.for_dataset(numbers, hidden=2))
        ran = unrolled("predict", str(tmp_path / "n"))
        assert ran.code == 2
        assert "Only a model of texts is fed so" in ran.err

    def test_show_draws_the_matrix(self, unrolled, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert unrolled("data", "show", "pronouns", "--one-hot", "--out", "p.png").code == 0
        assert (tmp_path / "p.png").stat().st_size > 1000


def test_composed_and_decomposed_hangul_are_one_word(tmp_path):
    data = small(tmp_path)
    prepare = data.preparation
    apart = unicodedata.normalize("NFD", "재밌다")
    assert prepare.encode(apart).tolist() == prepare.encode("재밌다").tolist()
