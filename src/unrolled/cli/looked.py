"""A task and what a user typed come in; what the inspector looks at goes out, and what is said of
it: parts of an answer, and what was expected of each token or word.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from unrolled.errors import DataError, UsageError
from unrolled.inspect.attribution import METHODS, Attribution, StepByStep
from unrolled.inspect.shade import for_terminal, width
from unrolled.messages import tr

SHOWN = 10  # steps that are named
MOST_STEPS = 1000  # beyond them a report integrates and occludes nothing


def read(
    task: Any, sources: list[str], *, resize: bool, count: int, length: int
) -> tuple[Any, list[str], list[list[str]] | None]:
    """The first examples of all inputs, their names, and of columns the tags that stand there.

    A model that reads text takes files, or the text itself; a tagger takes columns or lines.

    Raises:
        DataError: a file is missing or broken.
        UsageError: there is nothing in it.
    """
    from unrolled.cli.said import images
    from unrolled.data.parallel import read_sentences

    rows: list[Any] = []
    ids: list[str] = []
    tags: list[list[str]] | None = None
    for source in sources:
        if not source or (task.name != "language" and not source.strip()):
            raise UsageError("INPUT", expected="a file or some text", got="an empty text")
        some: Any
        if task.name == "language":
            text = _text(source)
            some, names = [_cut(task, text, length)], [_named(source)]
        elif task.name == "translate":
            lines = read_sentences(Path(source).expanduser()) if _is_file(source) else [source]
            some = [line for line in lines if line.strip()]
            names = [f"{_named(source)}:{k + 1}" for k in range(len(some))]
        elif task.name == "caption":
            shown = images(task, source)
            some, names = shown.inputs, list(shown.ids)
        elif task.name == "tag":
            part = _sentences(source)
            some = [words[:length] for words in part.words]
            names = [f"{_named(source)}:{k + 1}" for k in range(len(some))]
            if part.tags is not None:
                tags = [*(tags or []), *(row[:length] for row in part.tags)]
        else:
            some, names = _examples(task, source, resize)
        rows += list(some)[: count - len(rows)]
        ids += names[: count - len(ids)]
    if not rows:
        raise UsageError("INPUT", expected="something to look at", got="nothing")
    return rows, ids, tags if tags is not None and len(tags) >= len(rows) else None


def own(
    task: Any, model: str, part: str, *, data_dir: str | None, count: int, length: int
) -> tuple[Any, list[str], list[list[str]] | None]:
    """The same of a part of the data that a model was made from.

    Raises:
        UsageError: the model names no data, or there is no such part.
        DataError: the data cannot be had.
    """
    from unrolled import checkpoint
    from unrolled.tasks.recipe import Recipe, reload

    stored = checkpoint.read(model).config["run"].get("recipe") or {}
    if not stored.get("source"):
        raise UsageError("INPUT", expected="something to look at", got="nothing")
    recipe = Recipe.from_json(stored["options"])
    dataset = reload(stored["source"], recipe, task, data_dir=data_dir or stored.get("data_dir"))
    split = getattr(dataset, part)
    if not len(split):
        raise UsageError(f"the {part} part", expected="at least 1 example", got="none")
    if task.name == "language":
        return [task.decode(split.ids[:length].tolist())], [part], None
    some = split.take(range(min(count, len(split))))
    ids = [f"{part}:{k}" for k in range(len(some))]
    if task.name == "tag":
        return some.words, ids, some.tags
    return some.inputs, ids, None


def sifted(inputs: Any, ids: list[str], tags: Any, only: str) -> tuple[Any, list[str], Any]:
    """Those of some texts in which an expression is found.

    Raises:
        UsageError: it is no expression, or found in none.
    """
    import re

    try:
        kept = [
            k for k, row in enumerate(inputs)
            if re.search(only, row if isinstance(row, str) else " ".join(map(str, row)))
        ]  # fmt: skip
    except re.error as error:
        raise UsageError("--only", expected="a regular expression", got=str(error)) from None
    if not kept:
        raise UsageError("--only", expected="an expression that is found somewhere", got=only)
    chosen = [inputs[k] for k in kept]
    return chosen, [ids[k] for k in kept], None if tags is None else [tags[k] for k in kept]


def _examples(task: Any, source: str, resize: bool) -> tuple[Any, list[str]]:
    from unrolled.data import read_inputs

    preparation = getattr(task, "preparation", None)
    if preparation is None:
        raise UsageError("inspect", expected="classify, language or tag", got=repr(task.name))
    if task.reads_texts and not _is_file(source):
        return [source], [_named(source)]
    return read_inputs(source, preparation, resize=resize)


def _is_file(source: str) -> bool:
    """Whether a file is meant: what has no blank and an ending is no text that is worth looking at.

    Raises:
        DataError: it is not there.
    """
    path = Path(source).expanduser()
    try:
        there = path.is_file()
    except OSError:  # a text that is too long for a name
        return False
    if not there and " " not in source and 0 < len(path.suffix) <= 7 and path.stem:
        raise DataError(
            source, expected="a file or a text", got="nothing there", fix="Check the path."
        )
    return there


def _text(source: str) -> str:
    from unrolled.data.passages import of_file

    if not _is_file(source):
        return source.replace("\\n", "\n")  # typed at a shell, "\n" is the way to end a line
    text = "".join(of_file(Path(source).expanduser(), "utf-8"))
    if not text:
        raise DataError(source, expected="some text", got="an empty file")
    return text


def _cut(task: Any, text: str, length: int) -> str:
    """The start of a text, about so many tokens of it."""
    return text[:length] if task.tokenizer.level == "characters" else text[: 4 * length]


def _sentences(source: str) -> Any:
    from unrolled.data.sentences import Tagged, read_lines, read_rows_of

    if not _is_file(source):
        return Tagged([list(words) for words in read_lines(source)])
    path = Path(source).expanduser()
    try:
        return read_rows_of(path).sentences()
    except DataError:
        if path.suffix != ".txt":
            raise
        return Tagged([list(words) for words in read_lines(_text(source))])


def _named(source: str) -> str:
    word = Path(source).name if "/" in source else source
    return word if len(word) <= 24 else word[:23] + "…"


def colours() -> bool:
    """Whether the terminal shows colours: it is one, and NO_COLOR does not stand against it."""
    import os
    import sys

    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def say_parts(
    found: Attribution, tokens: list[str], joiner: str, length: int, strange: Sequence[str] = ()
) -> None:
    """What each step of one sequence had a part in: the text with it, and the largest.

    Args:
        found: the parts.
        tokens, joiner: the text.
        length: of the sequence.
        strange: tokens that the model does not know.
    """
    parts = found.parts[0, :length]
    typer.echo(
        tr("{method}: the score is {score}, of an empty input {empty}; parts add up to {sum}",
           method=found.said(), score=f"{found.score[0]:.4f}",
           empty=f"{found.empty[0]:.4f}", sum=f"{parts.sum():.4f}")
    )  # fmt: skip
    if found.method == "integrated" and not found.complete():
        typer.echo(tr("the network tips over too steeply for these parts to be complete"))
    if strange:
        typer.echo(tr("unknown to the model, read as <unk>: {words}", words=", ".join(strange)))
    if any(tokens) and any(len(t) < 40 for t in tokens):
        typer.echo(for_terminal(tokens, list(parts), joiner, colour=colours()))
    most = float(abs(parts).max()) or 1.0
    order = sorted(range(length), key=lambda t: -abs(parts[t]))[:SHOWN]
    for t in sorted(order):
        bar = "#" * round(20 * abs(parts[t]) / most)
        typer.echo(f"  {t + 1:>6}  {_shown(tokens[t]):<14}{parts[t]:>11.4f}  {bar}")


def say_steps(seen: Any, joiner: str, b: int) -> None:
    """What was expected of each token, the surprising ones named; or each word with its tag."""
    import numpy as np

    told, tokens = seen.told, seen.tokens[b]
    if "answer" in told:
        pairs = zip(tokens, told["answer"][b], told["probability"][b], strict=True)
        for word, tag, sure in pairs:
            pad = " " * max(1, 16 - width(word))
            typer.echo(f"  {word}{pad}{tag:<10}{100 * sure:6.1f} %")
        return
    if "likeliest" not in told or len(tokens) < 2:
        return
    sure = np.array(told["probability"][b])
    bits = -np.log2(np.maximum(sure, 1e-30))
    typer.echo(
        tr("surprise in bits, {bits} a token on average; the strongest colour is {most}",
           bits=f"{np.nanmean(bits):.3f}", most=f"{np.nanmax(bits):.1f}")
    )  # fmt: skip
    typer.echo(for_terminal(tokens, list(bits), joiner, colour=colours()))
    typer.echo(tr("the most surprising:"))
    for t in np.argsort(-np.nan_to_num(bits), kind="stable")[:SHOWN]:
        if not np.isfinite(bits[t]):
            continue
        typer.echo(
            tr("  token {place}, {token}: {sure} %; expected was {likeliest} with {share} %",
               place=int(t) + 1, token=_shown(tokens[t]), sure=f"{100 * sure[t]:.3g}",
               likeliest=_shown(told["likeliest"][b][t]),
               share=f"{100 * told['likeliest_probability'][b][t]:.3g}")
        )  # fmt: skip


def _shown(token: str) -> str:
    return repr(token) if token != token.strip() or not token else token


def every_part(task: Any, inputs: Any, target: str | None, at: int | None, seen: Any) -> list[Any]:
    """What each step had a part in, in every way that is to be had here, for the report."""
    from unrolled.tasks.looking import looked_at

    found = []
    for method in METHODS if seen.steps <= MOST_STEPS else ("gradient",):
        try:
            found.append(looked_at(task, inputs, method, target=target, at=at))
        except StepByStep:
            return []
        except UsageError as error:
            if "captum" not in error.expected:
                raise
    return found
