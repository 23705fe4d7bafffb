"""The laboratory's memory: sizes, budgets, stop rules, resuming, the picture, the command."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from bad_data import idx
from unrolled import Recurrent, UnrolledError
from unrolled.errors import DataError, UsageError
from unrolled.inspect.pictures import Style
from unrolled.lab import Memory, Plan, budget, memory, remembering
from unrolled.lab.learning import learn, network
from unrolled.lab.ledger import Ledger
from unrolled.lab.problems import HELD, TEST, TRAIN, problem
from unrolled.lab.remembering_picture import picture

TINY = {"parameters": 400, "layers": 1, "batch": 8, "every": 2, "backend": "reference"}


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "mingru", "lem", "slstm"])
def test_a_budget_of_parameters_is_met_as_near_as_units_allow(cell):
    def whole(h):
        layer = Recurrent(cell, 3, h, 2, backend="reference")
        return sum(p.numel() for p in layer.parameters()) + 2 * (h + 1)

    units = budget.hidden(cell, 3000, 3, 2, 2)
    gaps = [abs(whole(h) - 3000) for h in (units - 1, units, units + 1)]
    assert min(gaps) == gaps[1]


def test_a_budget_below_one_unit_is_an_error():
    with pytest.raises(UsageError, match="at least 54, those of the smallest network of lstm"):
        budget.hidden("lstm", 10, 10, 1)


@pytest.mark.parametrize("name", ["adding", "copy", "parity"])
def test_draws_are_new_each_time_and_answers_right(name):
    test = problem(name, 9)
    x, y = test.draw(40, 5, TRAIN)
    assert torch.equal(x, test.draw(40, 5, TRAIN)[0])
    assert not torch.equal(x, test.draw(40, 6, TRAIN)[0])
    assert not torch.equal(x, test.draw(40, 5, TEST)[0])
    right = {
        "adding": lambda: (x[..., 0] * x[..., 1]).sum(1, keepdim=True),
        "parity": lambda: torch.nn.functional.one_hot(((x > 0).sum((1, 2)) % 2), 2).float(),
        "copy": lambda: x.roll(19, 1)[..., :9],  # only the last ten are asked about
    }[name]()
    assert test.error(right, y) == pytest.approx(0, abs=1e-12)
    assert test.loss(right if name == "adding" else 30 * right, y) < 1.0


def test_who_remembers_nothing_gets_the_baseline():
    for name, constant in (("adding", torch.ones(4000, 1)), ("parity", torch.zeros(4000, 2))):
        test = problem(name, 12)
        assert test.error(constant, test.draw(4000, 1, TEST)[1]) == pytest.approx(
            test.baseline, abs=0.03
        )


def test_pixels_are_means_of_blocks_in_one_order_and_held_out_apart():
    from unrolled.data import load

    digits, test = load("digits"), problem("pixels", 16)
    top = digits.train.inputs.max()
    x, y = test.draw(5, HELD, TRAIN)
    blocks = digits.valid.inputs[:5].reshape(5, 4, 2, 4, 2).mean((2, 4)) / top
    assert np.allclose(np.sort(x.flatten(1)), np.sort(blocks.reshape(5, 16)), atol=1e-6)
    assert y.tolist() == digits.valid.targets[:5].tolist()
    assert test.draw(5, 0, TEST)[1].tolist() == digits.test.targets[:5].tolist()
    larger, _ = problem("pixels", 256).draw(1, HELD, TRAIN)
    assert larger.sum() == pytest.approx(4 * digits.valid.inputs[0].sum() / top, rel=1e-5)
    with pytest.raises(UsageError, match="one of 4, 16, 64, 256"):
        problem("pixels", 25)


def trained(**changes):
    options = {
        "seed": 0,
        "lr": 0.02,
        "batch": 16,
        "clip": 1.0,
        "updates": 6,
        "seconds": 0,
        "every": 2,
    }
    test = problem("adding", 3)
    model = network(budget.traced("gru"), test, 8, 1, 0, "reference")
    return learn(model, test, **{**options, **changes})


def test_a_run_ends_when_it_is_solved():
    found = trained(updates=5000, every=50)
    assert (found["stop"], found["solved"]) == ("solved", True)
    assert found["updates"] < 5000
    assert found["error"] < 0.015
    assert found["curve"][-1][2] < 0.01 <= found["curve"][-2][2]


def test_an_unsolved_run_uses_up_both_budgets():
    by_updates, by_seconds = trained(), trained(updates=1, seconds=0.05)
    assert (by_updates["stop"], by_updates["updates"]) == ("budget", 6)
    assert [point[0] for point in by_updates["curve"]] == [2, 4, 6]
    assert by_seconds["seconds"] >= 0.05


def test_a_run_that_diverges_ends_and_says_so():
    found = trained(lr=1e30, clip=0, updates=400)
    assert found["stop"] == "diverged"
    assert found["updates"] < 400


def test_what_is_done_is_not_done_again_and_a_torn_line_is(tmp_path, monkeypatch):
    plan = Plan(("adding",), ["gru", "rnn"], (3, 5), updates=4, seconds=0, give_up=0, **TINY)
    first = memory(plan, tmp_path)
    file = tmp_path / "runs.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    file.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # killed while it wrote
    ran = []
    real = remembering.learn
    monkeypatch.setattr(remembering, "learn", lambda *a, **k: ran.append(1) or real(*a, **k))
    again = memory(plan, tmp_path)
    assert len(ran) == 1
    assert [r["key"] for r in again.rows] == [r["key"] for r in first.rows]
    assert [[p[::2] for p in r["curve"]] for r in again.rows] == [
        [p[::2] for p in r["curve"]] for r in first.rows
    ]
    memory(Plan(**{**vars(plan), "updates": 6}), tmp_path)
    assert len(ran) == 5  # a larger budget: what was not solved goes on from the start


def row(cell, steps, curve, seed=0, lr=0.1):
    key = {"task": "adding", "steps": steps, "cell": cell, "seed": seed, "lr": lr}
    return {"key": key, "hidden": 3, "parameters": 30, "curve": curve, "baseline": 1 / 6,
            "bar": 0.01, "seconds": 1.0, "solved": True}  # fmt: skip


@pytest.fixture
def found():
    """The one learns in few slow updates, the other in many fast ones."""
    plan = Plan(("adding",), ["gru", "rnn"], (5, 10), updates=10, seconds=2.0, seeds=3)
    rows = []
    for steps, late in ((5, 0), (10, 6)):
        for seed in range(3):
            rows.append(row("gru", steps, [[5, 1.0 + late, 0.1], [10, 2.0 + late, 0.002]], seed))
            rows.append(row("rnn", steps, [[5, 0.1, 0.1], [40, 1.9, 0.005 + late]], seed))
    rows.append(row("gru", 10, [[5, 1.0, 0.02]], 0, lr=0.3))
    return Memory(plan, rows)


def test_how_far_a_cell_remembers_follows_from_the_curves(found):
    assert found.at("adding", "gru", 10) == [0.002] * 3
    assert found.at("adding", "gru", 10, "seconds") == [
        0.02,
        pytest.approx(1 / 6),
        pytest.approx(1 / 6),
    ]
    table = {line["cell"]: line for line in found.table()}
    assert (table["gru"]["reach_updates"], table["gru"]["reach_seconds"]) == (10, 5)
    assert (table["rnn"]["reach_updates"], table["rnn"]["reach_seconds"]) == (0, 5)


def test_a_cell_that_stopped_is_left_at_longer_ones():
    said = []
    plan = Plan(("parity",), ["rnn"], (3, 4, 5), updates=2, seconds=0, **TINY)
    assert [r["key"]["steps"] for r in memory(plan, say=said.append).rows] == [3]
    assert said[-1] == "parity, T=5, rnn: not tried, it stopped at a shorter one"


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_keeps_its_words_apart(found, dark):
    figure = picture(found, Style(dark))
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    boxes = [
        text.get_window_extent(renderer)
        for axes in figure.axes
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *figure.legends[0].get_texts())
        if text.get_text()
    ]
    for n, one in enumerate(boxes):
        assert figure.bbox.contains(one.x0, one.y0)
        assert not any(one.overlaps(other) and one.bounds != other.bounds for other in boxes[:n])


def test_the_command_writes_rows_a_table_and_a_picture(unrolled, tmp_path):
    flags = ["--cells", "gru,rnn", "--tasks", "adding", "--steps", "3", "--updates", "50",
             "--seconds", "0", "--parameters", "300", "--backend", "reference"]  # fmt: skip
    ran = unrolled("lab", "memory", *flags, "--out", tmp_path)
    assert ran.code == 0, ran.err
    assert "adding  gru" in ran.out
    with open(tmp_path / "runs.csv", encoding="utf-8-sig") as file:
        table = list(csv.DictReader(file))
    assert [line["cell"] for line in table] == ["gru", "rnn"]
    assert all(math.isfinite(float(line["error"])) for line in table)
    assert json.loads((tmp_path / "runs.jsonl").read_text().splitlines()[0])["curve"]
    Image.open(tmp_path / "memory.png").verify()
    ran = unrolled("lab", "memory", *flags, "--out", tmp_path, "--json", "--lang", "ko")
    assert [line["cell"] for line in json.loads(ran.out)["table"]] == ["gru", "rnn"]
    assert "시드 0, 학습률 0.01: 갱신 50번" in ran.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tasks", "add"], "task: expected one of adding, copy, parity, pixels, got 'add'"),
        (["--cells", "lstn"], "Did you mean 'lstm'?"),
        (["--cells", "gru,gru"], "each once, under a name of its own"),
        (["--steps", "ten"], "--steps: expected numbers, such as 10,20,40, got 'ten'"),
        (["--steps", "0"], "steps: expected whole numbers from 1, got 0."),
        (["--tasks", "adding", "--steps", "1"], "steps of adding: expected a whole number of at"),
        (["--preset", "slow"], "--preset: expected one of quick, adding, permuted"),
        (["--rates", "-1,0.1"], "rates: expected numbers above 0, got -1.0, 0.1."),
        (["--updates", "0"], "updates: expected at least 1, got 0"),
        (["--images", "cats"], "fashion-mnist, or a path of yours, got 'cats'."),
        (["--backend", "cuda"], "backend"),
    ],
)
def test_bad_input_is_one_line(unrolled, tmp_path, flags, words):
    ran = unrolled("lab", "memory", *flags, "--out", tmp_path / "lab")
    assert ran.code == 2
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "runs.jsonl").write_text('{"loss": 1}\n')
    with pytest.raises(DataError, match="rows of an experiment"):
        Ledger(tmp_path)
    with pytest.raises(UnrolledError, match="cannot be written"):
        Ledger(tmp_path / "runs.jsonl")


def made_up_mnist(folder):
    """Digits whose class is how bright they are: 28 by 28 pixels, forty of each part."""
    classes = np.arange(40) % 10
    images = np.broadcast_to(25 * classes[:, None, None], (40, 28, 28))
    parts = {"train": (images, classes), "t10k": (images, classes)}
    for part, (pixels, labels) in parts.items():
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(pixels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


def test_permuted_mnist_is_one_command(unrolled, tmp_path):
    folder = made_up_mnist(tmp_path)
    ran = unrolled(
        "lab", "memory", "--preset", "permuted", "--images", folder, "--pixels", "4,16", "--cells",
        "gru", "--updates", "3", "--seconds", "0", "--rates", "0.01", "--give-up", "0",
        "--parameters", "300", "--backend", "reference", "--out", tmp_path / "lab",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    lines = (tmp_path / "lab" / "runs.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(r["key"]["task"], r["key"]["steps"], r["updates"]) for r in rows] == [
        ("pixels", 4, 3), ("pixels", 16, 3),
    ]  # fmt: skip
    usual = remembering.PRESETS["permuted"]
    assert (usual["images"], usual["pixels"][-1]) == ("mnist", 784)


def test_every_pixel_is_read_in_the_same_order(tmp_path):
    folder = made_up_mnist(tmp_path)
    ramp = np.tile(np.arange(784, dtype=float).reshape(28, 28) % 251, (40, 1, 1))
    (folder / "train-images-idx3-ubyte").write_bytes(idx(ramp))
    test = problem("pixels", 784, str(folder))
    (first, _), (second, _) = test.draw(2, 1, TRAIN), test.draw(2, 2, TRAIN)
    assert torch.equal(first[0], second[1])
    assert test.solved == pytest.approx(0.1)
    flat = torch.from_numpy(ramp[0].flatten() / 250).float()
    assert torch.allclose(first[0, :, 0].sort().values, flat.sort().values)
    assert not torch.allclose(first[0, :, 0], flat)


@pytest.mark.parametrize("updates", [1, 3, 5])
def test_no_more_updates_are_made_than_were_allowed(updates):
    found = trained(updates=updates, every=2)
    assert found["updates"] == updates
    assert found["curve"][-1][0] == updates
