"""Cells, data and one recipe come in; how the cells compare, over seeds, goes out.

Each cell gets the same number of learning rates, chosen from on the validation part alone; then the
best of them is trained anew with other seeds, and only these runs read the test part.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unrolled.errors import TrainingError, UsageError
from unrolled.history import plain
from unrolled.messages import tr
from unrolled.tasks import find
from unrolled.tasks.recipe import Recipe, build, resolve
from unrolled.train import train

from . import budget
from .intervals import differences, half_width, mean
from .ledger import Ledger
from .peak import peak

STEPS_OF_RATES = (1 / 3, 1.0, 3.0)  # of the preset's own rate
EQUAL = ("parameters", "units")


@dataclass(frozen=True)
class Contender:
    """One cell among those that are compared.

    Args:
        title: what it is called.
        hidden: H, units of a layer.
        parameters: of the whole network.
        bytes: that its training needs, or None where they were not measured.
        tries: rows of the tuning, one a learning rate.
        lr: the best of them, or None where all diverged.
        runs: rows of the seeds.
        cell: as it was asked for.
    """

    title: str
    hidden: int
    parameters: int
    bytes: int | None
    tries: list[dict[str, Any]]
    lr: float | None
    runs: list[dict[str, Any]]
    cell: Any

    def values(self, metric: str) -> dict[int, float]:
        """Seed → a figure on the test part, or the seconds, of the runs that came to an end."""
        done = [row for row in self.runs if row["stop"] == "done"]
        if metric == "seconds":
            return {row["key"]["seed"]: row["seconds"] for row in done}
        return {row["key"]["seed"]: row["measured"][metric] for row in done}


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Args:
        source: of the data.
        task: its name.
        part: "test", or "validation" where nothing was held out to test on.
        metric: the figure that a larger score follows; `larger`, whether more of it is better.
        contenders: in the order in which they were asked for.
        rows: of runs.jsonl, of these alone.
    """

    source: str
    task: str
    part: str
    metric: str
    larger: bool
    contenders: list[Contender]
    rows: list[dict[str, Any]]

    @property
    def percent(self) -> bool:
        """Whether the figure is a share."""
        values = [v for c in self.contenders for v in c.values(self.metric).values()]
        return self.larger and all(0 <= v <= 1 for v in values)

    def best(self) -> str:
        """The title of the cell with the best mean; empty where no run came to an end."""
        sign = 1 if self.larger else -1
        done = [c for c in self.contenders if c.values(self.metric)]
        means = {c.title: sign * mean(list(c.values(self.metric).values())) for c in done}
        return max(means, key=lambda t: means[t], default="")

    def table(self) -> list[dict[str, Any]]:
        """A row a cell: its size, rate, mean, interval, difference to the first cell, costs."""
        first = self.contenders[0].values(self.metric)
        found = []
        for c in self.contenders:
            values, times = c.values(self.metric), list(c.values("seconds").values())
            gaps = differences(first, values) if c is not self.contenders[0] else []
            found.append(
                {
                    "cell": c.title,
                    "hidden": c.hidden,
                    "parameters": c.parameters,
                    "lr": c.lr,
                    "edge": _edge(c),
                    "runs": len(values),
                    "diverged": len(c.runs) - len(values),
                    self.metric: _or_none(mean(list(values.values())), values),
                    "half_width": half_width(list(values.values())),
                    "difference": _or_none(mean(gaps), gaps),
                    "difference_half_width": half_width(gaps),
                    "seconds": _or_none(mean(times), times),
                    "seconds_half_width": half_width(times),
                    "bytes": c.bytes,
                }
            )
        return found


