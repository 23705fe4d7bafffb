"""Language models: gradients stop at windows and states do not; equal bits after any cut."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from unrolled import checkpoint
from unrolled.data import corpus_of, windows
from unrolled.errors import DataError, ModelError, UsageError
from unrolled.layers import Recurrent
from unrolled.optimise import Average, Settings
from unrolled.runs import Run
from unrolled.tasks import load
from unrolled.tasks.language import Language
from unrolled.tasks.next_token import NextToken
from unrolled.train import train

RHYME = "the rain in spain stays mainly in the plain\n" * 40
# PyTorch's own kernels: nothing to compile
SMALL = {"cell": "lstm", "hidden": 12, "embedding": 8, "backend": "torch"}


def rhyme(**options):
    return corpus_of(RHYME, **options)


def network(data, seed=0, **options):
    return Language.for_dataset(data, seed=seed, **{**SMALL, **options})


class TestTruncation:
    """The loss of a text as one window, and as windows of T steps."""

    def gradients(self, window, **options):
        data = rhyme(valid=0, test=0)
        task = network(data, window=window, layers=2, **options)
        ids = data.train.ids[:161]
        losses = []
        for part in windows.training(ids, 4, window):
            loss, _ = task.loss(part)
            (loss * part.targets.shape[1] / 40).backward()
            losses.append(loss.item() * part.targets.shape[1] / 40)
        found = {n: p.grad.clone() for n, p in task.model.named_parameters() if p.grad is not None}
        return sum(losses), found, task

    def by_hand(self, cuts, **options):
        """The same with autograd alone: one graph, the state detached at `cuts`."""
        data = rhyme(valid=0, test=0)
        task = network(data, layers=2, **options)
        ids = torch.from_numpy(data.train.ids[:161].astype(np.int64))
        rows = torch.stack([ids[40 * b : 40 * b + 41] for b in range(4)])
        state, total = None, 0.0
        for t in range(40):
            if t in cuts:
                state = {name: value.detach() for name, value in state.items()}
            output, state = task.model(rows[:, t : t + 1], state)
            logits = task.model.head(output[:, 0])
            total = total + functional.cross_entropy(logits, rows[:, t + 1]) / 40
        total.backward()
        return total.item(), {n: p.grad for n, p in task.model.named_parameters()}

    @pytest.mark.parametrize("cell", ["lstm", "gru"])
    @pytest.mark.parametrize("window", [40, 64, 1000])
    def test_a_window_as_long_as_the_text_is_all_of_backpropagation(self, cell, window):
        loss, found, _ = self.gradients(window, cell=cell)
        expected, wanted = self.by_hand(cuts=(), cell=cell)
        assert math.isclose(loss, expected, rel_tol=1e-5)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("window", [1, 10, 15])
    def test_gradients_stop_where_a_window_begins_and_nowhere_else(self, window):
        loss, found, _ = self.gradients(window)
        expected, wanted = self.by_hand(cuts=range(window, 40, window))
        assert math.isclose(loss, expected, rel_tol=1e-5)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
        _, whole = self.by_hand(cuts=())
        far = max((whole[n] - wanted[n]).abs().max().item() for n in wanted)
        assert far > 1e-4  # so that cutting elsewhere would have been seen

    def test_the_state_carried_is_the_one_after_the_whole_text(self):
        *_, task = self.gradients(7)
        ids = torch.from_numpy(rhyme(valid=0, test=0).train.ids[:161].astype(np.int64))
        rows = torch.stack([ids[40 * b : 40 * b + 40] for b in range(4)])
        with torch.no_grad():
            _, state = task.model(rows)
        for name, value in state.items():
            torch.testing.assert_close(task.carried[name], value, rtol=1e-5, atol=1e-6)
            assert not task.carried[name].requires_grad


def test_an_evaluation_is_the_mean_over_one_pass_from_the_first_token():
    data = corpus_of(RHYME * 6, valid=0, test=0)
    task = network(data, window=100)
    ids = torch.from_numpy(data.train.ids.astype(np.int64))
    with torch.no_grad():
        output, _ = task.model.eval()(ids[None, :-1])
        expected = functional.cross_entropy(task.model.head(output[0]), ids[1:]).item()
    assert len(ids) > 2 * windows.LEAST
    several = task.evaluate(task.batches(data.train, 256))
    one = task.evaluate(task.batches(data.train, 1))
    assert math.isclose(one["loss"], expected, rel_tol=1e-6)
    assert math.isclose(several["loss"], expected, rel_tol=1e-5)
    assert math.isclose(one["nats_per_character"], expected, rel_tol=1e-6)
    assert math.isclose(one["bits_per_character"], expected / math.log(2), rel_tol=1e-6)
    assert math.isclose(one["perplexity"], math.exp(expected), rel_tol=1e-6)


def test_rates_of_a_character_do_not_depend_on_what_a_token_is():
    data = corpus_of(RHYME, level="words", valid=0, test=0)
    task = network(data)
    found = task.evaluate(task.batches(data.train, 1))
    nats = found["loss"] * (len(data.train) - 1)
    assert math.isclose(found["nats_per_character"], nats / (len(RHYME) - len("the")))
    assert found["perplexity"] == math.exp(found["loss"])
    assert task.summary(found).startswith("perplexity ")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cell": "gru", "embedding": "one-hot", "window": 16},
        {"level": "words", "tied": True, "softmax": "fast", "embedding": 10},
        {"level": "words", "softmax": "adaptive", "weight_drop": 0.1, "embedding_dropout": 0.05},
        {"level": "subwords", "vocabulary": 280, "head_dropout": 0.05, "input_dropout": 0.05},
    ],
    ids=["characters", "one-hot", "tied", "adaptive", "subwords"],
)
def test_a_tiny_text_is_learnt_by_heart(options):
    reading = {k: v for k, v in options.items() if k in ("level", "vocabulary")}
    data = corpus_of(RHYME, valid=0, test=0, **reading)
    rest = {k: v for k, v in options.items() if k not in reading}
    task = network(data, **{"hidden": 32, "window": 24, **rest})
    epochs = 40 if "level" in options else 10
    result = train(task, data, Settings(epochs=epochs, batch=4, lr=0.03), progress=False)
    assert result.epochs[-1]["loss"] < 0.5
    assert "rain in spain stays mainly" in task.sample("the ", 90, temperature=0)


class TestSoftmax:
    def losses(self, softmax, count=300, vocabulary=50, **options):
        torch.manual_seed(3)
        model = NextToken(Recurrent("gru", 6, 6), vocabulary, softmax=softmax, **options)
        output = torch.randn(count, 6, requires_grad=True)
        targets = torch.randint(0, vocabulary, (count,))
        return model, output, targets

    def test_fast_is_full_up_to_bfloat16(self):
        model, output, targets = self.losses("fast")
        loss = model.loss(output, targets)
        loss.backward()
        found = [output.grad.clone(), model.head.weight.grad.clone(), model.head.bias.grad.clone()]
        output.grad = model.head.weight.grad = model.head.bias.grad = None
        expected = functional.cross_entropy(model.head(output), targets)
        expected.backward()
        assert math.isclose(loss.item(), expected.item(), rel_tol=1e-2)
        for one, other in zip(
            found, [output.grad, model.head.weight.grad, model.head.bias.grad], strict=True
        ):
            # products of numbers with 8 bits: a part in 256 of the largest
            assert (one - other).abs().max() < other.abs().max() / 100

    def test_without_gradients_fast_is_full_exactly(self):
        model, output, targets = self.losses("fast")
        with torch.no_grad():
            expected = functional.cross_entropy(model.head(output), targets)
            assert math.isclose(model.loss(output, targets).item(), expected.item(), rel_tol=1e-6)

    def test_adaptive_sums_to_one_and_loses_what_it_says(self):
        order = np.random.RandomState(0).permutation(50)
        model, output, targets = self.losses("adaptive", cutoffs=[5, 20], order=order)
        chances = model.log_probs(output)
        torch.testing.assert_close(chances.exp().sum(1), torch.ones(300))
        wanted = -chances.gather(1, targets[:, None])[:, 0]
        torch.testing.assert_close(model.losses(output, targets), wanted)
        # the tokens that `order` puts first are those of the first cluster
        assert sorted(model.rank[torch.as_tensor(order[:5].copy())].tolist()) == [0, 1, 2, 3, 4]

    def test_tied_is_one_matrix(self):
        model = NextToken(Recurrent("gru", 8, 12), 50, tied=True)
        assert model.head.weight is model.embedding.weight
        output, _ = model(torch.tensor([[1, 2]]))
        assert output.shape == (1, 2, 12)
        assert model.log_probs(output).shape == (1, 2, 50)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"softmax": "soft"}, "softmax: expected full, fast, adaptive"),
            ({"tied": True, "softmax": "adaptive"}, "tied: expected an embedding"),
            ({"tied": True, "embedding": "one-hot"}, "tied: expected an embedding"),
            ({"embedding": 2.5}, "embedding: expected a number of features"),
            ({"bidirectional": True}, "bidirectional: expected one direction"),
            ({"cutoffs": [9, 3], "softmax": "adaptive"}, "cutoffs: expected rising"),
            ({"head_dropout": 1}, "head_dropout: expected 0"),
            ({"window": 0}, "window: expected a whole number of at least 1"),
        ],
    )
    def test_what_cannot_be_is_named(self, options, message):
        with pytest.raises(UsageError, match=message):
            network(rhyme(), **options)

    def test_an_embedding_by_a_name_is_a_file_of_vectors(self):
        with pytest.raises(DataError, match="two-hot: expected a file of word vectors"):
            network(rhyme(), embedding="two-hot")


def test_masks_hold_for_a_whole_window():
    model = NextToken(Recurrent("gru", 30, 8), 20, input_dropout=0.5, embedding_dropout=0.5)
    tokens = torch.arange(20).repeat(4, 5)
    seen = model.train().read(tokens)
    features = (seen != 0).reshape(4, 100, 30)
    dropped = ~features.any(1)  # (B, E): never seen in a row
    words = ~features.any(2)  # (B, T): a token that is dropped
    assert 20 < int(dropped.sum()) < 100
    assert (features | dropped[:, None] | words[:, :, None]).all()
    assert (words[0] == words[3]).all()
    assert words[0].reshape(5, 20).all(0).logical_xor((~words[0]).reshape(5, 20).all(0)).all()
    assert torch.equal(model.eval().read(tokens), model.embedding(tokens))


class Cut(Exception):
    pass


SETTINGS = Settings(epochs=3, batch=6, lr=0.02, checkpoint_every=3)


@pytest.mark.parametrize("saves", [1, 2, 5])
@pytest.mark.parametrize(
    "settings",
    [SETTINGS, Settings(epochs=4, batch=6, lr=3.0, clip=0.3, optimizer="sgd", average="stalled",
                        stall=1, schedule="constant", checkpoint_every=2)],
    ids=["adamw", "nt-asgd"],
)  # fmt: skip
def test_a_run_that_is_cut_goes_on_to_the_same_bits(tmp_path, monkeypatch, saves, settings):
    monkeypatch.setattr(Language, "score", lambda self, metrics: [metrics["loss"]])  # it stalls
    options = {"window": 20, "dropout": 0.2, "layers": 2, "weight_drop": 0.1, "head_dropout": 0.1}

    def run(folder, **how):
        data = rhyme(valid=200)
        return train(network(data, **options), data, settings, folder, progress=False, **how)

    run(tmp_path / "whole")
    save, done = Run.save, []

    def failing(self):
        save(self)
        done.append(1)
        if len(done) == saves:
            raise Cut

    monkeypatch.setattr(Run, "save", failing)
    with pytest.raises(Cut):
        run(tmp_path / "cut")
    monkeypatch.setattr(Run, "save", save)
    torch.rand(5)
    run(tmp_path / "cut", resume=True)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_averages_are_what_is_validated_and_kept(monkeypatch):
    seen = []
    evaluate = Language.evaluate

    def noting(self, parts):
        seen.append({n: p.detach().clone() for n, p in self.model.named_parameters()})
        return evaluate(self, parts)

    scores = iter([3.0, 1.0, 2.0, 2.5, 4.0])
    scores_of = {}

    def scored(self, parts):
        found = noting(self, parts)
        scores_of.setdefault(found["loss"], next(scores, 0.0))
        return found

    monkeypatch.setattr(Language, "evaluate", scored)
    monkeypatch.setattr(Language, "score", lambda self, metrics: [scores_of[metrics["loss"]]])
    data = rhyme(valid=200, test=0)
    settings = Settings(epochs=4, batch=60, lr=1.0, optimizer="sgd", average="stalled", stall=1,
                        keep="last", schedule="constant")  # fmt: skip
    steps = []
    task = network(data, window=10)
    add = Average.add

    def taking(self):
        add(self)
        steps.append({n: p.detach().clone() for n, p in self.model.named_parameters()})

    monkeypatch.setattr(Average, "add", taking)
    train(task, data, settings, progress=False)
    an_epoch = len(steps) // 4
    # the third score is worse than the best before the one before it
    for name, value in seen[3].items():
        mean = torch.stack([step[name] for step in steps[3 * an_epoch :]]).mean(0)
        torch.testing.assert_close(value, mean)
    for name, value in seen[2].items():
        assert torch.equal(value, steps[3 * an_epoch - 1][name])
    for name, value in task.model.named_parameters():
        assert torch.equal(value, seen[3][name])


class TestDirectory:
    def test_it_comes_back_as_it_was(self, tmp_path):
        data = corpus_of(RHYME, level="words", vocabulary=9)
        task = network(data, softmax="adaptive", cutoffs=[3], layers=2)
        checkpoint.save(tmp_path / "m", task)
        again = load(tmp_path / "m")
        assert again.config() == task.config()
        before, after = (t.evaluate(t.batches(data.test, 8)) for t in (task, again))
        assert all(
            torch.equal(value, again.model.state_dict()[name])
            for name, value in task.model.state_dict().items()
        )
        # the last bits of PyTorch's products depend on where in memory a table lies
        assert after == pytest.approx(before, rel=1e-6)
        assert before["unknown"] > 0

    def test_weights_of_another_vocabulary_are_refused(self, tmp_path):
        task, other = network(rhyme()), network(corpus_of("xyz" * 30))
        checkpoint.save(tmp_path / "m", task)
        checkpoint.write_weights(tmp_path / "m", other.model.state_dict())
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            load(tmp_path / "m")
