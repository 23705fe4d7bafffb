"""A long table (id, time, channels…, label), one moment a row, comes in; series (Tᵢ, C) go out."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from unrolled.errors import DataError

from .cells import moment, numbers
from .raw import Raw
from .rows import Column, answer_columns, header_only, place, placer
from .table import Table

ID_NAMES, TIME_NAMES = ("id", "series_id", "sequence"), ("time", "timestamp", "t")


@dataclass
class _Series:
    answer: list[str]
    group: str
    times: array = field(default_factory=lambda: array("d"))
    lines: array = field(default_factory=lambda: array("q"))
    values: array = field(default_factory=lambda: array("d"))


def is_long(table: Table, id: Column | None, time: Column | None) -> bool:
    """Whether a table has both a series' name and a time: then each row is one moment."""
    has_id = id is not None or table.default(ID_NAMES) is not None
    return has_id and (time is not None or table.default(TIME_NAMES) is not None)


def read_signals(
    table: Table,
    *,
    label: Column | Sequence[Column] | None = None,
    features: str | Sequence[Column] | None = None,
    group: Column | None = None,
    time: Column | None = None,
    id: Column | None = None,
    missing: str = "error",
    answered: bool = True,
) -> Raw:
    """Read series of several channels and any length; rows may come in any order.

    Args:
        table: the file.
        label: the answer's column or columns, the same in every row of a series.
        features: the columns that are the channels; None takes all that are left.
        group: the column that says whom the series comes from, the same in every row of it.
        time: the column of times, by which a series is sorted; None takes one called time.
        id: the column that names the series; None takes one called id.
        missing: "error", or "mask" to read missing values as NaN.
        answered: whether there has to be an answer.

    Raises:
        DataError: a column is not there, a cell is no number, a series has one time twice or two
            answers, or every series is one moment long.
    """
    id_at = _given_or_default(table, id, ID_NAMES, "id")
    time_at = _given_or_default(table, time, TIME_NAMES, "time")
    answers_at = answer_columns(table, label, answered)
    group_at = None if group is None else table.column(group, "group")
    taken = {id_at, time_at, group_at, *answers_at}
    if features is None:
        values_at = [i for i in range(table.width) if i not in taken]
    else:
        values_at = table.columns(features, "features")
    if not values_at:
        raise DataError(
            str(table.path), expected="columns of channels", got="only id, time and label"
        )
    all_series: dict[str, _Series] = {}
    for line, row in table.rows():
        answer = [row[i].strip() for i in answers_at]
        whose = "" if group_at is None else row[group_at]
        series = all_series.setdefault(row[id_at], _Series(answer, whose))
        if answer != series.answer or whose != series.group:
            column = answers_at[0] if answer != series.answer else group_at
            first = series.answer if answer != series.answer else series.group
            raise DataError(
                place(table, line, column or 0),
                expected=f"{_shown(first)} as in line {series.lines[0]}, for the same series",
                got=_shown(answer if answer != series.answer else whose),
                fix="A series has one answer and one group: correct the row or its id.",
            )
        series.times.append(moment(row[time_at], place(table, line, time_at)))
        series.lines.append(line)
        cells = [row[i] for i in values_at]
        series.values.extend(numbers(cells, missing, placer(table, line, values_at)))
    if not all_series:
        raise header_only(table.path)
    if len(all_series) > 1 and all(len(one.times) == 1 for one in all_series.values()):
        raise DataError(
            f"{table.path}: every series is one row long",
            expected="several moments a series",
            got=f"{len(all_series)} series in as many rows",
            fix="If each row is a whole example, say so: --layout rows",
        )
    ordered = [_ordered(table, name, one, len(values_at)) for name, one in all_series.items()]
    answers = [one.answer for one in all_series.values()]
    names = [table.name(i).strip("'") for i in answers_at]
    return Raw(
        ordered,
        "series",
        "long",
        answers=[one[0] for one in answers] if len(answers_at) == 1 else answers,
        names=names if len(names) > 1 else None,
        ids=list(all_series),
        groups=None if group_at is None else np.array([s.group for s in all_series.values()]),
        times=np.array([min(one.times) for one in all_series.values()]),
        columns=[table.name(i).strip("'") for i in values_at],
        places=[one.lines[0] for one in all_series.values()],
        source=str(table.path),
        sha256={table.path.name: table.sha256},
    )


def _ordered(table: Table, name: str, series: _Series, channels: int) -> np.ndarray:
    times = np.array(series.times)
    order = np.argsort(times, kind="stable")
    same = np.flatnonzero(np.diff(times[order]) == 0)
    if len(same):
        first, second = (series.lines[order[same[0] + k]] for k in (0, 1))
        raise DataError(
            f"{table.path}, line {second}",
            expected=f"another time than in line {first}, in the series {name!r}",
            got=f"the same ({times[order[same[0]]]:g})",
            fix="Remove one of the two rows, or correct its time or its id.",
        )
    values = np.array(series.values, np.float32).reshape(-1, channels)
    return values[order]


def _given_or_default(table: Table, want: Column | None, names: tuple[str, ...], role: str) -> int:
    if want is not None:
        return table.column(want, role)
    found = table.default(names)
    if found is None:
        raise DataError(
            f"{table.path}: which column is the {role}?",
            expected=f"one called {' or '.join(names)}",
            got=", ".join((table.header or ["no names in the first line"])[:8]),
            fix=f"Name it: --{role} COLUMN",
        )
    return found


def _shown(value: str | list[str]) -> str:
    return repr(value if isinstance(value, str) else ", ".join(value))
