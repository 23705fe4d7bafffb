"""A model that tells classes or numbers comes in; its figures go out, or answers for new data."""

import json
from typing import Any

import typer

from unrolled.cli import scored, typed
from unrolled.cli.asked import Asked, Measured
from unrolled.messages import tr


def measured(task: Any, what: Measured) -> None:
    """Say the figures of a part: as a whole, and of each class or value."""
    from unrolled.history import plain

    metrics, count = task.evaluate(task.batches(what.split, 256)), len(what.split)
    rows = metrics.get("per_class") or metrics.get("per_value")
    if what.as_json:
        whole = {"part": what.part, "count": count, **plain(metrics), "per_label": rows}
        if "confusion" in metrics:
            whole["confusion"] = metrics["confusion"].tolist()
        typer.echo(json.dumps(whole, ensure_ascii=False))
        return
    columns = list(next(iter(rows.values())))
    width = max(8, *map(len, rows)) + 2
    typer.echo(" " * width + "".join(f"{name:>11}" for name in columns))
    for name, row in rows.items():
        cells = (f"{v:>11}" if isinstance(v, int) else f"{v:>11.4f}" for v in row.values())
        typer.echo(f"{name:<{width}}" + "".join(cells))
    said = tr(
        "{part}: {what} ({count} examples)",
        part=tr(what.part),
        what=task.summary(metrics),
        count=count,
    )
    typer.echo(said)


def answered(task: Any, asked: Asked) -> None:
    """Answer for images, series or texts of a file, or for texts that are typed.

    Raises:
        DataError: the input cannot be read, or the table not written.
        UsageError: options that cannot go together.
    """
    from unrolled.data import read_inputs

    source = asked.source
    if asked.interactive or asked.prompt is not None or source is None or source == "-":
        typed.answer(task, prompt=asked.prompt, interactive=asked.interactive, every=asked.every)
        return
    inputs, ids = read_inputs(source, task.preparation, encoding=asked.encoding, **asked.reading)
    answers = scored.answers(task, task.predict(inputs), every=asked.every)
    if asked.out is not None:
        count = scored.write(
            asked.out,
            source,
            ids,
            answers,
            id=asked.reading["id"],
            encoding=asked.encoding,
            texts=task.reads_texts,
        )
        typer.echo(tr("{count} rows scored", count=count))
        typer.echo(asked.out)
        return
    rows = [{"id": name, **answer} for name, answer in zip(ids, answers, strict=True)]
    if asked.as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        typer.echo("\t".join(scored.shown(value) for value in row.values()))
