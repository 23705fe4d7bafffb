"""`unrolled train`: data and options come in; a model directory goes out, its path said last."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli.models import eval, import_, predict
from unrolled.errors import UsageError
from unrolled.messages import tr

__all__ = ["eval", "import_", "predict", "train"]

_Flag = typer.Option


def train(
    source: Annotated[
        str | None, typer.Argument(metavar="DATA", help="A dataset's name, or a path of yours.")
    ] = None,
    task: Annotated[
        str | None,
        _Flag(
            help="What is learnt: classify, language, tag, translate, caption, embed; default: the "
            "preset's."
        ),
    ] = None,
    cell: Annotated[str | None, _Flag(help="A cell's name, or FILE.py:Class.")] = None,
    preset: Annotated[str | None, _Flag(help="Where options start from.")] = None,
    assignments: Annotated[
        list[str] | None, _Flag("--set", metavar="KEY=VALUE", help="Any option; many times.")
    ] = None,
    config: Annotated[
        str | None, _Flag(metavar="FILE.toml", help="Options in a file, as in a preset.")
    ] = None,
    data_dir: Annotated[
        str | None, _Flag("--data", metavar="DIR", help="The folder with the dataset's files.")
    ] = None,
    out: Annotated[
        str | None, _Flag(metavar="DIR", help="The model directory; default: runs/NAME.")
    ] = None,
    resume: Annotated[
        bool, _Flag("--resume", help="Go on from the last checkpoint in the directory.")
    ] = False,
    overwrite: Annotated[
        bool, _Flag("--overwrite", help="Give up a model that is in the directory.")
    ] = False,
    dry_run: Annotated[
        bool, _Flag("--dry-run", help="Say what would be done, and do one step in memory.")
    ] = False,
    as_json: Annotated[
        bool, _Flag("--json", help="Print JSON; progress goes to standard error.")
    ] = False,
    seed: Annotated[int | None, _Flag(help="Of split, first weights and order.")] = None,
    epochs: Annotated[int | None, _Flag(help="Passes over the data.")] = None,
    batch: Annotated[int | None, _Flag(help="Examples a batch.")] = None,
    lr: Annotated[float | None, _Flag(help="Learning rate, at its peak.")] = None,
    hidden: Annotated[int | None, _Flag(help="Units of a layer.")] = None,
    layers: Annotated[int | None, _Flag(help="Layers.")] = None,
    bidirectional: Annotated[
        bool | None, _Flag("--bidirectional/--one-way", help="Read both ways, or forward.")
    ] = None,
    pooling: Annotated[
        str | None, _Flag(help="Sum up time: last, step, mean, max, attention.")
    ] = None,
    augment: Annotated[str | None, _Flag(help="shift2: move images by up to 2 pixels.")] = None,
    patience: Annotated[int | None, _Flag(help="Epochs to wait for a better one.")] = None,
    checkpoint_every: Annotated[
        int | None, _Flag(help="Steps between checkpoints, beside one an epoch.")
    ] = None,
    backend: Annotated[str | None, _Flag(help="auto, torch, c or reference.")] = None,
    device: Annotated[str | None, _Flag(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[
        str | None, _Flag(help="Products in float32 or bfloat16; auto: the latter on CUDA.")
    ] = None,
    watch: Annotated[
        str | None, _Flag(help="gradients: measure how far they reach, and give the alarm.")
    ] = None,
    valid: Annotated[
        str | None, _Flag(help="Held out to choose by: a share, a number, or a path.")
    ] = None,
    test: Annotated[
        str | None, _Flag(help="Held out to measure on: a share, a number, or a path.")
    ] = None,
    kind: Annotated[str | None, _Flag(help="single, multi or regression.")] = None,
    read: Annotated[str | None, _Flag(help="Images by rows, columns, pixels, permuted.")] = None,
    label: Annotated[str | None, _Flag(help="The column of the answers, or several: a,b.")] = None,
    features: Annotated[str | None, _Flag(help="The columns to read: a,b,c.")] = None,
    group: Annotated[str | None, _Flag(help="The column to keep together.")] = None,
    time: Annotated[str | None, _Flag(help="The column of times.")] = None,
    id: Annotated[str | None, _Flag(help="The column that names an example.")] = None,
    by: Annotated[str | None, _Flag(help="Split by seed, group or time.")] = None,
    missing: Annotated[
        str | None, _Flag(help="Missing values are an error, or seen through a mask.")
    ] = None,
    encoding: Annotated[str | None, _Flag(help="Of a text file.")] = None,
    size: Annotated[str | None, _Flag(metavar="HxW", help="Resize images to this.")] = None,
    text: Annotated[str | None, _Flag(help="The column of texts.")] = None,
    level: Annotated[str | None, _Flag(help="A text in characters, words or subwords.")] = None,
    vocabulary: Annotated[int | None, _Flag(help="The most tokens; 0 for all.")] = None,
    embedding: Annotated[
        str | None, _Flag(metavar="N|FILE", help="Numbers a token, one-hot, or a file of vectors.")
    ] = None,
    token: Annotated[str | None, _Flag(help="The column of words, in CoNLL's files.")] = None,
    pair: Annotated[
        str | None, _Flag(metavar="de-en", help="From one language into another.")
    ] = None,
    other: Annotated[
        str | None, _Flag(metavar="FILE", help="The translations of DATA's lines.")
    ] = None,
    captions: Annotated[
        str | None, _Flag(metavar="FILE", help="The captions of DATA's images.")
    ] = None,
    language: Annotated[str | None, _Flag(help="Of spoken-numbers: en or ko.")] = None,
    window: Annotated[int | None, _Flag(help="Tokens through which gradients go back.")] = None,
) -> None:
    """Train a network on a dataset or a file of yours, and keep the best.

    Options come from the preset, then --config, then --set and flags. Presets are
    plain files: notebook and notebook-tuned, mnist, digits, series; sst2, imdb, nsmc,
    pronouns, sentences; tinyshakespeare, ptb, pydocs, text; tags, conll2000,
    ud-english-ewt, ud-korean-gsd; vectors, imdb-vectors; multi30k, dates,
    sentence-pairs; flickr8k, spoken-numbers, pictures.
    """
    from unrolled import train as training
    from unrolled.memory import keep_freed
    from unrolled.progress import Report
    from unrolled.tasks.recipe import Recipe, build, parsed, resolve

    taken = locals()
    flags = {name: taken[name] for name in _OPTIONS if taken[name] is not None}
    flags |= {name: parsed(flags[name]) for name in ("valid", "test", "embedding") if name in flags}
    if size is not None:
        flags["size"] = _size(size)
    directory = _directory(source, out, resume)
    stored = _stored(directory) if resume else None
    source = source or (stored or {}).get("source")
    if source is None:
        raise UsageError(
            "DATA", expected="a dataset's name, or a path of yours", got="nothing to resume"
        )
    data_dir = data_dir or (stored or {}).get("data_dir")
    if stored is not None and not (flags or assignments or config or preset):
        recipe = Recipe.from_json(stored["options"])
    else:
        recipe = resolve(
            source,
            task=task,
            preset=preset,
            config=config,
            assignments=assignments or (),
            flags=flags,
        )
    report = Report(True, sys.stderr if as_json else sys.stdout)
    command = _command(
        source, task, preset, config, data_dir, out, {**flags, "size": size}, assignments or []
    )
    if recipe.task == "embed":
        from unrolled.cli.embed import embed

        if resume:
            raise UsageError("--resume", expected="a network", got="the task embed")
        embed(
            source,
            recipe,
            directory,
            data_dir=data_dir,
            command=command,
            report=report,
            overwrite=overwrite,
            dry_run=dry_run,
            as_json=as_json,
        )
        return
    keep_freed()
    network, dataset = build(source, recipe, data_dir=data_dir)
    if dry_run:
        _rehearse(network, dataset, recipe, report, as_json, directory)
        return
    result = training.train(
        network,
        dataset,
        recipe.settings(),
        directory,
        resume=resume,
        overwrite=overwrite,
        progress=report,
        command=command,
        recipe={"source": source, "data_dir": data_dir, "options": recipe.to_json()},
    )
    if as_json:
        typer.echo(json.dumps(_told(result), ensure_ascii=False))
        return
    if result.picture is not None:
        typer.echo(tr("picture: {path}", path=result.picture))
    typer.echo(tr("model: {path}", path=result.directory))


_OPTIONS = (
    "cell hidden layers bidirectional pooling backend seed epochs batch lr augment patience "
    "checkpoint_every device precision valid test kind read label features group time id by "
    "missing encoding text level vocabulary window embedding token watch "
    "pair other captions language"
).split()


def _directory(source: str | None, out: str | None, resume: bool) -> Path:
    """Where the model goes: `out`, or runs/NAME, numbered where a model is there already."""
    if out is not None:
        return Path(out).expanduser()
    if source is None:
        raise UsageError("DATA", expected="a dataset's name, or a path of yours", got="nothing")
    name = Path(source).expanduser().resolve().name.split(".")[0] or "model"
    latest, number = Path("runs", name), 2
    if not latest.exists():
        return latest
    while (following := Path("runs", f"{name}-{number}")).exists():
        latest, number = following, number + 1
    return latest if resume else following


def _stored(directory: Path) -> dict[str, Any] | None:
    """What the run in `directory` was told, or None if it did not come to write it down."""
    from unrolled import checkpoint

    if not (directory / checkpoint.CONFIG).exists():
        return None
    recipe = checkpoint.read(directory).config["run"].get("recipe")
    known = isinstance(recipe, dict) and isinstance(recipe.get("source"), str)
    return recipe if known else None


def _size(text: str) -> list[int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise UsageError("--size", expected="HxW, such as 28x28", got=repr(text))
    return [int(height), int(width)]


def _rehearse(network, dataset, recipe, report, as_json: bool, directory: Path) -> None:
    """One step in memory, so that what is wrong shows now; then what would have been done."""
    from unrolled.optimise import choose_device

    settings = recipe.settings()
    device = choose_device(settings.device)
    network.model.to(device)
    first = next(network.batches(dataset.train, settings.batch, seed=settings.seed))
    loss, _ = network.loss(network.move(first, device))
    loss.backward()
    steps = -(-network.count(dataset.train, settings.batch) // settings.accumulate)
    facts = {
        **recipe.to_json(),
        "directory": str(directory),
        "examples": {"train": len(dataset.train), "valid": len(dataset.valid)},
        "steps": steps * settings.epochs,
        "first_loss": loss.item(),
    }
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    report.opening(network, device, first, steps)
    for section in ("model", "data", "training"):
        typer.echo(f"[{section}]")
        for key, value in facts[section].items():
            if value is not None:
                typer.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    typer.echo(tr("loss before training: {loss}", loss=f"{facts['first_loss']:.4f}"))
    typer.echo(tr("nothing was written; the model would go to {path}", path=directory))


def _told(result) -> dict[str, Any]:
    from unrolled.history import plain

    return {
        "directory": str(result.directory),
        "picture": result.picture and str(result.picture),
        "steps": result.steps,
        "epochs": len(result.epochs),
        "best_epoch": result.best_epoch,
        "seconds": round(result.seconds, 2),
        "valid": result.valid and plain(result.valid),
        "test": result.test and plain(result.test),
    }


def _command(source, task, preset, config, data_dir, out, flags, assignments) -> str:
    """The command as it would be typed again, for the model card."""
    words = ["unrolled", "train", source]
    named = {"task": task if task != "classify" else None, "preset": preset, "config": config}
    for name, value in {**named, "data": data_dir, "out": out, **flags}.items():
        if isinstance(value, bool):
            words.append("--bidirectional" if value else "--one-way")
        elif value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    for text in assignments:
        words += ["--set", text]
    return shlex.join(words)
