"""`unrolled train … --task embed`: texts and a recipe come in; a directory of vectors goes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from unrolled.errors import UsageError
from unrolled.messages import tr


def embed(
    source: str,
    recipe: Any,
    directory: Path,
    *,
    data_dir: str | None,
    command: str,
    report: Any,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Learn vectors of the words of `source`, and write them.

    Raises:
        UnrolledError: the texts, an option or the directory are not as they should be.
    """
    from unrolled.data.lines import load_lines
    from unrolled.tasks.embed import Embed, free
    from unrolled.tasks.word2vec_options import Options

    free(directory, overwrite=overwrite)
    options = {**recipe.model, **recipe.training}
    Options(**options)
    lines = load_lines(source, data_dir=data_dir, **recipe.data)
    if dry_run:
        first = next(iter(lines), None)
        if first is None:
            raise UsageError(source, expected="some text", got="none")
        _rehearse(recipe, directory, first, as_json)
        return
    task = Embed.learn(lines, progress=report, **options)
    report.line(task.describe())
    task.save(
        directory,
        overwrite=overwrite,
        command=command,
        source=source,
        recipe={"source": source, "data_dir": data_dir, "options": recipe.to_json()},
        provenance=lines.provenance,
    )
    if as_json:
        typer.echo(json.dumps({"directory": str(directory), **task.facts}, ensure_ascii=False))
        return
    typer.echo(task.summary())
    typer.echo(tr("model: {path}", path=directory))


def _rehearse(recipe: Any, directory: Path, first: str, as_json: bool) -> None:
    from unrolled.tasks.word2vec import Options, words_of

    words = words_of(first, Options(**recipe.model, **recipe.training))[:20]
    if as_json:
        facts = {**recipe.to_json(), "directory": str(directory), "first_words": words}
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for section in ("model", "data", "training"):
        typer.echo(f"[{section}]")
        for key, value in getattr(recipe, section).items():
            if value is not None:
                typer.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    typer.echo(tr("the first words: {words}", words=" ".join(words)))
    typer.echo(tr("nothing was written; the model would go to {path}", path=directory))
