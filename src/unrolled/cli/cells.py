"""`unrolled cells`: names and files of cells come in; equations and facts, or faults, go out."""

import json
import keyword
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cells import find, names
from unrolled.cells.paper import short
from unrolled.cli.ahead import build
from unrolled.cli.outputs import file_to_write
from unrolled.engine.equations import equations, legend
from unrolled.engine.trace import trace
from unrolled.engine.traced import Traced
from unrolled.errors import CellError, UsageError
from unrolled.messages import tr

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="The catalogue of cells: list, show, check, new, build.",
)
app.command()(build)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
STAGES = ("equations", "trace", "derive", "plan", "c")
TEMPLATE = '''"""The cell {name}: change the equations, then `unrolled cells check {file}`.

x.k is (W x + b)_k, u.k(v) is (U v + b)_k, w.k is a weight of one value a unit; norm.k(v) and
proj.k(v) normalise and project a value. What `step` returns beside the states can be observed.
"""

from unrolled.cells import Cell, sigmoid, tanh


class {name}(Cell):
    """A gate z blends the old state with a candidate n."""

    gates, states = "z n", "h"
    labels = {{
        "z": ("update gate", "갱신 게이트"),
        "n": ("candidate", "후보"),
        "h": ("hidden state", "은닉 상태"),
    }}

    def step(self, x, u, h):
        z = sigmoid(x.z + u.z(h))
        n = tanh(x.n + u.n(h))
        return dict(h=(1 - z) * h + z * n, z=z, n=n)
'''


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the cells: name, gates, states, paper."""
    rows = []
    for name in names():
        traced = trace(find(name))
        rows.append(
            {
                "name": name,
                "gates": list(traced.gates),
                "states": list(traced.states),
                "paper": short(traced.paper),
            }
        )
    if as_json:
        typer.echo(_json(rows))
        return
    head = {"name": tr("name"), "gates": tr("gates"), "states": tr("states"), "paper": tr("paper")}
    table = [[_text(row[key]) for key in head] for row in rows]
    _print_table([list(head.values()), *table])


@app.command()
def show(
    cell: Annotated[
        str, typer.Argument(metavar="CELL", help="A name of the catalogue, or FILE.py:Class.")
    ],
    input_size: Annotated[int, typer.Option("--input", min=1, help="Input features, I.")] = 28,
    hidden: Annotated[int, typer.Option("--hidden", min=1, help="Units, H.")] = 128,
    stage: Annotated[
        str, typer.Option(help="What to show: equations, or a pass: trace, derive, plan, c.")
    ] = "equations",
    as_json: AsJson = False,
) -> None:
    """Show a cell: equations, parameters, what it observes, its paper."""
    if stage not in STAGES:
        raise UsageError("--stage", expected=" or ".join(STAGES), got=repr(stage))
    found = find(cell)
    traced = trace(found)
    if stage == "trace":
        typer.echo(_json(traced.graph.to_json()) if as_json else _graph(traced))
        return
    if stage != "equations":
        from unrolled.engine.passes import show as made

        typer.echo(made(found, stage))
        return
    facts = _facts(found, traced, input_size, hidden)
    typer.echo(_json(facts) if as_json else _page(facts, traced))


@app.command()
def check(
    cell: Annotated[
        str,
        typer.Argument(metavar="CELL", help="FILE.py:Class; the class where there are several."),
    ],
    as_json: AsJson = False,
) -> None:
    """Check a cell of yours, and say in one line what is wrong."""
    traced = trace(find(cell))
    _try(traced)
    facts = {"name": traced.name, "gates": list(traced.gates), "states": list(traced.states)}
    facts["observed"] = list(traced.observed)
    if as_json:
        typer.echo(_json({"ok": True, **facts}))
        return
    said = "; ".join(f"{tr(key)} {_text(value)}" for key, value in list(facts.items())[1:] if value)
    typer.echo(tr("{cell} is a cell: {facts}", cell=cell, facts=said))


@app.command()
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name of the new class, such as MyCell.")
    ],
    out: Annotated[Path | None, typer.Option(help="The file to write; else NAME.py.")] = None,
) -> None:
    """Write a template of a cell to start from; it never overwrites a file."""
    if keyword.iskeyword(name):
        raise UsageError(
            f"NAME {name!r}", expected="the name of a class", got="a word of Python's own",
            fix=f"Such as {name.title()}Cell.",
        )  # fmt: skip
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UsageError(
            f"NAME {name!r}",
            expected="the name of a class: letters, digits, underscores",
            got=repr(name),
            fix="Such as MyCell.",
        )
    file = out or Path(f"{name.lower()}.py")
    if not file.exists():  # which is said below
        file_to_write("--out", file, ".py")
    text = TEMPLATE.format(name=name, file=f"{file.name}:{name}")
    try:
        with open(file, "x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(
            f"{file} is there already", fix="Choose another name, or another file with --out."
        ) from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written", got=error.strerror or str(error)) from None
    typer.echo(tr("Wrote {file}. Next: unrolled cells check {file}:{name}", file=file, name=name))


def _facts(cell, traced: Traced, input_size: int, hidden: int) -> dict[str, Any]:
    from unrolled.layers import Recurrent

    layer = Recurrent(cell, input_size, hidden)
    shapes = {key: list(value.shape) for key, value in layer.named_parameters()}
    return {
        "name": traced.name,
        "about": (type(cell).__doc__ or "").strip().splitlines()[0] if type(cell).__doc__ else "",
        "gates": list(traced.gates),
        "states": list(traced.states),
        "observed": list(traced.observed),
        "hyper": dict(traced.hyper),
        "labels": {key: list(words) for key, words in traced.labels.items()},
        "equations": equations(traced),
        "notation": legend(traced),
        "latex": equations(traced, latex=True),
        "input": input_size,
        "hidden": hidden,
        "parameters": shapes,
        "count": sum(value.numel() for value in layer.parameters()),
        "paper": traced.paper,
    }


def _page(facts: dict[str, Any], traced: Traced) -> str:
    words = [
        f"  {key:<10}{english} · {korean}" for key, (english, korean) in facts["labels"].items()
    ]
    shapes = [
        f"  {key:<24}{' x '.join(map(str, shape))}" for key, shape in facts["parameters"].items()
    ]
    size = tr(
        "parameters at input {input}, hidden {hidden}: {count}",
        input=facts["input"],
        hidden=facts["hidden"],
        count=f"{facts['count']:,}",
    )
    hyper = "  ".join(f"{key} = {value:g}" for key, value in facts["hyper"].items())
    sections: list[tuple[str, list[str]]] = [
        (f"{facts['name']}: {tr(facts['about'])}" if facts["about"] else facts["name"], []),
        (tr("equations"), ["  " + line for line in facts["equations"]]),
        (tr("where"), ["  " + line for line in facts["notation"]]),
        (tr("hyper-parameters"), [f"  {hyper}"] * bool(hyper)),
        (tr("can be observed"), [f"  {_text([*facts['states'], *facts['observed']])}"]),
        (tr("in words"), words),
        (size, shapes),
        ("LaTeX", ["  " + line + r" \\" for line in facts["latex"]]),
        (tr("paper"), facts["paper"].splitlines()),
    ]
    first, *rest = sections
    return "\n\n".join([first[0], *("\n".join([head, *body]) for head, body in rest if body)])


def _graph(traced: Traced) -> str:
    results: dict[int, list[str]] = {}
    for name, k in traced.graph.outputs.items():
        results.setdefault(k, []).append(name)
    lines = []
    for k, node in enumerate(traced.graph.nodes):
        operands = ", ".join(f"%{a}" for a in node.args)
        of = "" if node.attr is None else f" {node.attr}"
        arrow = f"   -> {' '.join(results[k])}" if k in results else ""
        lines.append(f"%{k:<3} = {node.op}{of}({operands}){arrow}".replace("()", ""))
    return "\n".join(lines)


def _try(traced: Traced) -> None:
    """Raise where the first steps from zero states give values or gradients that are not finite."""
    import torch

    from unrolled.layers import Recurrent

    layer = Recurrent(traced, 3, 4, backend="reference").double()
    x = torch.sin(torch.arange(30.0, dtype=torch.float64)).reshape(2, 5, 3).requires_grad_()
    output, _ = layer(x)
    if not torch.isfinite(output).all():
        raise CellError(
            f"cell {traced.name}: the first steps from the states it starts with",
            expected="finite outputs",
            got="NaN or infinite ones",
            fix="Look for a division by a state that starts at 0, or set `init`.",
        )
    output.sum().backward()
    gradients = [x.grad, *(p.grad for p in layer.parameters())]
    if not all(g is None or torch.isfinite(g).all() for g in gradients):
        raise CellError(
            f"cell {traced.name}: the first steps from the states it starts with",
            expected="finite gradients",
            got="NaN or infinite ones",
            fix="Look for a square root or a logarithm at 0.",
        )


def _print_table(rows: list[list[str]]) -> None:
    widths = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            text + " " * (width - _columns(text)) for text, width in zip(row, widths, strict=True)
        )
        typer.echo("  ".join(cells).rstrip())


def _columns(text: str) -> int:
    return sum(2 if letter >= "ᄀ" else 1 for letter in text)


def _text(value) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


def _json(value) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
