"""What a user named comes in, or nothing; the examples that the inspector looks at go out."""

import re
from typing import Any

from unrolled.cli.asked import Looked
from unrolled.cli.fronts import front_of
from unrolled.cli.reading import Examples
from unrolled.errors import UsageError


def read(task: Any, sources: list[str], *, resize: bool, count: int, length: int) -> Examples:
    """The first examples of all inputs.

    A model that reads text takes files, or the text itself; a tagger takes columns or lines.

    Raises:
        DataError: a file is missing or broken.
        UsageError: there is nothing in it.
    """
    front = front_of(task)
    rows: list[Any] = []
    ids: list[str] = []
    tags: list[list[str]] | None = None
    for source in sources:
        if not source or not (front.reads_blanks or source.strip()):
            raise UsageError("INPUT", expected="a file or some text", got="an empty text")
        some = front.read(task, Looked(source, resize, length))
        if some.tags is not None:
            tags = [*(tags or []), *some.tags]
        rows += list(some.inputs)[: count - len(rows)]
        ids += some.ids[: count - len(ids)]
    if not rows:
        raise UsageError("INPUT", expected="something to look at", got="nothing")
    return Examples(rows, ids, tags if tags is not None and len(tags) >= len(rows) else None)


def own(
    task: Any, model: str, part: str, *, data_dir: str | None, count: int, length: int
) -> Examples:
    """The first examples of a part of the data that a model was made from.

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
    return front_of(task).take(task, split, part, count, length)


def sifted(given: Examples, only: str) -> Examples:
    """Those of some texts in which an expression is found.

    Raises:
        UsageError: it is no expression, or found in none.
    """
    try:
        kept = [
            k for k, row in enumerate(given.inputs)
            if re.search(only, row if isinstance(row, str) else " ".join(map(str, row)))
        ]  # fmt: skip
    except re.error as error:
        raise UsageError("--only", expected="a regular expression", got=str(error)) from None
    if not kept:
        raise UsageError("--only", expected="an expression that is found somewhere", got=only)
    return Examples(
        [given.inputs[k] for k in kept],
        [given.ids[k] for k in kept],
        None if given.tags is None else [given.tags[k] for k in kept],
    )
