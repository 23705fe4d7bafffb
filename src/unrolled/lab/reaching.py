"""Cells and sequences come in; how far gradients reach, at first and after training, goes out.

Beside each measured curve stand theory's; and what clipping does to a network that explodes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import UsageError
from unrolled.inspect import LayerTrace, trace
from unrolled.messages import tr
from unrolled.tasks.looking import look
from unrolled.tasks.recipe import Recipe, build, resolve
from unrolled.train import train

from . import budget, clipping
from .comparing import Bench
from .learning import learn, network
from .ledger import Ledger
from .problems import HELD, TRAIN, problem
from .reach import reach

PHASES = ("start", "trained")
PASSAGE = 100  # tokens of a text that are looked at together


@dataclass(frozen=True)
class Study:
    """What is looked at.

    Args:
        cells: names, `FILE.py:Class`, classes or objects.
        task: a test of memory: adding, copy, parity, pixels. Not asked for where there is data.
        steps: T of the test.
        hidden: H, the same for all; of the user's data the recipe's.
        updates: of the training; 0 looks at first weights alone.
        rate: learning rate of Adam.
        batch: sequences an update.
        clip: the largest norm of all gradients together, in the training and in what is clipped.
        seed: of weights and draws.
        sequences: that are looked at.
        exploding: the cell that is made to explode; None leaves that out.
        rho: what its U multiplies by.
        clipped: updates of that network; no more than `updates`, and none where that is 0.
        backend: of the layers.

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> Study(steps=50).cells
        ('rnn', 'lstm', 'gru', 'mingru')
    """

    cells: Sequence[Any] = ("rnn", "lstm", "gru", "mingru")
    task: str = "adding"
    steps: int = 100
    hidden: int = 32
    updates: int = 1500
    rate: float = 0.01
    batch: int = 32
    clip: float = 1.0
    seed: int = 0
    sequences: int = 4
    exploding: Any = "rnn-relu"
    rho: float = 1.05
    clipped: int = 200
    backend: str = "auto"

    def __post_init__(self):
        if isinstance(self.cells, str) or not len(self.cells):
            raise UsageError("cells", expected="a list of at least one", got=repr(self.cells))
        least = {"steps": 2, "hidden": 1, "updates": 0, "batch": 1, "seed": 0, "sequences": 1}
        for name, low in {**least, "rate": 0, "clip": 0, "rho": 0, "clipped": 1}.items():
            value = getattr(self, name)
            fits = isinstance(value, type(getattr(Study, name)) | int)
            if not fits or isinstance(value, bool) or not value >= low:
                raise UsageError(name, expected=f"at least {low}", got=repr(value))


@dataclass(frozen=True)
class Gradients:
    """What was found.

    Args:
        study: what was looked at.
        rows: one for each cell and phase (`start`, `trained`): `gain`, `gates`, `radius`, …
        clips: two of the exploding network: without clipping, and with it; or none.
        source: the user's data, or "" for a test of memory.
    """

    study: Study
    rows: list[dict[str, Any]]
    clips: list[dict[str, Any]]
    source: str = ""

    def table(self) -> list[dict[str, Any]]:
        """A row for each cell and phase, without its curves."""
        return [
            {
                "cell": row["key"]["cell"],
                "phase": row["key"]["phase"],
                "steps": len(row["gain"]) - 1,
                **{name: row[name] for name in ("rate", "radius", "gate_rate", "exponent")},
                "horizon": row["horizon"],
                "left": row["gain"][-1],
            }
            for row in self.rows
        ]

    def long(self) -> Iterator[dict[str, Any]]:
        """A tidy table: a row for each cell, phase and distance, theory beside it."""
        for row in self.rows:
            gates = row["gates"] or [None] * len(row["gain"])
            for k, (gain, gate) in enumerate(zip(row["gain"], gates, strict=True)):
                yield {
                    "cell": row["key"]["cell"],
                    "phase": row["key"]["phase"],
                    "distance": k,
                    "gain": gain,
                    "radius_power": row["radius"] ** k,
                    "gates": "" if gate is None else gate,
                }


def gradients(
    study: Study | None = None,
    out: str | Path | None = None,
    *,
    source: str | None = None,
    recipe: Recipe | None = None,
    data_dir: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Gradients:
    """How far gradients reach in cells, before and after they learnt something.

    Args:
        study: what is looked at; None is the usual.
        out: a folder for runs.jsonl; None keeps rows in memory. What is there is not run again.
        source: a dataset's name, or a path: cells are trained on that, as `unrolled train` would,
            and looked at on the first sequences of its validation part.
        recipe: all other options for it; None is the preset's.
        data_dir: a named dataset's folder.
        say: is told a line a network.

    Raises:
        UsageError, CellError: something in the study cannot be.
        DataError: the data cannot be read, or `out` cannot be written.

    Example:
        >>> study = Study(["gru"], steps=10, hidden=4, updates=0, exploding=None)
        >>> [(row["cell"], row["phase"]) for row in gradients(study).table()]
        [('gru', 'start')]
    """
    study, ledger = study or Study(), Ledger(out)
    say = say or (lambda line: None)
    titles = budget.titles(study.cells)
    cells = [budget.traced(cell) for cell in study.cells]  # a name that is none shows now
    bench: Any = None
    if source is not None:
        recipe = recipe or resolve(source)
        first = replace(recipe, model={**recipe.model, "cell": cells[0]})
        _, data = build(source, first, data_dir=data_dir)
        bench = Bench(source, recipe, data, ledger, data_dir, say)
    explodes = bench is None and study.exploding is not None
    if explodes:
        _explodes(study)
    rows = []
    for own, title in zip(cells, titles, strict=True):
        if bench is None:
            facts, run = _memory(study, own)
        else:
            facts, run = _data(bench, study, own)
        key = {"cell": title, "equations": budget.digest(own), "seed": study.seed, **facts}
        for phase, layer in run:
            whole = {"phase": phase, **key}
            row = ledger.find(whole)
            row = ledger.add(whole, **_row(layer(), study.sequences)) if row is None else row
            say(_said(row))
            rows.append(row)
    clips = _clips(study, ledger, say) if explodes and study.updates else []
    return Gradients(study, rows, clips, source or "")


Looks = Iterator[tuple[str, Callable[[], LayerTrace]]]


def _memory(study: Study, cell) -> tuple[dict[str, Any], Looks]:
    """What decides a network of a test of memory, and its layer in each phase."""
    test = problem(study.task, study.steps)
    x, _ = test.draw(study.sequences, HELD, TRAIN)

    def looks() -> Looks:
        model = network(cell, test, study.hidden, 1, study.seed, study.backend)

        def layer() -> LayerTrace:
            return trace(model, x, loss=None).layers[0]

        def trained() -> LayerTrace:
            learn(
                model, test, seed=study.seed, lr=study.rate, batch=study.batch, clip=study.clip,
                updates=study.updates, seconds=0, every=50,
            )  # fmt: skip
            return layer()

        yield "start", layer
        if study.updates:
            yield "trained", trained

    names = ("task", "steps", "hidden", "updates", "rate", "batch", "clip", "sequences")
    return {name: getattr(study, name) for name in names}, looks()


def _data(bench: Bench, study: Study, cell) -> tuple[dict[str, Any], Looks]:
    """The same of a network that is trained on data."""
    hidden = bench.recipe.model["hidden"]
    some = _examples(bench.dataset, study.sequences)

    def looks() -> Looks:
        task = bench.task(cell, hidden, study.seed)

        def layer() -> LayerTrace:
            seen = look(task, some).layers
            return next(one for one in reversed(seen) if not one.one.direction)

        def trained() -> LayerTrace:
            settings = replace(bench.recipe.settings(), seed=study.seed)
            train(task, replace(bench.dataset, read_test=None), settings, progress=False)
            return layer()

        yield "start", layer
        yield "trained", trained

    return {"hidden": hidden, "source": bench.source, "recipe": bench.digest}, looks()


def _examples(dataset: Any, count: int) -> Any:
    """The first raw examples of the validation part: of a text as many passages of it."""
    part = dataset.valid if len(dataset.valid) else dataset.train
    if not hasattr(part, "take"):
        starts = range(0, min(count * PASSAGE, len(part)), PASSAGE)
        return [dataset.tokenizer.decode(part.ids[n : n + PASSAGE]) for n in starts]
    some = part.take(range(min(count, len(part))))
    return some.words if hasattr(some, "words") else some.inputs


def _row(layer: LayerTrace, sequences: int) -> dict[str, Any]:
    found = reach(layer, sequences)
    gates = None if found.gates is None else list(map(_short, found.gates))
    rate = None if found.gates is None else float(_rate(found.gates))
    return {
        "gain": list(map(_short, found.gain)),
        "gates": gates,
        "rate": found.rate,
        "radius": found.radius,
        "gate_rate": rate,
        "exponent": found.exponent if np.isfinite(found.exponent) else None,
        "horizon": found.horizon,
    }


def _rate(gates: np.ndarray) -> float:
    """What one step keeps, on the way to the last that keeps anything."""
    last = int(np.flatnonzero(gates > 1e-37)[-1])
    return float(gates[last] ** (1 / last)) if last else 0.0


def _short(value: float) -> float:
    """Six digits; a float that overflowed is the largest there is, which JSON can write."""
    return float(f"{min(value, 1e308):.6g}")


def _explodes(study: Study) -> clipping.Network:
    """The network that is made to explode."""
    own, test = budget.traced(study.exploding), problem(study.task, study.steps)
    return clipping.exploding(own, test, study.hidden, study.rho, study.seed)


def _clips(study: Study, ledger: Ledger, say: Callable[[str], None]) -> list[dict[str, Any]]:
    own, title = budget.traced(study.exploding), budget.title(study.exploding)
    updates = min(study.clipped, study.updates)
    test, rows = problem(study.task, study.steps), []
    for clip in (0.0, study.clip or 1.0):
        key = {
            "phase": "exploding", "cell": title, "equations": budget.digest(own), "rho": study.rho,
            "clip": clip, "task": study.task, "steps": study.steps, "hidden": study.hidden,
            "updates": updates, "batch": study.batch, "seed": study.seed,
        }  # fmt: skip
        row = ledger.find(key)
        if row is None:
            model = _explodes(study)
            options = {"updates": updates, "batch": study.batch, "seed": study.seed}
            row = ledger.add(key, **clipping.train(model, test, clip=clip, **options))
        rows.append(row)
        say(_clip_said(row))
    return rows


def _said(row: dict[str, Any]) -> str:
    phases = {"start": tr("at the start"), "trained": tr("after training")}
    steps = len(row["gain"]) - 1
    reaches = (
        tr("more than 1 % survives all {steps} steps", steps=steps)
        if row["horizon"] is None
        else tr("less than 1 % is left after {steps} steps", steps=row["horizon"])
    )
    return tr(
        "{cell}, {phase}: each step back multiplies by {rate} (spectral radius {radius}); "
        "{reaches}",
        cell=row["key"]["cell"],
        phase=phases[row["key"]["phase"]],
        rate=f"{row['rate']:.3f}",
        radius=f"{row['radius']:.3f}",
        reaches=reaches,
    )


def _clip_said(row: dict[str, Any]) -> str:
    key = row["key"]
    how = tr("clipped at {clip}", clip=f"{key['clip']:g}") if key["clip"] else tr("not clipped")
    if row["stop"] == "diverged":
        return tr(
            "{cell}, U = {rho} times the identity, {how}: diverged at update {update}",
            cell=key["cell"], rho=f"{key['rho']:g}", how=how, update=len(row["losses"]) + 1,
        )  # fmt: skip
    return tr(
        "{cell}, U = {rho} times the identity, {how}: loss {first} at first, {last} after "
        "{updates} updates",
        cell=key["cell"],
        rho=f"{key['rho']:g}",
        how=how,
        first=f"{row['losses'][0]:.3g}",
        last=f"{row['losses'][-1]:.3g}",
        updates=len(row["losses"]),
    )
