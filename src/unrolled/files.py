"""Files that a crash cannot leave half written, and JSON that a stranger cannot turn against us.

Bytes come in and are staged, flushed and renamed; reads are limited in size, and every error names
the file.
"""

import json
import math
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from unrolled.errors import ModelError

MEBI = 2**20


def write(path: Path, data: bytes) -> None:
    """Put `data` at `path`: whoever reads it, after a crash too, sees all of the old or of the new.

    A link or a pipe that stands there is replaced, not followed.

    Raises:
        ModelError: the disk is full, the folder cannot be written to.
    """
    try:
        with _staged(path) as there, open(there, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written", got=error.strerror or error, fix="Free space or --out."
        ) from None


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write what is then at `path`, a file of the user's: all of it or nothing.

    A link is followed, a file that is replaced keeps its mode, and a pipe or a device is written as
    it stands.

    Raises:
        OSError: the disk is full, the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.txt")
        ...     with whole(path) as there:
        ...         _ = there.write_text("all of it")
        ...         path.exists()
        ...     path.read_text()
        False
        'all of it'
    """
    # standard output may be a file, which the shell holds open
    if path.is_relative_to("/dev") or (path.exists() and not path.is_file()):
        yield path
        return
    end = Path(os.path.realpath(path))
    with _staged(end) as there:
        yield there
        if end.exists():
            shutil.copymode(end, there)


@contextmanager
def _staged(end: Path) -> Iterator[Path]:
    there = end.with_name(f".{end.name}.{os.getpid()}.tmp")
    try:
        yield there
        os.replace(there, end)
    finally:
        with suppress(OSError):
            there.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlast a power cut, where the system lets a folder be flushed."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what writes that were killed left staged in `folder`."""
    for staged in folder.glob(".*.tmp"):
        staged.unlink(missing_ok=True)


def read(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Raises:
        ModelError: the file is missing, unreadable, too large, or a folder, pipe or device.
    """
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise ModelError(str(path), expected="a regular file", got="a folder, pipe or device")
        if facts.st_size > limit:
            raise ModelError(
                f"{path} is too large", expected=f"at most {limit} bytes", got=facts.st_size
            )
        with open(path, "rb") as file:
            return file.read(limit)
    except FileNotFoundError:
        raise ModelError(
            f"{path} is missing", fix="Name a directory that `unrolled train` has written."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read", got=getattr(error, "strerror", None) or error
        ) from None


def dump_json(value: object, *, indent: int | None = 1) -> bytes:
    """Strict JSON in UTF-8: a number that is not finite is an error, never `NaN` in a file."""
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def parse_json(data: bytes | str, source: str, *, depth: int = 100) -> Any:
    """What strict JSON says: no NaN, no infinity, no key twice, nested at most `depth` deep.

    Raises:
        ModelError: anything else, naming `source`.
    """
    try:
        value = json.loads(
            data,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise _too_deep(source, depth) from None
    except ValueError as error:
        raise ModelError(f"{source} is not valid JSON", got=short(error)) from None
    level = [value]
    for _ in range(depth):
        level = list(_children(level))
        if not level:
            return value
    raise _too_deep(source, depth)


def read_json(path: Path, limit: int = 4 * MEBI) -> Any:
    """`parse_json` of the file at `path`."""
    return parse_json(read(path, limit), str(path))


def with_fields(value: Any, names: Collection[str], what: str) -> Mapping[str, Any]:
    """What JSON says, if it is an object with just these fields.

    Raises:
        ModelError: it is none, or a field is missing or unknown; says which of `what`.

    Example:
        >>> with_fields({"size": 3}, ["size"], "the network")["size"]
        3
    """
    expected = f"the fields {', '.join(sorted(names))}"
    if not isinstance(value, Mapping):
        raise ModelError(what, expected=expected, got=f"a {type(value).__name__}")
    if odd := set(value) ^ set(names):
        said = ", ".join(sorted(map(str, odd)))
        raise ModelError(what, expected=expected, got=f"{said} missing or unknown")
    return value


def _children(level: list) -> Iterator[object]:
    for value in level:
        if isinstance(value, dict):
            yield from value.values()
        elif isinstance(value, list):
            yield from value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return table


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _too_deep(source: str, depth: int) -> ModelError:
    return ModelError(f"{source} is nested too deep", expected=f"at most {depth} levels")


def short(value: object, limit: int = 120) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
