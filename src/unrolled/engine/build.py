"""C comes in, a loaded library goes out: compiled once by the system's compiler, and cached.

A library lies under a hash of everything that made it; a folder that others can write to is
refused, and a library whose content has changed is built again.
"""

import ctypes
import functools
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..errors import BackendError
from . import cache
from .compiler import TILES, Compiler, compiler, system

__all__ = ["Compiler", "build", "cached", "compiler", "emitter_identity", "load"]

WORK = ".building-"  # how folders are called in which a compiler is at work
FULL = ("no space left", "file size limit", "disk quota")  # what compilers say of a full disk
FORGOTTEN = 3600.0  # seconds after which such a folder is a crash's


@functools.cache
def emitter_identity() -> str:
    """A hash of the engine's own files: a changed emitter never meets an old library."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.py"), *folder.glob("c/*.py"), *folder.glob("c/*.h")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def cached(key: str, folder: Path | None = None) -> tuple[Path, dict[str, Any]] | None:
    """The library and its layout under this key, if both are there, whole, and nobody else's."""
    try:
        return cache.find(folder or cache.folder(), key)
    except BackendError:
        if folder is None:
            cache.folder()  # where the folder itself is wrong, it says so
        return None


def build(
    key: str,
    source: str,
    layout: dict[str, Any],
    folder: Path | None = None,
    found: Compiler | None = None,
) -> Path:
    """Compile a file of C into the cache.

    Args:
        key: a hash of all that made the source.
        source: C.
        layout: what is kept beside the library, to call it without emitting again.
        folder: another folder than the cache's.
        found: another compiler than the system's for this machine.

    Returns:
        The library.

    Raises:
        BackendError: the compiler refuses the source, or the disk is full.
    """
    folder, found = folder or cache.folder(), found or compiler()
    of_halves = layout.get("dtype") == "bfloat16"  # nothing else is multiplied on tiles
    needs = [name for name in found.needs if of_halves or name not in TILES]
    facts = {**layout, "system": system(), "needs": needs}
    try:
        _sweep(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=WORK) as name:
            work = Path(name)
            (work / "cell.c").write_text(source, "utf-8")
            command = [found.path, *found.flags, "-shared", "cell.c", "-o", "cell.so", "-lm"]
            done = subprocess.run(
                command, cwd=work, capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode:
                raise _refused(key, source, done.stderr, done.returncode, folder)
            content = (work / "cell.so").read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        made = cache.library(folder, key, digest)
        cache.write(made, content)
        facts["sha256"] = digest
        cache.write(folder / f"{key}.json", json.dumps(facts).encode())
    except subprocess.TimeoutExpired:
        raise BackendError(
            f"the compiler {found.path}", expected="an answer in 300 s", got="none"
        ) from None
    except OSError as error:
        raise _no_room(folder, error.strerror or error) from None
    return made


def _refused(key: str, source: str, stderr: str, code: int, folder: Path) -> BackendError:
    said = [line for line in stderr.splitlines() if "error" in line.lower()]
    full = [line for line in stderr.splitlines() if any(word in line.lower() for word in FULL)]
    if full:
        return _no_room(folder, full[0])
    kept = Path(tempfile.mkdtemp(prefix="unrolled-")) / f"{key}.c"
    kept.write_text(source, "utf-8")
    return BackendError(
        f"the compiler refused {kept}",
        got=said[0] if said else f"exit code {code}",
        fix='Please report it; backend="reference" runs meanwhile.',
    )


def _no_room(folder: Path, why: object) -> BackendError:
    return BackendError(
        f"compiling into {folder}",
        expected="a folder that can be written, with room",
        got=why,
        fix="Make room, or set XDG_CACHE_HOME to another folder.",
    )


def _sweep(folder: Path) -> None:
    """Remove what a crash left behind; nothing of it was ever loaded."""
    for left in [*folder.glob(f"{WORK}*"), *folder.glob(".writing-*")]:
        try:
            if time.time() - left.stat().st_mtime < FORGOTTEN:
                continue
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        except OSError:  # another process was faster
            continue


@functools.cache
def _share_threads() -> None:
    """Let our libraries use the OpenMP that PyTorch has loaded: one pool of threads, not two."""
    import torch

    for folder in (Path(torch.__file__).parent / "lib", Path(torch.__file__).parents[1]):
        for library in (*folder.glob("libgomp*"), *folder.glob("torch.libs/libgomp*")):
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def load(library: Path) -> ctypes.CDLL:
    """Load a compiled cell.

    Raises:
        BackendError: this machine cannot.
    """
    if sys.platform.startswith("linux"):
        _share_threads()
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise BackendError(f"loading {library}", got=error, fix="Remove it.") from None
