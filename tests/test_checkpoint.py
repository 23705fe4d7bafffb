"""A model directory: what is saved comes back; what is broken or hostile is named in one line."""

import json
import os
import pickle
import shutil
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from test_train import network, signs, weights
from unrolled import checkpoint, files
from unrolled.data import from_arrays
from unrolled.errors import ModelError, UsageError
from unrolled.optimise import Settings
from unrolled.tasks import load, save
from unrolled.tensors import TensorFile, tensor_bytes
from unrolled.train import train


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "model"
    data = signs()
    result = train(network(data), data, Settings(epochs=1, batch=20), folder, progress=False)
    return folder, weights(result), data.test.inputs, result.task.predict(data.test.inputs)


@pytest.fixture
def model(original, tmp_path):
    return shutil.copytree(original[0], tmp_path / "model")


def refusal(folder, **options):
    with pytest.raises(ModelError) as error:
        load(folder, **options)
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 700
    return line


def rewrite(path, change):
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def with_header(path, change, body=None):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    rest = data[8 + size :] if body is None else body
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)


def test_what_was_trained_comes_back(original):
    folder, kept, inputs, guess = original
    task = load(folder)
    for name, value in task.model.state_dict().items():
        assert torch.equal(value, kept[name])
    assert (task.predict(inputs).values == guess.values).all()
    assert not task.model.training


def test_the_weights_are_plain_safetensors(original):
    folder, kept, *_ = original
    assert load_file(folder / "model.safetensors").keys() == kept.keys()


def test_a_model_with_a_users_cell_needs_not_the_users_file(tmp_path, original):
    source = tmp_path / "mine.py"
    source.write_text(
        "from unrolled.cells import Cell, sigmoid, tanh\n"
        "class Mine(Cell):\n"
        "    gates, states = 'z n', 'h'\n"
        "    def step(self, x, u, h):\n"
        "        z = sigmoid(x.z + u.z(h))\n"
        "        return dict(h=(1 - z) * h + z * tanh(x.n + u.n(h)), z=z)\n"
    )
    task = network(signs(), cell=f"{source}:Mine")
    save(tmp_path / "model", task)
    expected = task.predict(original[2]).values
    source.unlink()
    assert (load(tmp_path / "model").predict(original[2]).values == expected).all()


def test_saving_over_a_model_replaces_all_of_it(tmp_path):
    data = signs()
    save(tmp_path / "m", network(data, hidden=4))
    (tmp_path / "m" / "metrics.jsonl").write_text("{}\n")
    save(tmp_path / "m", network(data, hidden=6, cell="lstm"))
    assert load(tmp_path / "m").model.recurrent.hidden_size == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m"]
    assert not (tmp_path / "m" / "metrics.jsonl").exists()


def test_a_save_that_fails_leaves_the_old_model(tmp_path, monkeypatch):
    data = signs()
    save(tmp_path / "m", network(data, hidden=4))
    monkeypatch.setattr(checkpoint, "write_weights", lambda *_: (_ for _ in ()).throw(OSError(28)))
    with pytest.raises(ModelError, match="cannot be written"):
        save(tmp_path / "m", network(data, hidden=6))
    monkeypatch.undo()
    assert load(tmp_path / "m").model.recurrent.hidden_size == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m"]


def test_saving_does_not_replace_what_is_no_model(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ModelError, match="not a model directory"):
        save(tmp_path, network(signs()))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"cannot be (made|written)"):
        save(tmp_path / "file" / "model", network(signs()))


@pytest.mark.parametrize("name", ["config.json", "labels.json", "model.safetensors"])
def test_a_missing_file_is_named(model, name):
    (model / name).unlink()
    assert f"{name} is missing" in refusal(model)


def test_a_folder_that_is_not_there_and_a_file_instead_are_told_apart(tmp_path):
    assert "got nothing there" in refusal(tmp_path / "nowhere")
    (tmp_path / "model.pt").write_bytes(b"x")
    assert "unrolled import" in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["config.json", "labels.json"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"\xff\xfe\x00", "is not valid JSON"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": 1, "a": 2}', "a key stands twice"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" * 150 + b"]" * 150, "nested too deep"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "is not valid JSON"),
    ],
)
def test_json_that_is_broken_or_a_bomb_is_named(model, name, text, message):
    (model / name).write_bytes(text)
    line = refusal(model)
    assert name in line
    assert message in line


