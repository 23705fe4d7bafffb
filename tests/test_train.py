"""Training in memory: it learns, repeats itself, stops when it should, says why it cannot."""

import io
import json
import random
from itertools import pairwise

import numpy as np
import pytest
import torch

from unrolled.data import Batch, from_arrays
from unrolled.errors import DataError, TrainingError, UsageError
from unrolled.optimise import Settings, choose_device, learning_rate, make_optimizer
from unrolled.progress import Report
from unrolled.tasks.classify import Classify
from unrolled.train import train


def signs(count=120, steps=6, valid=20, test=20, seed=0):
    """Series whose label says whether their first channel sums to more than 0."""
    x = np.random.default_rng(seed).normal(size=(count, steps, 2))
    return from_arrays(x, (x[:, :, 0].sum(axis=1) > 0).astype(int), valid=valid, test=test)


def network(data, **options):
    return Classify.for_dataset(data, **{"cell": "gru", "hidden": 8, **options})


def trained(settings, data=None, **options):
    data = data or signs()
    task = network(data, **options)
    return train(task, data, settings, progress=False)


def weights(result):
    return {name: value.clone() for name, value in result.task.model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_rule_is_learnt_and_the_test_part_agrees():
    result = trained(Settings(epochs=12, batch=20, lr=0.03))
    assert result.test["accuracy"] >= 0.9
    assert result.epochs[-1]["loss"] < result.epochs[0]["loss"] / 2
    assert result.steps == 12 * 4
    assert result.directory is None


def test_a_seed_decides_every_bit_and_another_seed_other_ones():
    settings = Settings(epochs=2, batch=16)
    one, again = (trained(settings, dropout=0.3, layers=2) for _ in range(2))
    other = trained(Settings(epochs=2, batch=16, seed=1), dropout=0.3, layers=2)
    assert same(weights(one), weights(again))
    assert not same(weights(one), weights(other))


def test_global_random_states_are_given_back():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002  it is the one meant
    trained(Settings(epochs=1), dropout=0.5, layers=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002  as above
    assert random.getstate() == before[2]


def test_accumulated_batches_make_the_step_of_one_large_batch():
    data = signs(valid=0)
    whole = trained(Settings(epochs=1, batch=50, lr=0.01), data)
    parts = trained(Settings(epochs=1, batch=10, accumulate=5, lr=0.01), data)
    assert whole.steps == parts.steps == 2
    for name, value in weights(whole).items():
        torch.testing.assert_close(value, weights(parts)[name], atol=1e-6, rtol=1e-4)


def test_the_best_epoch_is_kept_not_the_last(monkeypatch):
    scores = iter([[0.5], [0.9], [0.7], [0.8]])
    kept = []

    def score(self, metrics):
        kept.append({n: v.clone() for n, v in self.model.state_dict().items()})
        return next(scores)

    monkeypatch.setattr(Classify, "score", score)
    monkeypatch.setattr(Classify, "calibrate", lambda self, parts: None)
    result = trained(Settings(epochs=4))
    assert result.best_epoch == 2
    assert same(weights(result), kept[1])
    assert not same(weights(result), kept[3])


def test_keep_last_keeps_the_last(monkeypatch):
    scores = iter([[0.9], [0.5]])
    monkeypatch.setattr(Classify, "score", lambda self, metrics: next(scores))
    assert trained(Settings(epochs=2, keep="last")).best_epoch == 2


def test_patience_stops_after_epochs_without_a_better_one(monkeypatch):
    scores = iter([[0.5], [0.9], [0.9], [0.1], [1.0]])
    monkeypatch.setattr(Classify, "score", lambda self, metrics: next(scores))
    result = trained(Settings(epochs=5, patience=2))
    assert [row["epoch"] for row in result.epochs] == [1, 2, 3, 4]


def test_patience_needs_something_to_wait_on():
    with pytest.raises(UsageError, match="patience: expected a validation part"):
        trained(Settings(patience=1), signs(valid=0))


def test_clipping_is_counted_and_limits_the_norm():
    tight = trained(Settings(epochs=1, batch=10, clip=1e-3))
    loose = trained(Settings(epochs=1, batch=10, clip=1e3))
    never = trained(Settings(epochs=1, batch=10, clip=0))
    assert tight.epochs[0]["clipped"] == 1.0
    assert loose.epochs[0]["clipped"] == never.epochs[0]["clipped"] == 0.0
    assert same(weights(loose), weights(never))
    assert not same(weights(tight), weights(never))


def test_clipped_gradients_have_the_norm_that_was_asked_for(monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def spy(self, *arguments):
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(torch.stack([g.norm() for g in grads]).norm().item())
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    trained(Settings(epochs=1, batch=20, clip=0.01))
    assert norms == pytest.approx([0.01] * 4, rel=1e-3)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_loss_that_is_not_finite_stops_with_the_step_and_advice(monkeypatch, bad):
    loss, seen = Classify.loss, []

    def spoilt(self, batch):
        value, logs = loss(self, batch)
        seen.append(1)
        return (value * bad if len(seen) == 6 else value), logs

    monkeypatch.setattr(Classify, "loss", spoilt)
    data = signs()
    task = network(data)
    with pytest.raises(TrainingError) as error:
        train(task, data, Settings(epochs=3, batch=20, clip=0, lr=0.5), progress=False)
    line = str(error.value)
    assert "step 6 (epoch 2, batch 2)" in line
    assert "gradient norms" in line
    assert "a lower lr than 0.5" in line
    assert "clip=1" in line
    assert len(seen) == 6
    assert all(bool(torch.isfinite(value).all()) for value in task.model.state_dict().values())


def test_a_gradient_that_is_not_finite_stops_too(monkeypatch):
    loss = Classify.loss

    def steep(self, batch):
        value, logs = loss(self, batch)
        hooked = value.clone()
        hooked.register_hook(lambda g: g * torch.inf)
        return hooked, logs

    monkeypatch.setattr(Classify, "loss", steep)
    with pytest.raises(TrainingError, match="the gradient is not finite"):
        trained(Settings(epochs=1))


def test_nothing_to_train_on_is_an_error():
    data = signs()
    empty = type(data)(
        "none", data.train.take([]), data.valid, "single", data.labels, data.preparation
    )
    with pytest.raises(DataError, match="the training part: expected at least 1 example"):
        train(network(data), empty, progress=False)


def test_one_example_and_a_batch_larger_than_the_data_are_fine():
    data = signs(valid=0, test=0)
    one = type(data)(
        "one", data.train.take([0]), data.valid, "single", data.labels, data.preparation
    )
    assert train(network(one), one, Settings(epochs=1, batch=64), progress=False).steps == 1


def test_a_higher_class_weight_finds_the_rare_class_more_often():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4, 1))
    y = (x.sum(axis=(1, 2)) + rng.normal(size=400) * 2 > 4).astype(int)
    data = from_arrays(x, y, valid=0)
    settings = Settings(epochs=6, batch=50, lr=0.02)
    recalls = []
    for choice in ("none", "balanced"):
        result = trained(settings, data, class_weights=choice)
        metrics = result.task.evaluate(result.task.batches(data.train, 100))
        recalls.append(metrics["per_class"]["1"]["recall"])
    assert recalls[1] > recalls[0] + 0.2


def test_one_cycle_rises_to_its_peak_and_falls_to_almost_nothing():
    rate = learning_rate(Settings(lr=0.1, schedule="onecycle", warmup=0.25), 200)
    rates = [rate(step) for step in range(200)]
    assert max(rates) == rates[50] == pytest.approx(0.1)
    assert rates[0] == pytest.approx(0.1 / 25)
    assert rates[-1] < 1e-6
    assert all(a < b for a, b in pairwise(rates[:51]))
    assert all(a > b for a, b in pairwise(rates[50:]))


def test_one_cycle_is_pytorchs():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=101, pct_start=0.31)
    ours = learning_rate(Settings(lr=0.1, schedule="onecycle", warmup=30.31 / 101), 101)
    for step in range(100):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-3, abs=2e-6)
        optimizer.step()
        theirs.step()


