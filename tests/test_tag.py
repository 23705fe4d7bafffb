"""Tagging: columns read as they are, padding that changes nothing, spans learnt by heart."""

import dataclasses
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from unrolled import checkpoint, tasks
from unrolled.data.sentences import Tagged, read_lines, read_rows_of
from unrolled.data.tagged import TaggedDataset, load_tagged
from unrolled.errors import DataError, ModelError, UsageError
from unrolled.tasks.tag import Tag
from unrolled.text import Vectors, write_vectors
from unrolled.train import Settings, train

PLAIN = "He PRP B-NP\nruns VBZ B-VP\n\nThe DT B-NP\nbig JJ I-NP\ndog NN I-NP\n\n"
UNIVERSAL = """# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\tV\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\t_
2.1\tx\tx\tX\tX\t_\t_\t_\t_\t_
3\tal mar\tal mar\tADV\tA\t_\t1\tobl\t_\t_

1\t#\t#\tSYM\tS\t_\t0\troot\t_\t_
"""


def write(folder, content, name="a.txt"):
    path = Path(folder, name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n\n", "\r\n \t\n").replace("VBZ B-VP\n", "VBZ B-VP\r"),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        gzip.compress(PLAIN.encode(), mtime=0),
        PLAIN.replace(" ", "\t"),
        PLAIN.rstrip(),
        "-DOCSTART- -X- O\n\n" + PLAIN,
        "\n\n" + PLAIN.replace("\n\n", "\n\n\n"),
    ],
)
def test_columns_are_read_however_they_are_written(content, tmp_path):
    found = read_rows_of(write(tmp_path, content)).sentences()
    assert found.words == [["He", "runs"], ["The", "big", "dog"]]
    assert found.tags == [["B-NP", "B-VP"], ["B-NP", "I-NP", "I-NP"]]


def test_columns_are_chosen_by_number(tmp_path):
    rows = read_rows_of(write(tmp_path, PLAIN))
    assert rows.sentences(label=1).tags[0] == ["PRP", "VBZ"]
    assert rows.sentences(token=-2, label="0").words[0] == ["PRP", "VBZ"]
    with pytest.raises(DataError, match="0 to 2"):
        rows.sentences(label=3)


def test_conllu_skips_what_are_no_words(tmp_path):
    rows = read_rows_of(write(tmp_path, UNIVERSAL))
    assert rows.sentences().words == [["vamos", "nos", "al mar"], ["#"]]
    assert rows.sentences().tags == [["VERB", "PRON", "ADV"], ["SYM"]]
    assert rows.sentences(label="deprel").tags[1] == ["root"]
    assert rows.sentences().lines == [3, 8]


def test_a_sentence_of_conllu_begins_at_its_first_word_without_a_blank_line(tmp_path):
    rows = read_rows_of(write(tmp_path, UNIVERSAL.replace("\n\n", "\n")))
    assert rows.sentences().words == [["vamos", "nos", "al mar"], ["#"]]


def test_words_keep_what_other_alphabets_need(tmp_path):
    words = ["سلام", "👩‍👩‍👧", "a\u00a0b", "x\u2028y", "נִקּוּד"]
    path = write(tmp_path, "".join(f"{word} X\n" for word in words))
    assert read_rows_of(path).sentences().words == [words]


BROKEN = {
    "a B\nc\n": r"a\.txt, line 2: expected 2 columns, as in the first row, got 1",
    "a B\nc D E\n": r"a\.txt, line 2: expected 2 columns",
    "a\nb\n": "at least two columns",
    " \n\n": "rows of words and tags",
    "1\ta\ta\tX\tX\t_\t_\t_\t_\t_\n3\tb\tb\tX\tX\t_\t_\t_\t_\t_\n": "line 2: expected word 2",
    "1\ta\ta\tX\tX\t_\t_\t_\t_\t_\nz\tb\tb\tX\tX\t_\t_\t_\t_\t_\n": "line 2.*a word's number",
    "1\ta\ta\tX\tX\t_\t_\t_\t_\t_\n2\t\tb\tX\tX\t_\t_\t_\t_\t_\n": "line 2.*an empty one",
    "a B\n" * 5001: "line 1: expected a sentence of at most 5000 words",
}


