"""Files of word vectors come in (word2vec, GloVe, fastText's .vec), a table of words goes out.

V words, E numbers a word. Files are read in pieces, and no number becomes a Python object.
"""

from __future__ import annotations

import gzip
import io
import mmap
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unrolled import files
from unrolled.errors import DataError, UsageError

_PIECE = 1 << 24  # bytes of text that become numbers in one call
_WORD, _WIDTH = 4096, 100_000  # a longer word, or more numbers a word: this is no file of vectors
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, eq=False)
class Vectors:
    """V words and their vectors.

    Args:
        words: each once; as a rule the most frequent first.
        values: float32 (V, E).

    Example:
        >>> pets = Vectors(["cat", "dog"], np.eye(2, dtype=np.float32))
        >>> "dog" in pets, pets["cat"].tolist(), pets.size
        (True, [1.0, 0.0], 2)
    """

    words: list[str]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.places

    def __getitem__(self, word: str) -> np.ndarray:
        return self.values[self.places[word]]

    @property
    def size(self) -> int:
        """E: numbers a word."""
        return self.values.shape[1]

    @cached_property
    def places(self) -> dict[str, int]:
        """Word to row."""
        return {word: place for place, word in enumerate(self.words)}

    def find(self, word: str) -> int | None:
        """The row of a word as it is written, or else in small letters; None without either."""
        place = self.places.get(word)
        return self.places.get(word.lower()) if place is None else place

    def rows(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of N words, as an embedding starts from them.

        Returns:
            float32 (N, E), zero where a word has none, and bool (N,): whether it has one.

        Example:
            >>> pets = Vectors(["cat"], np.ones((1, 2), np.float32))
            >>> values, found = pets.rows(["Cat", "cow"])
            >>> values.tolist(), found.tolist()
            ([[1.0, 1.0], [0.0, 0.0]], [True, False])
        """
        places = np.array([-1 if (at := self.find(word)) is None else at for word in words], int)
        found = places >= 0
        values = np.zeros((len(words), self.size), np.float32)
        values[found] = self.values[places[found]]
        return values, found


def read_vectors(path: str | Path, *, limit: int | None = None, encoding: str = "utf-8") -> Vectors:
    """Read word vectors, whichever way they are written; gzipped or not.

    Args:
        path: word2vec's file in text or binary, GloVe's, fastText's .vec, or a model directory that
            `unrolled train --task embed` has written.
        limit: read only so many words from the front, which are the most frequent ones.
        encoding: of the words.

    Returns:
        The words, the first of those that stand twice.

    Raises:
        DataError: it is missing, cut off or broken; the message names the line or the byte.
        UsageError: the limit or the encoding cannot be.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.vec").write_text("cat 1 0\\ndog 0 1\\n")
        ...     read_vectors(f"{folder}/a.vec").words
        ['cat', 'dog']
    """
    path = Path(path).expanduser()
    if limit is not None and limit < 1:
        raise UsageError("limit", expected="at least 1 word", got=limit)
    try:
        "".encode(encoding)
    except LookupError:
        raise UsageError("encoding", expected="a name such as utf-8", got=repr(encoding)) from None
    if path.is_dir():
        return _of_model(path, limit)
    try:
        with open(path, "rb") as raw:
            if raw.read(2) == _GZIP:
                raw.seek(0)
                with gzip.GzipFile(fileobj=raw) as file:
                    return _read(file, None, path, limit, encoding)  # type: ignore[arg-type]  # it reads as a file does
            raw.seek(0)
            return _read(raw, path.stat().st_size, path, limit, encoding)
    except FileNotFoundError:
        raise DataError(
            str(path), expected="a file of word vectors", got="nothing there", fix="Check the path."
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read", got=reason, fix="Get the file again.") from None


def write_vectors(path: str | Path, vectors: Vectors, *, binary: bool = False) -> Path:
    """Write word vectors as word2vec does, in text or in binary, in one rename.

    Args:
        path: where to.
        vectors: what to write; a word holds no blank, or nobody could read it.
        binary: four bytes a number, instead of text that other tools read.

    Raises:
        DataError: a word is empty or holds a blank.
        ModelError: the disk refuses.

    Example:
        >>> write_vectors("pets.vec", Vectors(["cat"], np.ones((1, 2))))  # doctest: +SKIP
    """
    path, out = Path(path).expanduser(), io.BytesIO()
    out.write(f"{len(vectors)} {vectors.size}\n".encode())
    for word, row in zip(vectors.words, vectors.values.astype("<f4"), strict=True):
        if not word or any(letter.isspace() for letter in word):
            raise DataError("a word of a file of vectors", expected="no blank", got=repr(word))
        # nine significant digits bring each float32 back as it was
        line = row.tobytes() if binary else " ".join(f"{x:.9g}" for x in row).encode()
        out.write(word.encode() + b" " + line + b"\n")
    files.write(path, out.getvalue())
    return path


def _read(
    file: BinaryIO, size: int | None, path: Path, limit: int | None, encoding: str
) -> Vectors:
    first = file.readline(_WIDTH * 32)
    if not first.strip():
        raise DataError(str(path), expected="word vectors", got="nothing in the first line")
    mark = first.removeprefix(b"\xef\xbb\xbf")
    header = _header(mark, path)
    if header is None:
        width = len(mark.split()) - 1
        _number_row(mark, path, width)
        return _text(_lines(mark, file), path, width, None, 1, limit, encoding)
    count, width = header
    second = file.readline(_WORD + 32 * width)
    if _is_text(second, width):
        return _text(_lines(second, file), path, width, count, 2, limit, encoding)
    file.seek(len(first))
    if size is None:
        data = file.read(count * (_WORD + 4 * width))
        return _binary(data, 0, path, width, count, limit, encoding)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return _binary(view, len(first), path, width, count, limit, encoding)


def _header(line: bytes, path: Path) -> tuple[int, int] | None:
    """V and E where a line is "V E"; None where it is a word and its vector."""
    cells = line.split()
    if len(cells) != 2 or not all(cell.isdigit() for cell in cells):
        return None
    if max(map(len, cells)) > 12 or not 0 < int(cells[1]) <= _WIDTH or not int(cells[0]):
        raise DataError(
            f"{path}, line 1",
            expected=f"how many words, and 1 to {_WIDTH} numbers a word",
            got=line.decode("ascii").strip()[:60],
        )
    return int(cells[0]), int(cells[1])


def _is_text(line: bytes, width: int) -> bool:
    cells = line.split()
    if len(cells) <= width:
        # a short line that is all letters and digits is text that was cut off
        return bool(cells) and line.isascii() and line.strip().decode("ascii").isprintable()
    return _numbers(b" ".join(cells[-width:]), width) is not None


def _lines(first: bytes, file: BinaryIO) -> Iterator[bytes]:
    yield first
    yield from file


def _number_row(line: bytes, path: Path, width: int) -> None:
    if width < 1 or _numbers(line.split(maxsplit=1)[-1], width) is None:
        raise DataError(
            f"{path}, line 1",
            expected="a word and its numbers, or how many words of how many numbers",
            got=line[:60].decode("utf-8", "replace").strip(),
            fix="Give a file of word2vec (text or binary), GloVe, or fastText's .vec.",
        )


def _numbers(text: bytes, count: int) -> np.ndarray | None:
    """`count` numbers out of a text, or None where it holds others or fewer."""
    try:
        found = np.fromstring(text, sep=" ", dtype=np.float32)
    except ValueError:
        return None
    return found if len(found) == count and np.isfinite(found).all() else None


def _text(
    lines: Iterator[bytes],
    path: Path,
    width: int,
    count: int | None,
    line: int,
    limit: int | None,
    encoding: str,
) -> Vectors:
    words: list[bytes] = []
    numbers: list[bytes] = []
    at: list[int] = []
    pieces: list[np.ndarray] = []
    held = 0

    def settle() -> None:
        nonlocal held
        if not numbers:
            return
        found = _numbers(b" ".join(numbers), len(numbers) * width)
        if found is None:
            for number, row in zip(at, numbers, strict=True):
                if _numbers(row, width) is None:
                    raise _bad_row(path, number, width, row)
            raise _bad_row(path, at[0], width, numbers[0])
        pieces.append(found.reshape(-1, width))
        numbers.clear()
        at.clear()
        held = 0

    most = min(n for n in (count, limit, 1 << 62) if n is not None)
    for number, raw in enumerate(lines, line):
        row = raw.strip(b" \t\r\n")
        if not row:
            continue
        if len(words) == most:
            if limit is None:
                raise _wrong_count(path, count, f"more, in line {number}")
            break
        if row.count(b" ") == width and b"\t" not in row:
            word, _, rest = row.partition(b" ")
        else:  # blanks inside a word (GloVe has some), tabs, or a broken line
            cells = row.split()
            word, rest = b" ".join(cells[:-width]), b" ".join(cells[-width:])
            if not word:
                raise _bad_row(path, number, width, row)
        words.append(word)
        numbers.append(rest)
        at.append(number)
        held += len(rest)
        if held > _PIECE:
            settle()
    settle()
    if not words or (limit is None and count is not None and len(words) < count):
        raise _wrong_count(path, count, len(words))
    return _table(words, np.concatenate(pieces), path, encoding, "word")


def _binary(
    data: bytes | mmap.mmap,
    start: int,
    path: Path,
    width: int,
    count: int,
    limit: int | None,
    encoding: str,
) -> Vectors:
    many = count if limit is None else min(count, limit)
    # the header is believed only as far as the file reaches
    if len(data) - start < many * (4 * width + 1):
        raise _wrong_count(path, count, f"{(len(data) - start) // (4 * width + 1)} at most")
    values = np.empty((many, width), "<f4")
    words: list[bytes] = []
    place = start
    for row in range(many):
        end = data.find(b" ", place, place + _WORD)
        if end < 0 or end + 4 * width + 1 > len(data) + 1:
            raise DataError(
                f"{path}, byte {place}",
                expected=f"word {row + 1} of {count}: a word, a blank and {width} numbers",
                got="the end of the file" if len(data) - place < _WORD + 4 * width else "none",
                fix="Get the file again: the copy did not finish, or it is no such file.",
            )
        words.append(data[place:end].lstrip(b"\n"))
        values[row] = np.frombuffer(data[end + 1 : end + 1 + 4 * width], "<f4")
        place = end + 1 + 4 * width
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{path}, word {wrong[0] + 1}",
            expected="finite numbers",
            got="NaN or infinity",
            fix="Get the file again: the copy did not finish, or it is no such file.",
        )
    return _table(words, values.astype(np.float32, copy=False), path, encoding, "word")


def _table(words: list[bytes], values: np.ndarray, path: Path, encoding: str, unit: str) -> Vectors:
    places: dict[str, int] = {}
    for row, word in enumerate(words):
        try:
            places.setdefault(word.decode(encoding), row)
        except UnicodeError:
            raise DataError(
                f"{path}, {unit} {row + 1}",
                expected=f"a word in {encoding}",
                got=repr(word[:40]),
                fix="Say which encoding it has: --encoding latin-1 (or cp949, …)",
            ) from None
    if len(places) < len(words):
        values = values[list(places.values())]
    return Vectors(list(places), values)


def _of_model(folder: Path, limit: int | None) -> Vectors:
    from unrolled.tensors import TensorFile

    config = files.read_json(folder / "config.json")
    task = config.get("task") if isinstance(config, dict) else None
    if not isinstance(task, dict) or task.get("name") != "embed":
        raise DataError(
            str(folder),
            expected="a model of word vectors",
            got=files.short(task.get("name") if isinstance(task, dict) else "no model"),
            fix="Train one: unrolled train FILE --task embed",
        )
    words = files.read_json(folder / "labels.json", limit=256 * files.MEBI)
    values = TensorFile(folder / "model.safetensors").load().get("vectors")
    fits = isinstance(words, list) and values is not None and values.shape[:1] == (len(words),)
    if not fits or values is None or not all(isinstance(word, str) for word in words):
        raise DataError(
            str(folder),
            expected="as many words in labels.json as vectors in model.safetensors",
            got="others",
            fix="Restore both files from one model.",
        )
    return Vectors(words[:limit], values.numpy()[:limit])


def _bad_row(path: Path, line: int, width: int, row: bytes) -> DataError:
    return DataError(
        f"{path}, line {line}",
        expected=f"a word and {width} finite numbers",
        got=files.short(row[:60].decode("utf-8", "replace")),
        fix="Correct the line, or get the file again.",
    )


def _wrong_count(path: Path, count: int | None, got: object) -> DataError:
    return DataError(
        str(path),
        expected="at least one word" if count is None else f"{count} words, as its first line says",
        got=got,
        fix="Get the file again: the copy did not finish.",
    )
