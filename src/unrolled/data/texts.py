"""A table of texts comes in (CSV, TSV, JSON lines, plain lines); texts and their answers go out.

What stands between tabs is taken as it is, quotes and all; a CSV's cells may be quoted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unrolled.errors import DataError, UsageError

from .content import content, ending_of
from .raw import Raw
from .rows import answer_columns, header_only
from .table import ANSWER_NAMES, decoded, read_table

TEXT_NAMES = ("text", "document", "sentence", "review", "content")
LINES = (".jsonl", ".ndjson")


def read_texts(path: Path, options: Any) -> Raw:
    """Read texts, and their answers if they have to have some.

    Args:
        path: of the file.
        options: `Options`: text, label, group, id, encoding, header, answered.

    Raises:
        DataError: a column is not there, a cell is no text, a line is broken; with file and line.
        UsageError: several columns of texts.
    """
    if ending_of(path) in LINES:
        return _objects(path, options)
    if not options.answered and options.text is None and ending_of(path) == ".txt":
        return _lines(path, options)
    return _cells(path, options)


def _cells(path: Path, options: Any) -> Raw:
    tabs = ending_of(path) == ".tsv"
    delimiter = "\t" if tabs else None
    table = read_table(
        path, encoding=options.encoding, header=options.header, delimiter=delimiter, texts=True
    )
    if options.text is None:
        at = table.default(TEXT_NAMES)
        if at is None:
            raise _which(path, ", ".join((table.header or ["no names in the first line"])[:8]))
    else:
        at = table.column(options.text, "text")
    answers_at = answer_columns(table, options.label, options.answered)
    if not options.answered and options.label is None:
        answers_at = []
    roles = {"group": options.group, "id": options.id}
    places = {name: table.column(want, name) for name, want in roles.items() if want is not None}
    texts, answers, lines = [], [], []
    found: dict[str, list[str]] = {name: [] for name in places}
    for line, row in table.rows():
        texts.append(row[at])
        lines.append(line)
        answers.append([row[i].strip() for i in answers_at])
        for name, place in places.items():
            found[name].append(row[place])
    if not texts:
        raise header_only(path)
    names = [table.name(i).strip("'") for i in answers_at]
    return _raw(path, texts, answers, names, lines, found, table.sha256, _named(table, at))


def _named(table: Any, at: int) -> str:
    return table.header[at] if table.header else str(at)


def _objects(path: Path, options: Any) -> Raw:
    whole = content(path)
    texts, answers, lines = [], [], []
    roles = {"group": options.group, "id": options.id}
    found: dict[str, list[str]] = {name: [] for name, want in roles.items() if want is not None}
    text_name, label_names = options.text, _several(options.label)
    for line, row in objects(path, decoded(path, whole.data, options.encoding)):
        if text_name is None:
            text_name = next((name for name in TEXT_NAMES if name in row), None)
            if text_name is None:
                raise _which(path, ", ".join(list(row)[:8]))
        if label_names is None and options.answered:
            label_names = [next((name for name in ANSWER_NAMES if name in row), "label")]
        text = _value(path, line, row, str(text_name), "text")
        if not isinstance(text, str):
            raise DataError(
                f"{path}, line {line}, {text_name!r}", expected="a text", got=type(text).__name__
            )
        texts.append(text)
        lines.append(line)
        answers.append([_cell(_value(path, line, row, n, "label")) for n in label_names or ()])
        for name in found:
            found[name].append(_cell(_value(path, line, row, str(roles[name]), name)))
    return _raw(path, texts, answers, label_names or [], lines, found, whole.sha256, str(text_name))


def objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's object, with its number; blank lines are passed over.

    Raises:
        DataError: a line is no JSON object.
    """
    number = 0
    # Only these end a line: a text may hold Unicode's other separators.
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(
                f"{path}, line {number}",
                expected="a JSON object on each line",
                got=getattr(error, "msg", "too many brackets"),
                fix="Write each example as one line.",
            ) from None
        if not isinstance(row, dict):
            raise DataError(
                f"{path}, line {number}",
                expected="a JSON object on each line",
                got=type(row).__name__,
                fix="Write each example as one line.",
            )
        yield number, row


def _lines(path: Path, options: Any) -> Raw:
    whole = content(path)
    text = decoded(path, whole.data, options.encoding)
    rows = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    places = list(range(1, len(rows) + 1))
    return _raw(path, rows, [[] for _ in rows], [], places, {}, whole.sha256, None)


def _raw(path, texts, answers, names, lines, found, sha256, column) -> Raw:
    if not texts:
        raise DataError(str(path), expected="at least 1 example", got="0")
    import numpy as np

    return Raw(
        texts,
        "text",
        "texts",
        answers=None
        if not answers[0]
        else [one[0] for one in answers]
        if len(answers[0]) == 1
        else answers,
        names=list(names) if len(names) > 1 else None,
        ids=found.get("id"),
        groups=np.array(found["group"]) if "group" in found else None,
        columns=None if column is None else [column],
        places=lines,
        source=str(path),
        sha256={path.name: sha256},
    )


def _several(label: Any) -> list[str] | None:
    if label is None:
        return None
    if isinstance(label, str):
        return [name.strip() for name in label.split(",")]
    return [str(one) for one in ([label] if isinstance(label, int) else label)]


def _value(path: Path, line: int, row: dict[str, Any], name: str, role: str) -> Any:
    if name not in row:
        raise DataError(
            f"{path}, line {line}: no field for {role}",
            expected="one of " + ", ".join(list(row)[:12]),
            got=repr(name),
            fix=f"Name the field as in the file: --{role} NAME",
        )
    return row[name]


def _cell(value: Any) -> str:
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return "|".join(map(str, value))
    return str(value).strip()


def _which(path: Path, got: str) -> DataError:
    return DataError(
        f"{path}: which column is the text?",
        expected="one called text, document, sentence, review, content",
        got=got,
        fix="Name it: --text COLUMN (or its number, from 0).",
    )


def one_column(text: Any) -> None:
    """Refuse several columns of texts.

    Raises:
        UsageError: there is more than one.
    """
    if isinstance(text, list | tuple):
        raise UsageError("text", expected="one column", got=", ".join(map(str, text)))