@pytest.mark.parametrize("content", BROKEN, ids=lambda text: repr(text[:12]))
def test_a_broken_file_is_named_with_its_line(content, tmp_path):
    with pytest.raises(DataError, match=BROKEN[content]):
        read_rows_of(write(tmp_path, content)).sentences()


def test_another_encoding_is_said_and_read(tmp_path):
    path = write(tmp_path, "나 NP\n는 JX\n".encode("cp949"))
    with pytest.raises(DataError, match=r"line 1: expected text in utf-8.*--encoding"):
        read_rows_of(path)
    assert read_rows_of(path, encoding="cp949").sentences().words == [["나", "는"]]


def test_parts_of_a_folder_stay_apart_and_a_file_is_split_by_seed(tmp_path):
    for name in ("x-train.txt", "x-dev.txt", "x-test.txt"):
        write(tmp_path, PLAIN, name)
    found = load_tagged(tmp_path)
    assert (len(found.train), len(found.valid), len(found.test)) == (2, 2, 2)
    path = write(tmp_path, "".join(f"w{i} X\n\n" for i in range(50)), "own.txt")
    one, two, three = (load_tagged(path, seed=s, valid=5, test=0.2) for s in (1, 1, 2))
    assert (len(one.train), len(one.valid), len(one.test)) == (35, 5, 10)
    assert one.valid.words == two.valid.words != three.valid.words
    everything = one.train.words + one.valid.words + one.test.words
    assert sorted(everything) == sorted([[f"w{i}"] for i in range(50)])
    with pytest.raises(UsageError, match="fewer than the 50"):
        load_tagged(path, valid=40, test=10)


def test_lines_of_text_become_words():
    assert read_lines("He runs.\r\n\n안녕 🙂!") == [["He", "runs", "."], ["안녕", "🙂", "!"]]


WORDS = [f"w{i}" for i in range(20)]


def sentences(count, seed=0, spans=True):
    """Words below w5 begin a span, those below w10 go on with it; the others are outside."""
    random = np.random.default_rng(seed)
    words, tags = [], []
    for _ in range(count):
        row = random.integers(0, 20, random.integers(1, 9)).tolist()
        named, inside = [], False
        for k in row:
            if k < 5 or (k < 10 and inside):
                named.append("B-A" if k < 5 else "I-A")
                inside = True
            else:
                named.append("O")
                inside = False
        words.append([WORDS[k] for k in row])
        tags.append(named if spans else ["X" if tag == "O" else "Y" for tag in named])
    return Tagged(words, tags)


def dataset(spans=True):
    return TaggedDataset("made", sentences(60, 0, spans), sentences(20, 1, spans))


@pytest.mark.parametrize("crf", [True, False])
@pytest.mark.parametrize("spans", [True, False])
def test_a_tiny_set_is_learnt_by_heart(crf, spans):
    data = TaggedDataset("tiny", sentences(20, 0, spans), sentences(0))
    task = Tag.for_dataset(
        data, hidden=32, embedding=16, character_width=8, character_hidden=8, crf=crf,
        word_dropout=0.0, input_dropout=0.0, head_dropout=0.0,
    )  # fmt: skip
    train(task, data, Settings(epochs=40, batch=5, lr=0.02), progress=False)
    figures = task.evaluate(task.batches(data.train, 16))
    assert figures["accuracy"] > 0.98
    if spans:
        assert figures["f1"] > 0.97
        names = task.predict(data.train.words).names
        assert {tag for row in names for tag in row} == {"B-A", "I-A", "O"}


def also_tagged(count, seed=0):
    part = sentences(count, seed, spans=False)
    return dataclasses.replace(
        part,
        also=[
            [f"{tag}{len(word) % 2}" for word, tag in zip(words, tags, strict=True)]
            for words, tags in zip(part.words, part.tags, strict=True)
        ],
    )


