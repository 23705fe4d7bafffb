"""A language model that learns while it reads never sees what it is asked, and is left alone."""

import json
import math

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from unrolled.cli import app
from unrolled.data import corpus_of
from unrolled.data.corpus import Text
from unrolled.errors import UsageError
from unrolled.tasks.adapting import Adapting, adapted
from unrolled.tasks.language import Language

RHYME = "the rain in spain stays mainly in the plain\n" * 40


@pytest.fixture
def data():
    return corpus_of(RHYME, test=0.5)


@pytest.fixture
def task(data):
    return Language.for_dataset(data, cell="lstm", hidden=12, embedding=8, backend="torch")


def weights_of(task):
    return {name: value.clone() for name, value in task.model.state_dict().items()}


def same(before, task):
    return all(torch.equal(before[name], value) for name, value in task.model.state_dict().items())


def test_what_repeats_is_learnt_and_nothing_stays(task, data):
    before = weights_of(task)
    task.model.train()
    still = task.evaluate(task.batches(data.test, 1))
    found = adapted(task, data.test, Adapting(rate=0.01, window=8))
    assert found["loss"] < still["loss"] - 0.5
    assert set(found) == set(still)
    assert same(before, task)
    assert task.model.training


def test_nothing_is_known_before_it_is_asked(task, data):
    """Of letters that are drawn, no reader can say more than how often each comes."""
    kinds = len(task.tokenizer)
    drawn = np.random.RandomState(0).randint(4, kinds, 3000)
    for rate in (0.001, 0.01):
        loss = adapted(task, Text(drawn, len(drawn)), Adapting(rate=rate, window=4))["loss"]
        assert loss > math.log(kinds - 4)


@pytest.mark.parametrize("window", [1, 7, 32, 5000])
def test_without_a_rate_it_is_an_evaluation(task, data, window):
    told = []
    still = task.evaluate(task.batches(data.test, 1))["loss"]
    found = adapted(task, data.test, Adapting(rate=0, window=window), told.append)["loss"]
    assert found == pytest.approx(still, rel=1e-6)
    assert told
    assert all(0 < share <= 1 for share in told)


def test_by_hand(task, data):
    """The first two windows, with the update written out."""
    ids = torch.from_numpy(data.test.ids[:9].astype(np.int64))[None]
    how = Adapting(rate=0.01, window=4)
    before = weights_of(task)
    output, state = task.model(ids[:, :4], None)
    first = task.model.losses(output[0], ids[0, 1:5])
    grads = torch.autograd.grad(first.mean(), list(task.model.parameters()))
    with torch.no_grad():
        for weight, grad in zip(task.model.parameters(), grads, strict=True):
            weight -= 0.01 * grad / (grad.abs() + 1e-8)  # its mean square is its own
        output, _ = task.model(ids[:, 4:8], {name: value.detach() for name, value in state.items()})
        second = task.model.losses(output[0], ids[0, 5:9])
    task.model.load_state_dict(before)
    expected = (first.sum() + second.sum()).item() / 8
    found = adapted(task, Text(data.test.ids[:9], 9), how)["loss"]
    assert found == pytest.approx(expected, rel=1e-5)


def test_clusters_that_nothing_falls_into(data):
    task = Language.for_dataset(
        data, cell="gru", hidden=12, embedding=8, softmax="adaptive", cutoffs=[4], backend="c"
    )
    assert math.isfinite(adapted(task, data.test, Adapting(window=1, rate=0.001))["loss"])


@pytest.mark.parametrize("options", [{"rate": 2}, {"rate": "x"}, {"memory": 1}, {"window": 0}])
def test_values_that_it_cannot_have(options):
    with pytest.raises(UsageError, match=next(iter(options)).replace("rate", "adapt")):
        Adapting(**options)


def test_a_model_that_says_no_numbers(task, data):
    with torch.no_grad():
        task.model.head.weight.fill_(math.inf)
    with pytest.raises(UsageError, match="its weights are none"):
        adapted(task, data.test)
    assert torch.isinf(task.model.head.weight).all()


def test_frozen_weights_stay(task, data):
    task.model.recurrent.requires_grad_(False)
    before = weights_of(task)
    assert math.isfinite(adapted(task, data.test, Adapting(rate=0.01))["loss"])
    assert same(before, task)
    task.model.requires_grad_(False)
    with pytest.raises(UsageError, match="frozen"):
        adapted(task, data.test)


def test_an_interrupt_leaves_the_model_as_it_was(task, data):
    before = weights_of(task)

    def told(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapted(task, data.test, Adapting(rate=0.01), told)
    assert same(before, task)


def test_at_the_terminal(tmp_path):
    (tmp_path / "rhyme.txt").write_text(RHYME, "utf-8")
    model = str(tmp_path / "model")

    def run(*asked):
        return CliRunner().invoke(app, list(asked))

    made = run(
        "train", str(tmp_path / "rhyme.txt"), "--task", "language", "--out", model, "--epochs", "1",
        "--set", "hidden=12", "--set", "window=16", "--batch", "2", "--backend", "torch",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    still = json.loads(run("eval", model, "--json").output)
    moved = json.loads(run("eval", model, "--json", "--adapt", "0.01").output)
    assert moved["loss"] < still["loss"]
    assert moved["adapt"] == 0.01
    assert "adapt" not in still
    assert run("eval", model, "--adapt", "-1").exit_code != 0
    assert "adapt" in str(run("eval", model, "--adapt", "-1").exception)
