"""A language model and a prompt come in; the text that it writes goes out as it is written."""

import json
import sys
from pathlib import Path
from typing import Any

import typer

from unrolled.cli import standard
from unrolled.cli.asked import Asked, Measured
from unrolled.errors import DataError, UsageError
from unrolled.messages import tr


def measured(task: Any, what: Measured) -> None:
    """Say how well a text was told in advance, by a model that stands still or one that learns."""
    if what.adapt is None:
        metrics = task.evaluate(task.batches(what.split, 256))
        text = "{part}: {what} ({count} tokens)"
    else:
        from unrolled.tasks.adapting import Adapting, adapted

        metrics = {**adapted(task, what.split, Adapting(what.adapt)), "adapt": what.adapt}
        text = "{part}, learning while reading: {what} ({count} tokens)"
    count = len(what.split)
    if what.as_json:
        typer.echo(json.dumps({"part": what.part, "count": count, **metrics}))
        return
    typer.echo(tr(text, part=tr(what.part), what=task.summary(metrics), count=count))


def answered(task: Any, asked: Asked) -> None:
    """Write on from a prompt: the words of --prompt, the text of a file, or of "-".

    Raises:
        UsageError: a value cannot be, or the model does not know a character.
        DataError: the prompt's file cannot be read.
        ModelError: the state is of another model.
    """
    source, state, stop = asked.source, asked.state, asked.stop
    writer = task.writer(asked.seed, **asked.taste)
    if state is not None and Path(state).exists():
        writer.load(state)
    first = asked.prompt if source is None else _read(source, asked.encoding)
    # typed at a shell, "\n" is the way to write a line's end
    stop = None if stop is None else stop.replace("\\n", "\n")
    if asked.interactive:
        _converse(writer, first, asked.length, stop)
    else:
        text = (first or "").replace("\\n", "\n") if source is None else first or ""
        writer.read(text)
        pieces = []
        if not asked.as_json:
            typer.echo(text, nl=False)
        for piece in writer.write(asked.length, stop):
            pieces.append(piece)
            if not asked.as_json:
                typer.echo(piece, nl=False)
                sys.stdout.flush()
        if asked.as_json:
            row = {"prompt": text, "text": "".join(pieces), "seed": asked.seed}
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            typer.echo()
    if state is not None:
        writer.save(state)


def _converse(writer: Any, first: str | None, length: int, stop: str | None) -> None:
    """Read a line, write on, and so on to the end of the input; the state is kept throughout."""
    typer.echo(tr("a line is read, and the text goes on; an empty input (Ctrl-D) ends"), err=True)
    said = first
    while True:
        if said is None:
            if sys.stdin.isatty():
                typer.echo("> ", nl=False, err=True)
            line = standard.line()
            if not line:
                return
            said = line
        try:
            writer.read(said)
        except UsageError as error:
            from unrolled.messages import tr_error

            typer.echo(tr_error(error), err=True)
            said = None
            continue
        for piece in writer.write(length, stop):
            typer.echo(piece, nl=False)
            sys.stdout.flush()
        typer.echo()
        said = None


def _read(source: str, encoding: str) -> str:
    from unrolled.data.passages import of_file

    if source == "-":
        return standard.whole()
    text = "".join(of_file(Path(source).expanduser(), encoding))
    if not text:
        raise DataError(source, expected="some text", got="an empty file")
    return text
