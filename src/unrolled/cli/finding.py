"""A task, texts and what may be followed come in; the units that follow it are said and drawn."""

import re
from typing import Any

import numpy as np
import typer

from unrolled.cli.looked import colours
from unrolled.errors import UsageError
from unrolled.inspect.shade import for_terminal
from unrolled.messages import tr

SHOWN = 1500  # tokens of the held-out text that are coloured
STEPS = 60  # with more of them a unit is drawn as a coloured text


def say(found: Any, what: str) -> None:
    """The units, their scores on what they were not chosen on, and the text in the best one's."""
    best = found.units[0]
    typer.echo(
        tr("units that follow {what}, chosen on the first half and scored on the second:",
           what=what)
    )  # fmt: skip
    head = f"  {tr('unit'):<16}{best.measure:>12}"
    if best.accuracy is not None:
        head += f"{tr('accuracy'):>12}{tr('threshold'):>12}"
    typer.echo(head)
    for one in found.units:
        line = f"  {f'{one.name}[{one.unit}]':<16}{one.held:>12.4f}"
        if one.accuracy is not None and one.threshold is not None:
            line += f"{100 * one.accuracy:>10.2f} %{one.threshold:>12.4f}"
        typer.echo(line)
    typer.echo(
        tr("by chance the best unit reaches {chance} there (what is followed, shifted 20 ways)",
           chance=f"{best.chance:.4f}")
    )  # fmt: skip
    if best.usual is not None:
        typer.echo(
            tr("always saying the commoner answer is right at {share} % of the steps",
               share=f"{100 * best.usual:.2f}")
        )  # fmt: skip
    if found.gates:
        name = f"{best.name}[{best.unit}]"
        typer.echo(tr("mean gates of {unit}:", unit=name))
        words = (tr("where it begins or grows"), tr("where it ends or falls"), tr("elsewhere"))
        for k, word in enumerate(words):
            told = ", ".join(f"{n} {v[k]:.2f}" for n, v in found.gates.items())
            typer.echo(f"  {told}  {word}")
    row, values = found.shown()
    typer.echo(for_terminal(row.tokens[:SHOWN], values[:SHOWN], row.joiner, colour=colours()))


def facts(found: Any, what: str) -> dict[str, Any]:
    """The same for programs."""
    from dataclasses import asdict

    gates = {
        n: dict(
            zip(("rises", "falls", "elsewhere"), (None if v != v else v for v in row), strict=True)
        )
        for n, row in found.gates.items()
    }
    return {"what": what, "units": [asdict(one) for one in found.units], "gates": gates}


def drawing(found: Any, what: str, seen: Any):
    """From a style to the picture: the unit over the steps of a short text, or a coloured text."""
    from unrolled.inspect import pictures

    best = found.units[0]
    row, values = found.shown()
    title, _, _ = best.name.rpartition(".")
    if len(row.tokens) <= STEPS:
        layer = seen[title]
        return lambda style: pictures.unit(layer, best.unit, style, 0, row.tokens, row.wanted)
    words = tr("{unit}, which follows {what}: {measure} {held} on text it was not chosen on",
               unit=f"{best.name}[{best.unit}]", what=what, measure=best.measure,
               held=f"{best.held:.3f}")  # fmt: skip
    return lambda style: pictures.text(row.tokens, values, style, joiner=row.joiner, title=words,
                                       label=tr("value"))  # fmt: skip


UNIT = re.compile(r"(?:(?P<layer>[\w.]+)\.)?(?P<name>\w+)\[(?P<unit>\d+)\]")


def named(task: Any, words: str) -> tuple[str, int]:
    """`c[12]`, of the last layer, or `l0.c[12]` as ("l0.c", 12).

    Raises:
        UsageError: it is no such name.
    """
    found = UNIT.fullmatch(words.strip())
    if found is None:
        raise UsageError("--follow", expected="a unit such as c[12] or l0.c[12]", got=words)
    layer = found["layer"] or f"l{task.model.recurrent.num_layers - 1}"
    return f"{layer}.{found['name']}", int(found["unit"])


def unit_of(seen: Any, words: str, layer: Any) -> tuple[Any, str, int]:
    """The layer, name and unit of `c[12]` or `l0.c[12]`.

    Raises:
        UsageError: there is none.
    """
    found = UNIT.fullmatch(words.strip())
    if found is None:
        raise UsageError("--follow", expected="a unit such as c[12] or l0.c[12]", got=words)
    chosen = seen[found["layer"]] if found["layer"] else layer
    width, unit = chosen[found["name"]].shape[-1], int(found["unit"])
    if unit >= width:
        raise UsageError("unit", expected=f"0 to {width - 1}", got=unit)
    return chosen, found["name"], unit


def say_unit(seen: Any, chosen: Any, name: str, unit: int, b: int) -> None:
    """A text in the colours of one unit, and its values where there are few."""
    size, tokens = int(seen.lengths[b]), seen.tokens[b]
    values = chosen[name][b, :size, unit]
    typer.echo(f"{chosen.title}.{name}[{unit}]: {values.min():.4f} … {values.max():.4f}")
    if any(tokens):
        shown = np.asarray(values[:SHOWN], float)
        typer.echo(for_terminal(tokens[:SHOWN], shown, seen.joiner, colour=colours()))
    else:
        for t, value in enumerate(values.tolist()[:STEPS]):
            typer.echo(f"  {t + 1:>6}{value:>12.4f}")


def unit_drawing(seen: Any, chosen: Any, name: str, unit: int, b: int):
    """From a style to the picture of one unit."""
    from unrolled.inspect import pictures

    size, tokens = int(seen.lengths[b]), seen.tokens[b]
    if size <= STEPS or not any(tokens):
        return lambda style: pictures.unit(chosen, unit, style, b, tokens)
    values = chosen[name][b, :size, unit]
    title = f"{chosen.title}.{name}[{unit}]"
    return lambda style: pictures.text(tokens, values, style, joiner=seen.joiner, title=title,
                                       label=tr("value"))  # fmt: skip


def told(found: Any, what: str) -> Any:
    """The same for the report."""
    from unrolled.inspect.report import Followed

    row, values = found.shown()
    return Followed(what, found.units, row.tokens, row.joiner, values, row.wanted, found.gates)
