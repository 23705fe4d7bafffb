"""Watching gradients: a network that will diverge is named before its loss is NaN."""

import dataclasses
import io
import json

import pytest
import torch

from unrolled import UnrolledError
from unrolled.data import load
from unrolled.errors import TrainingError
from unrolled.optimise import Settings
from unrolled.progress import Report
from unrolled.tasks.classify import Classify
from unrolled.train import train


def trained(rho, out=None, images=300, **settings):
    """A ReLU network read pixel by pixel, its U an identity times rho, trained for a few steps."""
    digits = load("digits", read="pixels")
    digits = dataclasses.replace(
        digits, train=digits.train.take(range(images)), valid=digits.valid.take(range(9)),
        read_test=lambda: digits.valid.take(range(9)),
    )  # fmt: skip
    task = Classify.for_dataset(digits, cell="rnn-relu", hidden=8, backend="reference", seed=0)
    with torch.no_grad():
        task.model.recurrent.weight_hh_l0.copy_(rho * torch.eye(8))
    said = io.StringIO()
    options = {"epochs": 2, "batch": 50, "schedule": "constant", "lr": 0.01, **settings}
    try:
        train(task, digits, Settings(**options), out, progress=Report(True, said))
    except TrainingError as error:
        return said.getvalue(), error
    return said.getvalue(), None


def test_the_alarm_comes_before_the_loss_is_nan(tmp_path):
    said, error = trained(2.5, tmp_path / "run", watch="gradients", clip=0.0)
    assert error is not None
    assert "alarm at step 1: l0: gradients explode" in said
    assert "clip=1" in said
    log = (tmp_path / "run" / "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in log.splitlines()]
    first = next(row for row in rows if row["event"] == "gradients")
    assert first["layers"][0]["verdict"] == "exploding"
    assert first["layers"][0]["rate"] == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_what_diverges_is_named_at_once_and_held_by_clipping(clip):
    """The command of docs/inspect.md: rho 1.1, plain gradient descent, with and without clip."""
    options = {"optimizer": "sgd", "lr": 0.05, "batch": 20, "epochs": 2, "watch": "gradients"}
    said, error = trained(1.1, images=40, clip=clip, **options)
    assert "alarm at step 1: l0: gradients explode; each step back multiplies by 1.099" in said
    assert (error is None) == bool(clip)
    if error is not None:
        assert "is not finite" in str(error)


@pytest.mark.slow
def test_clipping_holds_what_would_diverge():
    said, error = trained(1.3, watch="gradients", clip=1.0)
    assert error is None
    assert "gradients explode" in said


@pytest.mark.slow
def test_a_healthy_network_raises_no_alarm_and_watching_changes_no_bit(tmp_path):
    for name in ("none", "gradients"):
        said, error = trained(1.0, tmp_path / name, watch=name)
        assert error is None
        assert "alarm" not in said
    weights = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("none", "gradients")]
    assert weights[0] == weights[1]


def test_what_to_watch_is_said():
    with pytest.raises(UnrolledError, match="one of none, gradients"):
        Settings(watch="loss")
