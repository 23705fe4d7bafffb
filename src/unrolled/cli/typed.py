"""Texts come in as they are typed, or from a pipe; answers go out, a line each."""

import json
from typing import Any

import typer

from unrolled.cli import scored, standard
from unrolled.errors import UsageError
from unrolled.messages import tr

_TOGETHER = 64  # lines of a pipe that are answered at once


def answer(task: Any, *, prompt: str | None, interactive: bool, every: bool) -> None:
    """Answer each line of standard input: as JSON lines, or for a person one after the other.

    Args:
        task: that reads texts.
        prompt: one text, instead.
        interactive: ask for each text.
        every: whether the probability of every class is wanted.

    Raises:
        UsageError: the model reads no texts.
        DataError: the input is no text in UTF-8.
    """
    if not task.reads_texts:
        raise UsageError(
            "INPUT",
            expected="a file or folder",
            got="nothing",
            fix="Only a model of texts is fed so.",
        )
    if prompt is not None:
        _say(task, [prompt], every)
        return
    if interactive:
        _talk(task, every)
        return
    waiting: list[str] = []
    for line in standard.lines():
        waiting.append(line.rstrip("\r\n").removeprefix("\ufeff"))
        if len(waiting) == _TOGETHER:
            _say(task, waiting, every)
            waiting = []
    _say(task, waiting, every)


def _say(task: Any, texts: list[str], every: bool) -> None:
    if not texts:
        return
    rows = scored.answers(task, task.predict(texts), every=every)
    for text, row in zip(texts, rows, strict=True):
        typer.echo(json.dumps({"text": text, **row}, ensure_ascii=False))


def _talk(task: Any, every: bool) -> None:
    typer.echo(tr("Type a text, then Enter; an empty line ends."))
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            return
        if not text:
            return
        row = scored.answers(task, task.predict([text]), every=every)[0]
        typer.echo("  ".join(scored.shown(value) for value in row.values()))