def test_tags_of_another_column_are_learnt_beside_and_never_said(tmp_path):
    part = also_tagged(40)
    rare = [["once"] + row[1:] if k == 0 else row for k, row in enumerate(part.also)]
    part = dataclasses.replace(part, also=rare)
    given = TaggedDataset("both", part, also_tagged(10, 1))
    options = {"hidden": 8, "embedding": 8, "character_width": 0, "crf": False}
    dry = dict.fromkeys(("word_dropout", "input_dropout", "head_dropout"), 0.0)
    task = Tag.for_dataset(given, also_weight=0.25, **options, **dry)
    assert "once" not in task.beside
    assert set(task.beside) < {tag for row in part.also for tag in row}
    batch = next(task.batches(part, 8, seed=1))
    output = task.model.read(batch)
    named = [[part.also[i][t] for t in range(len(part.words[i]))] for i in batch.index.tolist()]
    total = count = 0
    for row, tags in zip(output, named, strict=True):
        for state, tag in zip(row, tags, strict=False):
            count += 1
            if tag in task.beside:
                scores = task.model.beside(state)
                total -= torch.log_softmax(scores, 0)[task.beside[tag]]
    plain = task.loss(batch._replace(others=None))[0]
    assert torch.allclose(task.loss(batch)[0], plain + 0.25 * total / count, atol=1e-5)
    assert next(task.batches(part, 8)).others is None  # nothing is measured by them
    train(task, given, Settings(epochs=30, batch=8, lr=0.02), tmp_path / "m", progress=False)
    again = tasks.load(tmp_path / "m")
    assert again.beside == task.beside
    assert again.also_weight == 0.25
    assert again.predict(part.words[:3]).names == task.predict(part.words[:3]).names
    read = task.model.read(next(task.batches(part, 40, seed=1)))
    batch = next(task.batches(part, 40, seed=1))
    known = batch.others >= 0
    assert (task.model.beside(read).argmax(2) == batch.others)[known].float().mean() > 0.9


def test_what_was_learnt_beside_need_not_be_there_to_be_measured(tmp_path, unrolled):
    three = write(tmp_path, "He PRP B-NP\nruns VBZ B-VP\n\n" * 20, "three.txt")
    two = write(tmp_path, "He\tB-NP\nruns\tB-VP\n\n" * 5, "two.txt")
    told = ["--set", "also=-3", "--epochs", "1", "--hidden", "4", "--out", tmp_path / "m"]
    assert unrolled("train", three, "--task", "tag", *told).code == 0
    assert unrolled("eval", tmp_path / "m", two).code == 0


def test_a_further_column_is_read_by_name_or_number(tmp_path):
    path = write(tmp_path, "He PRP B-NP\nruns VBZ B-VP\n\n" * 10)
    found = load_tagged(path, also=1)
    assert found.train.also[0] == ["PRP", "VBZ"]
    assert found.train.tags[0] == ["B-NP", "B-VP"]
    assert load_tagged(path).train.also is None
    with pytest.raises(DataError, match="no column for also"):
        load_tagged(path, also="xpos")
    with pytest.raises(UsageError, match="also_weight"):
        Tag.for_dataset(found, also_weight=0)


@pytest.mark.parametrize("crf", [True, False])
def test_padding_changes_nothing(crf):
    data = dataset()
    task = Tag.for_dataset(data, hidden=8, embedding=6, character_width=5, character_hidden=4,
                           case_width=3, crf=crf, layers=2)  # fmt: skip
    task.model.eval()
    together = task.predict(data.train.words)
    for at in range(12):
        alone = task.predict([data.train.words[at]])
        assert alone.names[0] == together.names[at]
        np.testing.assert_allclose(alone.values[0], together.values[at], rtol=0, atol=1e-6)
    whole = next(task.batches(data.train, 60))
    likely = task._losses(task.model(whole).double(), whole)[0]
    single = sum(task._losses(task.model(b).double(), b)[0] for b in task.batches(data.train, 1))
    torch.testing.assert_close(likely, single, rtol=1e-6, atol=0)