@pytest.mark.parametrize("name", ["config.json", "labels.json"])
def test_json_larger_than_any_model_is_not_read(model, name):
    with open(model / name, "ab") as file:
        file.truncate(20 * 2**20)
    assert "is too large" in refusal(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="torch"), '"format" is "unrolled-model", got torch'),
        (lambda c: c.update(version=2), "has another version: expected 1, got 2"),
        (lambda c: c.update(version="1"), "has another version"),
        (lambda c: c.update(version=True), "has another version"),
        (lambda c: c.pop("task"), 'expected a "task" with a "name"'),
        (lambda c: c["task"].update(name="os.system"), "a task that is not known"),
        (lambda c: c["task"].update(name=["classify"]), 'expected a "task" with a "name"'),
        (lambda c: c["task"].update(kind="double"), "kind: expected single"),
        (lambda c: c["task"].update(kind=["single"]), "config.json"),
        (lambda c: c["task"].update(pooling={"a": 1}), "config.json"),
        (lambda c: c["task"].pop("preparation"), "preparation missing or unknown"),
        (lambda c: c["task"].update(preparation=3), "config.json"),
        (lambda c: c["task"]["preparation"].update(shape=[None, -3]), "preparation: shape"),
        (lambda c: c["task"]["preparation"].update(shape=[6, 3]), "config.json"),
        (lambda c: c["task"].update(recurrent="../../etc/passwd"), "config.json"),
        (lambda c: c["task"]["recurrent"].update(cell="evil.py:Class"), "config.json"),
        (lambda c: c["task"]["recurrent"]["cell"].clear(), "config.json"),
        (lambda c: c["task"]["recurrent"].update(hidden_size=10**9), "hidden_size"),
        (lambda c: c["task"]["recurrent"].update(hidden_size=2**16), "model.safetensors"),
        (lambda c: c["task"]["recurrent"].update(hidden_size=10**30), "config.json"),
        (lambda c: c["task"]["recurrent"].update(hidden_size=-4), "hidden_size"),
        (lambda c: c["task"]["recurrent"].update(hidden_size=9), "model.safetensors"),
        (lambda c: c["task"]["recurrent"].update(hidden_size="8"), "config.json"),
        (lambda c: c["task"]["recurrent"].update(num_layers=10**9), "num_layers"),
        (lambda c: c["task"]["recurrent"].update(num_layers=2), "model.safetensors"),
        (lambda c: c["task"]["recurrent"].update(extra=1), "extra missing or unknown"),
        (lambda c: c["task"].update(recurrent=[1]), "config.json"),
    ],
)
def test_a_configuration_that_cannot_be_is_named(model, change, message):
    rewrite(model / "config.json", change)
    line = refusal(model)
    assert message in line
    assert str(model) in line


def test_a_list_instead_of_a_configuration_is_named(model):
    (model / "config.json").write_text("[]")
    assert "expected an object" in refusal(model)


@pytest.mark.parametrize("labels", [["a", 1], {"a": 1}, ["a", "a"], ["a"], ["a", "b", "c"]])
def test_labels_that_do_not_fit_are_refused(model, labels):
    (model / "labels.json").write_text(json.dumps(labels))
    line = refusal(model)
    assert "labels.json" in line or "model.safetensors" in line


class Boom:
    def __reduce__(self):
        return os.mkdir, ("boom",)


@pytest.mark.parametrize("kind", ["protocol 2", "protocol 4", "torch.save", "zip"])
def test_a_pickle_in_place_of_weights_is_not_run(model, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = model / "model.safetensors"
    if kind == "torch.save":
        torch.save({"a": torch.zeros(2), "b": Boom()}, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "b")
    else:
        path.write_bytes(pickle.dumps(Boom(), protocol=int(kind[-1])))
    line = refusal(model)
    assert "can run code" in line
    assert "unrolled import" in line
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1, -100])
def test_weights_that_are_cut_short_are_refused(model, keep):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "not a whole safetensors file" in refusal(model)


def test_bytes_behind_the_weights_are_refused(model):
    with open(model / "model.safetensors", "ab") as file:
        file.write(b"#!/bin/sh\n")
    assert "not a whole safetensors file" in refusal(model)


def test_weights_of_many_gigabytes_are_refused_without_reading_them(model):
    os.truncate(model / "model.safetensors", 2**40)  # takes no room: the file has a hole
    assert "not a whole safetensors file" in refusal(model)


def set_entry(header, **changes):
    header["head.weight"].update(changes)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: set_entry(h, shape=[2**40, 2**40]),
        lambda h: set_entry(h, shape=[2**63, 2]),
        lambda h: set_entry(h, shape=[-2, -8]),
        lambda h: set_entry(h, shape=[2.0, 8]),
        lambda h: set_entry(h, shape="28"),
        lambda h: set_entry(h, shape=[1] * 2000 + [2, 8]),
        lambda h: set_entry(h, dtype="C64"),
        lambda h: set_entry(h, dtype=["F32"]),
        lambda h: set_entry(h, data_offsets=[0, 2**62]),
        lambda h: set_entry(h, data_offsets=[-64, 0]),
        lambda h: set_entry(h, data_offsets=[0]),
        lambda h: h.update({"head.weight": 3}),
        lambda h: h.update({"__metadata__": {"a": 1}}),
        lambda h: h["recurrent.bias_ih_l0"].update(
            data_offsets=h["recurrent.bias_hh_l0"]["data_offsets"]
        ),
    ],
)
def test_a_header_that_lies_is_refused(model, change):
    with_header(model / "model.safetensors", change)
    assert "not a whole safetensors file" in refusal(model)


