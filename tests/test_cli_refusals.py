"""What a new user met: nothing that was asked for is passed over in silence, and errors help."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest

from unrolled import Recurrent, checkpoint
from unrolled.cli import standard
from unrolled.data import load
from unrolled.data.corpus import corpus_of
from unrolled.data.wording import learn_texts
from unrolled.errors import DataError
from unrolled.tasks.classify import Classify
from unrolled.tasks.language import Language
from unrolled.text.embedding import Embedding


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Networks without training, of scans, texts and language; scans as bytes and as floats."""
    folder = tmp_path_factory.mktemp("models")
    digits = load("digits")
    task = Classify.for_dataset(digits, cell="gru", hidden=8, backend="reference")
    checkpoint.save(folder / "digits", task)
    words = learn_texts(["good film", "bad film"], level="words")
    layers = Recurrent("gru", 6, 4, backend="reference")
    task = Classify(layers, words, ["+", "-"], encoder=Embedding(words.features, 6))
    checkpoint.save(folder / "texts", task)
    corpus = corpus_of("the rain in spain. " * 60, level="characters")
    checkpoint.save(folder / "language", Language.for_dataset(corpus, cell="gru", hidden=4))
    np.save(folder / "x.npy", digits.test.inputs[:2])
    np.save(folder / "float.npy", digits.test.inputs[:2] / np.float32(16))
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("digits x.npy --picture {}/p.jpg", "a name that ends in .png, got '.jpg'. Such as"),
        ("digits x.npy --topology {}/p.svg", "ends in .png"),
        ("digits x.npy --table {}/t.xlsx", "ends in .csv"),
        ("digits x.npy --arrays {}/a.txt", "ends in .npz"),
        ("digits x.npy --report {}/r.pdf", "ends in .html or .htm"),
        ("digits x.npy --picture {}/no/p.png", "expected a folder that is there, got none at"),
        ("digits x.npy --part foo", "--part: expected test, valid or train, got 'foo'"),
        ("digits x.npy --part valid", "--part: expected no INPUT beside it"),
        ("digits x.npy --data {}", "--data: expected no INPUT beside it"),
        ("digits x.npy --units", "--units: expected --table FILE.csv beside it"),
        ("digits x.npy --backend foo", "Error: backend 'foo': expected one of auto"),
        ("digits x.npy --find quotes", "--find: expected a classifier or tagger of texts"),
        ("digits x.npy --find tag:FOO", "--find: expected a classifier or tagger of texts"),
        ("digits float.npy", ".astype('uint8')"),
        ("texts text --find tag:FOO", "--find tag:FOO: expected a tagger and a file of columns"),
        ("texts text --find subject", "--find subject: expected stories of the data pronouns"),
        ("texts empty", "INPUT: expected a file or some text, got an empty text"),
        ("language t --at 1", "at: expected a text of at least 2 tokens"),
    ],
)
def test_inspect_says_what_is_wrong(models, tmp_path, unrolled, words, said):
    model, given, *flags = words.format(tmp_path).split()
    given = {"empty": "", "text": "good film", "t": "t"}.get(given, models / given)
    ran = unrolled("inspect", models / model, given, *flags)
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not ran.out
    assert not list(tmp_path.iterdir())


def test_a_step_that_is_none_has_no_heading(models, unrolled):
    ran = unrolled("inspect", models / "digits", models / "x.npy", "--step", "9", "--unit", "5")
    assert (ran.code, ran.out) == (2, "")
    assert "step: expected 1 to 8, got 9" in ran.err


def test_one_step_has_no_way_back(models, unrolled):
    ran = unrolled("inspect", models / "language", "t")
    assert "l0: one step; there is no way back through time" in ran.out
    assert "multiplies" not in ran.out