def test_a_model_directory_brings_the_task_back(tmp_path):
    data = dataset()
    task = Tag.for_dataset(data, hidden=8, embedding=6, case_width=2, jamo=True)
    tasks.save(tmp_path / "m", task)
    again = tasks.load(tmp_path / "m")
    assert again.config() == task.config()
    assert again.predict(data.valid.words).names == task.predict(data.valid.words).names
    config = tmp_path / "m" / "config.json"
    assert "w1" not in config.read_text()
    assert "w1" in (tmp_path / "m" / "tokenizer.json").read_text()
    config.write_text(config.read_text().replace('"case_width": 2', '"case_width": -2'))
    with pytest.raises(ModelError, match="case_width"):
        tasks.load(tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        tasks.load(tmp_path / "m")


def test_a_directory_whose_vocabulary_stands_in_config_json_still_loads(tmp_path):
    data = dataset()
    task = Tag.for_dataset(data, hidden=8, embedding=6)
    tasks.save(tmp_path / "old", task)
    config = tmp_path / "old" / "config.json"
    table = json.loads(config.read_text())
    table["task"]["tokenizer"] = json.loads((tmp_path / "old" / "tokenizer.json").read_text())
    config.write_text(json.dumps(table))
    (tmp_path / "old" / "tokenizer.json").unlink()
    again = tasks.load(tmp_path / "old")
    assert again.predict(data.valid.words).names == task.predict(data.valid.words).names


def test_a_run_whose_checkpoint_holds_the_vocabulary_itself_goes_on(tmp_path):
    data = dataset()
    task = Tag.for_dataset(data, hidden=8, embedding=6)
    train(task, data, Settings(epochs=1, batch=16), tmp_path / "m", progress=False)
    state = checkpoint.read_state(tmp_path / "m")
    assert "w1" not in json.dumps(state.facts)
    state.facts["made_of"]["task"]["tokenizer"] = task.reader.to_json()
    checkpoint.write_state(tmp_path / "m", state.tensors, state.facts)
    train(task, data, Settings(epochs=1, batch=16), tmp_path / "m", resume=True, progress=False)


def test_a_run_writes_its_card_and_goes_on_to_the_same_bits(tmp_path):
    data = dataset()
    settings = Settings(epochs=3, batch=16)

    def fresh():
        return Tag.for_dataset(data, hidden=8, embedding=6, character_hidden=4)

    one = train(fresh(), data, settings, tmp_path / "one", progress=False)
    assert "F1" in (tmp_path / "one" / "README.md").read_text()
    two = train(fresh(), data, settings, tmp_path / "one", resume=True, progress=False)
    for name, value in one.task.model.state_dict().items():
        assert torch.equal(value, two.task.model.state_dict()[name]), name


def test_tags_that_the_model_does_not_know_are_wrong_and_counted():
    data = dataset()
    task = Tag.for_dataset(data, hidden=8, embedding=6)
    part = Tagged([["w1", "w2"], ["w3"]], [["B-A", "B-NEW"], ["O"]])
    figures = task.evaluate(task.batches(part, 2))
    assert figures["unknown"] == 1
    assert figures["per_class"]["NEW"]["count"] == 1
    assert figures["per_class"]["NEW"]["recall"] == 0
    assert np.isfinite(figures["loss"])


def conlleval(gold, said):
    """Chunks right, said and there, by the steps of the shared task's script, written anew."""
    right = found = there = 0
    for true, guess in zip(gold, said, strict=True):
        inside, before = False, ("O", "", "O", "")
        for t, g in zip([*true, "O"], [*guess, "O"], strict=True):
            (tm, _, tk), (gm, _, gk) = t.partition("-"), g.partition("-")
            pt, ptk, pg, pgk = before
            ends = pt != "O" and (tm in "BO" or tk != ptk)
            ends_said = pg != "O" and (gm in "BO" or gk != pgk)
            begins = tm != "O" and (tm == "B" or pt == "O" or tk != ptk)
            begins_said = gm != "O" and (gm == "B" or pg == "O" or gk != pgk)
            if inside and (ends or ends_said):
                right += ends and ends_said
                inside = False
            there, found = there + begins, found + begins_said
            inside |= begins and begins_said and tk == gk
            before = (tm, tk, gm, gk)
    return right, found, there


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_f1_is_that_of_conlleval_where_the_model_does_not_know_every_tag(scheme):
    data = dataset()
    task = Tag.for_dataset(data, hidden=8, embedding=6, scheme=scheme, seed=3)
    random = np.random.default_rng(5)
    known = {word for row in data.train.words for word in row}
    sentences = [[str(w) for w in random.choice(sorted(known), 7)] for _ in range(40)]
    said = task.predict(sentences).names
    tags = ["B-A", "I-A", "O", "B-NEW", "I-NEW", "I-A", "O"]
    # half of the truth is what is said, so that there are hits, misses and half-right spans
    gold = [[g if random.random() < 0.7 else str(random.choice(tags)) for g in row] for row in said]
    figures = task.evaluate(task.batches(Tagged(sentences, gold), 8))
    right, found, there = conlleval(gold, said)
    assert figures["unknown"] > 5
    assert 0 < right < there
    assert figures["precision"] == pytest.approx(right / found)
    assert figures["recall"] == pytest.approx(right / there)
    softmax = Tag.for_dataset(data, hidden=8, embedding=6, scheme=scheme, crf=False)
    assert np.isfinite(softmax.evaluate(softmax.batches(Tagged(sentences, gold), 8))["loss"])


def test_spans_that_never_break_the_rule_stay_whole():
    data = dataset()
    task = Tag.for_dataset(data, hidden=8, embedding=6, scheme="bio")
    assert task.labels == ["B-A", "I-A", "O"]
    assert task.model.chain.barred == [(2, 1), (3, 1)]
    odd = Tagged([["w1", "w2"]], [["O", "I-A"]])
    loose = Tag.for_dataset(TaggedDataset("x", odd, odd), hidden=8, scheme="as given")
    assert loose.labels == ["I-A", "O"]
    assert (1, 0) not in loose.model.chain.barred


def test_vectors_from_a_file_are_where_words_start(tmp_path):
    values = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)
    path = write_vectors(tmp_path / "v.vec", Vectors(["w1", "new", "W2"], values))
    task = Tag.for_dataset(dataset(), hidden=8, embedding=str(path))
    reader, weight = task.reader.words, task.model.words.weight
    for word, row in (("w1", 0), ("new", 1)):
        got = weight[reader.numbers[word]].detach().numpy()
        np.testing.assert_array_equal(got, values[row])
    assert "new" in reader.tokens


