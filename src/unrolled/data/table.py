"""A CSV or TSV file comes in; its header and its rows, with their lines, go out.

Everything that can be wrong with the text itself is found here: encoding, quotes, ragged rows.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import DataError, UsageError

from .content import content

ANSWER_NAMES = ("label", "labels", "target", "class", "y")
csv.field_size_limit(2**31 - 1)  # a review can be longer than the csv module expects
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(eq=False)
class Table:
    """A table of text that is read row by row.

    Args:
        path: of the file.
        text: all of it, decoded.
        delimiter: between two cells.
        header: names of the columns, or None where the first line is data.
        width: cells of the first line.
        sha256: of the uncompressed file.
        quoted: whether a cell may stand in quotes.
    """

    path: Path
    text: str
    delimiter: str
    header: list[str] | None
    width: int
    sha256: str
    quoted: bool = True

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Each row with the number of its (last) line; blank lines are passed over.

        Raises:
            DataError: a row has more or fewer cells than the first line, or is no CSV.
        """
        reader = _reader(self.text, self.delimiter, self.quoted)
        seen_header = self.header is None
        for row in _guarded(reader, self.path):
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if not seen_header:
                seen_header = True
                continue
            if len(row) != self.width:
                raise DataError(
                    f"{self.path}, line {reader.line_num}",
                    expected=f"{self.width} columns",
                    got=len(row),
                    fix="Complete the row, or quote a cell that holds the separator "
                    f"{self.delimiter!r}.",
                )
            yield reader.line_num, row

    def column(self, want: str | int, role: str) -> int:
        """The position of a column that was given by name or by number (from 0, or from -1 back).

        Raises:
            DataError: there is no such column; the message names those there are.
        """
        if self.header is not None and want in self.header:
            return self.header.index(str(want))
        try:
            number = int(want)
        except ValueError:
            number = self.width
        if -self.width <= number < self.width:
            return number % self.width
        names = self.header or [f"0 to {self.width - 1}"]
        near = difflib.get_close_matches(str(want), self.header or [], n=1)
        listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
        raise DataError(
            f"{self.path}: no column for {role}",
            expected=f"one of {listed}" if self.header else f"a number, {listed}",
            got=repr(want),
            fix=f"Did you mean {near[0]!r}?"
            if near
            else f"Name the column as in the file: --{role} NAME",
        )

    def columns(self, want: str | Sequence[str | int], role: str) -> list[int]:
        """The positions of several columns, given as a list or as "a,b,c".

        Raises:
            DataError: one of them is not there, or is named twice.
        """
        names = want.split(",") if isinstance(want, str) else list(want)
        found = [self.column(n.strip() if isinstance(n, str) else n, role) for n in names]
        if len(set(found)) < len(found):
            raise DataError(
                f"{self.path}: {role}", expected="each column once", got=", ".join(map(str, names))
            )
        return found

    def default(self, names: Sequence[str]) -> int | None:
        """The first column that has one of these names, whatever its case; or None."""
        lower = [name.lower() for name in self.header or []]
        return next((lower.index(name) for name in names if name in lower), None)

    def name(self, position: int) -> str:
        """What to call a column in a message."""
        return repr(self.header[position]) if self.header else str(position)


def read_table(
    path: Path,
    *,
    encoding: str = "utf-8",
    header: bool | None = None,
    delimiter: str | None = None,
    texts: bool = False,
) -> Table:
    """Open a table of text (CSV, TSV, gzipped or not).

    Args:
        path: the file.
        encoding: of the text; a byte order mark is passed over.
        header: whether the first line names the columns; None finds out (no cell is a number,
            or one is called "label").
        delimiter: None finds out: tab, comma or semicolon, whichever the first line has most.
        texts: whether cells are texts: those between tabs are then taken as they are, quotes too.

    Raises:
        DataError: it is unreadable, in another encoding, empty, or its header is doubtful.
        UsageError: the encoding is unknown.
    """
    whole = content(path)
    text = decoded(path, whole.data, encoding)
    first_line = next((line for line in text.splitlines() if line.strip()), "")
    if not first_line:
        raise DataError(
            str(path), expected="rows of a table", got="blank lines only", fix="Check the file."
        )
    if delimiter is None:
        delimiter = max("\t,;", key=first_line.count)
    quoted = not (texts and delimiter == "\t")
    first = next(row for row in _guarded(_reader(text, delimiter, quoted), path) if any(row))
    names = [cell.strip() for cell in first]
    if header is None:
        header = not any(map(_number, names)) or any(n.lower() in ANSWER_NAMES for n in names)
    if header and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"{path}, line 1",
            expected="a different name for each column",
            got=f"{twice!r} twice",
            fix="Rename one; without names in the first line, say so: header=False.",
        )
    return Table(path, text, delimiter, names if header else None, len(first), whole.sha256, quoted)


def decoded(path: Path, data: bytes, encoding: str) -> str:
    """The text of a file's bytes; a byte-order mark is passed over.

    Raises:
        DataError: a byte is none of that encoding, or there is a zero byte.
        UsageError: the encoding is unknown.
    """
    hint = _MARKS.get(data[:2])
    try:
        text = data.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except LookupError:
        raise UsageError(
            "encoding", expected="a name such as utf-8, cp949 or latin-1", got=repr(encoding)
        ) from None
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        raise DataError(
            f"{path}, line {data[:at].count(bytes([10])) + 1}",
            expected=f"text in {encoding}",
            got=f"the byte {data[at : at + 1].hex()}, which is none",
            fix=f"Say which encoding it has: --encoding {hint or 'cp949 (or latin-1, utf-16, …)'}",
        ) from None
    if "\0" in text:
        raise DataError(
            f"{path}, line {text[: text.index(chr(0))].count(chr(10)) + 1}",
            expected="text",
            got="a zero byte",
            fix="Is it text? If so, say which encoding it has: --encoding utf-16",
        )
    return text


def _reader(text: str, delimiter: str, quoted: bool = True):
    lines = io.StringIO(text, newline="")
    if not quoted:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _guarded(reader, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}",
            expected="rows of cells",
            got=str(error),
            fix="A quote that opens a cell has to close it; inside, a quote is written twice.",
        ) from None


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
