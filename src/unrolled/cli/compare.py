"""`unrolled lab compare`: cells and data come in; the paper's table goes out, and a picture."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli.columns import draw_to, going_on, numbers, print_table, teller, unset, words
from unrolled.messages import tr

_Flag = typer.Option


def compare(
    source: Annotated[
        str, typer.Argument(metavar="DATA", help="A dataset's name, or a path of yours.")
    ],
    cells: Annotated[str, _Flag(help="Cells by name or FILE.py:Class: a,b,c.")] = "rnn,lstm,gru",
    rates: Annotated[
        str | None, _Flag(help="Learning rates that each cell may choose from: 0.003,0.01.")
    ] = None,
    seeds: Annotated[int, _Flag(help="How many runs of each.")] = 3,
    equal: Annotated[
        str, _Flag(help="Networks of equal parameters, or of equal units.")
    ] = "parameters",
    task: Annotated[
        str | None, _Flag(help="What is learnt, as `train` has it; default: the preset's.")
    ] = None,
    preset: Annotated[str | None, _Flag(help="Where options start from.")] = None,
    assignments: Annotated[
        list[str] | None, _Flag("--set", metavar="KEY=VALUE", help="Any option; many times.")
    ] = None,
    config: Annotated[
        str | None, _Flag(metavar="FILE.toml", help="Options in a file, as in a preset.")
    ] = None,
    hidden: Annotated[int | None, _Flag(help="Units of the first cell's layers.")] = None,
    epochs: Annotated[int | None, _Flag(help="Passes over the data.")] = None,
    seed: Annotated[int | None, _Flag(help="Of the split and the tuning; others follow.")] = None,
    label: Annotated[str | None, _Flag(help="The column of the answers, or several: a,b.")] = None,
    text: Annotated[str | None, _Flag(help="The column of texts.")] = None,
    data_dir: Annotated[
        str | None, _Flag("--data", metavar="DIR", help="The folder with the dataset's files.")
    ] = None,
    out: Annotated[
        str | None,
        _Flag(metavar="DIR", help="Where rows and pictures go; what is there is not redone."),
    ] = None,
    no_memory: Annotated[
        bool, _Flag("--no-memory", help="Do not measure the memory that training needs.")
    ] = False,
    dark: Annotated[bool, _Flag("--dark", help="The picture for a dark screen.")] = False,
    as_json: Annotated[
        bool, _Flag("--json", help="Print JSON; progress goes to standard error.")
    ] = False,
) -> None:
    """Compare cells on your data: tuned within one budget, then over seeds.

    Each cell chooses its learning rate on the validation part, from as many as the others;
    then it is trained with several seeds and measured on the test part. Ctrl-C at any time:
    the same command goes on.
    """
    from unrolled.inspect.tables import written
    from unrolled.lab.comparing import compare as run
    from unrolled.lab.comparing_picture import picture
    from unrolled.lab.ledger import save_table
    from unrolled.lab.paper import bibtex, latex
    from unrolled.tasks.recipe import resolve

    said = {"cell": "--cells, which names them all"}
    if rates is not None:
        said["lr"] = "--rates, or its middle one as lr, and not both"
    unset(assignments or (), said, config)
    flags = {"hidden": hidden, "epochs": epochs, "seed": seed, "label": label, "text": text}
    recipe = resolve(
        source, task=task, preset=preset, config=config, assignments=assignments or (), flags=flags
    )
    name = Path(source).expanduser().resolve().name.split(".")[0] or "data"
    folder = Path(out or f"runs/compare-{name}").expanduser()
    with going_on(folder):
        found = run(
            source,
            words(cells) or (),
            recipe,
            folder,
            rates=numbers("rates", rates, float) or (),
            seeds=seeds,
            equal=equal,
            memory=not no_memory,
            data_dir=data_dir,
            say=teller(as_json),
        )
    paths = [
        folder / "runs.jsonl",
        save_table(found.rows, folder / "runs.csv"),
        draw_to(lambda style: picture(found, style), folder / "compare.png", dark),
        written(folder / "compare.tex", latex(found).encode()),
        written(folder / "compare.bib", bibtex(found).encode()),
    ]
    if as_json:
        facts = {"metric": found.metric, "part": found.part, "table": found.table()}
        typer.echo(json.dumps({**facts, "files": list(map(str, paths))}, ensure_ascii=False))
        return
    _table(found)
    for path in paths:
        typer.echo(str(path))


def _table(found: Any) -> None:
    from unrolled.lab.comparing_picture import named
    from unrolled.lab.paper import scale

    many = 100 if found.percent else 1
    unit, name = scale(found)
    rows = found.table()
    form = ".2f" if found.percent else ".4g"

    def spread(value: float | None, width: float | None, form: str, many: float = 1) -> str:
        if value is None:
            return "–"
        return f"{value * many:{form}}" + ("" if width is None else f" ± {width * many:{form}}")

    typer.echo("")
    print_table(
        [tr("cell"), tr("units"), tr("parameters"), tr("rate"), named(found),
         tr("less that of {cell}", cell=rows[0]["cell"]), tr("seconds"), name],
        [[row["cell"], str(row["hidden"]), f"{row['parameters']:,}",
          "–" if row["lr"] is None else f"{row['lr']:g}",
          spread(row[found.metric], row["half_width"], form, many),
          spread(row["difference"], row["difference_half_width"], "+" + form, many)
          .replace("± +", "± "),
          spread(row["seconds"], row["seconds_half_width"], ".1f"),
          "–" if row["bytes"] is None else f"{row['bytes'] / unit:.1f}"]
         for row in rows],
        left=1,
    )  # fmt: skip
    part = tr("the test part") if found.part == "test" else tr("the validation part")
    runs = max(row["runs"] + row["diverged"] for row in rows)
    if runs > 1:
        typer.echo(
            tr("Means over {seeds} seeds on {part}; ± is Student's interval of 95 %.",
               seeds=runs, part=part)
        )  # fmt: skip
    else:
        typer.echo(
            tr("One seed on {part}: nothing tells how far another would lie; give more: --seeds 5.",
               part=part)
        )  # fmt: skip
    for row in rows:
        if row["edge"]:
            typer.echo(
                tr("{cell}: the best rate is at the edge of those tried; give more with --rates.",
                   cell=row["cell"])
            )  # fmt: skip
        if row["diverged"] and row["lr"] is not None:
            typer.echo(
                tr("{cell}: {count} runs diverged and are left out.", cell=row["cell"],
                   count=row["diverged"])
            )  # fmt: skip
