"""`unrolled lab`: cells come in; an experiment goes out, as a table, rows and a picture."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli.columns import draw_to, going_on, numbers, print_table, teller, unset, words
from unrolled.cli.compare import compare
from unrolled.errors import UsageError
from unrolled.messages import tr

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)
_Flag = typer.Option

app.command()(compare)

Cells = Annotated[str | None, _Flag(help="Cells by name or FILE.py:Class: a,b,c.")]
Folder = Annotated[
    str | None, _Flag("--data", metavar="DIR", help="The folder with the dataset's files.")
]
Out = Annotated[
    str | None,
    _Flag(metavar="DIR", help="Where rows and pictures go; what is there is not redone."),
]
Dark = Annotated[bool, _Flag("--dark", help="The picture for a dark screen.")]
AsJson = Annotated[bool, _Flag("--json", help="Print JSON; progress goes to standard error.")]
Backend = Annotated[str | None, _Flag(help="auto, torch, c or reference.")]


@app.callback()
def lab() -> None:
    """Experiments with cells: gradients, memory, compare."""


@app.command()
def gradients(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="Train on this, and not on a test of memory."),
    ] = None,
    cells: Cells = None,
    task: Annotated[
        str | None, _Flag(help="The test of memory: adding, copy, parity, pixels.")
    ] = None,
    steps: Annotated[int | None, _Flag(help="Length of its sequences.")] = None,
    hidden: Annotated[int | None, _Flag(help="Units of each network.")] = None,
    updates: Annotated[
        int | None,
        _Flag(
            help="Updates of the training; 0 looks at first weights alone. The exploding network "
            "gets no more, and 200 at the most."
        ),
    ] = None,
    rho: Annotated[
        float | None, _Flag(help="What the U of the exploding network multiplies by.")
    ] = None,
    exploding: Annotated[
        str | None, _Flag(metavar="CELL", help="The cell that is made to explode, or none.")
    ] = None,
    clip: Annotated[float | None, _Flag(help="The largest norm of all gradients.")] = None,
    seed: Annotated[int | None, _Flag(help="Of weights and draws.")] = None,
    preset: Annotated[str | None, _Flag(help="Where options start from, with DATA.")] = None,
    assignments: Annotated[
        list[str] | None,
        _Flag("--set", metavar="KEY=VALUE", help="Any option of train, with DATA; many times."),
    ] = None,
    data_dir: Folder = None,
    out: Out = None,
    dark: Dark = False,
    as_json: AsJson = False,
) -> None:
    """How far gradients reach, at first and after training, beside theory's lines.

    Solid lines are measured: the product of the Jacobians of all steps. Beside them stand the
    spectral radius to the power of the distance, and the product of the gates that keep.
    Below: a network whose gradients explode, with and without clipping.
    """
    from unrolled.inspect.tables import save_rows
    from unrolled.lab.reaching import Study
    from unrolled.lab.reaching import gradients as run
    from unrolled.lab.reaching_picture import picture
    from unrolled.tasks.recipe import resolve

    given: dict[str, Any] = {
        "cells": words(cells), "task": task, "steps": steps, "hidden": hidden, "updates": updates,
        "rho": rho, "clip": clip, "seed": seed, "exploding": exploding,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    recipe = None
    if source is None and (preset or assignments or data_dir):
        raise UsageError("--preset, --set and --data", expected="DATA beside them", got="none")
    if source is not None:
        own = [name for name in given if name in ("task", "steps", "updates", "rho", "exploding")]
        if own:
            raise UsageError(
                "--" + own[0], expected="no DATA beside it", got=source,
                fix="Give options of its training with --set.",
            )  # fmt: skip
        unset(assignments or (), {"cell": "--cells, which names them all"})
        flags = {name: given.pop(name, None) for name in ("hidden", "clip")}
        recipe = resolve(source, preset=preset, assignments=assignments or (), flags=flags)
    if given.get("exploding") == "none":
        given["exploding"] = None
    folder = Path(out or "runs/lab-gradients").expanduser()
    with going_on(folder):
        found = run(
            Study(**given), folder, source=source, recipe=recipe, data_dir=data_dir,
            say=teller(as_json),
        )  # fmt: skip
    paths = [
        folder / "runs.jsonl",
        save_rows(found.long(), folder / "gradients.csv"),
        draw_to(lambda style: picture(found, style), folder / "gradients.png", dark),
    ]
    table = found.table()
    if as_json:
        facts = {"table": table, "files": list(map(str, paths))}
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    phases = {"start": tr("at the start"), "trained": tr("after training")}
    typer.echo("")
    print_table(
        [tr("cell"), "", tr("a step"), tr("spectral radius"), tr("gates"), tr("exponent"),
         tr("1 % after"), tr("left after {steps}", steps=max(row["steps"] for row in table))],
        [[row["cell"], phases[row["phase"]], f"{row['rate']:.3f}", f"{row['radius']:.3f}",
          "–" if row["gate_rate"] is None else f"{row['gate_rate']:.3f}",
          "–" if row["exponent"] is None else f"{row['exponent']:.3f}",
          "–" if row["horizon"] is None else str(row["horizon"]), f"{row['left']:.1e}"]
         for row in table],
    )  # fmt: skip
    for path in paths:
        typer.echo(str(path))


@app.command()
def memory(
    cells: Cells = None,
    tasks: Annotated[str | None, _Flag(help="adding, copy, parity, pixels: a,b.")] = None,
    steps: Annotated[str | None, _Flag(help="Lengths of sequences: 50,100,200.")] = None,
    pixels: Annotated[str | None, _Flag(help="Lengths of pixels, squares: 16,64.")] = None,
    preset: Annotated[
        str,
        _Flag(
            help="quick; adding: four cells up to T=800; permuted: MNIST's pixels in one random "
            "order, up to all 784."
        ),
    ] = "quick",
    parameters: Annotated[int | None, _Flag(help="Of each network, about.")] = None,
    layers: Annotated[int | None, _Flag(help="Layers.")] = None,
    seeds: Annotated[int | None, _Flag(help="How many runs of each.")] = None,
    seed: Annotated[int | None, _Flag(help="The first of the seeds.")] = None,
    rates: Annotated[
        str | None, _Flag(help="Learning rates, tried in this order: 0.01,0.002.")
    ] = None,
    batch: Annotated[int | None, _Flag(help="Sequences an update.")] = None,
    updates: Annotated[
        int | None, _Flag(help="Updates that each run may have; with --seconds 0 so many.")
    ] = None,
    seconds: Annotated[
        float | None, _Flag(help="Seconds that each run may have, also beyond its updates.")
    ] = None,
    give_up: Annotated[
        int | None, _Flag(help="Unsolved lengths after which a cell is left; 0 tries all.")
    ] = None,
    images: Annotated[
        str | None, _Flag(help="Of pixels: digits, mnist, fashion-mnist, or a path.")
    ] = None,
    data_dir: Folder = None,
    out: Out = None,
    backend: Backend = None,
    dark: Dark = False,
    as_json: AsJson = False,
) -> None:
    """Train cells on tests of memory of growing length: which remembers how far.

    Networks have equal parameters. A run ends when it is solved, or has used up both its
    updates and its seconds; so the picture shows equal updates and equal time.
    """
    from unrolled.lab.ledger import save_table
    from unrolled.lab.remembering import PRESETS, Plan
    from unrolled.lab.remembering import memory as run
    from unrolled.lab.remembering_picture import picture

    if preset not in PRESETS:
        raise UsageError("--preset", expected="one of " + ", ".join(PRESETS), got=repr(preset))
    lists = {
        "cells": words(cells),
        "tasks": words(tasks),
        "steps": numbers("steps", steps, int),
        "pixels": numbers("pixels", pixels, int),
        "rates": numbers("rates", rates, float),
    }
    single = {
        "parameters": parameters, "layers": layers, "seeds": seeds, "seed": seed, "batch": batch,
        "updates": updates, "seconds": seconds, "give_up": give_up, "images": images,
        "data_dir": data_dir, "backend": backend,
    }  # fmt: skip
    given = {name: value for name, value in {**lists, **single}.items() if value is not None}
    plan = Plan(**{**PRESETS[preset], **given})
    folder = Path(out or "runs/lab-memory").expanduser()
    with going_on(folder):
        found = run(plan, folder, say=teller(as_json))
    paths = [
        folder / "runs.jsonl",
        save_table(found.rows, folder / "runs.csv"),
        draw_to(lambda style: picture(found, style), folder / "memory.png", dark),
    ]
    table = found.table()
    if as_json:
        facts = {"table": table, "files": list(map(str, paths))}
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    typer.echo("")
    print_table(
        [tr("test"), tr("cell"), tr("units"), tr("parameters"),
         tr("remembers T, equal updates"), tr("remembers T, equal time"), tr("seconds")],
        [[row["task"], row["cell"], str(row["hidden"]), f"{row['parameters']:,}",
          _reach(row["reach_updates"]), _reach(row["reach_seconds"]), f"{row['seconds']:.0f}"]
         for row in table],
    )  # fmt: skip
    for path in paths:
        typer.echo(str(path))


def _reach(steps: int) -> str:
    return str(steps) if steps else "–"
