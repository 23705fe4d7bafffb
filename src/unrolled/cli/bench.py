"""`unrolled bench`: cells and a shape come in; their times beside their rivals' go out."""

import json
import math
from typing import Annotated

import typer

from unrolled.errors import BackendError, UsageError
from unrolled.messages import tr


def bench(
    cells: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CELL]…", help="Names of the catalogue, or FILE.py:Class."),
    ] = None,
    shape: Annotated[str, typer.Option(help="B,T,I,H or B,T,I,H,L.")] = "100,28,28,128,2",
    training: Annotated[
        bool, typer.Option("--training/--inference", help="Forward and backward, or forward alone.")
    ] = True,
    dtype: Annotated[str, typer.Option(help="float32, float64 or bfloat16.")] = "float32",
    backend: Annotated[str, typer.Option(help="Ours: auto, c, torch, reference.")] = "auto",
    runs: Annotated[int, typer.Option(min=1, help="Rounds; the median of them is said.")] = 30,
    threads: Annotated[int, typer.Option(min=0, help="Threads of all sides; 0: PyTorch's.")] = 0,
    preset: Annotated[
        list[str] | None,
        typer.Option(help="Tables of docs/performance.md: network, pointwise, phased, shapes, …"),
    ] = None,
    keep_freed: Annotated[
        bool,
        typer.Option("--keep-freed", help="All sides keep memory they free, as `train` does."),
    ] = False,
    table: Annotated[bool, typer.Option("--table", help="Print Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time cells beside their rivals, in one run; results are checked first."""
    import torch

    from unrolled.bench.peak import peak
    from unrolled.bench.report import markdown, measure
    from unrolled.bench.tables import TABLES, Row, rows
    from unrolled.bench.work import Work
    from unrolled.bench.work import shape as sizes
    from unrolled.engine.backends import known

    if dtype not in ("float32", "float64", "bfloat16"):
        raise UsageError("--dtype", expected="float32, float64 or bfloat16", got=repr(dtype))
    known(backend)
    if cells and preset:
        raise UsageError("CELL and --preset", expected="one of them", got="both")
    wanted = [
        row for name in preset or (() if cells else TABLES if table else ()) for row in rows(name)
    ]
    size = sizes(shape)
    alone = cells or (() if wanted else ("lstm", "gru"))
    wanted += [Row(Work(cell, size, training, dtype)) for cell in alone]
    if threads:
        torch.set_num_threads(threads)
    peaks: dict[str, float] = {}
    for kind in {row.work.dtype: None for row in wanted}:
        try:
            peaks[kind] = peak(kind)
        except BackendError as error:
            typer.echo(tr("No peak was measured: {reason}", reason=str(error)), err=True)
    found = []
    for row in wanted:
        most = peaks.get(row.work.dtype)
        found.append(
            measure(
                row,
                runs,
                backend=backend,
                peak=most,
                all_rivals=not row.rivals,
                keep_freed=keep_freed,
            )
        )
        if not (as_json or table):
            typer.echo("\n".join(found[-1].lines()))
    if as_json:
        facts = {"threads": torch.get_num_threads(), "torch": torch.__version__, "peak": peaks}
        rows_ = [m.facts() for m in found]
        typer.echo(json.dumps({**facts, "rows": rows_}, ensure_ascii=False, indent=2))
    elif table:
        typer.echo("\n".join(markdown(found)))
    if len(found) > 2 and not as_json:
        firsts = [next(iter(m.ratios.values())) for m in found if m.ratios]
        mean = math.exp(sum(map(math.log, firsts)) / len(firsts))
        typer.echo(tr("geometric mean of the ratios: {mean}", mean=f"{mean:.2f}"))
