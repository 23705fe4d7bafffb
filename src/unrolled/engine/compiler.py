"""This machine comes in; its C compiler, tried once, and the instructions it can run go out.

What a trial found is kept beside the compiled cells: a later process starts no compiler to know it.
"""

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BackendError, UsageError
from . import cache

FLAGS = ("-std=gnu11", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fPIC")
# Instruction sets beyond a processor family's first; a compiler's macro is __NAME__, in capitals.
SETS = frozenset(
    "ssse3 sse41 sse42 avx avx2 fma f16c bmi2 movbe adx gfni vaes vpclmulqdq avxvnni avx512f "
    "avx512cd avx512bw avx512dq avx512vl avx512ifma avx512vbmi avx512vbmi2 avx512vnni "
    "avx512bitalg avx512vpopcntdq avx512bf16 avx512fp16 amxtile amxint8 amxbf16".split()
)
TILES = frozenset({"amxtile", "amxint8", "amxbf16"})
# Linux on x86-64: a process asks for the registers of TILES before it uses them.
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18


@dataclass(frozen=True)
class Compiler:
    """A C compiler that was tried.

    Args:
        path: the program.
        flags: what it is called with, `-fopenmp` where it has it.
        registers: vector registers of the machine it compiles for.
        identity: a hash of its version and of the machine.
        needs: the instruction sets that a machine must have to run what it makes.
    """

    path: str
    flags: tuple[str, ...]
    registers: int
    identity: str
    needs: tuple[str, ...] = ()


@functools.cache
def compiler(machine: str = "native") -> Compiler:
    """The system's C compiler: `CC`, else cc, gcc or clang, tried once.

    Args:
        machine: what it compiles for, as its `-march` says it.

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
            fix="Install gcc or clang (or name one in CC), or name cells that were built ahead in "
            'UNROLLED_KERNELS, or take backend="reference".',
        )
    facts = _remembered(path, machine) or _checked(path, machine)
    flags = (*FLAGS, f"-march={machine}", *facts["without"], *facts["openmp"])
    identity = hashlib.sha256(f"{facts['version']}{facts['macros']}{flags}".encode()).hexdigest()
    return Compiler(path, flags, facts["registers"], identity, tuple(facts["needs"]))


def _checked(path: str, machine: str) -> dict[str, Any]:
    if machine != "native":
        try:
            _output([path, f"-march={machine}", "-E", "-x", "c", os.devnull])
        except BackendError as error:
            _output([path, "--version"])  # raises where it is the compiler that does not work
            raise UsageError(
                f"machine {machine!r}",
                expected=f"a processor that {path} knows by -march",
                got=error.got,
                fix=f"`{path} -march=x -E - < {os.devnull}` names them.",
            ) from None
    return _tried(path, machine)


def _tried(path: str, machine: str) -> dict[str, Any]:
    """What a few calls of the compiler say; kept for the next process, where it can be."""
    macros = _output([path, f"-march={machine}", "-dM", "-E", "-x", "c", os.devnull])
    version = _output([path, "--version"])
    defined = {line.split()[1] for line in macros.splitlines() if line.startswith("#define ")}
    named = {_plain(name) for name in defined}
    # What the system does not say it has was not asked for either.
    own = instructions() or frozenset()
    refused = machine == "native" and not own.issuperset(named & TILES)
    named -= TILES if refused else set()
    facts = {
        "version": version,
        "macros": hashlib.sha256(macros.encode()).hexdigest(),
        "registers": 32 if {"__AVX512F__", "__aarch64__"} & defined else 16,
        "needs": sorted(named & SETS),
        # Each by itself: with tiles alone switched off, gcc still promises products on them.
        "without": ["-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16"] if refused else [],
        "openmp": ["-fopenmp"] if _has_openmp(path) else [],
    }
    with contextlib.suppress(OSError, BackendError):
        cache.write(cache.folder() / _trial(path, machine), json.dumps(facts).encode())
    return facts


def _remembered(path: str, machine: str) -> dict[str, Any] | None:
    try:
        facts = json.loads(cache.read(cache.folder() / _trial(path, machine)))
        keys = {"version", "macros", "registers", "needs", "without", "openmp"}
        return facts if keys <= facts.keys() else None
    except (OSError, BackendError, ValueError, AttributeError):
        return None


def _trial(path: str, machine: str) -> str:
    """A file's name for this compiler, as it lies on the disk, on this machine."""
    program = Path(path).resolve()
    facts = program.stat()
    what = [str(program), facts.st_size, facts.st_mtime_ns, machine]
    own = sorted(instructions() or [platform.processor()])
    described = json.dumps([*what, platform.machine(), own, FLAGS])
    return f"compiler-{hashlib.sha256(described.encode()).hexdigest()[:32]}.json"


def _plain(name: str) -> str:
    return name.strip("_").lower().replace("_", "")


@functools.cache
def instructions() -> frozenset[str] | None:
    """The instruction sets that this process may use; `None` where the system does not say them."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, words = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    found = frozenset(_plain(word) for word in words.split())
                    return found if found.isdisjoint(TILES) or _may_use_tiles() else found - TILES
    except OSError:
        pass
    return None


def _may_use_tiles() -> bool:
    """Ask the system for tiles, for all threads and forks of this process."""
    if system() != "Linux x86_64":
        return False
    return ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0


def system() -> str:
    """The kind of machine that a library is for, such as `Linux x86_64`."""
    return f"{platform.system()} {platform.machine()}"


def unfit(made_for: str, needs: list[str]) -> str:
    """Why this machine cannot run what was compiled elsewhere; empty where it can."""
    if made_for != system():
        return f"made for {made_for}, this is {system()}"
    own = instructions()
    missing = sorted(set(needs) & TILES if own is None else set(needs) - own)
    return f"made for a processor with {' '.join(missing)}" if missing else ""


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f"the compiler {command[0]} does not run", got=error) from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        wrong = next((line for line in said if "error" in line), said[-1] if said else "an error")
        raise BackendError(
            f"the compiler {command[0]}",
            expected=f"`{' '.join(command)}` to work",
            got=wrong,
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
