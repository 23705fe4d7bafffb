"""The laboratory's gradients: closed forms, theory beside what is measured, clipping."""

import csv
import json

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from oracle_loop import DOUBLE
from unrolled import Recurrent, UnrolledError
from unrolled.cells import Cell
from unrolled.errors import UsageError
from unrolled.inspect import trace
from unrolled.inspect.pictures import Style
from unrolled.lab import Study, budget, gradients
from unrolled.lab.clipping import exploding, train
from unrolled.lab.problems import problem
from unrolled.lab.reach import reach
from unrolled.lab.reaching_picture import picture
from unrolled.tasks.recipe import resolve

TINY = {"steps": 12, "hidden": 4, "updates": 2, "batch": 8, "backend": "reference"}


class Linear(Cell):
    """A linear recurrence: what a gradient does is the powers of U."""

    gates, states = "a", "h"

    def step(self, x, u, h):
        return dict(h=u.a(h) + x.a)


class Leaky(Cell):
    """Half of the state is kept beside a U that is 0: gates are all there is."""

    gates, states = "a", "h"

    def step(self, x, u, h):
        return dict(h=0.5 * h + x.a)


@pytest.mark.parametrize("rho", [0.8, 1.0, 1.2])
def test_the_gain_of_a_linear_network_is_a_power_of_rho(rho):
    layer = Recurrent(Linear, 2, 5, dtype=DOUBLE, backend="reference")
    with torch.no_grad():
        torch.nn.init.orthogonal_(layer.weight_hh_l0)
        layer.weight_hh_l0 *= rho
    found = reach(trace(layer, torch.randn(2, 40, 2, dtype=DOUBLE), loss=None)["l0"])
    assert found.gain == pytest.approx(rho ** np.arange(41.0), rel=1e-6)
    assert found.radius == pytest.approx(rho, rel=1e-6)
    assert found.rate == pytest.approx(rho, rel=1e-6)
    assert found.exponent == pytest.approx(np.log(rho), abs=1e-6)
    assert found.gates is None
    assert found.horizon == (21 if rho == 0.8 else None)  # 0.8 ** 21 < 0.01 < 0.8 ** 20


def test_where_gates_are_all_there_is_their_product_is_the_gain():
    layer = Recurrent(Leaky, 2, 3, dtype=DOUBLE, backend="reference")
    found = reach(trace(layer, torch.randn(1, 20, 2, dtype=DOUBLE), loss=None)["l0"])
    assert found.gates == pytest.approx(0.5 ** np.arange(21.0))
    assert found.gain == pytest.approx(found.gates)


@pytest.mark.parametrize("cell", ["lstm", "gru", "slstm"])
def test_the_gain_is_the_size_of_autograds_jacobian(cell):
    layer = Recurrent(cell, 2, 3, dtype=DOUBLE, backend="reference")
    x = torch.randn(1, 7, 2, dtype=DOUBLE)
    found = reach(trace(layer, x, loss=None)["l0"])
    _, state = layer(x[:, :3])
    names = list(state)

    def last(*values):
        return layer(x[:, 3:], dict(zip(names, values, strict=True)))[0][0, -1]

    blocks = torch.autograd.functional.jacobian(last, tuple(state.values()))
    whole = sum(float((block**2).sum()) for block in blocks)
    assert found.gain[4] == pytest.approx((whole / 3) ** 0.5, rel=1e-9)


def test_sequences_of_several_lengths_count_as_far_as_they_go():
    layer = Recurrent("gru", 2, 3, dtype=DOUBLE, backend="reference")
    x = torch.randn(2, 9, 2, dtype=DOUBLE)
    both = reach(trace(layer, x, lengths=torch.tensor([9, 4]), loss=None)["l0"])
    alone = reach(trace(layer, x[:1], loss=None)["l0"])
    assert len(both.gain) == 10
    assert both.gain[5:] == pytest.approx(alone.gain[5:])
    assert both.gain[3] != pytest.approx(alone.gain[3])


def test_clipping_holds_what_diverges_without():
    test = problem("adding", 40)
    found = {}
    for clip in (0.0, 1.0):
        model = exploding(budget.traced("rnn-relu"), test, 8, 1.15, 0)
        found[clip] = train(model, test, clip=clip, updates=120, batch=16, seed=0)
    assert found[0.0]["stop"] == "diverged"
    assert found[1.0]["stop"] == "budget"
    assert np.median(found[1.0]["losses"][-20:]) < found[1.0]["losses"][0] / 10
    assert found[1.0]["norms"][0] == found[0.0]["norms"][0] > 1000  # noted before clipping
    with pytest.raises(UsageError, match="one whose U multiplies h, got mingru"):
        exploding(budget.traced("mingru"), test, 8, 1.1, 0)


@pytest.fixture(scope="module")
def found():
    return gradients(Study(["rnn", "lstm"], **TINY, clipped=4, rho=2.0))


