"""A table with one example a row comes in; series of one length (N, T, C) go out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from unrolled.errors import DataError, UsageError

from .cells import moment, numbers
from .raw import Raw
from .table import ANSWER_NAMES, Table

Column = str | int


def read_rows(
    table: Table,
    *,
    label: Column | Sequence[Column] | None = None,
    features: str | Sequence[Column] | None = None,
    group: Column | None = None,
    time: Column | None = None,
    id: Column | None = None,
    missing: str = "error",
    channels: int = 1,
    answered: bool = True,
) -> Raw:
    """Read one example a row.

    Args:
        table: the file.
        label: the answer's column, or several; None looks for one called label, target, class, y.
        features: the columns that are the series, in order; None takes all that are left.
        group: the column that says whom the row comes from.
        time: the column that says when the row was taken.
        id: the column that names the row.
        missing: "error", or "mask" to read missing values as NaN.
        channels: C, values of one moment: a row of T·C cells is T moments of C.
        answered: whether there has to be an answer.

    Raises:
        DataError: a column is not there, a cell is no number, or there are no rows.
        UsageError: the columns cannot be cut into moments of `channels` values.
    """
    answers_at = answer_columns(table, label, answered)
    roles = {"group": group, "time": time, "id": id}
    at = {role: table.column(want, role) for role, want in roles.items() if want is not None}
    taken = {*answers_at, *at.values()}
    if features is None:
        values_at = [i for i in range(table.width) if i not in taken]
    else:
        values_at = table.columns(features, "features")
    if not values_at:
        raise DataError(
            str(table.path), expected="columns of numbers", got="none besides the label's"
        )
    if channels < 1 or len(values_at) % channels:
        raise UsageError(
            "channels",
            expected=f"a divisor of the {len(values_at)} values of a row",
            got=channels,
        )
    values, answers, lines = [], [], []
    ids: list[str] = []
    groups: list[str] = []
    times: list[float] = []
    for line, row in table.rows():
        cells = [row[i] for i in values_at]
        found = numbers(cells, missing, placer(table, line, values_at))
        values.append(np.array(found, np.float32))
        lines.append(line)
        if answers_at:
            answers.append([row[i].strip() for i in answers_at])
        if "id" in at:
            ids.append(row[at["id"]])
        if "group" in at:
            groups.append(row[at["group"]])
        if "time" in at:
            times.append(moment(row[at["time"]], place(table, line, at["time"])))
    if not values:
        raise header_only(table.path)
    names = [table.name(i).strip("'") for i in answers_at]
    return Raw(
        np.stack(values).reshape(len(values), -1, channels),
        "series",
        "rows",
        answers=[one[0] for one in answers] if len(answers_at) == 1 else answers or None,
        names=names if len(names) > 1 else None,
        ids=ids or None,
        groups=np.array(groups) if groups else None,
        times=np.array(times) if times else None,
        columns=[table.header[i] for i in values_at] if table.header else None,
        places=lines,
        source=str(table.path),
        sha256={table.path.name: table.sha256},
    )


def answer_columns(
    table: Table, label: Column | Sequence[Column] | None, answered: bool
) -> list[int]:
    """Where the answers stand.

    Raises:
        DataError: the column is not there, or none was named and none is called label.
    """
    if label is not None:
        several = [label] if isinstance(label, int) else label
        if isinstance(several, str) and table.header and several in table.header:
            several = [several]
        return table.columns(several, "label")
    found = table.default(ANSWER_NAMES)
    if found is None and answered:
        raise DataError(
            f"{table.path}: which column is the answer?",
            expected="one called label, target, class or y",
            got=", ".join((table.header or ["no names in the first line"])[:8]),
            fix="Name it: --label COLUMN (or its number, from 0; -1 is the last).",
        )
    return [] if found is None else [found]


def header_only(path: Path) -> DataError:
    """The error for a table without a row."""
    return DataError(
        str(path), expected="rows below the header", got="a header only", fix="Add examples."
    )


def place(table: Table, line: int, column: int) -> str:
    """Where a cell stands, for a message."""
    return f"{table.path}, line {line}, column {table.name(column)}"


def placer(table: Table, line: int, columns: list[int]) -> Callable[[int], str]:
    """Where the i-th of the cells in `columns` stands, for a message."""
    return lambda i: place(table, line, columns[i])
