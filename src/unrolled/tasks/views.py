"""A task and raw examples come in; what the inspector looks at goes out: how the network is run on
them, which number its gradients are of, and what stands and is answered at each step.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from unrolled.data import Split, TextPreparation
from unrolled.errors import UsageError
from unrolled.inspect.spoken import Spoken
from unrolled.messages import tr
from unrolled.tasks import reading
from unrolled.tasks.wording import heard

Told = dict[str, list[list[Any]]]


@dataclass
class View:
    """One batch of sequences, as it is looked at.

    Args:
        inputs: what the network is given, a row a sequence.
        lengths: (B) valid steps, on the CPU.
        run: from row numbers (N) to what the network returns for these sequences.
        score: from that and the row numbers to a number for each sequence, (N). Its first call is
            with all rows, as they were read: it settles what the own answers are.
        about: what this number is, in words.
        tokens: what stands at each step.
        answers: from what all sequences returned to their answers, in words.
        told: from the same to facts of each step, name → a list for each sequence.
        joiner: what stands between two tokens where they are written in a row.
        said: of a task that says things, what it said of each sequence.
        only: the name of the recurrent layer that is looked at; None means all.
        unknown: of texts, the tokens of each that the network read as "<unk>".
    """

    inputs: Tensor
    lengths: Tensor
    run: Callable[[Tensor], Any]
    score: Callable[[Any, Tensor], Tensor]
    about: str
    tokens: list[list[str]]
    answers: Callable[[Any], list[str]]
    told: Callable[[Any], Told] = field(default=lambda _: {})
    joiner: str = ""
    said: list[Spoken] = field(default_factory=list)
    only: str | None = "recurrent"
    unknown: list[list[str]] = field(default_factory=list)


class _Settled:
    """What was chosen at the first call, with all rows; then the same for any rows."""

    def __init__(self, choose: Callable[[Tensor], Tensor]):
        self.choose = choose
        self.kept: Tensor | None = None

    @torch.no_grad()
    def __call__(self, out: Tensor, rows: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.choose(out.detach())
        return self.kept[rows]


def view(task: Any, inputs: Any, *, target: str | None = None, at: int | None = None) -> View:
    """What the inspector looks at in a task.

    Args:
        task: one of `VIEWS`, or one that has a method `view` of its own.
        inputs: raw examples, as for `predict`; of a language model texts.
        target: a label: the score is the loss against it. Without one it is that of the task's own
            answer, which a sure network's loss would hide; of a language model the log probability
            of the text itself. Of a task that says things: a text, whose log probability it is.
        at: the step, from 1, whose answer alone is meant; of taggers and of
            models of texts.

    Raises:
        UsageError: there is no such label or step, or the task cannot be looked at.
        DataError: the examples are not what the network was trained on.
    """
    own = getattr(task, "view", None)
    if own is None and task.name not in VIEWS:
        raise UsageError("inspect", expected=f"a task of {', '.join(VIEWS)}", got=repr(task.name))
    return (
        own(inputs, target, at) if own is not None else VIEWS[task.name](task, inputs, target, at)
    )


def _classify(task: Any, inputs: Any, target: str | None, at: int | None) -> View:
    if at is not None:
        raise UsageError("at", expected="none, for one answer a sequence", got=at)
    raw = reading.as_inputs(inputs, task.preparation)
    batch = next(task.batches(Split(raw), len(inputs)))
    back = torch.argsort(batch.index)  # texts come sorted by length
    x = batch.inputs[back]
    full = torch.full((len(x),), x.shape[1])
    lengths = full if batch.lengths is None else batch.lengths[back]
    about, score = _measure(task, target)
    joiner = "  "
    unknown: list[list[str]] = []
    if isinstance(task.preparation, TextPreparation):
        tokens = [_words(task.preparation.tokenizer, x[b, :n]) for b, n in enumerate(lengths)]
        joiner = " " if task.preparation.tokenizer.level == "words" else ""
        for b, text in enumerate(raw):
            pieces, row = task.preparation.pieces(str(text)), x[b, : lengths[b]].tolist()
            unknown.append(heard(task.preparation.tokenizer, pieces, row, tokens[b]))
    else:
        tokens = [_places(task.preparation, int(n)) for n in lengths]

    def run(rows: Tensor) -> Tensor:
        return task.model(x[rows], None if batch.lengths is None else lengths[rows])

    return View(x, lengths, run, score, about, tokens, lambda out: _answers(task, out),
                joiner=joiner, unknown=unknown)  # fmt: skip


def _answers(task: Any, logits: Tensor) -> list[str]:
    if task.kind == "regression":
        values = logits * task.model.spread + task.model.center
        return [", ".join(f"{v:.4g}" for v in row) for row in values.tolist()]
    if task.kind == "multi":
        return [
            ", ".join(task.labels[k] for k, value in enumerate(row) if value > 0) or "–"
            for row in logits.tolist()
        ]
    return [task.labels[k] for k in logits.argmax(1).tolist()]


def _measure(task: Any, target: str | None) -> tuple[str, Callable[[Tensor, Tensor], Tensor]]:
    if task.kind == "regression":
        if target is not None:
            raise UsageError("target", expected="none, for a network of values", got=target)
        return tr("the sum of the values it answers"), lambda out, _: out.sum(1)
    if target is not None and target not in task.labels:
        raise UsageError("target", expected=f"one of {', '.join(task.labels[:20])}", got=target)
    place = task.labels.index(target) if target is not None else 0
    if task.kind == "multi":
        if target is None:
            about = tr("the scores of its own answers, yes or no, to all labels")
            signs = _Settled(torch.sign)
            return about, lambda out, rows: (out * signs(out, rows)).sum(1)
        about = tr("the loss against {label}", label=target)
        return about, lambda out, _: functional.softplus(-out[:, place])
    if target is None:
        own = _Settled(lambda out: out.argmax(1, keepdim=True))
        about = tr("the score of its own answer")
        return about, lambda out, rows: out.gather(1, own(out, rows))[:, 0]

    def against(out: Tensor, _: Tensor) -> Tensor:
        wanted = torch.full((len(out),), place)
        return functional.cross_entropy(out, wanted, reduction="none")

    return tr("the loss against {label}", label=target), against


def _places(preparation: Any, count: int) -> list[str]:
    """What stands at each step of numbers: rows or columns of an image."""
    words = {"rows": tr("row"), "columns": tr("column")}
    word = words.get(preparation.read) if preparation.form == "image" else None
    return [f"{word} {t + 1}" if word else "" for t in range(count)]


def _words(tokenizer: Any, ids: Tensor) -> list[str]:
    """Tokens as they are written; pieces of letters that are no text by themselves stay bytes."""
    if tokenizer.level == "subwords":
        return [tokenizer.decode([n]) or tokenizer.tokens[n] for n in ids.tolist()]
    return [tokenizer.tokens[n] for n in ids.tolist()]


def _language(task: Any, inputs: Any, target: str | None, at: int | None) -> View:
    if target is not None:
        raise UsageError("target", expected="none, for a language model", got=target)
    if isinstance(inputs, str) or not all(isinstance(text, str) and text for text in inputs):
        raise UsageError("the inputs", expected="a list of texts", got=repr(inputs)[:60])
    rows = [task.encode(text) for text in inputs]
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    for b, row in enumerate(rows):
        ids[b, : len(row)] = torch.tensor(row)
    places = torch.arange(ids.shape[1])
    if at is not None and int(lengths.min()) < 2:
        raise UsageError(
            "at", expected="a text of at least 2 tokens, since what comes before the first is "
            "not known", got="one of 1",
        )  # fmt: skip
    if at is not None and not 2 <= at <= int(lengths.min()):
        raise UsageError("at", expected=f"a token from 2 to {int(lengths.min())}", got=at)

    def run(chosen: Tensor) -> Tensor:
        """Log probabilities (N, T, V) of what follows each token."""
        model = task.model
        output, _ = model.recurrent(model.read(ids[chosen]), lengths=lengths[chosen])
        return model.log_probs(output)

    end = _Settled(lambda out: out[torch.arange(len(out)), lengths - 1].argmax(1))

    def score(out: Tensor, chosen: Tensor) -> Tensor:
        if at is not None:
            follows = ids[chosen, at - 1]
            return out[torch.arange(len(out)), at - 2, follows]
        ends = lengths[chosen] - 1
        follows = torch.roll(ids[chosen], -1, 1)
        likely = out.gather(2, follows[..., None])[..., 0]
        within = places < ends[:, None]
        # what follows the last token is not known: its own guess stands there
        last = out[torch.arange(len(out)), ends, end(out, chosen)]
        return (likely * within).sum(1) + last

    def told(out: Tensor) -> Told:
        found: Told = {"probability": [], "likeliest": [], "likeliest_probability": []}
        for b, row in enumerate(rows):
            before = out[b, : len(row) - 1]
            sure = before.gather(1, torch.tensor(row[1:], dtype=torch.int64)[:, None])[:, 0]
            best, which = before.max(1)
            found["probability"].append([float("nan"), *sure.exp().tolist()])
            found["likeliest"].append(["", *(_written(task, n) for n in which.tolist())])
            found["likeliest_probability"].append([float("nan"), *best.exp().tolist()])
        return found

    about = (
        tr("the log probability of the text, and of the likeliest end")
        if at is None
        else tr("the log probability of token {at}", at=at)
    )
    tokens = [[_written(task, n) for n in row] for row in rows]
    own = task.tokenizer
    unknown = [
        heard(own, own.split(own.normalise(inputs[b])), row, tokens[b])
        for b, row in enumerate(rows)
    ]
    joiner = " " if task.tokenizer.level == "words" else ""

    def answers(out: Tensor) -> list[str]:
        ends = out[torch.arange(len(out)), lengths - 1].argmax(1).tolist()
        return [repr(_written(task, n)) for n in ends]

    return View(ids, lengths, run, score, about, tokens, answers, told, joiner, unknown=unknown)


def _written(task: Any, number: int) -> str:
    return task.decode([number]) or task.tokenizer.tokens[number]


def _tag(task: Any, inputs: Any, target: str | None, at: int | None) -> View:
    from unrolled.data.sentences import Tagged

    if isinstance(inputs, str) or any(isinstance(words, str) or not words for words in inputs):
        raise UsageError("the inputs", expected="a list of lists of words", got=repr(inputs)[:60])
    sentences = [list(words) for words in inputs]
    batch = next(task.batches(Tagged(sentences), len(sentences)))
    back = torch.argsort(batch.index)
    lengths = torch.tensor([len(words) for words in sentences])
    if target is not None and target not in task.labels:
        raise UsageError("target", expected=f"one of {', '.join(task.labels[:20])}", got=target)
    if target is not None and at is None:
        raise UsageError("target", expected="a word too, whose tag is meant: --at 3", got=target)
    if at is not None and not 1 <= at <= int(lengths.min()):
        raise UsageError("at", expected=f"a word from 1 to {int(lengths.min())}", got=at)

    def part(rows: Tensor) -> Any:
        chosen = back[rows]
        size = None if batch.lengths is None else batch.lengths[chosen]
        return batch._replace(
            inputs=batch.inputs[chosen], lengths=size, index=batch.index[chosen],
            cases=batch.cases[chosen], places=batch.places[chosen],
        )  # fmt: skip

    def paths(out: Tensor) -> list[np.ndarray]:
        return task._best(out, part(torch.arange(len(sentences))))

    def numbers(out: Tensor) -> Tensor:
        rows = torch.zeros(out.shape[:2], dtype=torch.int64)
        for b, path in enumerate(paths(out)):
            rows[b, : len(path)] = torch.from_numpy(path)
        return rows[..., None]

    own = _Settled(numbers)

    def score(out: Tensor, rows: Tensor) -> Tensor:
        if target is not None and at is not None:
            wanted = torch.full((len(out),), task.labels.index(target))
            return functional.cross_entropy(out[:, at - 1], wanted, reduction="none")
        each = out.gather(2, own(out, rows))[..., 0]
        if at is not None:
            return each[:, at - 1]
        return (each * (torch.arange(out.shape[1]) < lengths[rows][:, None])).sum(1)

    def told(out: Tensor) -> Told:
        rows = torch.arange(len(sentences))
        chain = task.model.chain
        size = part(rows).lengths
        sure = torch.softmax(out, 2) if chain is None else chain.marginals(out, size)
        found: Told = {"answer": [], "probability": []}
        for path, row in zip(paths(out), sure.numpy(), strict=True):
            found["answer"].append([task.labels[k] for k in path])
            found["probability"].append([float(v) for v in row[np.arange(len(path)), path]])
        return found

    def answers(out: Tensor) -> list[str]:
        return [" ".join(task.labels[k] for k in path) for path in paths(out)]

    if target is not None:
        about = tr("the loss against {label}", label=target)
    elif at is not None:
        about = tr("the score of its own tag of word {at}", at=at)
    else:
        about = tr("the scores of its own tags")
    return View(batch.inputs[back], lengths, lambda rows: task.model(part(rows)).float(), score,
                about, sentences, answers, told, " ")  # fmt: skip


VIEWS: dict[str, Callable[..., View]] = {
    "classify": _classify,
    "language": _language,
    "tag": _tag,
}
