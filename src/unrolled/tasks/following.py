"""A trained task, texts and a predicate come in; the units that follow it go out, scored elsewhere.

States are read without gradients, window by window where a text is long.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.data import pronouns
from unrolled.errors import UsageError
from unrolled.inspect.finder import Follower, Part, followers
from unrolled.inspect.predicates import Predicate, find
from unrolled.tasks.views import view

WINDOW = 4096  # tokens of a language model's text that are read at a time
TOGETHER = 64  # sequences of another task


@dataclass
class States:
    """What units were after each token of one sequence.

    Args:
        tokens: as they stand in the text; joiner: what stands between two.
        values: layer and name, `l0.c` → (T, H).
        wanted: what is followed, (T), NaN where it is not counted; empty where nothing is.
    """

    tokens: list[str]
    joiner: str
    values: dict[str, np.ndarray]
    wanted: np.ndarray


@dataclass
class Found:
    """The units that follow a predicate, with what was read.

    Args:
        units: the best first.
        held: the sequences that they were scored on.
        gates: name → the mean of the best unit's gate at steps where what is followed rises, where
            it falls, and elsewhere; NaN where there is no such step.
    """

    units: list[Follower]
    held: list[States]
    gates: dict[str, tuple[float, float, float]]

    def shown(self) -> tuple[States, np.ndarray]:
        """The first held-out sequence where what is followed changes, and the best unit there."""
        best = self.units[0]

        def changes(row: States) -> bool:
            told = row.wanted[np.isfinite(row.wanted)]
            return len(told) > 1 and bool((np.diff(told) != 0).any())

        row = next(filter(changes, self.held), self.held[0])
        return row, row.values[best.name][:, best.unit]


def predicate(words: str) -> Predicate:
    """The predicate of a name or a regular expression; `subject` is that of the data `pronouns`.

    Raises:
        UsageError: it is no regular expression.
    """
    if words == "subject":
        return Predicate("subject", pronouns.subjects)
    return find(words)


def followable(task: Any) -> None:
    """Raise unless a task reads texts token by token in its `model.recurrent`.

    Raises:
        UsageError: it does not.
    """
    if not task.reads_texts or task.name == "translate":
        raise UsageError(
            "--find", expected="a classifier or tagger of texts, or a language model",
            got=task.describe(),
        )  # fmt: skip


def following(
    task: Any,
    inputs: Any,
    what: str,
    *,
    tags: Sequence[Sequence[str]] | None = None,
    count: int = 5,
    unit: tuple[str, int] | None = None,
) -> Found:
    """The units of a task that follow a predicate along texts.

    They are chosen on the first half of what is given (of its sequences, or of the only one) and
    scored on the second.

    Args:
        task: one that reads texts.
        inputs: texts, or for a tagger lists of words.
        what: `quotes`, `line-position`, `brackets`, `subject`, `tag:NAME`, a regular expression.
        tags: of each word, for `tag:NAME`.
        count: how many units.
        unit: one that is told first, such as ("l0.c", 12), however well it follows.

    Raises:
        UsageError: what is followed is never so, or always, or cannot be read.

    Example:
        >>> from unrolled.data.corpus import corpus_of
        >>> from unrolled.tasks.language import Language
        >>> text = 'he said "no" and "yes, I do" to all. ' * 20
        >>> task = Language.for_dataset(corpus_of(text), cell="gru", hidden=8)
        >>> following(task, [text], "quotes").units[0].measure
        'AUC'
    """
    followable(task)
    names = tuple(task.model.recurrent.cell.states)
    asked = None if what.startswith("tag:") else predicate(what)
    if asked is None:
        _tagged(task, what, tags)
    seen = list(states_of(task, inputs, names))
    for k, row in enumerate(seen):
        if asked is not None:
            row.wanted = asked.along(row.tokens, row.joiner)
        elif tags is not None:
            row.wanted = np.array([float(tag == what[4:]) for tag in tags[k]])
    if what == "subject" and not any(np.isfinite(row.wanted).any() for row in seen):
        raise UsageError(
            "--find subject", expected="stories of the data pronouns", got="texts of another kind",
            fix="What else is followed is told by a regular expression.",
        )  # fmt: skip
    chosen, held = halves(seen)
    yes_or_no = asked is None or asked.yes_or_no
    units = followers(_joined(chosen), _joined(held), yes_or_no=yes_or_no, count=count,
                      first_told=unit)  # fmt: skip
    return Found(units, held, _gates(task, inputs, seen, units[0]))


def _tagged(task: Any, what: str, tags: Sequence[Sequence[str]] | None) -> None:
    """Refuse a tag that stands nowhere, or that cannot.

    Raises:
        UsageError: it does.
    """
    if tags is None and task.name != "tag":
        raise UsageError(
            f"--find {what}", expected="a tagger and a file of columns", got=task.describe()
        )
    if tags is None:
        raise UsageError(
            f"--find {what}", expected="words with their tags: a file of columns", got="none"
        )
    known = sorted({tag for row in tags for tag in row})
    if what[4:] not in known:
        raise UsageError(f"--find {what}", expected=f"one of {', '.join(known[:40])}", got=what[4:])


def halves(seen: list[States]) -> tuple[list[States], list[States]]:
    """The first half of the sequences and the second; of a single one, of its steps."""
    if len(seen) > 1:
        middle = len(seen) // 2
        return seen[:middle], seen[middle:]
    one, middle = seen[0], len(seen[0].tokens) // 2
    for k in range(middle, min(middle + 200, len(one.tokens) - 1)):
        if "\n" in one.tokens[k]:  # the second half begins with a line, where one ends soon
            middle = k + 1
            break

    def part(steps: slice) -> States:
        values = {k: v[steps] for k, v in one.values.items()}
        return States(one.tokens[steps], one.joiner, values, one.wanted[steps])

    return [part(slice(0, middle))], [part(slice(middle, None))]


def _joined(rows: list[States]) -> Part:
    values = {k: np.concatenate([row.values[k] for row in rows]) for k in rows[0].values}
    return Part.of(values, np.concatenate([row.wanted for row in rows]))


def _gates(task, inputs, seen, best: Follower) -> dict[str, tuple[float, float, float]]:
    """The best unit's gates where what it follows rises and falls, and elsewhere."""
    cell = task.model.recurrent.cell
    names = [n for n in cell.observed if n in cell.gates]
    place = best.name.rpartition(".")[0]
    sums = {n: np.zeros((3, 2)) for n in names}
    if not names:
        return {}
    only = states_of(task, inputs, tuple(names), unit=best.unit)
    for row, told in zip(only, seen, strict=True):
        if len(told.wanted) < 2:
            continue
        change = np.diff(told.wanted)
        for n in names:
            value = row.values[f"{place}.{n}"][1:, 0]
            for which, steps in enumerate((change > 0, change < 0, change == 0)):
                sums[n][which] += value[steps].sum(), steps.sum()
    nan = float("nan")
    return {n: tuple(float(a / k) if k else nan for a, k in s) for n, s in sums.items()}  # type: ignore[misc]  # three of them


