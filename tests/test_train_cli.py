"""train, eval, predict and import as a person types them."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from unrolled.checkpoint import RESUME
from unrolled.tasks import load

QUICK = ("--epochs", "2", "--hidden", "8")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def digits(unrolled):
    assert unrolled("train", "digits", *QUICK).code == 0
    return "runs/digits"


def rows_file(path="rows.csv", count=60, seed=0):
    rng = np.random.default_rng(seed)
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["name", "t0", "t1", "t2", "t3", "label"])
        for i in range(count):
            x = rng.normal(size=4)
            table.writerow([f"n{i}", *np.round(x, 4), "up" if x.sum() > 0 else "down"])
    return path


def test_train_ends_with_the_accuracy_the_picture_and_the_model(unrolled, elsewhere):
    ran = unrolled("train", "digits", *QUICK)
    *_, accuracy, picture, model = ran.out.splitlines()
    assert ran.code == 0
    assert accuracy.startswith("test: accuracy ")
    assert picture == "picture: runs/digits/confusion.png"
    assert model == "model: runs/digits"
    assert (elsewhere / "runs" / "digits" / "confusion.png").is_file()


def test_it_says_what_ran_and_so_does_the_card(unrolled, elsewhere):
    ran = unrolled("train", "digits", *QUICK, "--backend", "reference")
    assert "backend: reference" in ran.out.splitlines()
    assert "on cpu, backend reference" in Path("runs/digits/README.md").read_text(encoding="utf-8")


def test_a_second_run_gets_a_directory_of_its_own(unrolled, digits):
    assert unrolled("train", "digits", *QUICK).out.splitlines()[-1] == "model: runs/digits-2"
    assert unrolled("train", "digits", *QUICK).out.splitlines()[-1] == "model: runs/digits-3"


def test_a_named_directory_is_not_trained_over(unrolled, digits):
    ran = unrolled("train", "digits", *QUICK, "--out", digits)
    assert ran.code == 2
    assert "holds a model" in ran.err
    assert ran.err.count("\n") == 1
    assert unrolled("train", "digits", *QUICK, "--out", digits, "--overwrite").code == 0


def test_the_card_says_the_command_that_makes_it_again(unrolled, digits, elsewhere):
    text = (elsewhere / digits / "README.md").read_text()
    assert "unrolled train digits --hidden 8 --epochs 2" in text


def test_json_is_one_object_and_progress_goes_elsewhere(unrolled):
    ran = unrolled("train", "digits", *QUICK, "--json", "--out", "m")
    told = json.loads(ran.out)
    assert told["directory"] == "m"
    assert told["epochs"] == 2
    assert 0 <= told["test"]["accuracy"] <= 1
    assert "epoch 2/2" in ran.err


def test_a_dry_run_says_everything_and_writes_nothing(unrolled, elsewhere):
    ran = unrolled("train", "digits", "--cell", "gru", "--set", "dropout=0.25", "--dry-run")
    assert ran.code == 0
    for line in ('cell = "gru"', "dropout = 0.25", "[training]", "epochs = 30"):
        assert line in ran.out
    assert "would go to runs/digits" in ran.out
    assert list(elsewhere.iterdir()) == []
    told = json.loads(unrolled("train", "digits", "--dry-run", "--json").out)
    assert told["examples"] == {"train": 1258, "valid": 180}
    assert 2 < told["first_loss"] < 3


def test_resume_needs_nothing_said_again(unrolled, digits, elsewhere):
    before = (elsewhere / digits / "model.safetensors").read_bytes()
    ran = unrolled("train", "--resume", "--out", digits)
    assert (ran.code, "goes on after step 52 of 52" in ran.out) == (0, True)
    assert (elsewhere / digits / "model.safetensors").read_bytes() == before
    assert unrolled("train", "digits", "--resume").out.splitlines()[-1] == "model: runs/digits"


def test_resume_with_other_settings_is_refused(unrolled, digits):
    ran = unrolled("train", "digits", "--epochs", "5", "--hidden", "8", "--resume")
    assert ran.code == 2
    assert "settings.epochs differs: expected 2, got 5" in ran.err


def test_nothing_to_train_on_and_nothing_to_resume_is_said(unrolled):
    assert "a dataset's name, or a path of yours" in unrolled("train").err
    assert unrolled("train", "--resume", "--out", "none").code == 2


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGINT to send")
def test_ctrl_c_saves_exits_130_and_resume_goes_on(unrolled, elsewhere):
    options = "train digits --hidden 16 --set log_every=1 --epochs 4".split()
    command = [sys.executable, "-m", "unrolled", *options, "--out", "m"]
    usual = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **usual) as running:
        for line in running.stdout:
            if "step [5/" in line:
                running.send_signal(signal.SIGINT)
                break
        running.stdout.read()
        assert running.wait(60) == 130
    resumed = unrolled(*options, "--out", "m", "--resume")
    assert "goes on after step" in resumed.out
    assert "goes on after step 104" not in resumed.out
    # In a process of its own, as the first half: threads are what the environment gave both.
    subprocess.run([*command[:-1], "w"], check=True, capture_output=True)
    weights = [(elsewhere / name / "model.safetensors").read_bytes() for name in ("m", "w")]
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_itself_survives_twenty_kills(elsewhere):
    command = [sys.executable, "-m", "unrolled", "train", "digits", "--epochs", "24"]
    command += ["--set", "checkpoint_every=5", "--hidden", "16", "--out"]
    subprocess.run([*command, "whole"], check=True, capture_output=True)
    state, rng = elsewhere / "m" / RESUME, np.random.default_rng(0)

    def saved():
        return state.stat().st_ino if state.exists() else None

    for _ in range(20):
        # At any moment after the next checkpoint or the one after, so that every life gets on.
        saves, moment = 1 + rng.integers(2), 0.03 * rng.random()
        before = saved()
        with subprocess.Popen([*command, "m", "--resume"], stdout=subprocess.DEVNULL) as running:
            while saves and running.poll() is None:
                if saved() != before:
                    before, saves = saved(), saves - 1
            time.sleep(moment)
            running.kill()
        assert running.returncode == -signal.SIGKILL, "it ended before it was killed"
    subprocess.run([*command, "m", "--resume"], check=True, capture_output=True)
    weights = [(elsewhere / name / "model.safetensors").read_bytes() for name in ("whole", "m")]
    assert weights[0] == weights[1]


def test_eval_gives_the_same_figures_as_training(unrolled, digits, elsewhere):
    rows = (elsewhere / digits / "metrics.jsonl").read_text().splitlines()
    trained = json.loads(rows[-1])["test"]
    told = json.loads(unrolled("eval", digits, "--json").out)
    assert told["accuracy"] == trained["accuracy"]
    assert told["loss"] == pytest.approx(trained["loss"], rel=1e-5)
    assert np.array(told["confusion"]).sum() == told["count"] == 359
    ran = unrolled("eval", digits)
    assert ran.out.splitlines()[0].split() == ["precision", "recall", "f1", "count"]
    assert ran.out.splitlines()[-1].startswith("test: accuracy ")
    assert unrolled("eval", digits, "--part", "valid").out.splitlines()[-1].startswith("valid: ")


def test_eval_of_a_file_measures_on_all_of_it(unrolled):
    rows_file()
    unrolled("train", "rows.csv", "--label", "label", "--id", "name", *QUICK)
    rows_file("other.csv", count=25, seed=1)
    told = json.loads(unrolled("eval", "runs/rows", "other.csv", "--json").out)
    assert told["count"] == 25
    refused = unrolled("eval", "runs/rows", "other.csv", "--other", "rows.csv")
    assert (refused.code, "a model of translate" in refused.err) == (2, True)


def test_eval_of_the_pair_it_was_trained_on_measures_all_of_it_where_both_are_named(unrolled):
    words = "one two three four five six".split()
    lines = [f"{a} {b}" for a in words for b in words]
    Path("a.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path("b.txt").write_text("\n".join(x.upper() for x in lines) + "\n", encoding="utf-8")
    options = ("--set", "level=words", "--set", "embedding=8", "--epochs", "1", "--hidden", "8")
    trained = unrolled("train", "a.txt", "--other", "b.txt", "--task", "translate", *options)
    assert trained.code == 0, trained.err
    whole = unrolled("eval", "runs/a", "a.txt", "--other", "b.txt", "--json")
    part = unrolled("eval", "runs/a", "a.txt", "--json")
    assert json.loads(whole.out)["count"] == len(lines)
    assert json.loads(part.out)["count"] < len(lines)


def test_predict_keeps_the_users_columns(unrolled, elsewhere):
    rows_file()
    assert unrolled("train", "rows.csv", "--id", "name", *QUICK).code == 0
    ran = unrolled("predict", "runs/rows", "rows.csv", "--id", "name", "--out", "scored.csv")
    assert ran.out.splitlines() == ["60 rows scored", "scored.csv"]
    with open("rows.csv", newline="") as file:
        given = list(csv.DictReader(file))
    with open("scored.csv", newline="") as file:
        scored = list(csv.DictReader(file))
    assert list(scored[0]) == [*given[0], "prediction", "probability"]
    for before, after in zip(given, scored, strict=True):
        assert before.items() <= after.items()
        assert after["prediction"] in ("up", "down")
        assert 0.5 <= float(after["probability"]) <= 1
    expected = load("runs/rows").predict(
        np.array([[[float(r[f"t{i}"])] for i in range(4)] for r in given], np.float32)
    )
    assert [row["prediction"] for row in scored] == expected.names


def test_predict_does_not_hide_a_column_of_the_users(unrolled):
    rows_file()
    unrolled("train", "rows.csv", "--id", "name", *QUICK)
    text = Path("rows.csv").read_text().replace("name,", "prediction,", 1)
    Path("again.csv").write_text(text)
    unrolled("predict", "runs/rows", "again.csv", "--id", "prediction", "--out", "s.csv", "--all")
    header = Path("s.csv").read_text().splitlines()[0].split(",")
    assert header[0] == "prediction"
    assert header[-4:] == ["prediction 2", "probability", "P(down)", "P(up)"]


def test_every_moment_of_a_long_table_gets_its_series_answer(unrolled):
    rng = np.random.default_rng(0)
    with open("long.csv", "w") as file:
        file.write("id,time,a,b,label\n")
        for series in range(30):
            sign = rng.choice([-1, 1])
            for t in range(rng.integers(2, 6)):
                a, b = rng.normal(size=2) + sign
                file.write(f"s{series},{t},{a:.3f},{b:.3f},{'hi' if sign > 0 else 'lo'}\n")
    assert unrolled("train", "long.csv", *QUICK, "--set", "batch=8").code == 0
    assert unrolled("predict", "runs/long", "long.csv", "--out", "out.csv").code == 0
    with open("long.csv") as given, open("out.csv") as scored:
        before, after = list(csv.DictReader(given)), list(csv.DictReader(scored))
    assert len(before) == len(after)
    answers = {}
    for row in after:
        answers.setdefault(row["id"], set()).add(row["prediction"])
    assert all(len(found) == 1 for found in answers.values())


def test_predict_on_images_says_name_answer_and_probability(unrolled, digits):
    from sklearn.datasets import load_digits

    os.mkdir("pictures")
    for i, image in enumerate(load_digits().images[:3]):
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(f"pictures/{i}.png")
    lines = unrolled("predict", digits, "pictures").out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["0.png", "1.png", "2.png"]
    told = json.loads(unrolled("predict", digits, "pictures", "--json", "--all").out)
    assert sum(told[0][f"P({k})"] for k in range(10)) == pytest.approx(1)
    assert unrolled("predict", digits, "pictures", "--out", "p.csv").code == 0
    assert Path("p.csv").read_text().startswith("id,prediction,probability\n")


def test_a_table_that_cannot_be_written_is_one_line(unrolled):
    rows_file()
    unrolled("train", "rows.csv", "--id", "name", *QUICK)
    ran = unrolled("predict", "runs/rows", "rows.csv", "--id", "name", "--out", "no/where.csv")
    assert ran.code == 2
    assert ran.err.startswith("Error: --out no/where.csv: expected a folder that is there")
    assert len(ran.err.splitlines()) == 1


class Notebook(torch.nn.Module):
    """The network of the classical notebook."""

    def __init__(self, kind=torch.nn.LSTM, width=8, **options):
        super().__init__()
        self.lstm = kind(width, 16, 2, batch_first=True, **options)
        ways = 2 if options.get("bidirectional") else 1
        self.fc = torch.nn.Linear((options.get("proj_size") or 16) * ways, 10)

    def forward(self, x):
        return self.fc(self.lstm(x)[0][:, -1, :])


@pytest.mark.parametrize(
    ("kind", "options", "cell"),
    [
        (torch.nn.LSTM, {}, "lstm"),
        (torch.nn.GRU, {"bidirectional": True}, "gru"),
        (torch.nn.RNN, {"bias": False}, "rnn"),
        (torch.nn.LSTM, {"proj_size": 5}, "lstmp"),
    ],
)
@pytest.mark.parametrize("form", ["torch", "nested", "safetensors"])
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_a_checkpoint_of_pytorch_answers_as_before(unrolled, kind, options, cell, form):
    network = Notebook(kind, **options).eval()
    if form == "safetensors":
        save_file(network.state_dict(), "model.safetensors")
        path = "model.safetensors"
    else:
        state = {f"module.{name}": value for name, value in network.state_dict().items()}
        torch.save(network.state_dict() if form == "torch" else {"state_dict": state}, "m.ckpt")
        path = "m.ckpt"
    ran = unrolled("import", path, "--out", "old", "--for", "digits")
    assert ran.out.splitlines()[-1] == "old", ran.err
    task = load("old")
    assert task.model.recurrent.cell.name == cell
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8)).astype(np.uint8)
    with torch.no_grad():
        expected = torch.softmax(network(torch.from_numpy(images).float() / 255), dim=1)
    np.testing.assert_allclose(task.predict_proba(images), expected, atol=1e-5)
    assert unrolled("eval", "old").out.splitlines()[-1].startswith("test: accuracy")


def test_an_rnn_with_relu_is_said_to_be_one(unrolled):
    network = Notebook(torch.nn.RNN, nonlinearity="relu").eval()
    torch.save(network.state_dict(), "m.ckpt")
    assert unrolled("import", "m.ckpt", "--out", "old", "--cell", "rnn-relu").code == 0
    x = torch.randn(3, 6, 8)
    expected = torch.softmax(network(x), dim=1).detach()
    np.testing.assert_allclose(load("old").predict_proba(x.numpy()), expected, atol=1e-5)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("boom",)


def states(**changes):
    state = Notebook().state_dict() | changes
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: {"a": Evil()}, "could run code"),
        (lambda: [1, 2], "expected a state dict, got list"),
        (lambda: {"epoch": 3}, "expected tensors by name"),
        (lambda: {"fc.weight": torch.zeros(2, 3)}, "expected one recurrent network"),
        (lambda: states() | {"b.weight_ih_l0": torch.zeros(4, 2)}, "got 2 among"),
        (lambda: states(**{"lstm.weight_hh_l0": None}), "lstm.weight_hh_l0"),
        (lambda: states(**{"lstm.weight_hh_l0": torch.zeros(33, 16)}), "blocks of H rows"),
        (lambda: states(**{"fc.weight": None, "fc.bias": None}), "expected one linear head"),
        (lambda: states(**{"fc.bias": None}), "expected one linear head"),
        (lambda: states(**{"conv.weight": torch.zeros(3, 3)}), "expected one linear head"),
        (lambda: states(**{"lstm.weight_ih_l1": torch.zeros(64, 3)}), "do not fit together"),
        (lambda: states(**{"lstm.bias_hh_l1": None}), "do not fit together"),
        (lambda: states(**{"fc.bias": torch.full((10,), torch.nan)}), "expected finite weights"),
    ],
)
def test_a_checkpoint_that_is_no_such_network_is_one_line(unrolled, state, message, elsewhere):
    torch.save(state(), "m.ckpt")
    ran = unrolled("import", "m.ckpt", "--out", "old")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert message in ran.err
    assert not (elsewhere / "boom").exists()
    assert not (elsewhere / "old").exists()


@pytest.mark.parametrize("text", [b"", b"junk", b"PK\x03\x04junk"])
def test_a_file_that_is_no_checkpoint_is_one_line(unrolled, text):
    Path("m.ckpt").write_bytes(text)
    ran = unrolled("import", "m.ckpt", "--out", "old")
    assert (ran.code, ran.err.count("\n")) == (2, 1)


def test_import_refuses_what_does_not_go_with_the_data(unrolled):
    torch.save(Notebook(width=28).state_dict(), "m.ckpt")
    assert (
        "features of the data" in unrolled("import", "m.ckpt", "--out", "o", "--for", "digits").err
    )
    assert "10 outputs" not in unrolled("import", "m.ckpt", "--out", "o", "--labels", "a,b").out
    assert (
        "expected 2 outputs, got 10"
        in unrolled("import", "m.ckpt", "--out", "o", "--labels", "a,b").err
    )
    assert unrolled("import", "m.ckpt", "--out", "o").code == 0
    assert "holds a model" in unrolled("import", "m.ckpt", "--out", "o").err
    assert "the model names none" in unrolled("eval", "o").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "digitz"), "digits"),
        (("train", "digits", "--task", "paint"), "task: expected one of embed, classify"),
        (("train", "digits", "--preset", "best"), "preset: expected one of"),
        (("train", "digits", "--cell", "lstn"), "lstm"),
        (("train", "digits", "--set", "lr"), "expected key=value"),
        (("train", "digits", "--size", "big"), "--size: expected HxW"),
        (("train", "digits", "--device", "tpu"), "device: expected auto, cpu"),
        (("train", "digits", "--precision", "int8"), "precision: expected one of auto, float32"),
        (("train", "digits", "--backend", "quantum"), "backend"),
        (("eval", "nowhere"), "no model directory"),
        (("predict", "nowhere", "x.png"), "no model directory"),
        (("import", "nowhere.ckpt", "--out", "o"), "nowhere.ckpt"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(unrolled, arguments, message):
    ran = unrolled(*arguments)
    assert (ran.code, ran.err.count("\n")) == (2, 1), ran.err
    assert message in ran.err


def test_korean_is_spoken(unrolled):
    ran = unrolled("--lang", "ko", "train", "digits", *QUICK)
    assert "정확도" in ran.out
    assert ran.out.splitlines()[-1].startswith("모델: ")
