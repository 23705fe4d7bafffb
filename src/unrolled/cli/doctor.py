"""`unrolled doctor`: this machine comes in, a table of what works and what to do goes out."""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from unrolled.messages import tr

COMPILERS = ("cc", "gcc", "clang", "cl")
# extra: (the module that it brings, what it is for)
EXTRAS = {
    "tensorboard": ("tensorboard", "curves in TensorBoard"),
    "text": ("tokenizers", "subword tokenizers"),
    "dev": ("pytest", "tests of the package itself"),
}


class Finding(NamedTuple):
    """One line of the table: `ok` is whether all that needs it will work; `fix` what to do."""

    ok: bool
    found: str
    fix: str = ""
    facts: dict[str, Any] | None = None


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at this machine: compiler, devices, fonts."""
    findings = {name: look() for name, look in LOOKS.items()}
    if as_json:
        report = {
            name: {"ok": f.ok, "found": f.found, "fix": f.fix, **(f.facts or {})}
            for name, f in findings.items()
        }
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    for name, finding in findings.items():
        sign = tr("ok") if finding.ok else tr("look")
        typer.echo(f"{_padded(sign, 5)}{_padded(tr(name), 12)}{finding.found}")
        if finding.fix:
            typer.echo(f"{'':17}{finding.fix}")


def python() -> Finding:
    """The interpreter and the system."""
    system = f"{platform.system()} {platform.machine()}"
    facts = {"version": platform.python_version(), "system": system}
    return Finding(sys.version_info >= (3, 11), f"{facts['version']}, {system}", "", facts)


def pytorch() -> Finding:
    """PyTorch, and the threads that it computes with."""
    import torch

    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    found = tr("{version}, threads: {threads}", version=torch.__version__, threads=threads)
    return Finding(
        True, found, "", {"version": torch.__version__, "threads": threads, "cores": cores}
    )


def compiler() -> Finding:
    """The C compiler, which the compiled backend calls."""
    asked = os.environ.get("CC")
    for name in ([asked] if asked else []) + list(COMPILERS):
        path = shutil.which(name)
        if path:
            version = _version_line(path)
            return Finding(
                True, f"{name}: {version}", "", {"command": name, "path": path, "version": version}
            )
    fixes = {
        "Linux": tr("Install one: `apt install gcc` or your system's package."),
        "Darwin": tr("Install one: `xcode-select --install`."),
    }
    fix = fixes.get(platform.system(), tr("Install one: Visual Studio's build tools, or LLVM."))
    return Finding(False, tr("no C compiler; PyTorch's kernels do the work"), fix)


def devices() -> Finding:
    """The processors that PyTorch can compute on."""
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{k} {torch.cuda.get_device_name(k)}" for k in range(_cuda_devices())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return Finding(True, ", ".join(found), "", {"devices": found})


def cache() -> Finding:
    """The folder that downloads are kept in."""
    import platformdirs

    return _folder(Path(platformdirs.user_cache_dir("unrolled", appauthor=False)), "XDG_CACHE_HOME")


def data() -> Finding:
    """The folder of datasets that `UNROLLED_DATA` points to."""
    asked = os.environ.get("UNROLLED_DATA")
    if not asked:
        return Finding(True, tr("UNROLLED_DATA is not set; downloads go to the cache"))
    folder = Path(asked)
    if not folder.is_dir():
        fix = tr("Make the folder, or correct the variable UNROLLED_DATA.")
        return Finding(False, tr("{folder} is no folder", folder=folder), fix)
    sets = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    found = tr("{folder}: {count} folders", folder=folder, count=len(sets))
    return Finding(True, found, "", {"folder": str(folder), "datasets": sets})


def fonts() -> Finding:
    """Whether Matplotlib has a font that draws Korean."""
    from unrolled.inspect.pictures import korean_family

    family = korean_family()
    if family:
        return Finding(True, tr("{family} draws Korean", family=family), "", {"korean": family})
    fixes = {
        "Linux": tr("Install one: `apt install fonts-nanum`, or the package of Noto Sans CJK."),
        "Darwin": tr("Install Nanum Gothic; macOS's own Apple SD Gothic Neo was not found."),
        "Windows": tr("Install the Korean supplemental fonts, which bring Malgun Gothic."),
    }
    fix = fixes.get(platform.system(), tr("Install Nanum Gothic or Noto Sans KR."))
    return Finding(False, tr("no font draws Korean; pictures speak English"), fix)


def extras() -> Finding:
    """The optional parts of the package."""
    here = {name: importlib.util.find_spec(module) for name, (module, _) in EXTRAS.items()}
    missing = [name for name, spec in here.items() if spec is None]
    found = ", ".join(name for name, spec in here.items() if spec) or tr("none")
    fix = "; ".join(
        tr("for {use}: pip install 'unrolled[{name}]'", use=tr(EXTRAS[name][1]), name=name)
        for name in missing
        if name != "dev"
    )
    facts = {"present": [name for name in here if name not in missing], "missing": missing}
    return Finding(True, found, fix, facts)


def packages() -> Finding:
    """The versions of what the package stands on."""
    needed = "numpy safetensors scikit-learn matplotlib typer rich pooch platformdirs".split()
    versions = {name: metadata.version(name) for name in needed}
    return Finding(True, ", ".join(f"{k} {v}" for k, v in versions.items()), "", versions)


# In the order of the table; `--json` has these keys.
LOOKS: dict[str, Callable[[], Finding]] = {
    "python": python,
    "torch": pytorch,
    "packages": packages,
    "compiler": compiler,
    "devices": devices,
    "cache": cache,
    "data": data,
    "fonts": fonts,
    "extras": extras,
}


def _folder(folder: Path, variable: str) -> Finding:
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    used = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if writable else 0
    free = shutil.disk_usage(nearest).free
    facts = {"folder": str(folder), "writable": writable, "bytes": used, "free": free}
    if not writable:
        fix = tr("Make it writable, or point {variable} elsewhere.", variable=variable)
        return Finding(False, tr("{folder} cannot be written", folder=folder), fix, facts)
    found = tr(
        "{folder}: {used} used, {free} free", folder=folder, used=_size(used), free=_size(free)
    )
    return Finding(True, found, "", facts)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _version_line(path: str) -> str:
    try:
        ran = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return tr("its version cannot be read")
    said = (ran.stdout or ran.stderr).strip().splitlines()
    return said[0] if said else tr("its version cannot be read")


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count()


def _padded(text: str, width: int) -> str:
    """Text padded to a width in columns: a Korean letter takes two."""
    return text + " " * max(1, width - sum(2 if letter > "ᄀ" else 1 for letter in text))
