"""What an experiment says comes in; lists that were typed, tables and pictures go out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from unrolled.errors import UsageError
from unrolled.messages import tr


def words(text: str | None) -> tuple[str, ...] | None:
    """`a,b` as a tuple; None of nothing."""
    return None if text is None else tuple(w.strip() for w in text.split(",") if w.strip())


def numbers(name: str, text: str | None, kind: type) -> tuple[Any, ...] | None:
    """`1,2` as numbers; None of nothing.

    Raises:
        UsageError: they are none.
    """
    if text is None:
        return None
    try:
        return tuple(kind(word) for word in text.split(","))
    except ValueError:
        raise UsageError(
            f"--{name}", expected="numbers, such as 10,20,40", got=repr(text)
        ) from None


def unset(assignments: Sequence[str], others: Mapping[str, str], config: str | None = None) -> None:
    """Refuse `--set KEY=…`, or KEY in a file, of what another option says.

    Args:
        assignments: as they were typed.
        others: key → the option, and how it is used.
        config: a file of `--config`.

    Raises:
        UsageError: there is one.
        DataError: the file cannot be read.
    """
    from unrolled.tasks.recipe import read_sections

    for section, values in read_sections(config).items() if config is not None else ():
        for key in sorted(set(values) & set(others)):
            raise UsageError(
                f"{config}: [{section}] {key}", expected=others[key], got=f"{key} once more"
            )
    for text in assignments:
        key = text.partition("=")[0].strip()
        if key in others:
            raise UsageError(f"--set {text}", expected=others[key], got=f"{key} once more")


@contextmanager
def going_on(folder: Path) -> Iterator[None]:
    """Say after Ctrl-C where what was found is, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        words = tr(
            "stopped; what was found is in {folder}: the same command goes on", folder=folder
        )
        typer.echo(words, err=True)
        raise


def teller(quiet: bool):
    """Says how an experiment goes, a line at a time."""
    return lambda line: typer.echo(line, err=quiet)


def draw_to(draw, path: Path, dark: bool) -> Path:
    """The picture at `path`; where no font draws Korean, that is said."""
    from unrolled.inspect.pictures.style import missing_font
    from unrolled.lab.drawn import save

    if words := missing_font():
        typer.echo(words, err=True)
    return save(draw, path, dark)


def print_table(head: list[str], rows: list[list[str]], left: int = 2) -> None:
    """A table in columns: the first ones to the left, numbers to the right."""
    widths = [max(_wide(row[n]) for row in (head, *rows)) for n in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell + " " * (width - _wide(cell)) if n < left else " " * (width - _wide(cell)) + cell
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())


def _wide(text: str) -> int:
    """Columns of a terminal: a Korean letter takes two."""
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
