"""The task classify: pooling, padding, three kinds of answers, figures, calibration."""

import json

import numpy as np
import pytest
import sklearn.metrics
import torch
from torch.nn import functional

from unrolled.cells import names
from unrolled.data import Preparation, Split, from_arrays
from unrolled.errors import ModelError, ShapeError, UsageError
from unrolled.layers import Recurrent
from unrolled.optimise import Settings
from unrolled.tasks import measures, shapes
from unrolled.tasks.classify import Classify
from unrolled.tasks.pooling import POOLINGS, ManyToOne
from unrolled.train import train

LENGTHS = [5, 1, 7, 3]


def ragged(lengths=LENGTHS, width=3, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(length, width)).astype(np.float32) for length in lengths]


def task_for(kind="single", labels=("a", "b", "c"), pooling="last", **options):
    recurrent = Recurrent("gru", 3, 4, **options)
    preparation = Preparation("series", (None, 3))
    return Classify(recurrent, preparation, list(labels), kind, pooling=pooling)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padded_batches_equal_one_by_one(pooling, both):
    task = task_for(pooling=pooling, bidirectional=both, num_layers=2)
    raw = ragged()
    together = task.predict(raw).values
    alone = np.concatenate([task.predict([one]).values for one in raw])
    np.testing.assert_allclose(together, alone, atol=1e-7)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_gets_no_gradient_and_changes_none(pooling):
    model = ManyToOne(Recurrent("lstm", 3, 4, bidirectional=True), 2, pooling)
    x = torch.randn(2, 6, 3, requires_grad=True)
    model(x, torch.tensor([6, 2])).sum().backward()
    assert torch.equal(x.grad[1, 2:], torch.zeros(4, 3))
    assert x.grad[1, :2].abs().sum() > 0


def test_each_pooling_is_what_it_says():
    output = torch.randn(2, 5, 6)
    lengths = torch.tensor([5, 3])
    output[1, 3:] = 0
    found = {}
    for name in POOLINGS:
        model = ManyToOne(Recurrent("gru", 3, 3, bidirectional=True), 2, name)
        found[name] = model.pool(output, lengths)
        if name == "attention":
            weights = torch.softmax(model.attention(output[1:, :3]), dim=1)
            expected = (weights * output[1:, :3]).sum(dim=1)
            torch.testing.assert_close(found[name][1:], expected)
    one = output[1, :3]
    torch.testing.assert_close(found["step"][1], one[2])
    torch.testing.assert_close(found["last"][1], torch.cat([one[2, :3], one[0, 3:]]))
    torch.testing.assert_close(found["mean"][1], one.mean(dim=0))
    torch.testing.assert_close(found["max"][1], one.amax(dim=0))


def test_last_is_the_final_state_of_pytorchs_layer():
    theirs = torch.nn.GRU(3, 4, batch_first=True, bidirectional=True)
    ours = Recurrent("gru", 3, 4, bidirectional=True)
    ours.load_state_dict(theirs.state_dict())
    model = ManyToOne(ours, 2)
    x = torch.randn(5, 6, 3)
    output, final = theirs(x)
    torch.testing.assert_close(model.pool(output, None), torch.cat([final[0], final[1]], dim=1))


def test_one_label_is_the_softmax_of_cross_entropy():
    task = task_for()
    split = Split(ragged(), np.array([0, 2, 1, 1]))
    batch = next(task.batches(split, 4))
    logits = task.model(batch.inputs, batch.lengths)
    torch.testing.assert_close(task.loss(batch)[0], functional.cross_entropy(logits, batch.targets))
    proba = task.predict_proba(ragged())
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    guess = task.predict(ragged())
    assert guess.index.tolist() == proba.argmax(axis=1).tolist()
    assert guess.names == [task.labels[k] for k in guess.index]


def test_several_labels_are_sigmoids_and_lists_of_names():
    task = task_for("multi")
    batch = next(task.batches(Split(ragged(), np.eye(4, 3, dtype=np.float32)), 4))
    logits = task.model(batch.inputs, batch.lengths)
    expected = functional.binary_cross_entropy_with_logits(logits, batch.targets)
    torch.testing.assert_close(task.loss(batch)[0], expected)
    guess = task.predict(ragged())
    np.testing.assert_allclose(guess.values, torch.sigmoid(logits).detach(), atol=1e-6)
    for said, row in zip(guess.names, guess.values, strict=True):
        assert said == [label for label, share in zip(task.labels, row, strict=True) if share > 0.5]


