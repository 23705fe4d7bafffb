"""Cells, tests of memory and budgets come in; which cell remembers how far goes out.

Every run goes on until it is solved or both of its budgets, updates and seconds, are used up; from
its curve follows what it had come to at equal updates and at equal time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from unrolled.errors import UsageError
from unrolled.messages import tr

from . import budget
from .learning import learn, network
from .ledger import Ledger
from .problems import PROBLEMS, Problem, problem


@dataclass(frozen=True)
class Plan:
    """What is tried, and when it ends.

    Args:
        tasks: adding, copy, parity, pixels.
        cells: names, `FILE.py:Class`, classes or objects.
        steps: lengths T of adding, copy and parity, from the shortest.
        pixels: lengths of pixels.
        seeds: how many, counted from `seed`.
        seed: the first.
        parameters: of each network, as near as whole units come.
        layers: L.
        rates: learning rates of Adam, tried in this order until one solves it.
        batch: sequences an update.
        clip: the largest norm of all gradients together.
        updates, seconds: of a run; an unsolved one ends when both are used up.
        every: updates between two measurements.
        give_up: lengths in a row that no seed solves, after which a cell is not tried at longer
            ones; 0 tries all.
        images: the dataset of pixels: digits, mnist, fashion-mnist, or a path of grey squares.
        data_dir: the dataset's folder.
        backend: of the layers.

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> Plan(steps=(20, 10)).steps
        (10, 20)
    """

    tasks: Sequence[str] = ("adding", "copy", "parity", "pixels")
    cells: Sequence[Any] = ("rnn", "lstm", "gru", "mingru")
    steps: Sequence[int] = (4, 8, 16, 32)
    pixels: Sequence[int] = (16, 64)
    seeds: int = 1
    seed: int = 0
    parameters: int = 5000
    layers: int = 2
    rates: Sequence[float] = (0.01,)
    batch: int = 32
    clip: float = 1.0
    updates: int = 1000
    seconds: float = 5.0
    every: int = 50
    give_up: int = 1
    images: str = "digits"
    data_dir: str | None = None
    backend: str = "auto"

    def __post_init__(self):
        for name in ("tasks", "cells", "steps", "pixels", "rates"):
            value = getattr(self, name)
            if isinstance(value, str) or not isinstance(value, Sequence) or not len(value):
                raise UsageError(name, expected="a list of at least one", got=repr(value))
        for name in ("steps", "pixels"):
            value = getattr(self, name)
            if not all(type(n) is int and n > 0 for n in value):
                raise UsageError(name, expected="whole numbers from 1", got=_listed(value))
            object.__setattr__(self, name, tuple(sorted(set(value))))
        for name in self.tasks:
            if name not in PROBLEMS:
                raise UsageError("task", expected="one of " + ", ".join(PROBLEMS), got=repr(name))
        if not all(isinstance(r, int | float) and 0 < r < 10 for r in self.rates):
            raise UsageError("rates", expected="numbers above 0", got=_listed(self.rates))
        least = {"seeds": 1, "seed": 0, "parameters": 1, "layers": 1, "batch": 1, "clip": 0}
        least |= {"updates": 1, "seconds": 0, "every": 1, "give_up": 0}
        for name, low in least.items():
            value = getattr(self, name)
            fits = isinstance(value, type(getattr(Plan, name)) | int)
            if not fits or isinstance(value, bool) or not value >= low:
                raise UsageError(name, expected=f"at least {low}", got=repr(value))


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


# The long experiments: how far each of four cells can add; permuted MNIST, ever more of its pixels.
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {},
    "adding": {
        "tasks": ("adding",),
        "steps": (50, 100, 200, 400, 800),
        "rates": (0.01, 0.003),
        "updates": 3000,
        "seconds": 60.0,
    },
    "permuted": {
        "tasks": ("pixels",),
        "images": "mnist",
        "pixels": (49, 196, 784),
        "rates": (0.01, 0.003),
        "updates": 3000,
        "seconds": 60.0,
    },
}


@dataclass(frozen=True)
class Memory:
    """What was found.

    Args:
        plan: what was tried.
        rows: of runs.jsonl, one a run, in the order of the plan.
    """

    plan: Plan
    rows: list[dict[str, Any]]

    def at(self, task: str, cell: str, steps: int, limit: str = "updates") -> list[float]:
        """Errors within the budget called `limit`, one a seed, of the best learning rate."""
        most = getattr(self.plan, limit)
        by_seed: dict[int, list[float]] = {}
        for row in self.rows:
            key = row["key"]
            if (key["task"], key["cell"], key["steps"]) == (task, cell, steps):
                by_seed.setdefault(key["seed"], []).append(within(row, limit, most))
        return [min(errors) for errors in by_seed.values()]

    def reach(self, task: str, cell: str, limit: str = "updates") -> int:
        """The longest T up to which at least half of the seeds solved each; 0 for none."""
        longest = 0
        for steps in lengths(self.plan, task):
            errors = self.at(task, cell, steps, limit)
            solved = next(r["bar"] for r in self.rows if r["key"]["task"] == task)
            if not errors or median(errors) >= solved:
                break
            longest = steps
        return longest

    def table(self) -> list[dict[str, Any]]:
        """A row for each test and cell: its size, and how far it remembered."""
        found = []
        for task in self.plan.tasks:
            for cell in map(budget.title, self.plan.cells):
                mine = [
                    r for r in self.rows if r["key"]["task"] == task and r["key"]["cell"] == cell
                ]
                if mine:
                    found.append(
                        {
                            "task": task,
                            "cell": cell,
                            "hidden": mine[0]["hidden"],
                            "parameters": mine[0]["parameters"],
                            "reach_updates": self.reach(task, cell, "updates"),
                            "reach_seconds": self.reach(task, cell, "seconds"),
                            "tried": max(r["key"]["steps"] for r in mine),
                            "seconds": round(sum(r["seconds"] for r in mine), 1),
                        }
                    )
        return found


def within(row: dict[str, Any], limit: str, most: float) -> float:
    """The lowest error that a run measured before it had used so many updates or seconds."""
    place = 0 if limit == "updates" else 1
    errors = [point[2] for point in row["curve"] if point[place] <= most]
    return min(errors, default=row["baseline"])


def lengths(plan: Plan, task: str) -> tuple[int, ...]:
    """The lengths that a test is tried at."""
    return tuple(plan.pixels if task == "pixels" else plan.steps)


def memory(
    plan: Plan | None = None,
    out: str | Path | None = None,
    *,
    say: Callable[[str], None] | None = None,
) -> Memory:
    """Train cells on tests of memory of growing length; what is in `out` already is not run again.

    Args:
        plan: what is tried; None is the quick one.
        out: a folder for runs.jsonl; None keeps rows in memory.
        say: is told a line a run.

    Raises:
        UsageError, CellError: something in the plan cannot be.
        DataError: `out` cannot be written.

    Example:
        >>> plan = Plan(("adding",), ["gru"], (4,), parameters=300, layers=1, updates=2, seconds=0)
        >>> [row["stop"] for row in memory(plan).rows]
        ['budget']
    """
    plan, ledger = plan or Plan(), Ledger(out)
    say = say or (lambda line: None)
    budget.titles(plan.cells)
    rows = []
    tests = {
        (task, steps): problem(task, steps, plan.images, plan.data_dir)
        for task in plan.tasks
        for steps in lengths(plan, task)
    }
    sizes = {
        (task, n): budget.hidden(cell, plan.parameters, test.features, test.outputs, plan.layers)
        for (task, _), test in tests.items()
        for n, cell in enumerate(plan.cells)
    }
    for task in plan.tasks:
        failed = dict.fromkeys(range(len(plan.cells)), 0)
        for steps in lengths(plan, task):
            for n, cell in enumerate(plan.cells):
                if plan.give_up and failed[n] >= plan.give_up:
                    say(
                        tr("{task}, T={steps}, {cell}: not tried, it stopped at a shorter one",
                           task=task, steps=steps, cell=budget.title(cell))
                    )  # fmt: skip
                    continue
                found = [
                    row
                    for seed in range(plan.seed, plan.seed + plan.seeds)
                    for row in _tries(
                        plan, ledger, cell, tests[task, steps], sizes[task, n], seed, say
                    )
                ]
                rows += found
                failed[n] = 0 if any(_solved(row, plan) for row in found) else failed[n] + 1
    return Memory(plan, rows)


def _tries(
    plan: Plan, ledger: Ledger, cell: Any, test: Problem, hidden: int, seed: int, say: Any
) -> list[dict[str, Any]]:
    """One learning rate after the other, until one solves it."""
    rows = []
    for rate in plan.rates:
        row = _run(plan, ledger, cell, test, hidden, seed, rate)
        say(_said(row))
        rows.append(row)
        if _solved(row, plan):
            break
    return rows


def _run(
    plan: Plan, ledger: Ledger, cell: Any, test: Problem, hidden: int, seed: int, rate: float
) -> dict[str, Any]:
    own = budget.traced(cell)
    key = {
        "task": test.name,
        "steps": test.steps,
        "cell": budget.title(cell),
        "seed": seed,
        "lr": rate,
        "hidden": hidden,
        "layers": plan.layers,
        "batch": plan.batch,
        "clip": plan.clip,
        "every": plan.every,
        "images": plan.images if test.name == "pixels" else "",
        "equations": budget.digest(own),
    }
    known = ledger.find(key, lambda row: _reaches(row, plan))
    if known is not None:
        return known
    model = network(own, test, hidden, plan.layers, seed, plan.backend)
    found = learn(
        model,
        test,
        seed=seed,
        lr=rate,
        batch=plan.batch,
        clip=plan.clip,
        updates=plan.updates,
        seconds=plan.seconds,
        every=plan.every,
    )
    return ledger.add(
        key,
        hidden=hidden,
        parameters=budget.count(model),
        baseline=test.baseline,
        bar=test.solved,
        allowed={"updates": plan.updates, "seconds": plan.seconds},
        backend=model.recurrent.backend,
        **found,
    )


def _reaches(row: dict[str, Any], plan: Plan) -> bool:
    """Whether a run of another day went as far as this plan wants: it ended, or had the budgets."""
    allowed = row["allowed"]
    enough = allowed["updates"] >= plan.updates and allowed["seconds"] >= plan.seconds
    return row["stop"] != "budget" or enough


def _solved(row: dict[str, Any], plan: Plan) -> bool:
    """Within either budget: a run of another day may have had larger ones."""
    limits = {"updates": plan.updates, "seconds": plan.seconds}
    return any(within(row, limit, most) < row["bar"] for limit, most in limits.items())


def _said(row: dict[str, Any]) -> str:
    key, error = row["key"], row["error"]
    words = {
        "solved": tr("solved"),
        "budget": tr("not solved within its budgets"),
        "diverged": tr("diverged"),
    }
    return tr(
        "{task}, T={steps}, {cell} ({hidden} units), seed {seed}, rate {rate}: {stop} after "
        "{updates} updates, {seconds} s; error {error} (without memory {baseline})",
        task=key["task"],
        steps=key["steps"],
        cell=key["cell"],
        hidden=row["hidden"],
        seed=key["seed"],
        rate=f"{key['lr']:g}",
        stop=words[row["stop"]],
        updates=row["updates"],
        seconds=f"{row['seconds']:.1f}",
        error="–" if error is None else f"{error:.4f}",
        baseline=f"{row['baseline']:.3f}",
    )