def test_a_header_longer_than_the_file_is_refused(model):
    (model / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    assert "not a whole safetensors file" in refusal(model)


def test_a_header_that_is_a_bomb_is_refused(model):
    text = b'{"a":' * 5000 + b"1" + b"}" * 5000
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    assert "nested too deep" in refusal(model)


def saved_with(model, change):
    tensors = load_file(model / "model.safetensors")
    change(tensors)
    save_file(tensors, model / "model.safetensors")
    return refusal(model)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(model):
    line = saved_with(model, lambda t: t.update({"head.weight": torch.zeros(3, 8)}))
    assert "tensor 'head.weight': expected (2, 8) of F32, got (3, 8) of F32" in line


def test_a_tensor_of_another_dtype_is_named(model):
    line = saved_with(model, lambda t: t.update({"head.weight": torch.zeros(2, 8).double()}))
    assert "expected (2, 8) of F32, got (2, 8) of F64" in line


def test_a_missing_and_an_extra_tensor_are_named(model):
    line = saved_with(model, lambda t: t.update({"tail.weight": t.pop("head.weight")}))
    assert "'head.weight'" in line
    assert "'tail.weight' as well" in line


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused(model, bad):
    line = saved_with(model, lambda t: t["head.bias"].__setitem__(0, bad))
    assert "tensor 'head.bias': expected finite weights, got NaN or infinity" in line


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes by name")
@pytest.mark.parametrize("name", ["config.json", "labels.json", "model.safetensors"])
def test_pipes_devices_and_folders_are_not_opened(model, name):
    (model / name).unlink()
    os.mkfifo(model / name)
    assert "a folder, pipe or device" in refusal(model)
    (model / name).unlink()
    (model / name).symlink_to("/dev/zero")
    assert "a folder, pipe or device" in refusal(model)
    (model / name).unlink()
    (model / name).mkdir()
    assert "a folder, pipe or device" in refusal(model)


def test_files_are_only_those_of_fixed_names(model, monkeypatch):
    opened = []
    read = files.read
    monkeypatch.setattr(files, "read", lambda path, limit: opened.append(path) or read(path, limit))
    rewrite(model / "config.json", lambda c: c.update(weights="../../secret", labels="/etc/passwd"))
    load(model)
    assert {path.name for path in opened} == {"config.json", "labels.json", "model.safetensors"}
    assert {path.parent for path in opened} == {model}


def test_a_resume_file_that_is_broken_is_named(model):
    (model / "resume.safetensors").write_bytes(b"\x00" * 40)
    assert "resume.safetensors" in refusal(model, which="last")
    (model / "resume.safetensors").write_bytes(tensor_bytes({}, "[1]"))
    assert "expected a JSON object" in refusal(model, which="last")
    (model / "resume.safetensors").unlink()
    assert "resume.safetensors is missing" in refusal(model, which="last")


def test_which_weights_is_best_or_last(model):
    with pytest.raises(UsageError, match="'best' or 'last'"):
        load(model, which="worst")


def test_our_reader_and_the_librarys_agree(tmp_path):
    tensors = {
        "a": torch.randn(3, 4),
        "empty": torch.zeros(0, 5),
        "scalar": torch.tensor(2.5),
        "half": torch.randn(5).half(),
        "bf": torch.randn(5).bfloat16(),
        "long": torch.tensor([[1], [-2]]),
        "bytes": torch.arange(7, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "double": torch.randn(2, dtype=torch.float64),
    }
    path = tmp_path / "t.safetensors"
    path.write_bytes(tensor_bytes(tensors, "facts"))
    ours, theirs = TensorFile(path), load_file(path)
    assert ours.facts == {"facts": "facts"}
    for name, value in ours.load().items():
        assert value.dtype == tensors[name].dtype
        assert torch.equal(value, tensors[name])
        assert torch.equal(value, theirs[name])


def test_equal_tensors_make_equal_files():
    one = {"b": torch.arange(3.0), "a": torch.ones(2)}
    assert tensor_bytes(one, "x") == tensor_bytes(dict(reversed(one.items())), "x")


def test_configurations_hold_no_number_that_json_has_not():
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.dump_json({"a": float("inf")})


def test_the_card_shows_results_configuration_and_pictures(original):
    folder = original[0]
    text = (folder / "README.md").read_text()
    for part in ("| accuracy |", "| recall", "![curve](curve.png)", "![confusion](confusion.png)",
                 "[training]", "lr = 0.003", "temperature"):  # fmt: skip
        assert part in text
    for picture in ("curve.png", "confusion.png"):
        assert (folder / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_card_in_korean_and_with_odd_labels_is_drawn(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 4, 1))
    names = np.array(["걷기", "a b $x$ \\frac", "뛰기"])[np.arange(60) % 3]
    data = from_arrays(x, names, valid=12)
    train(network(data), data, Settings(epochs=1), tmp_path / "m", progress=False)
    assert "걷기" in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "m" / "confusion.png").stat().st_size > 1000


def test_regression_has_its_own_picture(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 4, 1))
    data = from_arrays(x, x.sum(axis=(1, 2)), kind="regression", valid=12)
    result = train(network(data), data, Settings(epochs=1), tmp_path / "m", progress=False)
    assert result.picture == tmp_path / "m" / "agreement.png"
    assert result.picture.stat().st_size > 1000
