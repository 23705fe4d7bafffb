"""C comes in, a loaded library goes out: compiled once by the system's compiler, and cached.

A library lies under a hash of everything that made it. It is written beside and renamed, so that
processes that race all win and a crash leaves nothing that could be taken for one; a folder that
others can write to is refused, and a library whose content has changed is built again.
"""

import ctypes
import functools
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from ..errors import BackendError

FLAGS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fPIC")


@dataclass(frozen=True)
class Compiler:
    """A C compiler that was tried.

    Args:
        path: the program.
        flags: what it is called with, `-fopenmp` where it has it.
        registers: vector registers of the machine it compiles for.
        identity: a hash of its version and of the machine.
    """

    path: str
    flags: tuple[str, ...]
    registers: int
    identity: str


@functools.cache
def compiler() -> Compiler:
    """The system's C compiler: `CC`, else cc, gcc or clang, tried once.

    Raises:
        BackendError: there is none, or it cannot build for this machine.
    """
    wanted = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    path = next((p for p in map(shutil.which, wanted) if p), None)
    if path is None:
        raise BackendError(
            "no C compiler",
            expected=f"one of {', '.join(wanted)} on the PATH",
            got="none",
            fix='Install gcc or clang (or name one in CC), or take backend="reference".',
        )
    probe = _output([path, "-march=native", "-dM", "-E", "-x", "c", os.devnull])
    version = _output([path, "--version"])
    wide = "__AVX512F__" in probe or "__aarch64__" in probe
    flags = (*FLAGS, "-fopenmp") if _has_openmp(path) else FLAGS
    identity = hashlib.sha256(f"{version}{probe}{flags}".encode()).hexdigest()
    return Compiler(path, flags, 32 if wide else 16, identity)


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f"the compiler {command[0]} does not run", got=error) from None
    if done.returncode:
        raise BackendError(
            f"the compiler {command[0]}",
            expected=f"`{' '.join(command)}` to work",
            got=done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "an error",
            fix="Install gcc or clang, or name one in CC.",
        )
    return done.stdout


def _has_openmp(path: str) -> bool:
    command = [path, "-fopenmp", "-E", "-x", "c", "-"]
    source = "#include <omp.h>\n"
    try:
        done = subprocess.run(
            command, input=source, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@functools.cache
def emitter_identity() -> str:
    """A hash of the engine's own files: a changed emitter never meets an old library."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.py"), *folder.glob("c/*.py"), *folder.glob("c/*.h")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where libraries are kept: private to this user.

    Raises:
        BackendError: it cannot be made, or others could write to it.
    """
    folder = user_cache_path("unrolled") / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.stat()
    except OSError as error:
        raise BackendError(
            f"the folder of compiled cells {folder}",
            expected="a folder that can be written",
            got=error.strerror or error,
            fix="Set XDG_CACHE_HOME to one that can.",
        ) from None
    if os.name == "posix":
        foreign = facts.st_uid != os.getuid()
        open_to_others = stat.S_IMODE(facts.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
        if foreign or open_to_others:
            raise BackendError(
                f"the folder of compiled cells {folder}",
                expected="a folder of yours that nobody else can write to",
                got="somebody else's" if foreign else f"mode {stat.S_IMODE(facts.st_mode):o}",
                fix=f"`chmod 700 {folder}`, or remove it.",
            )
    return folder


def cached(key: str, folder: Path | None = None) -> tuple[Path, dict] | None:
    """The library and its layout under this key, if both are there and whole."""
    folder = folder or cache_folder()
    library, facts = folder / f"{key}.so", folder / f"{key}.json"
    try:
        layout = json.loads(facts.read_text("utf-8"))
        if hashlib.sha256(library.read_bytes()).hexdigest() == layout["sha256"]:
            return library, layout
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def build(key: str, source: str, layout: dict, folder: Path | None = None) -> Path:
    """Compile a file of C into the cache.

    Args:
        key: a hash of all that made the source.
        source: C.
        layout: what is kept beside the library, to call it without emitting again.

    Returns:
        The library.

    Raises:
        BackendError: the compiler refuses the source, or the disk is full.
    """
    folder, found = folder or cache_folder(), compiler()
    try:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            work = Path(name)
            (work / "cell.c").write_text(source, "utf-8")
            command = [found.path, *found.flags, "-shared", "cell.c", "-o", "cell.so", "-lm"]
            done = subprocess.run(
                command, cwd=work, capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode:
                kept = Path(tempfile.gettempdir()) / f"unrolled-{key[:12]}.c"
                kept.write_text(source, "utf-8")
                said = [line for line in done.stderr.splitlines() if "error" in line]
                raise BackendError(
                    f"the compiler refused {kept}",
                    got=said[0] if said else f"exit code {done.returncode}",
                    fix='Please report it; backend="reference" runs meanwhile.',
                )
            digest = hashlib.sha256((work / "cell.so").read_bytes()).hexdigest()
            (work / "cell.json").write_text(json.dumps({**layout, "sha256": digest}), "utf-8")
            (work / "cell.so").replace(folder / f"{key}.so")
            (work / "cell.json").replace(folder / f"{key}.json")
    except OSError as error:
        raise BackendError(
            f"compiling into {folder}", got=error.strerror or error, fix="Make room, or move it."
        ) from None
    return folder / f"{key}.so"


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
