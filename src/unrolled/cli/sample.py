"""A language model and a prompt come in; the text that it writes goes out as it is written."""

import json
import sys
from pathlib import Path
from typing import Any

import typer

from unrolled.cli import standard
from unrolled.errors import DataError, UsageError
from unrolled.messages import tr


def sample(
    task: Any,
    source: str | None,
    *,
    prompt: str | None,
    length: int,
    stop: str | None,
    seed: int,
    temperature: float,
    top_k: int,
    top_p: float,
    state: str | None,
    interactive: bool,
    encoding: str,
    as_json: bool,
) -> None:
    """Write on from a prompt: the words of --prompt, the text of a file, or of "-".

    Raises:
        UsageError: a value cannot be, or the model does not know a character.
        DataError: the prompt's file cannot be read.
        ModelError: the state is of another model.
    """
    writer = task.writer(seed, temperature=temperature, top_k=top_k, top_p=top_p)
    if state is not None and Path(state).exists():
        writer.load(state)
    first = prompt if source is None else _read(source, encoding)
    # typed at a shell, "\n" is the way to write a line's end
    stop = None if stop is None else stop.replace("\\n", "\n")
    if interactive:
        _converse(writer, first, length, stop)
    else:
        text = (first or "").replace("\\n", "\n") if source is None else first or ""
        writer.read(text)
        pieces = []
        if not as_json:
            typer.echo(text, nl=False)
        for piece in writer.write(length, stop):
            pieces.append(piece)
            if not as_json:
                typer.echo(piece, nl=False)
                sys.stdout.flush()
        if as_json:
            row = {"prompt": text, "text": "".join(pieces), "seed": seed}
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
