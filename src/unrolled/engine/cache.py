"""A name comes in, the bytes that were kept under it go out, if nobody else can have written them.

A file is written beside and renamed: whoever reads sees a whole one or none. A library's name holds
the hash of its content, so that processes that race never mix two of them.
"""

import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from ..errors import BackendError

VARIABLE = "UNROLLED_KERNELS"  # names a folder of cells that were built ahead


def folder() -> Path:
    """Where compiled cells are kept: private to this user.

    Raises:
        BackendError: it cannot be made, or others could write to it.
    """
    place = user_cache_path("unrolled") / "kernels"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = place.stat()
    except OSError as error:
        raise BackendError(
            f"the folder of compiled cells {place}",
            expected="a folder that can be written",
            got=error.strerror or error,
            fix="Set XDG_CACHE_HOME to one that can.",
        ) from None
    if wrong := untrusted(facts, own_only=True):
        raise BackendError(
            f"the folder of compiled cells {place}",
            expected="a folder of yours that nobody else can write to",
            got=wrong,
            fix=f"`chmod 700 {place}`, or remove it.",
        )
    return place


def ahead() -> Path | None:
    """The folder of cells that were built ahead, if `UNROLLED_KERNELS` names one.

    Raises:
        BackendError: it is not there, or others than its owner and root could write to it.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    place = Path(named)
    try:
        facts = place.stat()
    except OSError as error:
        raise BackendError(
            f"{VARIABLE}={named}",
            expected="a folder that `unrolled cells build --out` filled",
            got=error.strerror or error,
            fix="Correct the variable, or unset it.",
        ) from None
    if wrong := untrusted(facts):
        raise _foreign(place, wrong)
    return place


def untrusted(facts: os.stat_result, *, own_only: bool = False) -> str:
    """Why a file or folder may have been written by somebody else; empty where it cannot."""
    if os.name != "posix":
        return ""
    if facts.st_uid not in ((os.getuid(),) if own_only else (os.getuid(), 0)):
        return "somebody else's"
    open_to_others = stat.S_IMODE(facts.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
    return f"mode {stat.S_IMODE(facts.st_mode):o}" if open_to_others else ""


def _foreign(path: Path, wrong: str) -> BackendError:
    return BackendError(
        f"compiled cells at {path}",
        expected="something of yours or root's that nobody else can write to",
        got=wrong,
        fix="Compiled cells are programs: correct owner and mode, or build them anew.",
    )


def read(path: Path) -> bytes:
    """A file's content, if its owner and mode say that nobody else can have written it.

    Raises:
        OSError: it is not there.
        BackendError: it is not trusted.
    """
    with open(path, "rb") as file:
        facts = os.fstat(file.fileno())
        if wrong := untrusted(facts):
            raise _foreign(path, wrong)
        return file.read()


def write(path: Path, content: bytes) -> None:
    """Write a file as a whole, readable by others and written by nobody else.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def library(place: Path, key: str, digest: str) -> Path:
    """The name of a library with this content."""
    return place / f"{key}-{digest[:16]}.so"


def find(place: Path, key: str) -> tuple[Path, dict[str, Any]] | None:
    """The library and its layout under this key, if both are there and whole.

    Raises:
        BackendError: they are there, and somebody else may have written them.
    """
    try:
        layout = json.loads(read(place / f"{key}.json"))
        found = library(place, key, layout["sha256"])
        if hashlib.sha256(read(found)).hexdigest() == layout["sha256"]:
            return found, layout
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None
