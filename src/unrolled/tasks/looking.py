"""A trained task and raw examples come in; what its network did with them goes out, step by step.

Beside the trace: how much each step had a part in an answer.
"""

from collections.abc import Sequence
from typing import Any

import torch

from unrolled.errors import UsageError
from unrolled.inspect import Trace, trace
from unrolled.inspect.attribution import Attribution, Scored, attribute
from unrolled.tasks.views import View, view

MOST = 64  # sequences that are looked at together: what is recorded is kept in memory


def look(
    task: Any,
    inputs: Any,
    *,
    target: str | None = None,
    at: int | None = None,
    ids: Sequence[str] | None = None,
) -> Trace:
    """Run a task on raw examples and record every step.

    Args:
        task: `Classify`, `Tag`, `Language`, `Translate`, `Caption`: has a method `view`, or is
            one of `VIEWS`.
        inputs: raw examples, as for `predict`: arrays, texts, lists of words; at most 64.
        target: a label: gradients are of the loss against it. Without one they are of the score of
            each sequence's own answer, which a sure network's loss would hide; of a language model
            of the text's log probability, and of a task that says things of its answer's, or of
            the text's that is given here.
        at: the word or token, from 1, whose answer alone gradients are of.
        ids: a name for each example.

    Raises:
        UsageError: there are too many examples, or no such label or step.
        DataError: they are not what the network was trained on.

    Example:
        >>> from unrolled.data import load
        >>> from unrolled.tasks.classify import Classify
        >>> digits = load("digits")
        >>> task = Classify.for_dataset(digits, cell="gru", hidden=16)
        >>> look(task, digits.test.inputs[:2])["l0"]["z"].shape
        (2, 8, 16)
    """
    seen = _view(task, inputs, target, at)
    every = torch.arange(len(inputs))
    found = trace(
        task.model,
        seen.inputs,
        lengths=seen.lengths,
        run=lambda _: seen.run(every),
        loss=lambda out: seen.score(out, every).sum(),
        ids=ids,
        tokens=seen.tokens,
        about=seen.about,
        only=seen.only,
    )
    if seen.said:
        _told_apart(found, seen)
    found.x_gradient = found.read_gradient if seen.inputs.is_floating_point() else None
    found.joiner, found.unknown = seen.joiner, seen.unknown
    with torch.no_grad():
        result = found.result.detach()
        found.answers, found.told = seen.answers(result), seen.told(result)
    return found


def looked_at(
    task: Any,
    inputs: Any,
    method: str = "gradient",
    *,
    target: str | None = None,
    at: int | None = None,
) -> Attribution:
    """What each step of raw examples had a part in: see `unrolled.inspect.attribution.attribute`.

    Args:
        task, inputs, target, at: as for `look`; the score is what gradients are of there.
        method: "gradient", "integrated" or "occlusion".

    Raises:
        UsageError, DataError: as for `look`; or there is no such method, or captum is missing.

    Example:
        >>> from unrolled.data import load
        >>> from unrolled.tasks.classify import Classify
        >>> digits = load("digits")
        >>> task = Classify.for_dataset(digits, cell="gru", hidden=16)
        >>> looked_at(task, digits.test.inputs[:2], "occlusion").parts.shape
        (2, 8)
    """
    seen = _view(task, inputs, target, at)
    scored = Scored(task.model, seen.run, seen.score, rows=len(inputs), only=seen.only)
    return attribute(scored, method, seen.lengths)


def _view(task: Any, inputs: Any, target: str | None, at: int | None) -> View:
    if not 0 < len(inputs) <= MOST:
        raise UsageError("what is looked at", expected=f"1 to {MOST} examples", got=len(inputs))
    task.model.eval()
    return view(task, inputs, target=target, at=at)


def _told_apart(found: Trace, seen: View) -> None:
    """Encoder and decoder have steps of their own, and names for them.

    A summary that is the decoder's first input makes a call of one step before the one that says
    everything, which is the last.
    """
    found.layers = list({layer.title: layer for layer in found.layers}.values())
    found.lengths, found.said = found.layers[0].one.ends().numpy(), seen.said
    for layer in found.layers:
        if layer.one.name.startswith("decoder"):
            layer.tokens = [list(one.pieces) for one in seen.said]
