"""`unrolled inspect`: a model and an input come in; what happened inside goes out, as text,
pictures, tables, or one report.
"""

import json
from functools import partial
from typing import Annotated, Any

import typer

from unrolled.errors import UsageError
from unrolled.messages import tr

_Flag = typer.Option


def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model directory.")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT...]",
            help="An image, a folder, a table, .npy or .npz; a text, or a file of it; default: "
            "the test part of its own data.",
        ),
    ] = None,
    part: Annotated[
        str | None, _Flag(help="Of its own data: test, valid or train; default: test.")
    ] = None,
    data_dir: Annotated[
        str | None, _Flag("--data", metavar="DIR", help="The folder with the dataset's files.")
    ] = None,
    find: Annotated[
        str | None,
        _Flag(
            help="Units that follow quotes, line-position, brackets, subject, tag:NAME, or a "
            "regular expression."
        ),
    ] = None,
    only: Annotated[
        str | None, _Flag(help="Only texts in which this regular expression is found.")
    ] = None,
    follow: Annotated[
        str | None, _Flag(metavar="UNIT", help="Show one unit along the text: c[12], l0.h[3].")
    ] = None,
    why: Annotated[
        str | None, _Flag(help="What each step had a part in: gradient, integrated, occlusion.")
    ] = None,
    at: Annotated[
        int | None, _Flag(help="The word or token, from 1, whose answer alone is meant.")
    ] = None,
    picture: Annotated[str | None, _Flag(metavar="FILE.png", help="Draw what is shown.")] = None,
    report: Annotated[
        str | None, _Flag(metavar="FILE.html", help="Write everything as one page.")
    ] = None,
    step: Annotated[int | None, _Flag(help="The step whose numbers are shown, from 1.")] = None,
    unit: Annotated[int | None, _Flag(help="The unit whose numbers are shown, from 0.")] = None,
    layer: Annotated[str | None, _Flag(help="A layer by name: l0, l1_reverse.")] = None,
    walk: Annotated[
        bool, _Flag("--walk", help="Walk forward and back through time, with the numbers.")
    ] = False,
    truncate: Annotated[
        bool, _Flag("--truncate", help="What is lost by cutting gradients after k steps.")
    ] = False,
    topology: Annotated[
        str | None, _Flag(metavar="FILE.png", help="Draw the network, folded and unrolled.")
    ] = None,
    arrays: Annotated[
        str | None, _Flag(metavar="FILE.npz", help="Write every value and gradient.")
    ] = None,
    table: Annotated[
        str | None, _Flag(metavar="FILE.csv", help="Write a tidy table, a row a value and step.")
    ] = None,
    units: Annotated[bool, _Flag("--units", help="In the table, a row for each unit.")] = False,
    target: Annotated[
        str | None, _Flag(help="Gradients of the loss against this label, not of the answer.")
    ] = None,
    example: Annotated[int, _Flag(help="Which of the inputs is drawn and walked, from 0.")] = 0,
    count: Annotated[
        int | None, _Flag(min=1, help="How many inputs are looked at: 16; with --find 2,000.")
    ] = None,
    length: Annotated[
        int | None,
        _Flag(min=1, help="Tokens of a text that are read: 2,000; with --find 100,000."),
    ] = None,
    dark: Annotated[bool, _Flag("--dark", help="The picture for a dark screen.")] = False,
    resize: Annotated[bool, _Flag("--resize", help="Bring images to the size.")] = False,
    which: Annotated[str, _Flag(help="The best weights, or the last.")] = "best",
    backend: Annotated[str, _Flag(help="auto, torch, c or reference.")] = "auto",
    as_json: Annotated[bool, _Flag("--json", help="Print JSON.")] = False,
) -> None:
    """See inside a model: gates, memory, gradients through time.

    Without options: for each layer how far gradients reach and what to try, what its
    gates do, and which units remember longest.
    """
    from unrolled import tasks
    from unrolled.cli import finding, given, looked
    from unrolled.cli.outputs import file_to_write
    from unrolled.inspect import save_arrays, save_table
    from unrolled.tasks.following import followable, following
    from unrolled.tasks.looking import look, looked_at

    file_to_write("--picture", picture, ".png")
    file_to_write("--topology", topology, ".png")
    file_to_write("--arrays", arrays, ".npz")
    file_to_write("--table", table, ".csv")
    file_to_write("--report", report, ".html", ".htm")
    _together(sources, part=part, data_dir=data_dir, units=units, table=table)
    task = tasks.load(model, which=which, device="cpu", backend=backend)
    most = {"count": count or (2000 if find else 16),
            "length": length or (100_000 if find else 2000)}  # fmt: skip
    if sources:
        examples = given.read(task, sources, resize=resize, **most)
    else:
        examples = given.own(task, model, part or "test", data_dir=data_dir, **most)
    if only is not None:
        examples = given.sifted(examples, only)
    inputs, ids, tags = examples
    found = None
    if find is not None:
        followable(task)
        first = finding.named(task, follow) if follow else None
        found = following(task, inputs, find, tags=tags, unit=first)
        row = found.shown()[0]
        inputs, ids, example = [_written(task, row)], [tr("held out")], 0
    if not 0 <= example < len(ids):
        raise UsageError("--example", expected=f"0 to {len(ids) - 1}", got=example)
    seen = look(task, inputs, target=target, at=at, ids=ids)
    drawn_one = inputs[example : example + 1]
    parts = looked_at(task, drawn_one, why, target=target, at=at) if why else None
    if parts is not None:
        row = parts.parts[0, : int(seen.lengths[example])].tolist()
        seen.told[f"why_{why}"] = [row if b == example else [] for b in range(len(ids))]
    chosen = seen[layer] if layer else seen.layers[-1]
    unit_asked = finding.unit_of(seen, follow, chosen) if follow and not find else None
    if as_json:
        whole = _facts(seen, parts)
        if found is not None and find is not None:
            whole["find"] = finding.facts(found, find)
        typer.echo(json.dumps(whole, ensure_ascii=False))
    elif found is not None and find is not None:
        typer.echo(task.describe())
        finding.say(found, find)
    elif unit_asked is not None:
        finding.say_unit(seen, *unit_asked, example)
    elif step is not None or unit is not None:
        _step(chosen, example, step, unit)
    elif walk:
        from unrolled.inspect.bptt import walk as walked
        from unrolled.inspect.bptt import walk_text

        typer.echo(walk_text(walked(chosen, example)))
    elif truncate:
        _truncate(chosen, example)
    elif parts is not None:
        size = int(seen.lengths[example])
        strange = list(dict.fromkeys(seen.unknown[example])) if seen.unknown else []
        looked.say_parts(parts, seen.tokens[example], seen.joiner, size, strange)
    else:
        _summary(task, seen, [chosen] if layer else seen.layers, example)
    written: list[Any] = []
    if picture is not None:
        if found is not None and find is not None:
            drawn = finding.drawing(found, find, seen)
        elif unit_asked is not None:
            drawn = finding.unit_drawing(seen, *unit_asked, example)
        else:
            drawn = _drawing(seen, chosen, parts, example)
        written.append(_draw(picture, drawn, dark))
    if arrays is not None:
        written.append(save_arrays(seen, arrays))
    if table is not None:
        written.append(save_table(seen, table, units=units))
    if topology is not None:
        drawing = partial(_topology, seen, example)
        written.append(_draw(topology, drawing, dark))
    if report is not None:
        from unrolled.inspect.report import save_report

        title = f"{model}: {task.describe()}"
        parts_of = [parts] if parts else looked.every_part(task, drawn_one, target, at, seen)
        followed = None if found is None or find is None else finding.told(found, find)
        written.append(
            save_report(seen, report, title=title, b=example, step=step, unit=unit,
                        attributions=parts_of, followed=followed)
        )  # fmt: skip
    for path in written:
        typer.echo(str(path), err=as_json)


