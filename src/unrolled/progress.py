"""What a run says while it goes on: figures come in; a live bar, plain lines or nothing go out."""

import sys
import time
from typing import Any, TextIO

from unrolled.messages import tr


class Report:
    """Says how training goes: a bar on a terminal, lines elsewhere, nothing if `wanted` is False.

    Args:
        wanted: whether to say anything.
        stream: where; None is standard output.

    Example:
        >>> with Report(wanted=False) as report:
        ...     report.line("never seen")
    """

    def __init__(self, wanted: bool = True, stream: TextIO | None = None):
        self.wanted = wanted
        self.stream = stream or sys.stdout
        self.bar: Any = None
        self.total, self.first, self.began, self.said = 0, 0, 0.0, 0.0

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def line(self, text: str) -> None:
        """Say one line, above the bar if there is one."""
        if not self.wanted:
            return
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    def opening(self, task: Any, device: object, first: Any, steps: int) -> None:
        """Say what is about to run, and the shapes of the first batch that the loader yields."""
        size = sum(parameter.numel() for parameter in task.model.parameters())
        what = task.describe()
        self.line(
            tr("{what}: {size} parameters on {device}", what=what, size=f"{size:,}", device=device)
        )
        self.line(
            tr(
                "batches of inputs {inputs} and targets {targets}; {steps} steps an epoch",
                inputs=_shape(first.inputs),
                targets=_shape(first.targets),
                steps=steps,
            )
        )

    def ran(self, model: Any) -> None:
        """Say which backends took the first step, and why not faster ones."""
        from unrolled.engine.backends import said  # this module is read where no PyTorch is

        self.line(tr("backend: {names}", names=backends(model)))
        for reason in said():
            self.line(reason)

    def logged(self, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        """Say the loss of a step that is logged."""
        self.line(
            tr(
                "epoch [{epoch}/{epochs}], step [{step}/{steps}], loss {loss}",
                epoch=epoch,
                epochs=epochs,
                step=step,
                steps=steps,
                loss=f"{loss:.4f}",
            )
        )

    def epoch(self, row: dict[str, Any], epochs: int, summary: str | None, *, clips: bool) -> None:
        """Say what an epoch came to: a row of the log, and the validation score in words."""
        parts = [
            tr(
                "epoch {epoch}/{epochs}: loss {loss}",
                epoch=row["epoch"],
                epochs=epochs,
                loss=f"{row['loss']:.4f}",
            )
        ]
        if summary is not None:
            parts.append(tr("validation {what}", what=summary))
        if clips:
            parts.append(tr("clipped {share} % of steps", share=f"{100 * row['clipped']:.0f}"))
        self.line(", ".join(parts) + f" ({row['seconds']:.1f} s)")

    def begin(self, total: int, done: int) -> None:
        """Training starts: `done` of `total` steps lie behind it."""
        self.total, self.first = total, done
        self.began = self.said = time.monotonic()
        if not self.wanted or not self.stream.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            console=Console(file=self.stream),
            transient=True,
        )
        self.bar.start()
        self.bar.add_task("", total=total, completed=done)

    def due(self) -> bool:
        """Whether it is time for `step`: five times a second on a bar, else twice a minute."""
        return self.wanted and time.monotonic() - self.said > (0.2 if self.bar else 30.0)

    def step(self, step: int, loss: float, batch: int) -> None:
        """Say where training is: steps done, the latest loss, sequences a second, time left."""
        self.said = time.monotonic()
        pace = max(step - self.first, 1) / max(self.said - self.began, 1e-9)
        if self.bar is not None:
            said = tr(
                "loss {loss} · {rate} sequences/s",
                loss=f"{loss:.4f}",
                rate=_thousands(pace * batch),
            )
            self.bar.update(self.bar.task_ids[0], completed=step, description=said)
            return
        self.line(
            tr(
                "step {step} of {total}: loss {loss}, {rate} sequences/s, {left} s left",
                step=step,
                total=self.total,
                loss=f"{loss:.4f}",
                rate=_thousands(pace * batch),
                left=round((self.total - step) / pace),
            )
        )

    def told(self, done: int, said: str) -> None:
        """Say where work is that has no steps of its own: how much is done, and what it does."""
        if not self.due():
            return
        self.said = time.monotonic()
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=done, description=said)
            return
        self.line(f"{said} ({100 * done // max(self.total, 1)} %)")

    def close(self) -> None:
        """Take the bar away; lines may follow."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def backends(model: Any) -> str:
    """The backends that the layers of a model last ran on, each once.

    Example:
        >>> from unrolled import LSTM
        >>> backends(LSTM(2, 3, backend="reference"))
        'reference'
    """
    ran = {module.backend: None for module in model.modules() if hasattr(module, "backend")}
    return ", ".join(ran) or "torch"


def _thousands(number: float) -> str:
    return f"{number:,.0f}"


def _shape(tensor: Any) -> str:
    return "-" if tensor is None else f"{tuple(tensor.shape)} {str(tensor.dtype)[6:]}"
