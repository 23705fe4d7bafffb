"""A trained task and raw examples come in; the trace of what its network did with them goes out."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unrolled.data import Split, TextPreparation
from unrolled.errors import UsageError
from unrolled.inspect import Trace, trace
from unrolled.messages import tr
from unrolled.tasks import reading

MOST = 64  # sequences that are looked at together: what is recorded is kept in memory


def look(
    task: Any,
    inputs: Any,
    *,
    target: str | None = None,
    ids: Sequence[str] | None = None,
) -> Trace:
    """Run a many-to-one task on raw examples and record every step.

    Args:
        task: `Classify`, or one like it.
        inputs: raw examples or texts, as for `predict`; at most 64.
        target: a label: gradients are of the loss against it. Without one they are of the score of
            each sequence's own answer, which a sure network's loss would hide.
        ids: a name for each example.

    Raises:
        UsageError: there are too many examples, or no such label.
        DataError: they are not what the network was trained on.

    Example:
        >>> from unrolled.data import load
        >>> from unrolled.tasks.classify import Classify
        >>> digits = load("digits")
        >>> task = Classify.for_dataset(digits, cell="gru", hidden=16)
        >>> look(task, digits.test.inputs[:2])["l0"]["z"].shape
        (2, 8, 16)
    """
    if not 0 < len(inputs) <= MOST:
        raise UsageError("what is looked at", expected=f"1 to {MOST} examples", got=len(inputs))
    raw = reading.as_inputs(inputs, task.preparation)
    batch = next(task.batches(Split(raw), len(inputs)))
    about, loss = _measure(task, target)
    ends = torch.full((len(inputs),), batch.inputs.shape[1])
    lengths = (ends if batch.lengths is None else batch.lengths).tolist()
    seen = trace(
        task.model,
        batch.inputs,
        lengths=batch.lengths,
        loss=loss,
        ids=ids,
        tokens=[_steps(task, int(n)) for n in lengths],
        about=about,
    )
    seen.answers = _answers(task, seen.result.detach())
    return seen


def _answers(task: Any, logits: Tensor) -> list[str]:
    if task.kind == "regression":
        values = logits * task.model.spread + task.model.center
        return [", ".join(f"{v:.4g}" for v in row) for row in values.tolist()]
    return [task.labels[k] for k in logits.argmax(1).tolist()]


def _measure(task: Any, target: str | None) -> tuple[str, Any]:
    if task.kind == "regression":
        if target is not None:
            raise UsageError("target", expected="none, for a network of values", got=target)
        return tr("the sum of the values it answers"), lambda result: result.sum()
    if target is None:
        return tr("the score of its own answer"), lambda result: result.amax(1).sum()
    if target not in task.labels:
        raise UsageError("target", expected=f"one of {', '.join(task.labels[:20])}", got=target)
    place = task.labels.index(target)

    def against(result: Tensor) -> Tensor:
        wanted = torch.full((len(result),), place)
        return functional.cross_entropy(result, wanted, reduction="sum")

    return tr("the loss against {label}", label=target), against


def _steps(task: Any, count: int) -> list[str]:
    """What stands at each step: rows or columns of an image."""
    if isinstance(task.preparation, TextPreparation):
        return [""] * count
    words = {"rows": tr("row"), "columns": tr("column")}
    word = words.get(task.preparation.read) if task.preparation.form == "image" else None
    return [f"{word} {t + 1}" if word else "" for t in range(count)]
