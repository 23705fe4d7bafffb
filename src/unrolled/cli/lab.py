"""`unrolled lab`: cells come in; an experiment goes out, as a table, rows and a picture."""

import json
from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli.columns import draw_to, numbers, print_table, teller, words
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
def memory(
    cells: Cells = None,
    tasks: Annotated[str | None, _Flag(help="adding, copy, parity, pixels: a,b.")] = None,
    steps: Annotated[str | None, _Flag(help="Lengths of sequences: 50,100,200.")] = None,
    pixels: Annotated[str | None, _Flag(help="Lengths of pixels, squares: 16,64.")] = None,
    preset: Annotated[str, _Flag(help="quick, or adding: four cells up to T=800.")] = "quick",
    parameters: Annotated[int | None, _Flag(help="Of each network, about.")] = None,
    layers: Annotated[int | None, _Flag(help="Layers.")] = None,
    seeds: Annotated[int | None, _Flag(help="How many runs of each.")] = None,
    seed: Annotated[int | None, _Flag(help="The first of the seeds.")] = None,
    rates: Annotated[
        str | None, _Flag(help="Learning rates, tried in this order: 0.01,0.002.")
    ] = None,
    batch: Annotated[int | None, _Flag(help="Sequences an update.")] = None,
    updates: Annotated[int | None, _Flag(help="Updates that each run may have.")] = None,
    seconds: Annotated[float | None, _Flag(help="Seconds that each run may have.")] = None,
    give_up: Annotated[
        int | None, _Flag(help="Unsolved lengths after which a cell is left; 0 tries all.")
    ] = None,
    images: Annotated[str | None, _Flag(help="Of pixels: digits, mnist, fashion-mnist.")] = None,
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
