"""`unrolled data`: a dataset's name or a path comes in; facts, files or a picture go out."""

import json
from typing import Annotated, Any

import typer

from unrolled.errors import DataError
from unrolled.messages import tr

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="A dataset's name, as `unrolled data list` prints it.")]
Folder = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="The folder with the dataset's files.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the datasets by name, and whether they are on this machine."""
    from unrolled import data

    table = []
    for named in data.DATASETS.values():
        paths = data.locate(named) if named.files else {}
        table.append(
            {
                "name": named.name,
                "about": named.about,
                "train": named.counts[0],
                "test": named.counts[1],
                "here": paths is not None,
                "folder": str(next(iter(paths.values())).parent) if paths else None,
                "licence": named.licence,
                "paper": named.paper,
            }
        )
    if as_json:
        typer.echo(json.dumps(table, ensure_ascii=False, indent=2))
        return
    for row in table:
        state = tr("here") if row["here"] else tr("to fetch")
        counts = f"{row['train']:>9,} + {row['test']:>7,}" if row["train"] else f"{'':>19}"
        typer.echo(f"{row['name']:<15}{counts}  {state:<9} {tr(str(row['about']))}")


@app.command()
def fetch(name: Name, folder: Folder = None) -> None:
    """Download a dataset into the cache, or into a folder; what is there already is kept."""
    from unrolled import data

    named = data.named(name, lists=True)
    if not named.files:
        typer.echo(
            tr("{name} needs no download: {carrier} carries it.", name=name, carrier=named.carrier)
        )
        return
    with _Bars() as bars:
        paths = data.fetch(named, folder, progress=bars.start)
    for path in paths.values():
        typer.echo(path)


@app.command()
def verify(name: Name, folder: Folder = None) -> None:
    """Compare a dataset's files with the published checksums."""
    from unrolled import data
    from unrolled.data.content import content
    from unrolled.data.download import known, problem

    named = data.named(name, lists=True)
    if not named.files:
        typer.echo(
            tr("{name} needs no check: {carrier} carries it.", name=name, carrier=named.carrier)
        )
        return
    paths = data.locate(named, folder)
    if paths is None:
        raise DataError(
            f"{name} is not on this machine",
            expected="its files",
            got="none",
            fix=f"Run: unrolled data fetch {name} - or give their folder: --data DIR",
        )
    wrong = []
    for part, path in paths.items():
        file = named.files[part]
        found = problem(file, path)
        if found:
            wrong.append((path, file, found))
        elif known(file, path, content(path).sha256):
            found = tr("as published")
        else:
            found = tr("right size; this way of zipping it has no published checksum")
        typer.echo(f"{path}: {found}")
    if wrong:
        path, file, found = wrong[0]
        raise DataError(
            f"{path} is not the published file of {name}",
            expected=f"SHA-256 {file.sha256}" if file.sha256 else f"{file.size} bytes",
            got=found,
            fix="Remove it and fetch it again.",
        )


@app.command()
def show(
    source: Annotated[
        str, typer.Argument(metavar="DATA", help="A dataset's name, or a path of yours.")
    ],
    folder: Folder = None,
    out: Annotated[str, typer.Option(metavar="PNG", help="Where to write the picture.")] = "",
    count: Annotated[int, typer.Option(help="How many examples to draw.")] = 12,
    part: Annotated[str, typer.Option(help="train, valid or test.")] = "train",
    seed: Annotated[int, typer.Option(help="Which examples are drawn.")] = 0,
    label: Annotated[str | None, typer.Option(help="The column of the answers.")] = None,
    features: Annotated[str | None, typer.Option(help="The columns to read: a,b,c.")] = None,
    group: Annotated[str | None, typer.Option(help="The column to keep together.")] = None,
    time: Annotated[str | None, typer.Option(help="The column of times.")] = None,
    id: Annotated[str | None, typer.Option(help="The column that names an example.")] = None,
    encoding: Annotated[str, typer.Option(help="Of a text file.")] = "utf-8",
    missing: Annotated[
        str, typer.Option(help="Missing values are an error, or seen through a mask.")
    ] = "error",
    images: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Also save each example as an image, for `predict`."),
    ] = None,
    text: Annotated[str | None, typer.Option(help="The column of texts.")] = None,
    level: Annotated[str, typer.Option(help="Texts in words, characters, subwords.")] = "words",
    one_hot: Annotated[
        bool, typer.Option("--one-hot", help="Draw one text as the matrix that is read.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a dataset holds, and draw a few examples with their labels."""
    from pathlib import Path

    from unrolled import data
    from unrolled.cli.outputs import file_to_write
    from unrolled.data import show as drawing

    file_to_write("--out", out or None, ".png")
    dataset = data.load(
        source,
        data_dir=folder,
        label=label,
        features=features,
        group=group,
        time=time,
        id=id,
        encoding=encoding,
        missing=missing,
        seed=seed,
        text=text,
        level=level,
    )
    stem = Path(source).name.split(".")[0] or "data"
    if one_hot:
        path = drawing.one_hot(dataset, out or f"{stem}.png", part=part, seed=seed)
    else:
        path = drawing.show(dataset, out or f"{stem}.png", count=count, part=part, seed=seed)
    if images is not None:
        saved = drawing.save_images(dataset, images, count=count, part=part, seed=seed)
    prepared = dataset.preparation
    facts: dict[str, Any] = {
        "name": dataset.name,
        "kind": dataset.kind,
        "labels": dataset.labels,
        "sizes": dataset.provenance["sizes"],
        "steps": prepared.steps,
        "features": prepared.features,
        "source": dataset.provenance["source"],
        "picture": str(path),
    }
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=2))
        return
    sizes = ", ".join(f"{name} {size:,}" for name, size in facts["sizes"].items())
    labels = ", ".join(dataset.labels[:12]) + (", …" if len(dataset.labels) > 12 else "")
    steps = prepared.steps or tr("any number of")
    typer.echo(tr("examples: {sizes}", sizes=sizes))
    typer.echo(tr("labels ({kind}): {labels}", kind=dataset.kind, labels=labels))
    typer.echo(
        tr("read as {steps} steps of {features} features", steps=steps, features=prepared.features)
    )
    if images is not None:
        typer.echo(tr("{count} images in {folder}", count=len(saved), folder=images))
    typer.echo(path)


class _Bars:
    """Progress of downloads on a terminal; silent elsewhere. One bar a file, as pooch asks."""

    def __enter__(self) -> "_Bars":
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        self.bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def start(self, name: str, size: int) -> "_Bar":
        return _Bar(self.bars, self.bars.add_task(name, total=None))


class _Bar:
    """What pooch wants of a progress bar: a total, and three calls."""

    def __init__(self, bars, task) -> None:
        self.bars, self.task, self._total = bars, task, 0

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, size: int) -> None:
        self._total = size
        self.bars.update(self.task, total=size or None)

    def update(self, size: int) -> None:
        self.bars.update(self.task, advance=size)

    def reset(self) -> None:
        self.bars.update(self.task, completed=0)

    def close(self) -> None:
        self.bars.refresh()