def test_a_prompt_is_answered_and_an_empty_one_refused(models, unrolled, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)  # nothing is read from it
    ran = unrolled("predict", models / "texts", "--prompt", "good film")
    assert '"text": "good film", "prediction"' in ran.out
    ran = unrolled("predict", models / "texts", "--prompt", "")
    assert (ran.code, ran.err) == (2, "Error: --prompt: expected some text, got nothing.\n")
    ran = unrolled("predict", models / "digits", "--prompt", "good film")
    assert "--prompt: expected a model that reads texts" in ran.err
    ran = unrolled("predict", models / "texts", models / "x.npy", "--prompt", "a")
    assert "INPUT: expected a file or --prompt, got both" in ran.err


def test_a_file_goes_into_a_folder_that_is_there(models, tmp_path, unrolled):
    ran = unrolled(
        "predict", models / "digits", models / "x.npy", "--out", tmp_path / "no" / "a.csv"
    )
    assert ran.code == 2
    assert "expected a folder that is there" in ran.err
    ran = unrolled("cells", "new", "Foo", "--out", tmp_path / "no" / "foo.py")
    assert "expected a folder that is there" in ran.err
    ran = unrolled("data", "show", "digits", "--out", tmp_path / "no" / "a.png")
    assert "expected a folder that is there" in ran.err
    assert not (tmp_path / "no").exists()


def test_a_broken_class_spoils_no_other_cell_of_its_file(tmp_path, unrolled):
    file = tmp_path / "cs.py"
    file.write_text(
        "from unrolled.cells import Cell, tanh\n"
        "class Bad(Cell):\n    gates = 'z'\n"
        "    def step(self, x, u, h):\n        return dict(q=h)\n"
        "class Good(Cell):\n    gates = 'z'\n"
        "    def step(self, x, u, h):\n        return dict(h=tanh(x.z + u.z(h)))\n"
        "class Other:\n    pass\n"
    )
    assert unrolled("cells", "check", f"{file}:Good").code == 0
    assert "cell bad: what step returns" in unrolled("cells", "check", f"{file}:Bad").err
    assert "a class that is not derived from" in unrolled("cells", "check", f"{file}:Other").err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import json\njson.loads('{')\n", "a.py, line 2:"),
        ("\nimport nosuchmodule\n", "a.py, line 2:"),
        ("x = 1\nraise SystemExit(3)\n", "a.py, line 2:"),
    ],
)
def test_the_line_of_a_file_that_breaks_is_told(tmp_path, monkeypatch, unrolled, text, said):
    (tmp_path / "a.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert said in unrolled("cells", "check", "a.py:A").err


def test_other_errors_help_too(tmp_path, unrolled):
    assert "got a word of Python's own. Such as ClassCell." in unrolled("cells", "new", "class").err
    ran = unrolled("cells", "build", "gru", "--machine", "nonsense", "--out", tmp_path / "k")
    assert "'nonsense': expected a processor that" in ran.err
    assert len(ran.err) < 400
    said = unrolled("train", "nosuch").err
    assert "wordsim353" not in said
    assert "analogies" not in said
    assert "wordsim353" in unrolled("data", "verify", "nosuch").err


@pytest.mark.parametrize("read", [standard.whole, standard.line, lambda: list(standard.lines())])
def test_standard_input_that_is_no_text_is_one_error(read, monkeypatch):
    broken = io.TextIOWrapper(io.BytesIO(b"a dog\xff\n"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", broken)
    with pytest.raises(DataError, match="standard input: expected text in utf-8"):
        read()


def test_standard_input_is_read_as_utf_8_whatever_the_terminal_speaks():
    """Where the terminal's language is C, Python takes any byte for a letter."""
    ran = subprocess.run(
        [sys.executable, "-c", _READ],
        input=b"\xff\n", capture_output=True, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    assert ran.returncode == 3, ran.stderr


_READ = """
import sys
from unrolled.cli import main, standard
from unrolled.errors import DataError
try:
    main(["cells", "list"])
except SystemExit:
    pass
try:
    standard.whole()
except DataError as error:
    sys.exit(3 if "expected text in utf-8" in str(error) else 4)
"""