def _together(sources, *, part: str | None, data_dir: str | None, units: bool, table) -> None:
    """Refuse options that say nothing beside others.

    Raises:
        UsageError: there is one.
    """
    if part not in (None, "train", "valid", "test"):
        raise UsageError("--part", expected="test, valid or train", got=repr(part))
    for option, value in (("--part", part), ("--data", data_dir)):
        if sources and value is not None:
            raise UsageError(
                option, expected="no INPUT beside it", got=sources[0],
                fix="It is of the model's own data.",
            )  # fmt: skip
    if units and table is None:
        raise UsageError("--units", expected="--table FILE.csv beside it", got="none")


def _written(task, row) -> Any:
    """A sequence as its task reads it, the first part of a long one."""
    if task.name == "tag":
        return row.tokens
    return row.joiner.join(row.tokens[:2000])


def _step(layer, example: int, step: int | None, unit: int | None) -> None:
    from unrolled.inspect import step_walk
    from unrolled.inspect import units as ranked
    from unrolled.inspect.walking import as_text

    step = int(layer.one.ends()[example]) if step is None else step
    unit = ranked(layer)[0].unit if unit is None else unit
    lines = step_walk(layer, step, unit, example)  # before anything is said: it may be none
    typer.echo(tr("{layer}, step {step}, unit {unit}", layer=layer.title, step=step, unit=unit))
    typer.echo(as_text(lines))


def _truncate(layer, example: int) -> None:
    from unrolled.inspect import truncations

    typer.echo(f"{'k':>6}{tr('angle, degrees'):>18}{tr('length'):>12}")
    for cut in truncations(layer, b=example):
        angle = "–" if cut.angle is None else f"{cut.angle:.2f}"
        typer.echo(f"{cut.k:>6}{angle:>18}{cut.length:>12.4f}")


