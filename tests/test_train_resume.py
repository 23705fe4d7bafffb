"""A run that was cut anywhere goes on to the bits of one that was not."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from test_train import network, same, signs, weights
from unrolled import checkpoint, data, files
from unrolled.errors import ModelError, TrainingError, UsageError
from unrolled.interrupts import Interrupts
from unrolled.optimise import Settings
from unrolled.progress import Report
from unrolled.runs import Run
from unrolled.tasks import load
from unrolled.tasks.classify import Classify
from unrolled.train import train

SETTINGS = Settings(epochs=3, batch=16, lr=0.02, checkpoint_every=2)
OPTIONS = {"layers": 2, "dropout": 0.3}
LOOP = Path(__file__).with_name("kill_loop.py")


@pytest.fixture(autouse=True)
def usual_signals():
    """A test run in the background of a shell starts with SIGINT ignored."""
    before = [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before:
        signal.signal(number, handler)


class Cut(Exception):
    pass


def run(folder, settings=SETTINGS, data=None, **how):
    data = data or signs()
    return train(network(data, **OPTIONS), data, settings, folder, progress=False, **how)


def cut_after(monkeypatch, saves):
    """Let the process fail right behind the `saves`-th checkpoint."""
    save, done = Run.save, []

    def failing(self):
        save(self)
        done.append(1)
        if len(done) == saves:
            raise Cut

    monkeypatch.setattr(Run, "save", failing)
    return lambda: monkeypatch.setattr(Run, "save", save)


@pytest.mark.parametrize("saves", [1, 2, 3, 4, 5, 8])
def test_from_every_checkpoint_the_same_bits_follow(tmp_path, monkeypatch, saves):
    whole = run(tmp_path / "whole")
    mend = cut_after(monkeypatch, saves)
    with pytest.raises(Cut):
        run(tmp_path / "cut")
    mend()
    torch.rand(7)  # whatever else happened in between
    resumed = run(tmp_path / "cut", resume=True)
    assert same(weights(whole), weights(resumed))
    assert whole.best_epoch == resumed.best_epoch
    for name in ("model.safetensors", "config.json", "labels.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    timeless = [
        [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
        for lines in (
            (tmp_path / f / "metrics.jsonl").read_text().splitlines() for f in ("whole", "cut")
        )
    ]
    assert timeless[0] == timeless[1]


def test_with_accumulation_and_without_validation_too(tmp_path, monkeypatch):
    settings = Settings(epochs=2, batch=7, accumulate=3, checkpoint_every=1, optimizer="adam")
    data = signs(valid=0)
    whole = run(None, settings, data)
    mend = cut_after(monkeypatch, 3)
    with pytest.raises(Cut):
        run(tmp_path / "cut", settings, data)
    mend()
    assert same(weights(whole), weights(run(tmp_path / "cut", settings, data, resume=True)))


def test_the_best_weights_of_an_early_epoch_survive(tmp_path, monkeypatch):
    monkeypatch.setattr(Classify, "score", lambda self, metrics: [-next(counter)])
    counter = iter(range(100))
    whole = run(tmp_path / "whole")
    counter = iter(range(100))
    mend = cut_after(monkeypatch, 5)
    with pytest.raises(Cut):
        run(tmp_path / "cut")
    mend()
    resumed = run(tmp_path / "cut", resume=True)
    assert whole.best_epoch == resumed.best_epoch == 1
    assert same(weights(whole), weights(resumed))


def test_patience_goes_on_counting(tmp_path, monkeypatch):
    monkeypatch.setattr(Classify, "score", lambda self, metrics: [0.5])
    settings = Settings(epochs=9, batch=40, patience=3)
    mend = cut_after(monkeypatch, 2)
    with pytest.raises(Cut):
        run(tmp_path / "cut", settings)
    mend()
    assert len(run(tmp_path / "cut", settings, resume=True).epochs) == 4


def test_a_finished_run_resumed_is_measured_again_and_stays(tmp_path):
    first = run(tmp_path / "m")
    before = (tmp_path / "m" / "model.safetensors").read_bytes()
    again = run(tmp_path / "m", resume=True)
    assert again.steps == first.steps
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == before
    assert len((tmp_path / "m" / "metrics.jsonl").read_text().splitlines()) == 4


def test_where_there_is_nothing_to_resume_training_starts(tmp_path):
    assert same(weights(run(tmp_path / "new", resume=True)), weights(run(None)))


def test_other_settings_are_refused_by_name(tmp_path):
    run(tmp_path / "m")
    with pytest.raises(TrainingError, match=r"settings\.lr differs: expected 0\.02, got 0\.5"):
        run(tmp_path / "m", Settings(epochs=3, batch=16, lr=0.5), resume=True)


def test_other_data_is_refused(tmp_path):
    run(tmp_path / "m")
    with pytest.raises(TrainingError, match=r"another run: data\."):
        run(tmp_path / "m", data=signs(valid=30), resume=True)


def test_what_changes_no_bit_may_change(tmp_path):
    run(tmp_path / "m")
    free = Settings(epochs=3, batch=16, lr=0.02, checkpoint_every=0, log_every=1)
    assert run(tmp_path / "m", free, resume=True).steps > 0


def test_a_model_is_not_trained_over_unless_it_is_given_up(tmp_path):
    run(tmp_path / "m")
    before = (tmp_path / "m" / "model.safetensors").read_bytes()
    with pytest.raises(ModelError, match=r"holds a model.*--overwrite"):
        run(tmp_path / "m", Settings(epochs=1))
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == before
    run(tmp_path / "m", Settings(epochs=1), overwrite=True)
    assert (tmp_path / "m" / "model.safetensors").read_bytes() != before


def test_a_folder_of_something_else_is_not_written_into(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ModelError, match="not a model directory"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_in_memory_there_is_nothing_to_resume():
    with pytest.raises(UsageError, match="resume: expected an output directory"):
        run(None, resume=True)


def test_the_last_weights_can_be_loaded_as_well_as_the_best(tmp_path, monkeypatch):
    scores = iter([[1.0], [0.0], [0.0]])
    monkeypatch.setattr(Classify, "score", lambda self, metrics: next(scores))
    run(tmp_path / "m")
    best, last = (load(tmp_path / "m", which=which) for which in ("best", "last"))
    assert not torch.equal(best.model.head.weight, last.model.head.weight)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_after_the_step_and_the_run_goes_on_later(tmp_path, monkeypatch, number):
    whole = run(tmp_path / "whole")
    loss, seen = Classify.loss, []

    def interrupting(self, batch):
        seen.append(1)
        if len(seen) == 4:
            os.kill(os.getpid(), number)
        return loss(self, batch)

    monkeypatch.setattr(Classify, "loss", interrupting)
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as left:
        run(tmp_path / "cut")
    if number == signal.SIGTERM:
        assert left.value.code == 143
    assert checkpoint.read_state(tmp_path / "cut").facts["place"]["step"] == 4
    assert len(seen) == 4
    monkeypatch.setattr(Classify, "loss", loss)
    assert load(tmp_path / "cut").predict(signs().test.inputs).values.shape == (20, 2)
    assert same(weights(whole), weights(run(tmp_path / "cut", resume=True)))


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(1)
        if len(calls) > 20:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match=r"cannot be written: got No space left on device"):
        run(tmp_path / "m")
    monkeypatch.setattr(os, "fsync", fsync)
    assert not list((tmp_path / "m").glob(".*.tmp"))
    assert same(weights(run(tmp_path / "m", resume=True)), weights(run(None)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda facts: facts.pop("place"),
        lambda facts: facts["place"].pop("step"),
        lambda facts: facts["place"].update(step="many"),
        lambda facts: facts["place"].update(step=-1),
        lambda facts: facts.pop("random"),
        lambda facts: facts["random"].update(numpy=[]),
    ],
)
def test_broken_facts_of_a_checkpoint_are_one_line(tmp_path, spoil):
    run(tmp_path / "m")
    state = checkpoint.read_state(tmp_path / "m")
    spoil(state.facts)
    checkpoint.write_state(tmp_path / "m", state.tensors, state.facts)
    with pytest.raises(ModelError, match="broken"):
        run(tmp_path / "m", resume=True)


def test_a_missing_moment_is_named(tmp_path):
    run(tmp_path / "m")
    state = checkpoint.read_state(tmp_path / "m")
    del state.tensors["optimizer.exp_avg.head.weight"]
    checkpoint.write_state(tmp_path / "m", state.tensors, state.facts)
    with pytest.raises(ModelError, match=r"optimizer\.exp_avg\.head\.weight"):
        run(tmp_path / "m", resume=True)


def test_staged_files_of_a_killed_run_are_swept(tmp_path):
    run(tmp_path / "m")
    (tmp_path / "m" / ".model.safetensors.1.tmp").write_bytes(b"half")
    run(tmp_path / "m", resume=True)
    assert not list((tmp_path / "m").glob(".*"))


def test_a_write_is_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "file"
    files.write(target, b"old")
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError(5, "broken")))
    with pytest.raises(ModelError, match="got broken"):
        files.write(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def killed(folder, rounds, seed, limit):
    ran = subprocess.run(
        [sys.executable, str(LOOP), str(folder), str(rounds), str(seed)],
        capture_output=True,
        text=True,
        timeout=limit,
        check=True,
    )
    found = json.loads(ran.stdout)
    assert "failed" not in found, (found, ran.stderr)
    assert found["kills"] >= rounds
    assert found["in_saves"] > 0
    assert (found["unloadable"], found["different"]) == (0, 0), ran.stderr
    return found


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the loop forks its children")


@needs_fork
def test_killed_twenty_times_the_final_weights_are_the_same(tmp_path):
    killed(tmp_path, 20, 5, 200)


@needs_fork
@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", range(4))
def test_killed_a_hundred_times_the_final_weights_are_the_same(tmp_path, seed):
    killed(tmp_path, 100, seed, 1400)


def test_a_resumed_run_says_where_it_goes_on(tmp_path):
    run(tmp_path / "m")
    said, data = io.StringIO(), signs()
    report = Report(stream=said)
    train(network(data, **OPTIONS), data, SETTINGS, tmp_path / "m", resume=True, progress=report)
    assert "goes on after step 15 of 15" in said.getvalue()
    assert "threads" not in said.getvalue()


@pytest.fixture
def threads():
    """Sets how many threads PyTorch computes with."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_resumed_where_there_are_more_threads_the_bits_are_those_of_the_first(
    tmp_path, monkeypatch, threads
):
    """The gradient of the head sums over the batch, in as many pieces as there are threads.

    Not every machine cuts so small a sum, so that the number of threads itself is seen too.
    """
    seen: list[int] = []
    loss = Classify.loss

    def watched(task, batch):
        seen.append(torch.get_num_threads())
        return loss(task, batch)

    monkeypatch.setattr(Classify, "loss", watched)
    digits, settings = data.load("digits"), Settings(epochs=1, batch=50, checkpoint_every=5)

    def go(folder, **how):
        task = Classify.for_dataset(digits, cell="rnn", hidden=32)
        return weights(train(task, digits, settings, folder, progress=False, **how))

    threads(1)
    whole = go(tmp_path / "whole")
    mend = cut_after(monkeypatch, 2)
    with pytest.raises(Cut):
        go(tmp_path / "cut")
    mend()
    threads(2)
    seen.clear()
    assert same(whole, go(tmp_path / "cut", resume=True))
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
    seen.clear()
    go(tmp_path / "other")
    assert set(seen) == {2}


def test_another_number_of_threads_is_mentioned_and_taken(tmp_path):
    run(tmp_path / "m")
    state = checkpoint.read_state(tmp_path / "m")
    state.facts["threads"] += 1
    checkpoint.write_state(tmp_path / "m", state.tensors, state.facts)
    said, data = io.StringIO(), signs()
    report, before = Report(stream=said), torch.get_num_threads()
    train(network(data, **OPTIONS), data, SETTINGS, tmp_path / "m", resume=True, progress=report)
    assert f"goes on with {state.facts['threads']} threads" in said.getvalue()
    assert torch.get_num_threads() == before


def test_the_second_ctrl_c_does_not_wait_for_the_step():
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.asked == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.asked == 0
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_signals_are_left_alone_in_memory_and_in_other_threads():
    with Interrupts(active=False):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    found = []

    def other():
        with Interrupts() as interrupts:
            found.append(interrupts.active)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert found == [False]
