"""`unrolled cells build`: cells and models come in, their compiled kernels go out into a folder.

For images without a compiler: `UNROLLED_KERNELS` names the folder where a program looks first.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cells import find, names
from unrolled.engine import cache
from unrolled.engine.traced import Traced
from unrolled.errors import UsageError
from unrolled.messages import tr

DTYPES = ("float32", "float64", "bfloat16")


def build(
    cells: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CELLS", help="Names of the catalogue, FILE.py:Class, or model directories."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to fill.")] = Path("kernels"),
    every: Annotated[bool, typer.Option("--all", help="All cells of the catalogue.")] = False,
    dtype: Annotated[
        str, typer.Option(help="What they multiply: float32, float64 or bfloat16.")
    ] = "",
    observe: Annotated[
        str, typer.Option(help="Values to record as well: names with commas, or all.")
    ] = "",
    machine: Annotated[
        str, typer.Option(help="The processor, as the compiler's -march names it.")
    ] = "native",
) -> None:
    """Compile cells ahead, for machines without a compiler."""
    if dtype and dtype not in DTYPES:
        raise UsageError("--dtype", expected="float32, float64 or bfloat16", got=repr(dtype))
    wanted = [*(cells or []), *(names() if every else [])]
    if not wanted:
        raise UsageError("CELLS", expected="names of cells, or --all", got="nothing")
    _ready(out)
    from unrolled.engine.compiler import compiler

    compiler(machine)  # where there is none, it says so before anything else
    works = [
        (cell, traced, _observed(traced, observe), kind)
        for cell in dict.fromkeys(wanted)
        for traced, kind in _of(cell, dtype)
    ]
    # The compiler is a process of its own: threads suffice to have one on every core.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for line in pool.map(lambda work: _one(work, out, machine), works):
            typer.echo(line)
    typer.echo(
        tr("Where they are to be used: {setting}", setting=f"{cache.VARIABLE}={out.resolve()}")
    )


def _ready(out: Path) -> None:
    try:
        out.mkdir(mode=0o755, parents=True, exist_ok=True)
        wrong = cache.untrusted(out.stat())
    except OSError as error:
        raise UsageError("--out", expected="a folder", got=error.strerror or error) from None
    if wrong:
        raise UsageError(
            f"--out {out}",
            expected="something of yours or root's that nobody else can write to",
            got=wrong,
            fix=f"`chmod 755 {out}`, or name another folder.",
        )


def _of(cell: str, dtype: str) -> Iterator[tuple[Traced, Any]]:
    """The cells, as layers run them, and what they compute in."""
    import torch

    from unrolled.engine.options import with_options

    if not Path(cell).is_dir():
        yield with_options(find(cell).trace()), getattr(torch, dtype or "float32")
        return
    from unrolled.layers.stack import Stack
    from unrolled.tasks import load

    seen: list[Traced] = []
    for layer in load(cell).model.modules():
        if isinstance(layer, Stack):
            own = next(layer.parameters()).dtype
            for traced in (layer._training_cell, layer._evaluation_cell):
                if traced not in seen:
                    seen.append(traced)
                    yield traced, getattr(torch, dtype) if dtype else own


def _observed(traced: Traced, observe: str) -> tuple[str, ...]:
    known = [name for name in traced.graph.outputs if name != traced.states[0]]
    if observe == "all":
        return tuple(known)
    asked = [name for name in observe.replace(",", " ").split() if name != traced.states[0]]
    for name in asked:
        if name not in known:
            raise UsageError(f"--observe {name!r}", expected=f"any of {', '.join(known)}", got=name)
    return tuple(asked)


def _one(work: tuple[str, Traced, tuple[str, ...], Any], out: Path, machine: str) -> str:
    from unrolled.engine.native import build_ahead

    cell, traced, observed, dtype = work
    began = time.perf_counter()
    made = build_ahead(traced, observed, dtype, out, machine)
    return f"{cell:<20} {made.name}  {time.perf_counter() - began:.1f} s"
