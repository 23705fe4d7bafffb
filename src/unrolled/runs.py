"""What a training run remembers: a task and its optimizer come in, checkpoints and the log go out.

Everything that decides a later bit is in one file, `resume.safetensors`; the log is cut back to the
length that this file records.
"""

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from unrolled import checkpoint, files, optimise, randomness
from unrolled.errors import ModelError, TrainingError, UsageError
from unrolled.history import Log, plain
from unrolled.messages import tr
from unrolled.optimise import Settings
from unrolled.progress import Report
from unrolled.watch import Watch

MOST_THREADS = 1024  # more in a file is a mistake, and would be started
_FREE = ("log_every", "checkpoint_every", "tensorboard")  # settings that change no bit


@dataclass
class Place:
    """Where a run is, and the sums of the epoch it is in: plain numbers, saved as they are."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    examples: int = 0
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    clipped: int = 0
    best_epoch: int = 0
    best_score: list[float] | None = None
    waited: int = 0
    stopped: bool = False
    seconds: float = 0.0
    log_bytes: int = 0
    averaging: bool = False
    averaged: int = 0

    @classmethod
    def from_json(cls, facts: Any) -> "Place":
        """The place that was saved.

        Raises:
            ValueError: a field is missing or of another kind.
        """
        kinds = {field.name: type(field.default) for field in fields(cls)} | {"best_score": object}
        if not isinstance(facts, dict) or set(facts) != set(kinds):
            raise ValueError("other fields than a place has")
        for name, kind in kinds.items():
            if not isinstance(facts[name], kind) or (kind is int and facts[name] < 0):
                raise ValueError(f"{name} = {facts[name]!r}")
        return cls(**facts)


class Run:
    """The memory of one training run.

    Attributes:
        place: where it is.
        log: the rows of metrics.jsonl.
        directory: of the model, or None in memory.
        threads: with which the run began.
        keeps_best: whether a validation part chooses the weights that are kept.
    """

    def __init__(
        self,
        task: Any,
        optimizer: torch.optim.Optimizer,
        settings: Settings,
        dataset: Any,
        device: torch.device,
        out: str | Path | None,
    ):
        self.task, self.optimizer, self.settings = task, optimizer, settings
        self.dataset, self.device = dataset, device
        self.directory = None if out is None else Path(out)
        self.keeps_best = settings.keep == "best" and len(dataset.valid) > 0
        self.place = Place()
        self.log = Log(self.directory and self.directory / "metrics.jsonl")
        self.average = optimise.Average(task.model)
        self.best: dict[str, torch.Tensor] | None = None
        self.best_step = -1
        self.unwritten = True
        self.threads = torch.get_num_threads()
        self.clock = time.monotonic()
        self.board: Any = None
        for name, asked in (
            ("patience", settings.patience > 0),
            ("average", settings.average != "none"),
        ):
            if asked and not len(dataset.valid):
                raise UsageError(
                    name, expected="a validation part to wait on", got="none", fix="Leave it out."
                )

    def start(self, *, resume: bool, overwrite: bool, command: str, recipe: Any = None) -> None:
        """Make the directory, or find in it the checkpoint to go on from.

        Raises:
            ModelError: the directory holds something else, or a model that nobody gave up.
            TrainingError: it holds a run with other settings.
        """
        if self.directory is None:
            if resume:
                raise UsageError("resume", expected="an output directory", got="none")
            return
        checkpoint.refuse_strange(self.directory)
        checkpoint.make_folder(self.directory)
        files.sweep(self.directory)
        state = checkpoint.read_state(self.directory) if resume else None
        if state is not None:
            self._restore(state)
        else:
            holds_model = (self.directory / checkpoint.WEIGHTS).exists()
            if holds_model and not overwrite:
                raise ModelError(
                    f"{self.directory} holds a model",
                    expected="a new directory" if not resume else "a run to resume",
                    fix="Choose another --out, or give it up with --overwrite.",
                )
            checkpoint.clear(self.directory)
            made_with = {**self._made_of(), "command": command, "recipe": recipe}
            del made_with["task"]
            checkpoint.begin(self.directory, self.task, made_with)
        if self.settings.tensorboard:
            self.board = _board(self.directory, self.place.step)

    def log_step(self, report: Report, watch: Watch, rate: float, steps_an_epoch: int) -> None:
        """Log and say the latest step."""
        place = self.place
        row = {"epoch": place.epoch + 1, "step": place.step, "loss": watch.loss}
        self.log.add(event="step", **row, norm=watch.norm, lr=rate)
        within = place.step - place.epoch * steps_an_epoch
        report.logged(place.epoch + 1, self.settings.epochs, within, steps_an_epoch, watch.loss)

    def end_epoch(self, report: Report, valid: Mapping[str, Any] | None, rate: float) -> None:
        """Log the epoch, see whether it is the best and whether to stop, go to the next."""
        self._pass_time()
        place, settings = self.place, self.settings
        steps = math.ceil(place.batch / settings.accumulate)
        row: dict[str, Any] = {
            "epoch": place.epoch + 1,
            "step": place.step,
            "loss": place.loss_sum / place.examples,
            "norm": place.norm_sum / steps,
            "clipped": place.clipped / steps,
            "lr": rate,
            "seconds": round(place.seconds, 3),
        }
        if valid is not None:
            row["valid"] = plain(valid)
        self.log.add(event="epoch", **row)
        self._draw(row)
        if valid is not None:
            self._compare(self.task.score(valid))
        summary = None if valid is None else self.task.summary(valid)
        report.epoch(row, settings.epochs, summary, clips=settings.clip > 0)
        place.epoch += 1
        place.batch = place.examples = place.clipped = 0
        place.loss_sum = place.norm_sum = 0.0
        place.stopped = bool(settings.patience) and place.waited >= settings.patience
        if place.stopped:
            report.line(tr("stops: {count} epochs without a better one", count=place.waited))
        self.unwritten |= not self.keeps_best
        if settings.average == "stalled" and not self.average.begun:
            scores = [self.task.score(row["valid"]) for row in self.log.epochs()]
            self.average.begun = optimise.stalled(scores, settings.stall)
            if self.average.begun:
                report.line(tr("validation has stalled: weights are averaged from now on"))

    def save(self) -> None:
        """Write the checkpoint: one file in one rename, then the weights that it says are kept."""
        if self.directory is None:
            return
        self._pass_time()
        self.place.log_bytes = self.log.sync()
        self.place.averaging, self.place.averaged = self.average.begun, self.average.count
        model = self.task.model.state_dict()
        tensors, random_facts = randomness.capture(self.device)
        tensors |= {f"model.{name}": value for name, value in model.items()}
        tensors |= optimise.moments(self.optimizer, self.task.model, self.settings.optimizer)
        tensors |= {f"average.{name}": value for name, value in self.average.mean.items()}
        # what a task carries from one batch to the next, such as the state of a long text
        carried = getattr(self.task, "carried", None) or {}
        tensors |= {f"carried.{name}": value for name, value in carried.items()}
        if self.best is not None and self.best_step != self.place.step:
            tensors |= {f"best.{name}": value for name, value in self.best.items()}
        facts = {
            "place": asdict(self.place),
            "best_step": self.best_step,
            "random": random_facts,
            "threads": self.threads,
            "unmoved": optimise.unmoved(self.optimizer, self.task.model, self.settings.optimizer),
            "made_of": self._made_of(),
        }
        checkpoint.write_state(self.directory, tensors, facts)
        if self.unwritten or not (self.directory / checkpoint.WEIGHTS).exists():
            with self.average.in_place():
                checkpoint.write_weights(self.directory, self.best or model)
            self.unwritten = False

    def measure(self, report: Report) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Put the kept weights into the model, calibrate it, and read the test part, once."""
        task, dataset = self.task, self.dataset
        if self.best is not None:
            task.model.load_state_dict(self.best)
        else:
            self.average.apply()
        task.model.eval()
        valid = None
        if len(dataset.valid):
            task.calibrate(task.batches(dataset.valid, 256))
            valid = task.evaluate(task.batches(dataset.valid, 256))
        test = task.evaluate(task.batches(dataset.test, 256)) if len(dataset.test) else None
        if test is not None:
            report.line(
                tr(
                    "test: {what} ({count} examples)",
                    what=task.summary(test),
                    count=len(dataset.test),
                )
            )
        row = {"valid": valid and plain(valid), "test": test and plain(test)}
        self.log.add(event="result", step=self.place.step, **row)
        return valid, test

    def finish(self) -> None:
        """Write the calibrated weights; everything else is there."""
        if self.directory is not None:
            checkpoint.write_weights(self.directory, self.task.model.state_dict())
        if self.board is not None:
            self.board.close()

    def _compare(self, score: list[float]) -> None:
        place = self.place
        if place.best_score is None or score > place.best_score:
            place.best_score, place.best_epoch, place.waited = score, place.epoch + 1, 0
            if self.keeps_best:
                model = self.task.model.state_dict()
                self.best = {name: value.detach().clone() for name, value in model.items()}
                self.best_step, self.unwritten = place.step, True
        else:
            place.waited += 1

    def _restore(self, state: checkpoint.State) -> None:
        differing = _differing(_with_digest(state.facts.get("made_of")), self._made_of())
        if differing is not None:
            name, was, wanted_now = differing
            raise TrainingError(
                f"{self.directory} holds another run: {name} differs",
                expected=was,
                got=wanted_now,
                fix="Repeat the command as it was, or choose another --out.",
            )
        try:
            self.place = Place.from_json(state.facts["place"])
            self.best_step = int(state.facts["best_step"])
            self.threads = min(max(int(state.facts["threads"]), 1), MOST_THREADS)
            random_facts = state.facts["random"]
            still = [str(name) for name in state.facts.get("unmoved", ())]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the facts of {state.path} are broken", got=error) from None
        model = self.task.model
        wanted = {name: value.cpu() for name, value in model.state_dict().items()}
        model.load_state_dict(state.part("model", wanted))
        if self.keeps_best and self.best_step >= 0:
            now = self.best_step == self.place.step
            best = state.part("model" if now else "best", wanted)
            self.best = {name: value.to(self.device) for name, value in best.items()}
        if self.place.step:
            optimise.restore_moments(
                self.optimizer, model, self.settings.optimizer, state.part, still
            )
        self.average.begun, self.average.count = self.place.averaging, self.place.averaged
        if self.average.count:
            learning = {name: value.detach().cpu() for name, value in model.named_parameters()}
            mean = state.part("average", learning)
            self.average.mean = {name: value.to(self.device) for name, value in mean.items()}
        carried = [name for name in state.tensors if name.startswith("carried.")]
        if carried:
            self.task.carried = {
                name.removeprefix("carried."): state.tensors[name].to(self.device)
                for name in carried
            }
        randomness.restore(state.tensors, random_facts, self.device)
        self.log.cut(self.place.log_bytes)
        self.clock = time.monotonic()

    def _made_of(self) -> dict[str, Any]:
        settings = {k: v for k, v in self.settings.to_json().items() if k not in _FREE}
        data = {"name": self.dataset.name, **self.dataset.provenance}
        made_of = {"settings": settings, "task": self.task.config(), "data": data}
        return _with_digest(json.loads(json.dumps(made_of)))

    def _pass_time(self) -> None:
        now = time.monotonic()
        self.place.seconds += now - self.clock
        self.clock = now

    def _draw(self, row: Mapping[str, Any]) -> None:
        if self.board is None:
            return
        figures = {"train/" + name: row[name] for name in ("loss", "norm", "clipped", "lr")}
        figures |= {"valid/" + name: value for name, value in row.get("valid", {}).items()}
        for name, value in figures.items():
            self.board.add_scalar(name, value, row["step"])


def _with_digest(made_of: Any) -> Any:
    """The same, with the vocabulary's checksum in its place: it can be larger than a header."""
    task = made_of.get("task") if isinstance(made_of, dict) else None
    if not isinstance(task, dict) or not isinstance(task.get("tokenizer"), dict):
        return made_of
    whole = json.dumps(task["tokenizer"], sort_keys=True).encode()
    return {**made_of, "task": {**task, "tokenizer": hashlib.sha256(whole).hexdigest()}}


def _differing(was: Any, now: Any, name: str = "") -> tuple[str, str, str] | None:
    """The first place where two JSON values differ: its name and both values."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            found = _differing(was.get(key), now.get(key), f"{name}.{key}" if name else key)
            if found:
                return found
        return None
    return None if was == now else (name, files.short(was), files.short(now))


def _board(directory: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError(
            "tensorboard",
            expected="the package tensorboard",
            got="none installed",
            fix="pip install 'unrolled[tensorboard]'",
        ) from None
    return SummaryWriter(directory / "tensorboard", purge_step=step)
