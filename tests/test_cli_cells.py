"""`unrolled cells`: what is listed, shown, checked and written."""

import json

import pytest
import torch

from unrolled.cells import find, names
from unrolled.cells.paper import family, field, short
from unrolled.layers import Recurrent


def test_list_has_every_cell_with_gates_states_and_paper(unrolled):
    rows = json.loads(unrolled("cells", "list", "--json").out)
    assert [row["name"] for row in rows] == names()
    lstm = next(row for row in rows if row["name"] == "lstm")
    assert lstm == {
        "name": "lstm",
        "gates": ["i", "f", "g", "o"],
        "states": ["h", "c"],
        "paper": "Gers et al. 2000",
    }
    assert all(row["paper"] for row in rows)


def test_list_is_a_table(unrolled):
    lines = unrolled("cells", "list").out.splitlines()
    assert len(lines) == len(names()) + 1
    assert lines[0].split() == ["name", "gates", "states", "paper"]
    assert any(line.startswith("lstm ") and line.endswith("Gers et al. 2000") for line in lines)


@pytest.mark.parametrize("cell", names())
def test_show_tells_the_shapes_that_the_layer_has(cell, unrolled):
    ran = unrolled("cells", "show", cell, "--input", "5", "--hidden", "6", "--json")
    facts = json.loads(ran.out)
    layer = Recurrent(cell, 5, 6)
    assert facts["parameters"] == {k: list(p.shape) for k, p in layer.named_parameters()}
    assert facts["count"] == sum(p.numel() for p in layer.parameters())
    assert len(facts["equations"]) == len(facts["latex"])


def test_show_is_a_page(unrolled):
    out = unrolled("cells", "show", "lstm").out
    for part in (
        "c' = f * c + i * g",
        r"h_t = o_t \odot \tanh(c_t)",
        "weight_hh_l0            512 x 128",
        "parameters at input 28, hidden 128: 80,896",
        "forget gate · 망각 게이트",
        "@article{gers2000learning,",
        "h c i f g o",
    ):
        assert part in out


def test_show_counts_as_torch_does(unrolled):
    rival = sum(p.numel() for p in torch.nn.LSTM(28, 128).parameters())
    assert json.loads(unrolled("cells", "show", "lstm", "--json").out)["count"] == rival


def test_show_stage_trace_prints_the_graph(unrolled):
    lines = unrolled("cells", "show", "gru", "--stage", "trace").out.splitlines()
    assert lines[0].split() == ["%0", "=", "state", "h"]
    assert lines[-1].endswith("-> h")
    graph = json.loads(unrolled("cells", "show", "gru", "--stage", "trace", "--json").out)
    assert len(graph["nodes"]) == len(lines)


def test_show_prints_every_pass_of_the_engine(unrolled):
    def said(stage):
        return unrolled("cells", "show", "peephole", "--stage", stage).out

    assert "backward:" in said("derive")
    assert "forward, phase 0:" in said("plan")
    assert "peephole, one step:" in said("c")


def test_show_of_an_unknown_stage_or_cell(unrolled):
    assert unrolled("cells", "show", "lstm", "--stage", "asm").code == 2
    ran = unrolled("cells", "show", "lstn")
    assert ran.code == 2
    assert "Did you mean 'lstm'?" in ran.err


