"""A model that says things and what it is to read come in; what it says goes out, best first."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from unrolled.errors import DataError, UsageError
from unrolled.messages import tr


def say(
    task: Any,
    source: str | None,
    *,
    prompt: str | None,
    out: str | None,
    interactive: bool,
    encoding: str,
    as_json: bool,
    attention: str | None,
    **search: Any,
) -> None:
    """Translate the lines of a file, of standard input, or one text.

    Args:
        task: that reads texts and says texts.
        source: a text with a sentence a line, or "-" or None for standard input.
        prompt: one sentence, instead.
        out: where to write what is said, a line each; the best alone, unless it ends in .jsonl.
        interactive: answer each line as it is typed.
        encoding: of the file.
        as_json: JSON lines, with scores.
        attention: where to draw what the first sentence's best translation looked at.
        search: as for `chosen`.

    Raises:
        UsageError: options that cannot go together.
        DataError: a file cannot be read or written.
    """
    options = chosen(**search)
    if interactive:
        _converse(task, options)
        return
    if prompt is not None and source is not None:
        raise UsageError("INPUT", expected="a file or --prompt", got="both")
    lines = [prompt] if prompt is not None else _lines(source, encoding)
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise DataError(source or "the input", expected="some text", got="nothing")
    found = iter(task.predict(filled, **options))
    rows = [(line, next(found) if line.strip() else []) for line in lines]
    if attention is not None:
        first = next(said for _, said in rows if said)[0]
        draw(first.looked, first.read, first.pieces, attention)
    told(rows, out, as_json)


def chosen(
    *,
    beams: int | None,
    best: int,
    sample: bool,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int,
) -> dict[str, Any]:
    """Options of `predict` from those of the command line.

    Raises:
        UsageError: a value that it cannot have.
    """
    from unrolled.tasks.sampling import Taste

    if not sample:
        return {"beams": beams, "best": best}
    if beams is not None:
        raise UsageError("--beams", expected="a search, or --sample", got="both")
    taste = Taste(temperature, top_k, top_p)
    return {"best": best, "taste": taste, "seed": seed}


def told(rows: Sequence[tuple[str, Sequence[Any]]], out: str | None, as_json: bool) -> None:
    """Print, or write to `out`, what was said of each input."""
    if as_json or (out or "").endswith(".jsonl"):
        lines = [json.dumps(_row(name, said), ensure_ascii=False) for name, said in rows]
    elif all(len(said) < 2 for _, said in rows):
        lines = [said[0].text if said else "" for _, said in rows]
    else:
        lines = [
            f"{k + 1}\t{one.score:.4f}\t{one.text}" for k, (_, said) in enumerate(rows)
            for one in said
        ]  # fmt: skip
    if out is None:
        for line in lines:
            typer.echo(line)
        return
    try:
        Path(out).expanduser().write_text(
            "".join(f"{line}\n" for line in lines), encoding="utf-8", newline=""
        )
    except OSError as error:
        raise DataError(
            f"{out} cannot be written", got=error.strerror, fix="Choose another file with --out."
        ) from None
    typer.echo(out)


def _row(name: str, said: Sequence[Any]) -> dict[str, Any]:
    ranked = [{"text": s.text, "score": s.score, "log_prob": s.log_prob} for s in said]
    return {"input": name, "said": ranked}


def draw(looked: Any, read: Sequence[str], pieces: Sequence[str], path: str) -> None:
    """Draw where was looked: what was read across, what was said down.

    Raises:
        UsageError: the model has no attention.
    """
    from unrolled.inspect.pictures import Style, png
    from unrolled.inspect.pictures.attention import attention
    from unrolled.inspect.tables import written

    if looked is None:
        raise UsageError("--attention", expected="a model with attention", got="one without")
    data = png(lambda style: attention(looked, read, pieces, style), Style())
    written(Path(path).expanduser(), data)
    typer.echo(tr("picture: {path}", path=path), err=True)


def measured(task: Any, part: str, count: int, metrics: Any, as_json: bool) -> None:
    """Say what a task that says things was measured at, and how that was counted."""
    from unrolled.history import plain

    signature = metrics.get("signature")
    if as_json:
        whole = {"part": part, "count": count, **plain(metrics), "signature": signature}
        typer.echo(json.dumps(whole, ensure_ascii=False))
        return
    what = task.summary(metrics)
    typer.echo(tr("{part}: {what} ({count} examples)", part=tr(part), what=what, count=count))
    if signature:
        typer.echo(f"sacreBLEU {signature}")


def _lines(source: str | None, encoding: str) -> list[str]:
    if source in (None, "-"):
        return sys.stdin.read().splitlines()
    from unrolled.data.parallel import read_sentences

    return read_sentences(Path(str(source)).expanduser(), encoding)


def _converse(task: Any, options: dict[str, Any]) -> None:
    typer.echo(tr("Type a text, then Enter; an empty line ends."), err=True)
    while True:
        if sys.stdin.isatty():
            typer.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line.strip():
            return
        for one in task.predict([line.strip()], **options)[0]:
            typer.echo(f"{one.score:.4f}\t{one.text}")