@torch.no_grad()
def states_of(
    task: Any, inputs: Any, names: tuple[str, ...], unit: int | None = None
) -> Iterator[States]:
    """What units were after each token of each sequence, in the order of the inputs.

    Args:
        task: one that reads sequences in its `model.recurrent`.
        inputs: as for `predict`; of a language model texts.
        names: of states and gates.
        unit: one unit alone; None is all.
    """
    task.model.eval()
    if task.name == "language":
        for text in inputs:
            yield _of_text(task, text, names, unit)
        return
    for first in range(0, len(inputs), TOGETHER):
        some = inputs[first : first + TOGETHER]
        seen = view(task, some)
        with observing(task.model.recurrent, names) as told:
            seen.run(torch.arange(len(some)))
        for b, (tokens, length) in enumerate(zip(seen.tokens, seen.lengths.tolist(), strict=True)):
            values = {
                k: _chosen(v[b, :length], unit) for k, v in _named(task, told[0]).items()
            }  # fmt: skip
            yield States(list(tokens), seen.joiner, values, np.zeros(0))


def _of_text(task, text: str, names, unit) -> States:
    ids = task.encode(text)
    state: Any = None
    parts: dict[str, list[np.ndarray]] = {}
    for first in range(0, len(ids), WINDOW):
        window = torch.tensor([ids[first : first + WINDOW]])
        _, state, told = task.model.recurrent(task.model.read(window), state, observe=names)
        for k, v in _named(task, told).items():
            parts.setdefault(k, []).append(_chosen(v[0], unit))
    tokens = [task.decode([n]) or task.tokenizer.tokens[n] for n in ids]
    joiner = " " if task.tokenizer.level == "words" else ""
    values = {k: np.concatenate(v) for k, v in parts.items()}
    return States(tokens, joiner, values, np.zeros(0))


def _chosen(value: Tensor, unit: int | None) -> np.ndarray:
    return (value if unit is None else value[:, unit : unit + 1]).numpy()


def _named(task: Any, told: dict[str, Tensor]) -> dict[str, Tensor]:
    """`l0.c`, `l1_reverse.h` → (B, T, H), from name → (L·D, B, T, H)."""
    both = task.model.recurrent.directions
    return {
        f"l{row // both}{'_reverse' * (row % both)}.{name}": value[row]
        for name, value in told.items() for row in range(len(value))
    }  # fmt: skip


@contextmanager
def observing(layers: Any, names: tuple[str, ...]) -> Iterator[list[dict[str, Tensor]]]:
    """Let recurrent layers, called by somebody else in this block, tell values by name too."""
    told: list[dict[str, Tensor]] = []

    def ask(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return args, {**options, "observe": names}

    def keep(_: Any, __: Any, result: tuple[Any, ...]) -> Any:
        told.append(result[2])
        return result[:2]

    hooks = [layers.register_forward_pre_hook(ask, with_kwargs=True),
             layers.register_forward_hook(keep)]  # fmt: skip
    try:
        yield told
    finally:
        for hook in hooks:
            hook.remove()
