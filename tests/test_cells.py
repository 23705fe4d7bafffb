"""The catalogue and the ways to name a cell: by name, class, object, or a file of one's own."""

import re

import pytest
import torch

from unrolled.cells import CATALOGUE, Cell, cite, find, names
from unrolled.errors import CellError
from unrolled.layers import LSTM, Recurrent

GOOD = """
from unrolled.cells import Cell, tanh

class Mine(Cell):
    gates, states = "a", "h"
    def step(self, x, u, h):
        return dict(h=tanh(x.a + u.a(h)))
"""


@pytest.mark.parametrize("name", names())
def test_every_cell_of_the_catalogue_is_documented(name):
    cell = find(name)
    assert cell.name == name
    assert type(cell).__doc__.rstrip().endswith(".")
    assert re.match(r"@\w+\{\w+,", cell.paper.strip())
    for said in (*cell.trace().gates, *cell.trace().states):
        english, korean = cell.labels[said]
        assert english
        assert re.search("[가-힣]", korean), said


def test_names_are_unique_and_reach_their_class():
    assert len(set(names())) == len(names()) == len(CATALOGUE)
    assert {type(find(n)) for n in names()} == set(CATALOGUE.values())


def test_a_cell_is_found_by_class_and_object_too():
    kind = type(find("lem"))
    cell = kind(dt=0.5)
    assert find(cell) is cell
    assert isinstance(find(kind), kind)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("lsmt", r"no cell 'lsmt': expected a name .* Did you mean 'lstm'\?"),
        ("LSTM", r"Did you mean 'lstm'\?"),
        ("gru_first", r"Did you mean 'gru-first'\?"),
        ("zzz", "`unrolled cells list` shows them"),
        ("", "no cell ''"),
        (None, "no cell None"),
        (3, "no cell 3"),
        (Cell, "Cell itself has no step: expected a class"),
        (Cell(), "Cell itself has no step: expected a class"),
        (torch.nn.LSTM, "no cell"),
    ],
)
def test_a_cell_that_is_not_there(wrong, expected):
    with pytest.raises(CellError, match=expected) as error:
        Recurrent(wrong, 3, 4)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [":Mine", ""])
def test_a_cell_of_a_file(tmp_path, suffix):
    file = tmp_path / "my cells.py"
    file.write_text(GOOD, encoding="utf-8")
    cell = find(f"{file}{suffix}")
    assert cell.name == "mine"
    assert Recurrent(f"{file}{suffix}", 3, 4).config()["cell"]["name"] == "mine"


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        (None, ":Mine", r"no file .*mine.py: expected FILE.py:Class"),
        ("x = (\n", ":Mine", r"mine.py, line 1: expected Python .* got SyntaxError"),
        ("\n\nx = 1 / 0\n", ":Mine", r"mine.py, line 3: .* got ZeroDivisionError"),
        ("import not_there_at_all\n", ":Mine", r"line 1: .* ModuleNotFoundError"),
        ("raise SystemExit(3)\n", ":Mine", r"line 1: .* got SystemExit"),
        ("x = 1\n", ":Mine", r"has no cell 'Mine': expected one of \(it defines none\)"),
        ("x = 1\n", "", "which cell: expected one of"),
        (GOOD, ":Mime", r"has no cell 'Mime': expected one of Mine, got Mime. Write .*:Mine"),
        (GOOD + GOOD.replace("Mine", "Other"), "", "which cell: expected one of Mine, Other"),
        (GOOD.replace("x.a", "x.q"), ":Mine", r"mine.py: cell mine: the step reads x.q \(line 7\)"),
        (
            b"\xff\xfe\x00",
            ":Mine",
            r"mine.py(, line [1-9]\d*)?: .* got (SyntaxError|ValueError|UnicodeDecode)",
        ),
    ],
)
def test_a_file_that_is_no_cell(tmp_path, text, wanted, expected):
    file = tmp_path / "mine.py"
    if isinstance(text, bytes):
        file.write_bytes(text)
    elif text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(CellError, match=expected) as error:
        find(f"{file}{wanted}")
    assert "\n" not in str(error.value)


def test_a_folder_is_no_file_of_cells(tmp_path):
    (tmp_path / "cells.py").mkdir()
    with pytest.raises(CellError, match="no file"):
        find(f"{tmp_path / 'cells.py'}:Mine")


def test_papers_are_cited_once_each():
    assert cite("lstm", "lstm", find("lstm")).count("@") == 1
    both = cite("lstm", "lem")
    assert both.count("@article") + both.count("@inproceedings") == 2
    model = torch.nn.Sequential(Recurrent("lem", 3, 4), LSTM(4, 4))
    assert cite(model) == cite("lem", "lstm")
    assert cite(torch.nn.Linear(2, 2)) == ""
    with pytest.raises(CellError, match="Did you mean"):
        cite("lsmt")


def test_options_of_a_layer_are_cited_once_and_only_where_they_are_used():
    layer = Recurrent("gru", 2, 3, zoneout={"h": 0.1}, variational=0.2, weight_drop=0.1)
    said = cite(torch.nn.Sequential(layer, Recurrent("gru", 3, 3, zoneout=0.1)))
    for key in ("krueger2017zoneout", "gal2016theoretically", "merity2018regularizing"):
        assert said.count(key) == 1
    assert "ba2016layer" not in said
    assert (
        cite(Recurrent("layernorm-lstm", 2, 3, layer_norm=True)).count("Layer Normalization") == 1
    )
    assert cite(Recurrent("gru", 2, 3)) == cite("gru")
