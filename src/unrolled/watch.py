"""Losses and gradient norms of steps come in as tensors; sums go out, or an error at the first NaN.

Where it is asked for, so does how far gradients reach, and an alarm before that NaN.

On a GPU reading one number waits for all work before it, so values are read some steps late there,
but always before a checkpoint is written.
"""

import math
from collections import deque
from typing import Any

import torch

from unrolled.errors import TrainingError, UsageError
from unrolled.messages import tr
from unrolled.optimise import Settings


class Watch:
    """Adds up what one epoch logs, and stops training that has lost its way.

    Attributes:
        loss: of the last step read.
        norm: of the last step's gradients, before clipping.
    """

    def __init__(self, settings: Settings, steps_an_epoch: int, device: torch.device):
        self.settings, self.steps_an_epoch = settings, steps_an_epoch
        self.late = 1 if device.type == "cpu" else 20
        self.waiting: list[tuple[int, torch.Tensor, torch.Tensor, int]] = []
        self.norms: deque[float] = deque(maxlen=5)
        self.loss = self.norm = 0.0

    def see(self, place: Any, loss: torch.Tensor, norm: torch.Tensor, examples: int) -> None:
        """Take note of the step about to be taken; on the CPU, before it changes a weight."""
        self.waiting.append((place.step, loss, norm, examples))
        if len(self.waiting) >= self.late:
            self.flush(place)

    def flush(self, place: Any) -> None:
        """Read what waits, into the sums of `place`.

        Raises:
            TrainingError: a loss or a norm is NaN or infinite.
        """
        if not self.waiting:
            return
        steps, waiting_losses, waiting_norms, sizes = zip(*self.waiting, strict=True)
        self.waiting = []
        if len(steps) > 1:
            losses, norms = (
                torch.stack(waiting_losses).tolist(),
                torch.stack(waiting_norms).tolist(),
            )
        else:
            losses, norms = [waiting_losses[0].item()], [waiting_norms[0].item()]
        for step, loss, norm, size in zip(steps, losses, norms, sizes, strict=True):
            self.norms.append(norm)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise self._lost(step, loss)
            place.examples += size
            place.loss_sum += loss * size
            place.norm_sum += norm
            place.clipped += bool(self.settings.clip) and norm > self.settings.clip
            self.loss, self.norm = loss, norm

    def _lost(self, step: int, loss: float) -> TrainingError:
        epoch, within = divmod(step, self.steps_an_epoch)
        what = "the gradient" if math.isfinite(loss) else f"the loss ({loss})"
        advice = [f"a lower lr than {self.settings.lr:g}", "more warmup"]
        if not self.settings.clip:
            advice.insert(1, "clip=1")
        if self.settings.precision != "float32":
            advice.append("precision=float32")
        return TrainingError(
            f"step {step + 1} (epoch {epoch + 1}, batch {within + 1}): {what} is not finite",
            expected="finite numbers",
            got="gradient norms " + ", ".join(f"{norm:.3g}" for norm in self.norms),
            fix=f"Try {', '.join(advice)}; look for extreme values in the inputs.",
        )


class GradientWatch:
    """How far gradients reach while a network trains: a row in the log now and then, and an alarm.

    It looks at the first sequences of a batch, in evaluation, and draws no random number: training
    goes on to the same bits as without it. A task's `peek(batch, count)` gives the loss of these.
    """

    every, few = 25, 4  # steps between two looks; sequences of a look

    def __init__(self, task: Any, settings: Settings, log: Any, report: Any):
        self.task, self.log, self.report = task, log, report
        self.wanted = settings.watch == "gradients"
        self.alarmed: set[str] = set()

    def see(self, place: Any, batch: Any) -> None:
        """Look, if it is time to, at the step about to be taken.

        Raises:
            UsageError: the task cannot be looked at while it trains.
        """
        if not self.wanted or place.step % self.every:
            return
        peek = getattr(self.task, "peek", None)
        if peek is None:
            raise UsageError(
                "watch", expected="none, for this task", got="gradients", fix="Leave it out."
            )
        from unrolled.inspect import flow, trace
        from unrolled.inspect.flows import table

        model, loss = self.task.model, peek(batch, self.few)
        only = "recurrent" if hasattr(model, "recurrent") else None
        seen = trace(
            model, batch.inputs[: self.few], run=lambda _: loss(), loss=lambda r: r, only=only
        )
        found = [flow(layer) for layer in seen.layers]
        self.log.add(
            event="gradients", epoch=place.epoch + 1, step=place.step + 1, layers=table(found)
        )
        for one in found:
            if one.verdict == "exploding" and one.title not in self.alarmed:
                self.alarmed.add(one.title)
                advice = " ".join(one.advice()[:2])
                self.report.line(
                    tr("alarm at step {step}: {what}. {advice}", step=place.step + 1,
                       what=one.said(), advice=advice)
                )  # fmt: skip
