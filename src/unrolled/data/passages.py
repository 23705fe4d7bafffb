"""A text file of any size comes in, gzip, xz or plain; its characters go out, a piece at a time.

A byte-order mark is dropped, line ends become "\\n", and a byte that is no text is named with its
line.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unrolled.errors import DataError, UsageError

PIECE = 2**20  # bytes read at a time


@dataclass(frozen=True)
class Facts:
    """What one reading of a whole file tells: its characters, and the SHA-256 of its bytes."""

    characters: int
    sha256: str


@dataclass(frozen=True)
class Passage:
    """A stretch of a text file, or a text in memory.

    Args:
        source: the file's path, or the text itself.
        encoding: of the file.
        start: the first character.
        stop: the character behind the last; None is the end.
        name: what messages call it.

    Example:
        >>> "".join(Passage("to be or not", start=3, stop=8))
        'be or'
    """

    source: Path | str
    encoding: str = "utf-8"
    start: int = 0
    stop: int | None = None
    name: str = "the text"

    def __post_init__(self):
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise UsageError(
                "encoding", expected="the name of one, such as utf-8", got=repr(self.encoding)
            ) from None

    def __iter__(self) -> Iterator[str]:
        """Its characters, in pieces."""
        place = 0
        for piece in self._pieces():
            begin, end = max(self.start - place, 0), len(piece)
            if self.stop is not None:
                end = min(end, self.stop - place)
            if begin < end:
                yield piece[begin:end]
            place += len(piece)
            if self.stop is not None and place >= self.stop:
                return

    def part(self, start: int, stop: int | None) -> Passage:
        """The characters from `start` to `stop` of the same source."""
        return Passage(self.source, self.encoding, start, stop, self.name)

    @cached_property
    def facts(self) -> Facts:
        """Characters and checksum of the whole source, read once.

        Raises:
            DataError: it is absent, empty, or no text in this encoding.
        """
        checksum = hashlib.sha256()
        count = sum(len(piece) for piece in self._pieces(checksum))
        if not count:
            raise DataError(
                self.name, expected="some text", got="an empty file", fix="Check the path."
            )
        return Facts(count, checksum.hexdigest())

    def _pieces(self, checksum: Any = None) -> Iterator[str]:
        if isinstance(self.source, str):
            if checksum:
                checksum.update(self.source.encode())
            yield self.source
            return
        encoding = "utf-8-sig" if codecs.lookup(self.encoding).name == "utf-8" else self.encoding
        decode = io.IncrementalNewlineDecoder(
            codecs.getincrementaldecoder(encoding)(), translate=True
        )
        lines = 1
        try:
            with _opened(self.source) as file:
                while data := file.read(PIECE):
                    if checksum:
                        checksum.update(data)
                    piece = decode.decode(data)
                    lines += piece.count("\n")
                    if piece:
                        yield piece
                if rest := decode.decode(b"", final=True):
                    yield rest
        except UnicodeDecodeError as error:
            before, byte = error.object[: error.start], error.object[error.start]
            line = lines + before.count(b"\n")
            raise DataError(
                f"{self.name}, line {line}",
                expected=f"text in {self.encoding}",
                got=f"the byte 0x{byte:02x}",
                fix="Say what the file is written in: --encoding cp949, latin-1, utf-16, …",
            ) from None
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            xz = isinstance(error, lzma.LZMAError) or self.source.suffix == ".xz"
            raise DataError(
                self.name,
                expected="a whole xz file" if xz else "a whole gzip file",
                got="one that is cut off or damaged",
                fix="Get the file again: the copy did not finish.",
            ) from None
        except FileNotFoundError:
            raise DataError(
                self.name, expected="a file", got="nothing there", fix="Check the path."
            ) from None
        except OSError as error:
            raise DataError(
                f"{self.name} cannot be read",
                got=error.strerror or str(error),
                fix="Check what it is and who may read it.",
            ) from None


def of_file(path: Path, encoding: str = "utf-8") -> Passage:
    """The whole of a text file."""
    return Passage(path, encoding, name=str(path))


def whole_lines(pieces: Iterable[str]) -> Iterator[str]:
    """The same characters in pieces that end with a line where they can: no word is cut.

    Example:
        >>> list(whole_lines(["to be\\nor n", "ot to", " be\\n"]))
        ['to be\\n', 'or not to be\\n']
    """
    kept: list[str] = []
    for piece in pieces:
        end = piece.rfind("\n") + 1
        if end:
            yield "".join([*kept, piece[:end]])
            kept = []
        if piece[end:]:
            kept.append(piece[end:])
    if kept:
        yield "".join(kept)


def _opened(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    return lzma.open(path) if start == b"\xfd7zXZ\x00" else path.open("rb")
