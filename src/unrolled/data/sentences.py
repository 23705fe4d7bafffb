"""A file of words and tags comes in (CoNLL's columns or CoNLL-U); sentences go out, with lines.

What can be wrong with such files is found here: encodings, ragged rows, blank lines that are not
there. Only blanks and tabs part columns, only CR and LF end lines: words may hold anything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unrolled.errors import DataError, UsageError

from .content import content
from .table import decoded

COLUMNS = "id form lemma upos xpos feats head deprel deps misc".split()  # of CoNLL-U
LONGEST = 5000  # words of a sentence: beyond it, blank lines are missing
_END = re.compile(r"\r\n|\r|\n")
_CELLS = re.compile(r"[ \t]+")


@dataclass(frozen=True, eq=False)
class Tagged:
    """N sentences.

    Args:
        words: of each sentence.
        tags: of each word, or None where nothing is known.
        lines: the line of each sentence's first word in its file, or none.
        source: the file's name.
        also: further tags of each word, learnt beside the first to help them, or None.

    Example:
        >>> part = Tagged([["a", "dog"], ["run"]], [["DET", "NOUN"], ["VERB"]])
        >>> len(part), part.take([1]).words
        (2, [['run']])
    """

    words: list[list[str]]
    tags: list[list[str]] | None = None
    lines: Sequence[int] = ()
    source: str = ""
    also: list[list[str]] | None = None

    def __len__(self) -> int:
        return len(self.words)

    def take(self, index: Sequence[int] | np.ndarray) -> Tagged:
        """The sentences at `index`, in that order."""
        return Tagged(
            [self.words[i] for i in index],
            None if self.tags is None else [self.tags[i] for i in index],
            [self.lines[i] for i in index] if len(self.lines) else (),
            self.source,
            None if self.also is None else [self.also[i] for i in index],
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """A file of columns as it stands: every line, and where the words are.

    Args:
        lines: all, without their ends.
        cells: of each row that is a word, or None for any other line.
        breaks: the lines that begin a sentence although no blank line precedes.
        universal: whether it is CoNLL-U.
        path: of the file.
        sha256: of its uncompressed content.
    """

    lines: list[str]
    cells: list[list[str] | None]
    breaks: frozenset[int]
    universal: bool
    path: Path
    sha256: str

    def column(self, want: int | str | None, role: str) -> int:
        """The position of the column of words ("token") or of tags ("label").

        Raises:
            DataError: there is no such column.
        """
        width = next((len(row) for row in self.cells if row is not None), 0)
        if want is None:
            if self.universal:
                return 1 if role == "token" else 3
            want = 0 if role == "token" else -1
        if isinstance(want, str) and self.universal and want.lower() in COLUMNS:
            return COLUMNS.index(want.lower())
        try:
            number = int(want)
        except ValueError:
            number = width
        if not -width <= number < width:
            names = ", ".join(COLUMNS) if self.universal else f"a number from 0 to {width - 1}"
            raise DataError(
                f"{self.path}: no column for {role}",
                expected=names,
                got=repr(want),
                fix=f"Give the column's number: --{role} N",
            )
        return number % width

    def sentences(
        self,
        token: int | str | None = None,
        label: int | str | None = None,
        also: int | str | None = None,
    ) -> Tagged:
        """The sentences, with the tags of column `label`, and those of `also`.

        Raises:
            DataError: a word or tag is empty, or a sentence is far too long.
        """
        at, of = self.column(token, "token"), self.column(label, "label")
        beside = None if also is None else self.column(also, "also")
        words: list[list[str]] = []
        tags: list[list[str]] = []
        others: list[list[str]] | None = None if beside is None else []
        starts: list[int] = []
        for numbers in self.groups():
            if len(numbers) > LONGEST:
                raise DataError(
                    f"{self.path}, line {numbers[0] + 1}",
                    expected=f"a sentence of at most {LONGEST} words",
                    got=len(numbers),
                    fix="A blank line has to stand between two sentences.",
                )
            rows = [self.cells[number] or [] for number in numbers]
            words.append([row[at] for row in rows])
            tags.append([row[of] for row in rows])
            if others is not None and beside is not None:
                others.append([row[beside] for row in rows])
            starts.append(numbers[0] + 1)
        return Tagged(words, tags, starts, str(self.path), others)

    def groups(self) -> list[list[int]]:
        """For each sentence the numbers (from 0) of its lines that are words."""
        found: list[list[int]] = [[]]
        for number, row in enumerate(self.cells):
            if number in self.breaks or (row is None and not self.lines[number].strip(" \t")):
                found.append([])
            if row is not None:
                found[-1].append(number)
        return [group for group in found if group]


def read_rows_of(path: Path, *, encoding: str = "utf-8") -> Rows:
    """Read a file of columns, one word a line, a blank line between sentences; gzipped or not.

    CoNLL-U is told by its ten columns whose first is a number; rows such as 8-9 and 8.1 are no
    words there.

    Raises:
        DataError: it is missing, in another encoding, or a row has other columns than the first.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.txt")
        ...     _ = path.write_text("He PRP B-NP\\nruns VBZ B-VP\\n\\nI PRP B-NP\\n")
        ...     read_rows_of(path).sentences().tags
        [['B-NP', 'B-VP'], ['B-NP']]
    """
    whole = content(path)
    lines = _END.split(decoded(path, whole.data, encoding))
    first = next((line for line in lines if line.strip(" \t") and not line.startswith("#")), "")
    ten = first.split("\t")
    universal = len(ten) == 10 and re.fullmatch(r"\d+([-.]\d+)?", ten[0]) is not None
    tabs = "\t" in first
    cells: list[list[str] | None] = []
    breaks: set[int] = set()
    width, last = 0, 0
    for number, line in enumerate(lines):
        blank = not line.strip(" \t")
        if blank or (universal and line.startswith("#")) or line.startswith("-DOCSTART-"):
            cells.append(None)
            last = 0 if blank else last
            continue
        row = line.split("\t") if tabs else _CELLS.split(line.strip(" \t"))
        width = width or len(row)
        if len(row) != width or not all(cell.strip() for cell in row[: 2 if universal else width]):
            raise DataError(
                f"{path}, line {number + 1}",
                expected=f"{width} columns, as in the first row",
                got=f"{len(row)}" if len(row) != width else "an empty one",
                fix="Complete the row; a blank line stands between two sentences.",
            )
        if universal and not row[0].isdigit():
            if re.fullmatch(r"\d+[-.]\d+", row[0]):
                cells.append(None)
                continue
            raise DataError(
                f"{path}, line {number + 1}",
                expected="a word's number, such as 8, 8-9 or 8.1",
                got=repr(row[0]),
            )
        if universal:
            if int(row[0]) == 1 and last:
                breaks.add(number)
            elif int(row[0]) != last + 1:
                raise DataError(
                    f"{path}, line {number + 1}",
                    expected=f"word {last + 1} of its sentence",
                    got=row[0],
                    fix="A row is missing, or stands twice.",
                )
            last = int(row[0])
        cells.append(row)
    if not width or all(row is None for row in cells):
        raise DataError(str(path), expected="rows of words and tags", got="none")
    if width < 2:
        raise DataError(
            str(path),
            expected="at least two columns, the word and its tag",
            got="one",
            fix="Give a file of CoNLL's columns, or CoNLL-U.",
        )
    return Rows(lines, cells, frozenset(breaks), universal, path, whole.sha256)


def read_lines(text: str) -> list[list[str]]:
    """The words of each line that is not blank, punctuation apart.

    Example:
        >>> read_lines("He runs.\\n\\nStop!")
        [['He', 'runs', '.'], ['Stop', '!']]
    """
    from unrolled.text.words import split

    found = (split(line) for line in _END.split(text))
    return [words for words in found if words]


def checked_column(value: object, role: str) -> int | str | None:
    """A column as the user gave it: a number, a name, or nothing.

    Raises:
        UsageError: it is something else.
    """
    if value is None or (isinstance(value, int | str) and not isinstance(value, bool)):
        return value
    raise UsageError(role, expected="a column's number or name", got=repr(value))
