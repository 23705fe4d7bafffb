"""A tagger and sentences come in; JSON lines, or the user's own columns with tags, go out."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from unrolled.cli import standard
from unrolled.cli.asked import Asked
from unrolled.cli.outputs import write_out
from unrolled.errors import DataError
from unrolled.messages import tr


def answered(task: Any, asked: Asked) -> None:
    """Tag the lines of standard input, of a text, or the words of a file of columns.

    A source is a file of columns (CoNLL, CoNLL-U), a text with a sentence a line (.txt of one
    column too), or "-" or None for standard input. `--out` gets the user's columns with one more,
    or JSON lines.

    Raises:
        DataError: a file cannot be read or written.
    """
    from unrolled.data.sentences import read_lines, read_rows_of

    source, out = asked.source, asked.out
    if asked.interactive:
        _converse(task)
        return
    if asked.prompt is not None:
        _told(_answers(task, read_lines(asked.prompt)), out)
        return
    if source in (None, "-"):
        _told(_answers(task, read_lines(standard.whole())), out)
        return
    path = Path(str(source)).expanduser()
    try:
        rows = read_rows_of(path, encoding=asked.encoding)
    except DataError:
        if path.suffix != ".txt":
            raise
        text = _text(path, asked.encoding)
        _told(_answers(task, read_lines(text)), out)
        return
    words = rows.sentences().words
    names = task.predict(words).names
    if out is None:
        _told([_row(w, n) for w, n in zip(words, names, strict=True)], None)
        return
    lines = list(rows.lines)
    mark = "\t" if rows.universal or any("\t" in line for line in lines) else " "
    for numbers, tags in zip(rows.groups(), names, strict=True):
        for number, name in zip(numbers, tags, strict=True):
            lines[number] = f"{lines[number]}{mark}{name}"
    write_out(out, "\n".join(lines))
    typer.echo(tr("{count} sentences tagged", count=len(words)))
    typer.echo(out)


def _answers(task: Any, words: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    names = task.predict(words).names if words else []
    return [_row(w, n) for w, n in zip(words, names, strict=True)]


def _row(words: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    return {"words": list(words), "tags": list(names)}


def _told(rows: Sequence[dict[str, Any]], out: str | None) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    if out is None:
        for line in lines:
            typer.echo(line)
        return
    write_out(out, "".join(f"{line}\n" for line in lines))
    typer.echo(out)


def _converse(task: Any) -> None:
    from unrolled.data.sentences import read_lines

    while True:
        if sys.stdin.isatty():
            typer.echo("> ", nl=False, err=True)
        line = standard.line()
        if not line:
            return
        for words in read_lines(line):
            names = task.predict([words]).names[0]
            typer.echo("  ".join(f"{w}/{n}" for w, n in zip(words, names, strict=True)))


def _text(path: Path, encoding: str) -> str:
    from unrolled.data.content import content
    from unrolled.data.table import decoded

    return decoded(path, content(path).data, encoding)