def test_rows_tell_of_both_phases_with_theory_beside(found):
    assert [(row["cell"], row["phase"]) for row in found.table()] == [
        ("rnn", "start"), ("rnn", "trained"), ("lstm", "start"), ("lstm", "trained"),
    ]  # fmt: skip
    rows = list(found.long())
    assert len(rows) == 4 * 13
    third = next(r for r in rows if (r["cell"], r["distance"]) == ("rnn", 3))
    assert third["radius_power"] == pytest.approx(found.rows[0]["radius"] ** 3)
    assert third["gates"] == ""
    assert [row["key"]["clip"] for row in found.clips] == [0.0, 1.0]


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    study = Study(["gru"], **TINY, exploding=None)
    first = gradients(study, tmp_path)
    (tmp_path / "runs.jsonl").write_text(
        (tmp_path / "runs.jsonl").read_text().splitlines(keepends=True)[0]
    )
    assert gradients(study, tmp_path).rows == first.rows
    monkeypatch.setattr("unrolled.lab.reaching.reach", None)
    assert gradients(study, tmp_path).rows == first.rows


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_keeps_its_words_apart(found, dark):
    figure = picture(found, Style(dark))
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    texts = [figure.legends[0], *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    for axes in figure.axes:
        texts += [t for t in (axes.title, axes.xaxis.label, axes.yaxis.label) if t.get_text()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    for n, one in enumerate(boxes):
        assert figure.bbox.contains(one.x0, one.y0)
        assert figure.bbox.contains(one.x1, one.y1)
        assert not any(one.overlaps(other) for other in boxes[:n])


def test_the_command_says_writes_and_draws(unrolled, tmp_path):
    flags = ["--cells", "rnn", "--steps", "12", "--hidden", "4", "--updates", "0",
             "--exploding", "none", "--out", tmp_path]  # fmt: skip
    ran = unrolled("lab", "gradients", *flags)
    assert ran.code == 0, ran.err
    assert "rnn, at the start: each step back multiplies by 0." in ran.out
    Image.open(tmp_path / "gradients.png").verify()
    with open(tmp_path / "gradients.csv", encoding="utf-8-sig") as file:
        assert len(list(csv.DictReader(file))) == 13
    ran = unrolled("lab", "gradients", *flags, "--json", "--lang", "ko")
    assert json.loads(ran.out)["table"][0]["steps"] == 12
    assert "처음" in ran.err


def test_cells_are_looked_at_on_ones_own_data(unrolled, tmp_path):
    ran = unrolled(
        "lab", "gradients", "digits", "--cells", "gru", "--hidden", "4", "--set", "epochs=1",
        "--set", "batch=400", "--set", "backend=reference", "--out", tmp_path,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    rows = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [row["key"]["phase"] for row in rows] == ["start", "trained"]
    assert len(rows[0]["gain"]) == 9  # eight rows of pixels
    assert rows[0]["gain"] != rows[1]["gain"]


def test_the_exploding_network_gets_no_more_updates_than_all_others():
    few = gradients(Study(["rnn"], **{**TINY, "updates": 3}, rho=1.0))
    assert [len(row["losses"]) for row in few.clips] == [3, 3]
    assert gradients(Study(["rnn"], **{**TINY, "updates": 0})).clips == []


def test_a_cell_that_is_none_is_refused_before_anything_is_trained(monkeypatch, tmp_path):
    monkeypatch.setattr("unrolled.lab.reaching.learn", None)
    monkeypatch.setattr("unrolled.lab.reaching.build", None)
    with pytest.raises(UnrolledError, match="Did you mean 'lstm'"):
        gradients(Study(["rnn", "lstn"], **TINY), tmp_path)
    with pytest.raises(UnrolledError, match="Did you mean 'lstm'"):
        gradients(Study(["rnn", "lstn"]), tmp_path, source="digits")
    assert not (tmp_path / "runs.jsonl").exists()


@pytest.mark.parametrize("verb", ["gradients", "memory", "compare"])
def test_ctrl_c_says_where_to_go_on(verb, monkeypatch, unrolled, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    place = {"gradients": "reaching", "memory": "remembering", "compare": "comparing"}[verb]
    monkeypatch.setattr(f"unrolled.lab.{place}.{verb}", stop)
    ran = unrolled("lab", verb, *["digits"] * (verb == "compare"), "--out", tmp_path)
    assert ran.code == 130
    assert ran.err == f"stopped; what was found is in {tmp_path}: the same command goes on\n"


@pytest.mark.slow
def test_texts_and_tags_are_looked_at_too(tmp_path):
    (tmp_path / "a.txt").write_text("to be or not to be, that is the question. " * 60)
    (tmp_path / "a.conll").write_text("a DET\ndog NOUN\nbarks VERB\n\n" * 40)
    for name, options in (("a.txt", ["window=16"]), ("a.conll", ["crf=false"])):
        source = str(tmp_path / name)
        task = "language" if name == "a.txt" else "tag"
        small = ["hidden=6", "layers=1", "epochs=1", "batch=4", "embedding=4", *options]
        recipe = resolve(source, task=task, assignments=small)
        found = gradients(Study(["gru"], sequences=2), source=source, recipe=recipe)
        assert [row["phase"] for row in found.table()] == ["start", "trained"]
        assert found.table()[0]["steps"] == (100 if task == "language" else 3)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--cells", "lstn"], "Did you mean 'lstm'?"),
        (["--cells", "gru,gru"], "each once, under a name of its own"),
        (["--steps", "1"], "steps: expected at least 2, got 1"),
        (["--task", "add"], "task: expected one of adding"),
        (["--exploding", "mingru", "--updates", "0", "--cells", "rnn", "--steps", "3"], "rnn-relu"),
        (["--set", "epochs=1"], "DATA beside them"),
        (["digits", "--set", "cell=gru"], "--set cell=gru: expected --cells, which names them all"),
        (["digits", "--steps", "5"], "--steps: expected no DATA beside it, got digits"),
        (["digitz"], "Did you mean 'digits'?"),
    ],
)
def test_bad_input_is_one_line(unrolled, tmp_path, flags, words):
    ran = unrolled("lab", "gradients", *flags, "--out", tmp_path)
    assert ran.code == 2
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1