def test_regression_is_learnt_on_standard_targets_and_answers_in_the_users_units():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5, 2))
    y = np.stack([1000 + 50 * x[:, :, 0].mean(axis=1), x[:, :, 1].mean(axis=1) * 1e-3], axis=1)
    data = from_arrays(x, y, kind="regression", valid=40, test=60)
    task = Classify.for_dataset(data, hidden=16, pooling="mean")
    result = train(task, data, Settings(epochs=25, batch=30, lr=0.02), progress=False)
    assert result.test["r2"] > 0.9
    values = task.predict(data.test.inputs).values
    assert values.shape == (60, 2)
    assert abs(values[:, 0].mean() - 1000) < 20
    with pytest.raises(UsageError, match="probabilities: expected a classifier"):
        task.predict_proba(data.test.inputs)


def test_a_constant_target_divides_by_nothing():
    data = from_arrays(np.random.default_rng(0).normal(size=(20, 3)), np.full(20, 2.5),
                       kind="regression", valid=0)  # fmt: skip
    task = Classify.for_dataset(data, hidden=2)
    assert torch.isfinite(task.loss(next(task.batches(data.train, 5)))[0])


def test_figures_of_one_label_are_scikit_learns():
    rng = np.random.default_rng(3)
    logits, targets = torch.from_numpy(rng.normal(size=(200, 4))), rng.integers(0, 4, 200)
    figures = measures.single(logits, torch.from_numpy(targets), list("abcd"))
    chosen = logits.argmax(dim=1).numpy()
    report = sklearn.metrics.classification_report(
        targets, chosen, target_names=list("abcd"), output_dict=True
    )
    assert figures["accuracy"] == pytest.approx(report["accuracy"])
    assert figures["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    assert figures["loss"] == pytest.approx(
        sklearn.metrics.log_loss(targets, torch.softmax(logits, 1).numpy())
    )
    assert (figures["confusion"] == sklearn.metrics.confusion_matrix(targets, chosen)).all()
    for name, row in figures["per_class"].items():
        theirs = report[name]
        assert (row["precision"], row["recall"], row["f1"], row["count"]) == pytest.approx(
            (theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"])
        )


def test_figures_of_several_labels_are_scikit_learns():
    rng = np.random.default_rng(4)
    logits, targets = rng.normal(size=(100, 3)), rng.integers(0, 2, (100, 3))
    figures = measures.multi(torch.from_numpy(logits), torch.from_numpy(targets), list("abc"))
    chosen = logits > 0
    assert figures["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(targets, chosen))
    for average in ("micro", "macro"):
        expected = sklearn.metrics.f1_score(targets, chosen, average=average)
        assert figures[f"{average}_f1"] == pytest.approx(expected)


def test_figures_of_values_are_scikit_learns():
    rng = np.random.default_rng(5)
    targets = rng.normal(size=(50, 2))
    values = targets + rng.normal(size=(50, 2)) * 0.3
    figures = measures.regression(torch.from_numpy(values), torch.from_numpy(targets), ["u", "v"])
    assert figures["r2"] == pytest.approx(sklearn.metrics.r2_score(targets, values))
    assert figures["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(targets, values))
    mse = sklearn.metrics.mean_squared_error(targets, values)
    assert figures["rmse"] == pytest.approx(mse**0.5)


def test_calibration_error_is_the_gap_between_sure_and_right():
    sure = torch.tensor([[np.log(0.8), np.log(0.2)]] * 10)
    right = torch.tensor([0] * 6 + [1] * 4)
    assert measures.single(sure, right, ["a", "b"])["calibration_error"] == pytest.approx(0.2)


def test_the_temperature_is_the_one_that_was_put_in():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(20000, 3, generator=rng) * 2
    targets = torch.multinomial(torch.softmax(logits, 1), 1, generator=rng)[:, 0]
    for heat in (0.5, 1.0, 3.0):
        found = measures.best_temperature(logits * heat, targets, "single")
        assert found == pytest.approx(heat, rel=0.05)
    labels = torch.bernoulli(torch.sigmoid(logits), generator=rng)
    assert measures.best_temperature(logits * 2, labels, "multi") == pytest.approx(2, rel=0.05)


def test_a_perfect_validation_part_does_not_make_a_model_certain():
    logits, targets = torch.tensor([[9.0, 0.0], [0.0, 9.0]] * 50), torch.tensor([0, 1] * 50)
    heat = measures.best_temperature(logits, targets, "single")
    sure = torch.softmax(logits / heat, dim=1).max().item()
    assert sure == pytest.approx(1 - 1 / 102, abs=1e-4)


def test_calibration_makes_probabilities_better_and_changes_no_answer():
    task = task_for(labels=("a", "b", "c"))
    with torch.no_grad():
        task.model.head.weight.mul_(60)  # far too sure
    rng = np.random.default_rng(1)
    split = Split(ragged([4] * 300), rng.integers(0, 3, 300))
    before = task.evaluate(task.batches(split, 64))
    answers = task.predict(split.inputs).index
    task.calibrate(task.batches(split, 64))
    after = task.evaluate(task.batches(split, 64))
    assert task.model.temperature.item() > 2
    assert after["loss"] < before["loss"]
    assert after["calibration_error"] < before["calibration_error"]
    assert (task.predict(split.inputs).index == answers).all()


@pytest.mark.parametrize("kind", ["single", "multi", "regression"])
def test_a_configuration_is_plain_json_and_rebuilds_the_task(kind):
    options = {} if kind == "regression" else {"class_weights": [1.0, 2.0, 0.5]}
    task = Classify(
        Recurrent("lstm", 3, 4, 2, bidirectional=True), Preparation("series", (None, 3)),
        ["a", "b", "c"], kind, pooling="attention", head_dropout=0.1, **options,
    )  # fmt: skip
    config = json.loads(json.dumps(task.config(), allow_nan=False))
    again = Classify.from_config(config, task.labels)
    assert again.config() == task.config()
    found = shapes(Classify, config, task.labels)
    state = task.model.state_dict()
    assert {n: (v.shape, v.dtype) for n, v in found.items()} == {
        n: (v.shape, v.dtype) for n, v in state.items()
    }
    assert all(value.is_meta for value in found.values())
    again.model.load_state_dict(state)
    np.testing.assert_array_equal(again.predict(ragged()).values, task.predict(ragged()).values)


@pytest.mark.parametrize(
    "backend", ["reference", pytest.param("auto", marks=pytest.mark.slow)]
)  # auto compiles every cell
def test_every_cell_can_do_the_task(backend):
    x = np.random.default_rng(0).normal(size=(30, 4, 2))
    data = from_arrays(x, (x[:, 0, 0] > 0).astype(int), valid=5)
    for cell in names():
        task = Classify.for_dataset(data, cell=cell, hidden=4, backend=backend)
        json.dumps(task.config(), allow_nan=False)
        train(task, data, Settings(epochs=1), progress=False)
        assert np.isfinite(task.predict_proba(x)).all(), cell


def test_no_examples_get_no_answers():
    task = task_for()
    assert task.predict(np.zeros((0, 5, 3), np.float32)).values.shape == (0, 3)


def test_inputs_of_another_width_are_refused():
    with pytest.raises(ShapeError, match="3 channels"):
        task_for().predict([np.zeros((4, 2), np.float32)])


def test_a_loss_needs_targets():
    task = task_for()
    with pytest.raises(UsageError, match="a batch with targets"):
        task.loss(next(task.batches(Split(ragged()), 4)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "both"}, "kind: expected single, multi, regression, got 'both'"),
        ({"pooling": "median"}, "pooling: expected last, step, mean, max, attention"),
        ({"head_dropout": 1.0}, "head_dropout: expected 0 ≤ it < 1"),
        ({"label_smoothing": -0.1}, "label_smoothing: expected 0 ≤ it < 1"),
        ({"label_smoothing": 0.1, "kind": "multi"}, "label_smoothing: expected 0 unless"),
        ({"class_weights": [1, 2]}, "class_weights: expected 3 numbers"),
        ({"class_weights": [1, 2, -3]}, "class_weights: expected 3 numbers"),
        ({"class_weights": [1, 2, 3], "kind": "regression"}, "class_weights: expected a task"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError) as error:
        Classify(
            Recurrent("gru", 3, 4), Preparation("series", (None, 3)), ["a", "b", "c"], **options
        )
    assert message in str(error.value)


def test_layers_of_another_width_than_the_data_are_refused():
    with pytest.raises(UsageError, match="input_size: expected 3, the features of the data, got 2"):
        Classify(Recurrent("gru", 2, 4), Preparation("series", (None, 3)), ["a"])


def test_a_configuration_with_an_unknown_field_is_refused_by_name():
    config = task_for().config() | {"hook": "os.system"}
    with pytest.raises(ModelError, match="got hook missing or unknown"):
        Classify.from_config(config, ["a", "b", "c"])


def test_words_of_class_weights_are_known():
    data = from_arrays(np.zeros((8, 3)), np.arange(8) % 2, valid=0)
    with pytest.raises(UsageError, match="'none', 'balanced' or a list"):
        Classify.for_dataset(data, hidden=2, class_weights="heavy")
    assert Classify.for_dataset(data, hidden=2, class_weights="balanced").class_weights == [1, 1]