def _summary(task, seen, layers, example: int) -> None:
    from unrolled.cli.looked import say_steps
    from unrolled.inspect import flow, statistics
    from unrolled.inspect import units as ranked
    from unrolled.inspect.words import said

    typer.echo(task.describe())
    for name, answer in list(zip(seen.ids, seen.answers, strict=True))[:8]:
        typer.echo(f"  {name}: {answer}")
    say_steps(seen, seen.joiner, example)
    for layer in layers:
        found = flow(layer)
        typer.echo("")
        typer.echo(found.said())
        for line in found.advice(once=seen.once):
            typer.echo(f"  - {line}")
        for one in statistics(layer):
            words = said(layer.traced, one.name)
            name = one.name if words == one.name else f"{one.name} ({words})"
            edges = ""
            if one.low is not None and one.high is not None:
                edges = tr("; {low} % at its lower limit, {high} % at its upper",
                           low=f"{100 * one.low:.0f}", high=f"{100 * one.high:.0f}")  # fmt: skip
            typer.echo(f"  {name}: {one.mean:.3f} ± {one.std:.3f}{edges}")
        best = ranked(layer)
        shown = ", ".join(f"{u.state}[{u.unit}] {u.steps:.1f}" for u in best[:5])
        if shown:
            typer.echo(f"  {tr('longest memory, in steps')}: {shown}")
        dead = [f"{u.state}[{u.unit}]" for u in best if u.dead]
        if dead:
            more = " …" if len(dead) > 8 else ""
            typer.echo(f"  {tr('hardly moving')}: {', '.join(dead[:8])}{more}")


def _facts(seen, parts=None) -> dict[str, Any]:
    from dataclasses import asdict

    from unrolled.inspect import flow, statistics
    from unrolled.inspect import units as ranked
    from unrolled.inspect.flows import table

    layers = list({layer.title: layer for layer in seen.layers}.values())
    rows = table([flow(layer) for layer in layers])
    for row, layer in zip(rows, layers, strict=True):
        row["statistics"] = [asdict(one) for one in statistics(layer)]
        row["memory"] = [
            {**asdict(u), "steps": None if u.steps == float("inf") else u.steps}
            for u in ranked(layer)
        ]
    facts: dict[str, Any] = {
        "ids": seen.ids,
        "answers": seen.answers,
        "about": seen.about,
        "layers": rows,
    }
    if seen.told:
        facts |= {"tokens": seen.tokens, "told": _without_nan(seen.told)}
    if seen.said:
        facts["said"] = [
            {"pieces": list(one.pieces), "probability": list(one.probability)} for one in seen.said
        ]
    if parts is not None:
        facts["why"] = {"method": parts.method, "score": float(parts.score[0]),
                        "empty": float(parts.empty[0])}  # fmt: skip
    return facts


def _without_nan(told: dict[str, list[list[Any]]]) -> dict[str, list[list[Any]]]:
    """Facts that JSON can hold: a number that is none is null."""
    return {k: [[None if v != v else v for v in row] for row in rows] for k, rows in told.items()}


def _topology(seen, example: int, style):
    from unrolled.inspect.pictures import topology
    from unrolled.inspect.pictures.saying import saying

    if seen.said:
        return saying(seen.said[example].parts, style)
    return topology(seen, style, example)


def _drawing(seen, layer, parts, example: int):
    """From a style to the picture of what the command shows."""
    from unrolled.inspect import pictures
    from unrolled.inspect.pictures.attention import attention

    size, tokens = int(seen.lengths[example]), seen.tokens[example]
    said = seen.said[example] if seen.said else None
    if parts is not None:
        title, values = parts.said(), parts.parts[0, :size]
        if seen.x_gradient is not None and parts.features is not None:
            x, features = seen.x[example, :size], parts.features[0, :size]
            return lambda style: pictures.features(x, features, style, title=title)
        return lambda style: pictures.steps(
            values, style, tokens=tokens, title=title, label=tr("part of the score")
        )
    if "likeliest" in seen.told:
        return lambda style: pictures.surprise(seen, style, example)
    if said is not None and said.looked is not None:
        return lambda style: attention(said.looked, said.read, said.pieces, style)
    tokens = seen.tokens_of(layer)[example]
    return lambda style: pictures.values(layer, style, example, tokens)


def _draw(path: str, drawing, dark: bool):
    from pathlib import Path

    from unrolled.inspect.pictures import Style, png
    from unrolled.inspect.pictures.style import missing_font
    from unrolled.inspect.tables import written

    if words := missing_font():
        typer.echo(words, err=True)
    return written(Path(path).expanduser(), png(drawing, Style(dark)))
