"""Answers as read come in; numbered targets, their kind and their names go out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence

import numpy as np

from unrolled.errors import DataError, UsageError

from .cells import MISSING
from .dataset import Kind
from .raw import Raw

KINDS = ("single", "multi", "regression")
_MARK = "|"  # between the labels of one cell


def encode(
    raw: Raw, kind: str | None = None, labels: Sequence[str] | None = None
) -> tuple[np.ndarray, Kind, list[str]]:
    """Number the answers of raw examples.

    Without a kind: several columns of 0 and 1, or cells such as "a|b", are several labels; decimal
    numbers, or several columns of other numbers, are a regression; anything else one label each.

    Args:
        raw: examples with answers.
        kind: "single", "multi", "regression", or None.
        labels: names to number by (those of a trained model), or None to find them.

    Returns:
        Targets int64 (N,) or float32 (N, K); the kind; names of the classes or of the K values.

    Raises:
        DataError: an answer is missing, is no number, is none of `labels`, or there is one only.
        UsageError: the kind is unknown.

    Example:
        >>> raw = Raw(np.zeros((3, 1, 1)), "series", "rows", answers=["b", "a", "b"])
        >>> encode(raw)[0].tolist(), encode(raw)[2]
        ([1, 0, 1], ['a', 'b'])
    """
    if kind is not None and kind not in KINDS:
        raise UsageError("kind", expected="one of " + ", ".join(KINDS), got=repr(kind))
    if raw.labels is not None and kind in (None, "single"):
        return _renumbered(raw, raw.labels, labels)
    cells = _as_cells(raw)
    kind = kind or _guess(cells)
    if kind == "regression":
        return _numbers(raw, cells), "regression", raw.names or _numbered(raw, cells)
    if kind == "multi":
        return _several(raw, cells, labels)
    return _single(raw, cells, labels)


def _as_cells(raw: Raw) -> list[list[str]]:
    answers = raw.answers
    if answers is None:
        raise DataError(
            f"{raw.source}: no answers to learn", fix="Name the column or file: --label NAME"
        )
    if isinstance(answers, np.ndarray):
        if answers.ndim not in (1, 2) or not np.issubdtype(answers.dtype, np.generic):
            raise DataError(f"{raw.source}: y", expected="(N,) or (N, K)", got=answers.shape)
        whole = np.issubdtype(answers.dtype, np.floating) and _whole(answers)
        if whole or answers.dtype == bool:
            answers = answers.astype(np.int64)
        rows = answers[:, None] if answers.ndim == 1 else answers
        cells = [[str(value) for value in row] for row in rows.tolist()]
    else:
        cells = [[one] if isinstance(one, str) else list(one) for one in answers]
    for i, row in enumerate(cells):
        for cell in row:
            if cell.lower() in MISSING and not (len(row) == 1 and cell.lower() in ("none", "na")):
                raise DataError(
                    raw.place(i),
                    expected="an answer",
                    got=f"a missing one ({cell!r})",
                    fix="Fill it in, or remove the example.",
                )
    return cells


def _guess(cells: list[list[str]]) -> Kind:
    flat = [cell for row in cells for cell in row]
    if len(cells[0]) > 1:
        return "multi" if set(flat) <= {"0", "1"} else "regression"
    if any(_MARK in cell for cell in flat):
        return "multi"
    values = [_value(cell) for cell in flat]
    if all(v is not None for v in values) and any(v != int(v) for v in values if v is not None):
        return "regression"
    return "single"


def _renumbered(raw: Raw, own: list[str], labels: Sequence[str] | None):
    targets = np.asarray(raw.answers, np.int64)
    if labels is None or list(labels) == own:
        return targets, "single", own
    numbers = {name: i for i, name in enumerate(labels)}
    for name in (own[i] for i in np.unique(targets)):
        if name not in numbers:
            raise _unknown(raw, int(np.argmax(targets == own.index(name))), name, list(labels))
    return np.array([numbers.get(name, -1) for name in own])[targets], "single", list(labels)


def _single(raw: Raw, cells: list[list[str]], labels: Sequence[str] | None):
    if len(cells[0]) > 1:
        raise DataError(
            f"{raw.source}: kind='single'", expected="one answer each", got=len(cells[0])
        )
    flat = [row[0] for row in cells]
    names = list(labels) if labels is not None else _sorted(set(flat))
    if labels is None and len(names) < 2:
        raise DataError(
            f"{raw.source}: labels",
            expected="at least 2 classes",
            got=f"only {names[0]!r}",
            fix="Add examples of another class, or name the right column: --label NAME",
        )
    if labels is None and len(names) > max(20, len(flat) // 2):
        raise DataError(
            f"{raw.source}: labels",
            expected="classes that several examples share",
            got=f"{len(names)} different answers in {len(flat)} examples",
            fix="For numbers to be predicted say kind='regression'; else name another column.",
        )
    numbers = {name: i for i, name in enumerate(names)}
    for i, cell in enumerate(flat):
        if cell not in numbers:
            raise _unknown(raw, i, cell, names)
    return np.array([numbers[cell] for cell in flat], np.int64), "single", names


def _several(raw: Raw, cells: list[list[str]], labels: Sequence[str] | None):
    if len(cells[0]) > 1:
        names = raw.names or _numbered(raw, cells)
        if labels is not None and list(labels) != names:
            raise DataError(
                f"{raw.source}: labels", expected=", ".join(labels), got=", ".join(names)
            )
        for i, row in enumerate(cells):
            for cell in row:
                if cell not in ("0", "1"):
                    raise DataError(raw.place(i), expected="0 or 1 for each label", got=repr(cell))
        return np.array(cells, np.float32), "multi", names
    parts = [[part.strip() for part in row[0].split(_MARK) if part.strip()] for row in cells]
    names = list(labels) if labels is not None else _sorted({p for row in parts for p in row})
    targets = np.zeros((len(cells), len(names)), np.float32)
    numbers = {name: i for i, name in enumerate(names)}
    for i, row in enumerate(parts):
        for part in row:
            if part not in numbers:
                raise _unknown(raw, i, part, names)
            targets[i, numbers[part]] = 1
    return targets, "multi", names


def _numbers(raw: Raw, cells: list[list[str]]) -> np.ndarray:
    targets = np.zeros((len(cells), len(cells[0])), np.float32)
    for i, row in enumerate(cells):
        for k, cell in enumerate(row):
            value = _value(cell)
            if value is None:
                raise DataError(
                    raw.place(i),
                    expected="a finite number to be predicted",
                    got=repr(cell),
                    fix="Correct it, or say kind='single' for classes.",
                )
            targets[i, k] = value
    return targets


def _unknown(raw: Raw, i: int, cell: str, names: list[str]) -> DataError:
    near = difflib.get_close_matches(cell, names, n=1)
    return DataError(
        raw.place(i),
        expected="one of the labels " + ", ".join(names[:12]) + (", …" if len(names) > 12 else ""),
        got=repr(cell),
        fix=f"Did you mean {near[0]!r}?" if near else "Correct the label or remove the example.",
    )


def _numbered(raw: Raw, cells: list[list[str]]) -> list[str]:
    return ["value"] if len(cells[0]) == 1 else [str(k) for k in range(len(cells[0]))]


def _sorted(names: set[str]) -> list[str]:
    """By number where all are numbers (10 after 9), else by letters."""
    if all(_value(name) is not None for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


def _value(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 3.4e38 else None


def _whole(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and (values == np.round(values)).all())