def test_options_that_cannot_be_are_refused():
    data = dataset()
    for options, said in (
        ({"scheme": "xyz"}, "scheme"),
        ({"embedding": 0, "character_width": 0}, "what is read of a word"),
        ({"word_dropout": 1.0}, "word_dropout"),
        ({"hidden": 0}, "hidden_size"),
    ):
        with pytest.raises(UsageError, match=said):
            Tag.for_dataset(data, **options)
    task = Tag.for_dataset(data, hidden=8)
    for bad in ([[]], ["text"], [["a", ""]], [[1]]):
        with pytest.raises(UsageError, match="a sentence"):
            task.predict(bad)
    with pytest.raises(UsageError, match="augment"):
        next(task.batches(data.train, 4, augment="shift2"))


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_any_cell_reads_sentences(cell):
    task = Tag.for_dataset(dataset(), cell=cell, hidden=8)
    task.loss(next(task.batches(dataset().train, 8)))[0].backward()
    assert all(p.grad is not None for p in task.model.parameters())


def test_the_command_trains_measures_and_tags(tmp_path, unrolled, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = sentences(60)
    rows = (
        "".join(f"{w} _ {t}\n" for w, t in zip(ws, ts, strict=True))
        for ws, ts in zip(made.words, made.tags or [], strict=True)
    )
    path = write(tmp_path, "\n".join(rows))
    ran = unrolled("train", path, "--task", "tag", "--out", "m", "--hidden", 8, "--epochs", 2,
                   "--embedding", 8, "--set", "character_hidden=4")  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "model: m"
    ran = unrolled("eval", "m")
    assert "F1" in ran.out
    ran = unrolled("predict", "m", path, "--out", "tagged.txt")
    assert ran.code == 0, ran.err
    tagged = Path("tagged.txt").read_text().splitlines()
    own = path.read_text().split("\n")
    assert [line.rsplit(" ", 1)[0] if line else line for line in tagged] == own[: len(tagged)]
    ran = unrolled("predict", "m", path)
    assert json.loads(ran.out.splitlines()[0])["words"] == made.words[0]
    monkeypatch.setattr("sys.stdin", io.StringIO("w1 w2.\n\nw3\n"))
    ran = unrolled("predict", "m")
    assert [json.loads(line)["words"] for line in ran.out.splitlines()] == [
        ["w1", "w2", "."], ["w3"],
    ]  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO("w1 w6\n"))
    assert unrolled("predict", "m", "--interactive").out.startswith("w1/")