def compare(
    source: str,
    cells: Sequence[Any],
    recipe: Recipe | None = None,
    out: str | Path | None = None,
    *,
    rates: Sequence[float] = (),
    seeds: int = 3,
    equal: str = "parameters",
    memory: bool = True,
    data_dir: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Comparison:
    """Tune the learning rate of each cell, then train it with several seeds; what is in `out`
    already is not run again, and a run that was interrupted there goes on.

    Args:
        source: a dataset's name, or a path: all that `unrolled train` takes.
        cells: names, `FILE.py:Class`, classes or objects, each once.
        recipe: all other options; None is the preset's for this data. Its seed splits the data and
            tunes; the seeds that follow it are those of the comparison.
        out: a folder for runs.jsonl; None keeps rows in memory.
        rates: learning rates that each cell may choose from; empty: a third of the recipe's, its
            own, and three times it.
        seeds: runs of each cell at its best rate.
        equal: "parameters" gives each cell so many units that its network is as large as that of
            the first one at the recipe's `hidden`; "units" gives all the same units.
        memory: measure the bytes that training needs, in a process of its own for each cell.
        data_dir: a named dataset's folder.
        say: is told a line a run.

    Raises:
        UsageError: a value that it cannot have.
        UnrolledError: what `unrolled train` would raise.

    Example:
        >>> tiny = resolve("digits", assignments=["hidden=4", "epochs=1", "batch=400"])
        >>> found = compare("digits", ["gru", "rnn"], tiny, rates=[0.01], seeds=1, memory=False)
        >>> [(c.title, c.hidden) for c in found.contenders], found.metric
        ([('gru', 4), ('rnn', 8)], 'accuracy')
    """
    recipe, ledger = recipe or resolve(source), Ledger(out)
    say = say or (lambda line: None)
    rates = tuple(rates) or tuple(float(f"{recipe.training['lr'] * f:.3g}") for f in STEPS_OF_RATES)
    _checked(cells, rates, seeds, equal)
    own = [budget.traced(cell) for cell in cells]
    names = budget.titles(cells)
    _, dataset = build(source, _with(recipe, own[0]), data_dir=data_dir)
    if not len(dataset.valid) and len(rates) > 1:
        raise UsageError(
            "data to compare on",
            expected="a validation part to choose the learning rate by",
            got="none",
            fix="Hold some out, as in --set valid=0.1, or give one rate.",
        )
    bench = Bench(source, recipe, dataset, ledger, data_dir, say)
    hidden = [recipe.model["hidden"]] * len(cells)
    if equal == "parameters":
        wanted = bench.size(own[0], hidden[0])
        hidden[1:] = [bench.units(wanted, c, t) for c, t in zip(own[1:], names[1:], strict=True)]
    first = recipe.training["seed"]
    found = []
    for cell, trace, title, units in zip(cells, own, names, hidden, strict=True):
        tries = [bench.run("tune", trace, title, units, rate, first) for rate in rates]
        good = [row for row in tries if row["stop"] == "done"]
        rate = max(good, key=lambda row: row["score"])["key"]["lr"] if good else None
        runs = bench.runs(trace, title, units, rate, range(first + 1, first + 1 + seeds))
        need = bench.peak(trace, title, units) if memory else None
        size = bench.size(trace, units)
        found.append(Contender(title, units, size, need, tries, rate, runs, cell))
    rows = [row for c in found for row in (*c.tries, *c.runs)]
    metric, larger = _headline(rows)
    part = "test" if any(row["part"] == "test" for row in rows) else "validation"
    return Comparison(source, recipe.task, part, metric, larger, found, rows)


class Bench:
    """One dataset and recipe, on which any cell is sized, trained and weighed."""

    def __init__(self, source, recipe, dataset, ledger, data_dir, say):
        self.source, self.recipe, self.dataset = source, recipe, dataset
        self.ledger, self.data_dir, self.say = ledger, data_dir, say
        self.kind = find(recipe.task)
        # Data that changed under the same name is other data; a folder that moved is the same.
        facts = {**recipe.to_json(), "source": source, "data": dataset.provenance}
        for section, name in (("model", "cell"), ("model", "hidden"), ("training", "lr")):
            facts[section] = {k: v for k, v in facts[section].items() if k != name}
        facts["training"] = {k: v for k, v in facts["training"].items() if k != "seed"}
        self.digest = _digest(facts)

    def task(self, cell, hidden: int, seed: int) -> Any:
        model = {**self.recipe.model, "cell": cell, "hidden": hidden}
        return self.kind.for_dataset(self.dataset, seed=seed, **model)

    def size(self, cell, hidden: int) -> int:
        return budget.count(self.task(cell, hidden, 0).model)

    def units(self, wanted: int, cell, title: str) -> int:
        return budget.units(wanted, lambda h: self.size(cell, h), title, cell.heads)

    def _key(self, phase: str, cell, title: str, hidden: int, **rest: Any) -> dict[str, Any]:
        return {
            "phase": phase,
            "cell": title,
            "hidden": hidden,
            **rest,
            "source": self.source,
            "equations": budget.digest(cell),
            "recipe": self.digest,
        }

    def runs(self, cell, title: str, hidden: int, lr: float | None, seeds: range) -> list[dict]:
        """A row a seed; none where no learning rate was any good."""
        if lr is None:
            self.say(tr("{cell} diverged at every learning rate", cell=title))
            return []
        return [self.run("seed", cell, title, hidden, lr, seed) for seed in seeds]

    def run(self, phase: str, cell, title: str, hidden: int, lr: float, seed: int) -> dict:
        """The row of one training; only those of the phase "seed" read the test part."""
        key = self._key(phase, cell, title, hidden, lr=lr, seed=seed)
        row = self.ledger.find(key) or self._trained(key, phase, cell, hidden, lr, seed)
        self.say(_said(row))
        return row

    def _trained(self, key, phase: str, cell, hidden: int, lr: float, seed: int) -> dict:
        task = self.task(cell, hidden, seed)
        data = self.dataset if phase == "seed" else replace(self.dataset, read_test=None)
        settings = replace(self.recipe.settings(), lr=lr, seed=seed)
        folder = self.ledger.folder
        place = None if folder is None else folder / "running" / _digest(key)
        try:
            result = train(task, data, settings, place, resume=place is not None, progress=False)
        except TrainingError as error:
            if "not finite" not in error.what:
                raise
            row = self.ledger.add(key, stop="diverged", said=str(error), part="", measured={})
        else:
            measured = result.test if result.test is not None else result.valid
            if measured is None:
                raise UsageError(
                    "data to compare on",
                    expected="a test or a validation part",
                    got="neither",
                    fix="Hold some out, as in --set test=0.1",
                )
            row = self.ledger.add(
                key,
                stop="done",
                part="test" if result.test is not None else "validation",
                measured=plain(measured),
                summary=task.summary(measured),
                score=task.score(result.valid if phase == "tune" and result.valid else measured),
                valid=plain(result.valid) if result.valid else None,
                seconds=round(result.seconds, 3),
                epochs=len(result.epochs),
                best_epoch=result.best_epoch,
                steps=result.steps,
            )
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
            if not any(place.parent.iterdir()):
                place.parent.rmdir()
        return row

    def peak(self, cell, title: str, hidden: int) -> int | None:
        key = self._key("memory", cell, title, hidden)
        known = self.ledger.find(key)
        if known is None:
            recipe = _with(self.recipe, cell.to_json()).to_json()
            recipe["model"] = {**recipe["model"], "hidden": hidden}
            known = self.ledger.add(key, bytes=peak(self.source, recipe, self.data_dir))
        return known["bytes"]


def _with(recipe: Recipe, cell: Any) -> Recipe:
    return replace(recipe, model={**recipe.model, "cell": cell})


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _checked(cells: Any, rates: Any, seeds: Any, equal: Any) -> None:
    if isinstance(cells, str) or len(cells) < 1:
        raise UsageError("cells", expected="a list of at least one", got=repr(cells))
    if not all(isinstance(r, int | float) and 0 < r < 1000 for r in rates):
        raise UsageError("rates", expected="numbers above 0", got=repr(rates))
    if type(seeds) is not int or seeds < 1:
        raise UsageError("seeds", expected="at least 1", got=repr(seeds))
    if equal not in EQUAL:
        raise UsageError("equal", expected=" or ".join(EQUAL), got=repr(equal))


def _headline(rows: list[dict[str, Any]]) -> tuple[str, bool]:
    """The figure that the task's score follows, and whether more of it is better."""
    done = [row for row in rows if row["stop"] == "done"]
    if not done:
        raise TrainingError(
            "nothing to compare: every run diverged",
            fix="Try lower learning rates, as in --rates 0.0003,0.001.",
        )
    for sign in (1, -1):
        for name in done[0]["measured"]:
            if all(_scored(row).get(name) == sign * row["score"][0] for row in done):
                return name, sign > 0
    raise TrainingError("the task's score is none of the figures that it measures")


def _scored(row: dict[str, Any]) -> dict[str, float]:
    """The figures that a row's score was made of."""
    tuned = row["key"]["phase"] == "tune" and row["valid"]
    return row["valid"] if tuned else row["measured"]


def _edge(contender: Contender) -> bool:
    """Whether a better rate may lie beyond those that were tried."""
    rates = sorted(row["key"]["lr"] for row in contender.tries)
    return len(rates) > 1 and contender.lr in (rates[0], rates[-1])


def _or_none(value: float, values: Any) -> float | None:
    return value if values else None


def _said(row: dict[str, Any]) -> str:
    key = row["key"]
    what = tr("diverged") if row["stop"] == "diverged" else row["summary"]
    took = "" if row["stop"] == "diverged" else f" ({row['seconds']:.1f} s)"
    if key["phase"] == "tune":
        said = tr("{cell}, rate {rate}: validation {what}", cell=key["cell"],
                  rate=f"{key['lr']:g}", what=what)  # fmt: skip
    else:
        said = tr("{cell}, seed {seed}: {what}", cell=key["cell"], seed=key["seed"], what=what)
    return said + took
