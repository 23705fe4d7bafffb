"""A path comes in; its content goes out, unpacked where it is gzip or xz, with its checksum."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import zlib
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import DataError

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Args:
        path: where it was read.
        data: uncompressed.
        sha256: of `data`.
    """

    path: Path
    data: bytes
    sha256: str


def content(path: Path, limit: int | None = None) -> Content:
    """Read a file whole, unpacking it where its first bytes say that it is gzip or xz.

    Args:
        path: what to read.
        limit: bytes of uncompressed content beyond which it is refused; None takes all.

    Raises:
        DataError: it is absent, unreadable, empty, or its compressed stream is broken or too large.
    """
    data = stored(path)
    if data[:2] == _GZIP:
        data = _unzipped(path, data, limit)
    elif data.startswith(_XZ):
        data = _unpacked(path, data, limit)
    if limit is not None and len(data) > limit:
        raise DataError(
            str(path),
            expected=f"{limit} bytes as its header says",
            got="more",
            fix="Get the file again.",
        )
    return Content(path, data, hashlib.sha256(data).hexdigest())


def stored(path: Path) -> bytes:
    """The bytes of a file as they lie on the disk.

    Raises:
        DataError: it is absent, unreadable or empty.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            str(path), expected="a file", got="nothing there", fix="Check the path."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"{path} cannot be read", got=reason, fix="Check what it is and who may read it."
        ) from None
    if not data:
        raise DataError(
            str(path), expected="some content", got="an empty file", fix="Get the file again."
        )
    return data


def head(path: Path, size: int) -> bytes:
    """The first `size` bytes of a file's uncompressed content, or fewer where it is shorter.

    Raises:
        DataError: it is absent, unreadable, or its gzip stream is broken.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP
            raw.seek(0)
            if zipped:
                return gzip.GzipFile(fileobj=raw).read(size)
            start = raw.read(size)
            return start if not start.startswith(_XZ) else lzma.open(path).read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise _broken(path) from None
    except lzma.LZMAError:
        raise _broken(path, "xz") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read", got=error.strerror or str(error)) from None


def _unzipped(path: Path, data: bytes, limit: int | None) -> bytes:
    # One byte more than the limit tells "too large" without unzipping a bomb.
    reader = zlib.decompressobj(wbits=31)
    try:
        found = reader.decompress(data, 0 if limit is None else limit + 1)
        if limit is not None and len(found) > limit:
            return found
        # What is left of the stream is its checksum, which zlib compares when it reads it.
        found += reader.flush() if limit is None else reader.decompress(reader.unconsumed_tail, 1)
        if reader.unused_data.startswith(_GZIP):  # several streams, one after the other
            return gzip.decompress(data)
    except (zlib.error, EOFError, gzip.BadGzipFile):
        raise _broken(path) from None
    if not reader.eof:
        raise _broken(path)
    return found


def _unpacked(path: Path, data: bytes, limit: int | None) -> bytes:
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        found = reader.decompress(data, -1 if limit is None else limit + 1)
        if limit is not None and len(found) == limit and not reader.eof:
            reader.decompress(b"", 1)  # what is left of the stream is its checksum
        if reader.unused_data.startswith(_XZ):  # several streams, one after the other
            return lzma.decompress(data, lzma.FORMAT_XZ)
    except lzma.LZMAError:
        raise _broken(path, "xz") from None
    if not reader.eof and (limit is None or len(found) <= limit):
        raise _broken(path, "xz")
    return found


def _broken(path: Path, kind: str = "gzip") -> DataError:
    return DataError(
        str(path),
        expected=f"a whole {kind} file",
        got="one that is cut off or damaged",
        fix="Get the file again: the copy did not finish.",
    )


def ending_of(path: Path) -> str:
    """What kind of file its name says it is: ".csv" of both a.csv and a.csv.gz."""
    inner = path.with_suffix("") if path.suffix in (".gz", ".xz") else path
    return inner.suffix.lower()
