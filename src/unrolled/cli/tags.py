"""A tagger and sentences come in; JSON lines, or the user's own columns with tags, go out."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from unrolled.cli import standard
from unrolled.errors import DataError
from unrolled.messages import tr


def tag(
    task: Any,
    source: str | None,
    *,
    prompt: str | None,
    out: str | None,
    interactive: bool,
    encoding: str,
) -> None:
    """Tag the lines of standard input, of a text, or the words of a file of columns.

    Args:
        task: the tagger.
        source: a file of columns (CoNLL, CoNLL-U), a text with a sentence a line (.txt of one
            column too), or "-" or None for standard input.
        prompt: one text, instead.
        out: where to write the user's columns with one more, or the JSON lines.
        interactive: answer each line as it is typed.
        encoding: of the file.

    Raises:
        DataError: a file cannot be read or written.
    """
    from unrolled.data.sentences import read_lines, read_rows_of

    if interactive:
        _converse(task)
        return
    if prompt is not None:
        _told(_answers(task, read_lines(prompt)), out)
        return
    if source in (None, "-"):
        _told(_answers(task, read_lines(standard.whole())), out)
        return
    path = Path(str(source)).expanduser()
    try:
        rows = read_rows_of(path, encoding=encoding)
    except DataError:
        if path.suffix != ".txt":
            raise
        text = _text(path, encoding)
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
    _write(out, "\n".join(lines))
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
    _write(out, "".join(f"{line}\n" for line in lines))
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


def _write(out: str, text: str) -> None:
    try:
        Path(out).expanduser().write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise DataError(
            f"{out} cannot be written", got=error.strerror, fix="Choose another file with --out."
        ) from None
