"""A language model and a text come in; the figures of one that learns while it reads go out.

Dynamic evaluation: each window is predicted first, which counts, and then learnt from, so that
names and turns that a text repeats are known the second time. The model is left as it was.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from unrolled.data import windows
from unrolled.data.corpus import Text
from unrolled.errors import UsageError
from unrolled.tasks.language import Language, States

_DAMPING = 1e-8  # beside a gradient that was never large


@dataclass(frozen=True)
class Adapting:
    """How a model learns from what it has read.

    Args:
        rate: what a weight moves by where its gradient has its usual size; after a long time
            without any it may be up to 1 / sqrt(1 - memory) times as much.
        memory: the share that a window leaves of the mean square of the gradients before it.
        window: T, steps between two updates, and of backpropagation.

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> Adapting(rate=-1)
        Traceback (most recent call last):
        unrolled.errors.UsageError: adapt: expected a rate from 0 to 1, got -1.
    """

    rate: float = 4e-4
    memory: float = 0.999
    window: int = 32

    def __post_init__(self):
        if not isinstance(self.rate, int | float) or not 0 <= self.rate <= 1:
            raise UsageError("adapt", expected="a rate from 0 to 1", got=repr(self.rate))
        if not isinstance(self.memory, int | float) or not 0 <= self.memory < 1:
            raise UsageError("memory", expected="a share below 1", got=repr(self.memory))
        if type(self.window) is not int or self.window < 1:
            raise UsageError(
                "window", expected="a whole number of at least 1", got=repr(self.window)
            )


def adapted(
    task: Language,
    text: Text,
    how: Adapting | None = None,
    told: Callable[[float], Any] | None = None,
) -> dict[str, Any]:
    """Figures of a text that is read once from left to right, each window learnt once it counted.

    Args:
        task: the model, without dropout; its weights are put back in the end.
        text: what is read.
        how: it learns.
        told: called with the share that is read.

    Returns:
        As `Language.measured`.

    Raises:
        UsageError: all weights are frozen, or what the model says is no number: its weights are
            none, or the rate is too large.

    Source: Krause, Kahembwe, Murray, Renals 2018, arXiv:1709.07432. The mean squares that scale the
    gradients are those of the text so far, not of the training text, which need not be at hand.

    Example:
        >>> from unrolled.data.corpus import corpus_of
        >>> text = corpus_of("the rain in spain stays mainly in the plain. " * 20, test=0.5)
        >>> task = Language.for_dataset(text, cell="gru", hidden=16)
        >>> still = task.evaluate(task.batches(text.test, 1))["loss"]
        >>> adapted(task, text.test, Adapting(rate=0.01, window=8))["loss"] < still
        True
    """
    how = how or Adapting()
    model = task.model
    weights = [p for p in model.parameters() if p.requires_grad]
    if not weights:
        raise UsageError(
            "adapt", expected="weights to be learnt", got="a frozen model",
            fix="model.requires_grad_()",
        )  # fmt: skip
    before = [p.detach().clone() for p in weights]
    squares = [torch.zeros_like(p) for p in weights]
    device, training = weights[0].device, model.training
    nats, count, seen = 0.0, 0, 0.0
    state: States = {}
    model.eval()
    try:
        for number, window in enumerate(windows.evaluation(text.ids, 1, how.window)):
            window = task.move(window, device)
            with torch.enable_grad():
                losses, after = task.losses(window, state)
                gradients = torch.autograd.grad(losses.mean(), weights, allow_unused=True)
            state = {name: value.detach() for name, value in after.items()}
            nats += losses.detach().double().sum().item()
            count += len(losses)
            if not math.isfinite(nats):
                fix = "Lower the rate." if number else "Train the model anew: its weights are none."
                raise UsageError(f"adapt={how.rate}", expected="finite losses", got=nats, fix=fix)
            seen = how.memory * seen + 1 - how.memory
            _learn(weights, gradients, squares, how, seen)
            if told is not None and number % 50 == 0:
                told(count / max(len(text) - 1, 1))
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)
        model.train(training)
    return task.measured(nats, count, text)


@torch.no_grad()
def _learn(weights, gradients, squares, how: Adapting, seen: float) -> None:
    """One update; `seen` is what the weights of all squares add up to."""
    for weight, gradient, square in zip(weights, gradients, squares, strict=True):
        square.mul_(how.memory)
        if gradient is None:  # a cluster of an adaptive softmax that no target fell into
            continue
        square.addcmul_(gradient, gradient, value=1 - how.memory)
        usual = square.div(seen).sqrt_().add_(_DAMPING)
        weight.addcdiv_(gradient, usual, value=-how.rate)
