"""A model's answers come in; rows for people go out, beside the columns of the user's own table."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unrolled.cli.outputs import write_out

Row = dict[str, Any]


def answers(task: Any, guess: Any, *, every: bool) -> list[Row]:
    """Column → answer for each example.

    Args:
        task: that the model does.
        guess: as `task.predict` gives it.
        every: whether the probability of every class is wanted.
    """
    if task.kind == "regression":
        names = [f"predicted {label}" for label in task.labels]
        return [dict(zip(names, row, strict=True)) for row in guess.values.tolist()]
    several = task.kind == "multi"
    rows = []
    for name, values in zip(guess.names, guess.values.tolist(), strict=True):
        row: Row = {"prediction": ";".join(name) if several else name}
        if not several:
            row["probability"] = max(values)
        if several or every:
            row |= {f"P({label})": value for label, value in zip(task.labels, values, strict=True)}
        rows.append(row)
    return rows


def shown(value: Any) -> str:
    """A cell of the table: six figures of a number."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write(
    out: str,
    source: str,
    ids: Sequence[str],
    rows: Sequence[Row],
    *,
    id: str | None = None,
    encoding: str = "utf-8",
    texts: bool = False,
) -> int:
    """Write `rows` to `out`, behind the columns of `source` if that is a table; the rows' number.

    Where `source` is a table of `texts`, what stands between tabs is taken as it is, quotes too;
    JSON lines get the answers as further fields. Where it has one moment a row, each moment gets
    the answer for its series.

    Raises:
        DataError: `out` cannot be written.
    """
    path = Path(source).expanduser()
    from unrolled.data.content import ending_of
    from unrolled.data.reading import TABLES
    from unrolled.data.texts import LINES

    if texts and ending_of(path) in LINES:
        text, count = _objects(path, rows, encoding), len(rows)
    elif texts and ending_of(path) == ".txt" and not _is_table(path, len(rows), encoding):
        text, count = _alone(ids, rows), len(rows)
    elif path.is_file() and ending_of(path) in TABLES:
        text, count = _beside(path, ids, rows, id, encoding, texts)
    else:
        text, count = _alone(ids, rows), len(rows)
    write_out(out, text)
    return count


def _alone(ids: Sequence[str], rows: Sequence[Row]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if rows:
        table.writerow(["id", *rows[0]])
    for name, row in zip(ids, rows, strict=True):
        table.writerow([name, *map(shown, row.values())])
    return text.getvalue()


def _is_table(path: Path, count: int, encoding: str) -> bool:
    from unrolled.data.table import read_table

    return sum(1 for _ in read_table(path, encoding=encoding, texts=True).rows()) == count


def _objects(path: Path, rows: Sequence[Row], encoding: str) -> str:
    from unrolled.data.content import content
    from unrolled.data.table import decoded
    from unrolled.data.texts import objects

    theirs = objects(path, decoded(path, content(path).data, encoding))
    lines = []
    for (_, row), answer in zip(theirs, rows, strict=True):
        fresh = dict(zip(_fresh(list(answer), list(row)), answer.values(), strict=True))
        lines.append(json.dumps({**row, **fresh}, ensure_ascii=False) + "\n")
    return "".join(lines)


def _beside(
    path: Path,
    ids: Sequence[str],
    rows: Sequence[Row],
    id: str | None,
    encoding: str,
    texts: bool,
) -> tuple[str, int]:
    from unrolled.data.signals import ID_NAMES
    from unrolled.data.table import read_table

    delimiter = "\t" if path.name.removesuffix(".gz").endswith(".tsv") else None
    table = read_table(path, encoding=encoding, delimiter=delimiter, texts=texts)
    theirs = [row for _, row in table.rows()]
    ours: Sequence[Row] = rows
    if len(theirs) != len(rows) or id is not None:
        at = table.default(ID_NAMES) if id is None else table.column(id, "id")
        by_id: Mapping[str, Row] = dict(zip(ids, rows, strict=True))
        if at is not None and all(row[at] in by_id for row in theirs):
            ours = [by_id[row[at]] for row in theirs]
    text = io.StringIO()
    writer: Any = csv.writer(text, delimiter=table.delimiter, lineterminator="\n")
    if not table.quoted:
        writer = _Tabs(text)
    if table.header is not None and ours:
        writer.writerow([*table.header, *_fresh(list(ours[0]), table.header)])
    for row, answer in zip(theirs, ours, strict=True):
        writer.writerow([*row, *map(shown, answer.values())])
    return text.getvalue(), len(theirs)


class _Tabs:
    """Writes rows as they were read: between tabs, nothing quoted."""

    def __init__(self, file: io.StringIO):
        self.file = file

    def writerow(self, row: Sequence[str]) -> None:
        self.file.write("\t".join(row) + "\n")


def _fresh(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Names that no column of the user's has yet."""
    fresh = []
    for name in names:
        number, found = 2, name
        while found in taken:
            found, number = f"{name} {number}", number + 1
        fresh.append(found)
    return fresh