def test_new_writes_a_cell_that_passes_check(unrolled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = unrolled("cells", "new", "Mine")
    assert ran.code == 0
    assert "mine.py:Mine" in ran.out
    checked = unrolled("cells", "check", "mine.py:Mine")
    assert checked.code == 0
    assert "is a cell" in checked.out
    assert find("mine.py:Mine").name == "mine"


def test_new_never_overwrites(unrolled, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("keep me", encoding="utf-8")
    ran = unrolled("cells", "new", "Mine", "--out", file)
    assert ran.code == 2
    assert "there already" in ran.err
    assert file.read_text(encoding="utf-8") == "keep me"


@pytest.mark.parametrize("name", ["class", "1st", "my-cell", "a b", "", "../x"])
def test_new_wants_the_name_of_a_class(name, unrolled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert unrolled("cells", "new", name).code == 2
    assert not list(tmp_path.iterdir())


def test_new_in_a_folder_that_is_not_there(unrolled, tmp_path):
    ran = unrolled("cells", "new", "Mine", "--out", tmp_path / "no" / "mine.py")
    assert ran.code == 2
    assert "expected a folder that is there" in ran.err


HEAD = "from unrolled.cells import Cell, log, sigmoid, tanh\n\n\nclass Mine(Cell):\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            '    gates, states = "z", "h"\n    def step(self, x, h):\n        return dict(h=x.q)',
            "x.q",
        ),
        (
            '    gates, states = "z", "h"\n    def step(self, x, h):\n        return dict(c=x.z)',
            "no h",
        ),
        (
            '    gates, states = "z", "h"\n    def step(self, x, u, h):\n'
            "        return dict(h=x.z if h > 0 else h)",
            "control flow",
        ),
        ('    gates, states = "z", "h"\n', "no step"),
        ('    gates, states = "z", "h"\n    def step(self x):\n', "SyntaxError"),
        (
            '    gates, states = "z", "h c"\n    def step(self, x, h, c):\n'
            "        return dict(h=x.z / c, c=c * 0)",
            "finite outputs",
        ),
        (
            '    gates, states = "z", "h"\n    def step(self, x, h):\n'
            "        return dict(h=x.z * 0 + log(h * 0))",
            "finite outputs",
        ),
    ],
)
def test_check_says_in_one_line_what_is_wrong(body, said, unrolled, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(HEAD + body + "\n", encoding="utf-8")
    ran = unrolled("cells", "check", f"{file}:Mine")
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err


def test_check_sees_gradients_that_are_not_finite(unrolled, tmp_path):
    body = (
        '    gates, states = "z", "h"\n    def step(self, x, h):\n'
        "        return dict(h=x.z * 0 + sqrt(x.z * 0))"
    )
    file = tmp_path / "mine.py"
    file.write_text(HEAD.replace("log", "sqrt") + body + "\n", encoding="utf-8")
    ran = unrolled("cells", "check", file)
    assert ran.code == 2
    assert "finite gradients" in ran.err


def test_check_of_a_file_that_is_not_there(unrolled):
    ran = unrolled("cells", "check", "nowhere.py:Mine")
    assert ran.code == 2
    assert "nowhere.py" in ran.err


def test_a_paper_is_said_in_a_few_words():
    assert short("@a{k, author = {One, A.}, year = 2001}") == "One 2001"
    assert short("@a{k, author = {One, A. and Two, B.}, year = {2001}}") == "One and Two 2001"
    assert short('@a{k, author = "One, A. and Two, B. and C", year = {2001}}') == "One et al. 2001"
    assert field("@a{k, title = {A {B}, c}, year = 1}", "title") == "A {B}, c"


@pytest.mark.parametrize(
    ("author", "said"),
    [
        ('P{\\"o}ppel, Korbinian', "Pöppel"),
        ("Koutn{\\'i}k, Jan", "Koutník"),
        ("Ha{\\c{s}}im Sak", "Sak"),
        ("Fran{\\c{c}}oise, X", "Françoise"),
    ],
)
def test_accents_of_tex_become_letters(author, said):
    assert family(author) == said


def test_a_cell_of_a_file_trains_on_c_and_its_model_needs_the_file_no_more(
    unrolled, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert unrolled("cells", "new", "Mine").code == 0
    small = ("--set", "epochs=1", "--set", "hidden=8")
    ran = unrolled("train", "digits", "--cell", "mine.py:Mine", "--out", "mine", *small)
    assert ran.code == 0, ran.err
    assert "backend: c" in ran.out
    (tmp_path / "mine.py").unlink()
    evaluated = unrolled("eval", "mine")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.out.splitlines()[-1] in ran.out
