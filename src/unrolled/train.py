"""One loop: a task, its data and settings come in; a trained model, measured, goes out.

What a run has to remember lives in `Run` (runs.py): it is saved in one rename and read back by
`resume`, so that a run that was killed anywhere ends in the same bits as one that was not.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from unrolled import card, randomness
from unrolled.errors import DataError
from unrolled.interrupts import Interrupts
from unrolled.messages import tr
from unrolled.optimise import (
    Settings,
    choose_device,
    choose_precision,
    learning_rate,
    make_optimizer,
)
from unrolled.progress import Report
from unrolled.runs import Run
from unrolled.watch import GradientWatch, Watch

__all__ = ["Result", "Settings", "train"]


@dataclass(frozen=True)
class Result:
    """What training came to.

    Args:
        task: the task, its model carrying the weights that were kept.
        directory: the model directory, or None in memory.
        epochs: rows of figures, one an epoch.
        steps: steps taken in all.
        best_epoch: from 1; the epoch whose weights were kept.
        valid: metrics on the validation part, or None without one.
        test: metrics on the test part, or None without one.
        seconds: spent in training, evaluation of epochs included.
        picture: the path of the picture that says most, or None.
    """

    task: Any
    directory: Path | None
    epochs: list[dict[str, Any]]
    steps: int
    best_epoch: int
    valid: dict[str, Any] | None
    test: dict[str, Any] | None
    seconds: float
    picture: Path | None


def train(
    task: Any,
    dataset: Any,
    settings: Settings | None = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | Report = True,
    command: str = "",
    recipe: Mapping[str, Any] | None = None,
) -> Result:
    """Train `task.model` on `dataset.train`, keep the best by `dataset.valid`, measure on the test.

    Args:
        task: has `model`, `loss(batch)`, `evaluate(batches)`, `batches(split, size, ...)`,
            `count(split, size)` of these, `score(metrics)`, `summary(metrics)`,
            `calibrate(batches)`, `config()`, `labels`; and may have `carried`, a table of tensors
            that it hands from one batch to the next.
        dataset: as `unrolled.data.load` gives it; its test part is read once, at the end.
        settings: how; None is the defaults.
        out: the model directory; None trains in memory and writes nothing.
        resume: go on from the last checkpoint in `out`, to the bits of an uninterrupted run; where
            there is none, start.
        overwrite: forget a model that is in `out`.
        progress: say how it goes on standard output, or on a `Report` of one's own.
        command: what the model card says the model was made with.
        recipe: plain JSON for config.json, from which the data can be found again.

    Raises:
        TrainingError: the loss is not finite, or `out` holds another run than the one to resume.
        ModelError: `out` holds something else, or cannot be written.
        DataError: there is nothing to train on.
        KeyboardInterrupt: Ctrl-C; the step was finished and saved before.

    Example:
        >>> from unrolled.data import load
        >>> from unrolled.tasks.classify import Classify
        >>> digits = load("digits")
        >>> task = Classify.for_dataset(digits, cell="gru", hidden=16, seed=0)
        >>> result = train(task, digits, Settings(epochs=8, lr=0.02), progress=False)
        >>> result.test["accuracy"] > 0.5
        True
    """
    settings = settings or Settings()
    if not len(dataset.train):
        raise DataError("the training part", expected="at least 1 example", got="0")
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    batches_an_epoch = task.count(dataset.train, settings.batch)
    steps_an_epoch = -(-batches_an_epoch // settings.accumulate)
    total = steps_an_epoch * settings.epochs
    rate = learning_rate(settings, total)
    report = progress if isinstance(progress, Report) else Report(progress)
    own = randomness.borrowed(settings.seed, device)

    # PyTorch's products split a sum over threads: their number decides the last bits.
    with ExitStack() as own_threads, own, report, Interrupts(out is not None) as interrupts:
        model = task.model.to(device)
        optimizer = make_optimizer(model, settings, device)
        run = Run(task, optimizer, settings, dataset, device, out)
        run.start(resume=resume, overwrite=overwrite, command=command, recipe=recipe)
        place, watch = run.place, Watch(settings, steps_an_epoch, device)
        gradients = GradientWatch(task, settings, run.log, report)
        report.begin(total, place.step)
        said = False
        if report.wanted:
            first = next(iter(task.batches(dataset.train, settings.batch)))
            report.opening(task, device, first, steps_an_epoch)
        if resume:
            report.line(tr("goes on after step {step} of {total}", step=place.step, total=total))
            if run.threads != torch.get_num_threads():
                report.line(tr("goes on with {count} threads, as it began", count=run.threads))
                own_threads.callback(torch.set_num_threads, torch.get_num_threads())
                torch.set_num_threads(run.threads)

        while place.epoch < settings.epochs and not place.stopped:
            model.train()
            stream = task.batches(
                dataset.train,
                settings.batch,
                seed=settings.seed,
                epoch=place.epoch,
                start=place.batch,
                augment=settings.augment,
            )
            for group in _groups(stream, settings.accumulate):
                for parameters in optimizer.param_groups:
                    parameters["lr"] = rate(place.step)
                loss = _backward(task, group, device, precision)
                norm = _clip(model, settings.clip)
                gradients.see(place, group[0])
                watch.see(place, loss, norm, sum(map(_size, group)))
                optimizer.step()
                run.average.add()
                optimizer.zero_grad(set_to_none=True)

                if report.wanted and not said:
                    said = True
                    report.ran(model)
                place.step += 1
                place.batch += len(group)
                if settings.log_every and place.step % settings.log_every == 0:
                    watch.flush(place)
                    run.log_step(report, watch, rate(place.step - 1), steps_an_epoch)
                elif report.due():
                    watch.flush(place)
                    report.step(place.step, watch.loss, settings.batch * settings.accumulate)
                if settings.checkpoint_every and place.step % settings.checkpoint_every == 0:
                    watch.flush(place)
                    run.save()
                if interrupts.asked:
                    watch.flush(place)
                    run.save()
                    interrupts.leave()

            watch.flush(place)
            with run.average.in_place():
                held_out = task.batches(dataset.valid, 256)
                valid = task.evaluate(held_out) if len(dataset.valid) else None
                run.end_epoch(report, valid, rate(place.step - 1))
            run.save()
            if interrupts.asked:
                interrupts.leave()

        report.close()
        valid, test = run.measure(report)
        pictures = card.write(run, dataset, valid, test, command) if run.directory else []
        run.finish()
        if interrupts.asked:
            interrupts.leave()
        return Result(
            task,
            run.directory,
            run.log.epochs(),
            place.step,
            place.best_epoch if run.keeps_best else place.epoch,
            valid,
            test,
            place.seconds,
            pictures[-1] if pictures else None,
        )


def _groups(stream: Iterator[Any], size: int) -> Iterable[list[Any]]:
    while group := list(islice(stream, size)):
        yield group


def _size(batch: Any) -> int:
    return len(batch.index)


def _backward(
    task: Any, group: list[Any], device: torch.device, precision: torch.dtype | None
) -> torch.Tensor:
    """Gradients of the mean loss over all examples of `group`, batch by batch; the loss itself."""
    examples = sum(map(_size, group))
    total = None
    for batch in group:
        if device.type != "cpu":
            batch = task.move(batch, device)
        with torch.autocast(device.type, precision, enabled=precision is not None):
            loss, _ = task.loss(batch)
        if len(group) > 1:
            loss = loss * (_size(batch) / examples)
        loss.backward()
        total = loss.detach() if total is None else total + loss.detach()
    assert total is not None  # a group is never empty
    return total


def _clip(model: torch.nn.Module, limit: float) -> torch.Tensor:
    """The norm of all gradients together, which are scaled down to `limit` if it is larger."""
    learning = [p for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in learning if p.grad is not None])
    if limit:
        torch.nn.utils.clip_grads_with_norm_(learning, limit, norm)
    return norm