def test_warm_up_is_a_line_before_a_constant_or_a_cosine():
    constant = learning_rate(Settings(lr=1.0, schedule="constant", warmup=0.1), 100)
    cosine = learning_rate(Settings(lr=1.0, schedule="cosine", warmup=0.0), 101)
    assert [constant(s) for s in (0, 4, 9, 10, 99)] == pytest.approx(
        [1 / 11, 5 / 11, 10 / 11, 1, 1]
    )
    assert [cosine(s) for s in (0, 50, 100)] == pytest.approx([1, 0.5, 0], abs=1e-12)


def test_weights_decay_and_biases_do_not():
    model = torch.nn.Linear(3, 2)
    optimizer = make_optimizer(model, Settings(weight_decay=0.5, lr=0.1), torch.device("cpu"))
    before = model.weight.detach().clone(), model.bias.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model.weight, before[0] * 0.95)
    assert torch.equal(model.bias, before[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "epochs: expected at least 1, got 0"),
        ({"epochs": 1.5}, "epochs: expected a whole number, got 1.5"),
        ({"epochs": True}, "epochs: expected a whole number, got True"),
        ({"lr": float("nan")}, "lr: expected a finite number, got nan"),
        ({"lr": "fast"}, "lr: expected a number, got 'fast'"),
        ({"clip": -1}, "clip: expected at least 0, got -1"),
        ({"warmup": 1}, "warmup: expected a share of at least 0 and below 1"),
        ({"optimizer": "rmsprop"}, "optimizer: expected one of adamw, adam, sgd, got 'rmsprop'"),
        ({"schedule": "step"}, "schedule: expected one of constant, onecycle, cosine"),
        ({"precision": "int8"}, "precision: expected one of auto, float32, bfloat16"),
        ({"seed": 2**32}, "seed: expected at most 4294967295"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_where_it_is_given(given, message):
    with pytest.raises(UsageError) as error:
        Settings(**given)
    assert message in str(error.value)


def test_a_device_that_is_not_there_is_refused_with_those_that_are():
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(UsageError, match="device: expected auto, cpu"):
        choose_device("cuda:99")
    with pytest.raises(UsageError, match="got 'tpu'"):
        choose_device("tpu")


def test_bfloat16_trains_on_the_cpu_as_well():
    result = trained(Settings(epochs=8, batch=20, lr=0.03, precision="bfloat16"))
    assert result.test["accuracy"] >= 0.8
    assert all(value.dtype == torch.float32 for value in weights(result).values())


def test_plain_lines_are_said_where_there_is_no_terminal():
    data, said = signs(), io.StringIO()
    settings = Settings(epochs=2, batch=20, log_every=2)
    train(network(data), data, settings, progress=Report(stream=said))
    lines = said.getvalue().splitlines()
    assert lines[0].startswith("1 x gru 8, last, linear 2")
    assert "inputs (20, 6, 2) float32 and targets (20,) int64; 4 steps an epoch" in lines[1]
    assert sum(line.startswith("epoch [1/2], step [") for line in lines) == 2
    assert sum(line.startswith("epoch 2/2: loss ") for line in lines) == 1
    assert lines[-1].startswith("test: accuracy ")


def test_a_bar_is_drawn_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    said = Terminal()
    with Report(stream=said) as report:
        report.begin(10, 0)
        report.step(5, 0.25, 100)
        report.line("a line above")
    assert "loss 0.2500" in said.getvalue()
    assert "a line above" in said.getvalue()


def test_a_long_epoch_says_where_it_is_and_how_long_it_takes(monkeypatch):
    said = io.StringIO()
    report = Report(stream=said)
    report.begin(100, 0)
    assert not report.due()
    report.said -= 31
    assert report.due()
    report.step(50, 0.5, 10)
    assert "step 50 of 100: loss 0.5000" in said.getvalue()
    assert "s left" in said.getvalue()


def test_what_the_loop_adds_to_a_step_is_far_below_a_millisecond(monkeypatch):
    import time

    data = signs(count=2000, valid=0, test=0)
    task = network(data)
    batch = next(task.batches(data.train, 10))
    spent = []

    def instant(self, split, size, **order):
        yield from [Batch(batch.inputs, None, batch.targets, batch.index)] * 200

    def timed(self, batch):
        start = time.perf_counter()
        value = loss(self, batch)
        spent.append(time.perf_counter() - start)
        return value

    loss = Classify.loss
    monkeypatch.setattr(Classify, "batches", instant)
    monkeypatch.setattr(Classify, "loss", timed)
    result = train(task, data, Settings(epochs=2, batch=10), progress=False)
    # what is left is the backward pass, the optimizer and the loop, on a network of 8 units
    assert (result.seconds - sum(spent)) / result.steps < 0.005


def test_tensorboard_without_the_package_says_what_to_install(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    data = signs()
    with pytest.raises(UsageError, match=r"pip install 'unrolled\[tensorboard\]'"):
        train(network(data), data, Settings(tensorboard=True), tmp_path / "m", progress=False)


def test_tensorboard_gets_the_figures_of_each_epoch(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    data = signs()
    settings = Settings(epochs=3, tensorboard=True)
    result = train(network(data), data, settings, tmp_path / "m", progress=False)
    events = loader.EventAccumulator(str(tmp_path / "m" / "tensorboard"))
    events.Reload()
    seen = [event.value for event in events.Scalars("valid/accuracy")]
    assert seen == pytest.approx([row["valid"]["accuracy"] for row in result.epochs])
    assert len(events.Scalars("train/loss")) == 3


def test_figures_of_each_epoch_are_written_as_strict_json_lines(tmp_path):
    data = signs()
    train(network(data), data, Settings(epochs=2, log_every=3), tmp_path / "m", progress=False)
    rows = [
        json.loads(line) for line in (tmp_path / "m" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [row["event"] for row in rows].count("epoch") == 2
    assert rows[-1]["event"] == "result"
    assert set(rows[-1]["test"]) == {"accuracy", "loss", "macro_f1", "calibration_error"}
    assert {"loss", "norm", "clipped", "lr", "seconds"} <= set(rows[-2])
