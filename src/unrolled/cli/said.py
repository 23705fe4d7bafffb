"""A model that says things and what it is to read come in; what it says goes out, best first."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from unrolled.cli import standard
from unrolled.cli.asked import Asked, Measured
from unrolled.cli.outputs import write_out
from unrolled.errors import DataError, UsageError
from unrolled.messages import tr


def answered(task: Any, asked: Asked) -> None:
    """Translate the lines of a file, of standard input, or one text.

    `--out` gets what is said, a line each, or JSON lines where it ends in .jsonl; `--attention` a
    picture of what the first sentence's best translation looked at.

    Raises:
        UsageError: options that cannot go together.
        DataError: a file cannot be read or written.
    """
    how = chosen(asked)
    if asked.interactive:
        _converse(task, how)
        return
    lines = _lines(asked.source, asked.encoding) if asked.prompt is None else [asked.prompt]
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise DataError(asked.source or "the input", expected="some text", got="nothing")
    found = iter(task.predict(filled, **how))
    rows = [(line, next(found) if line.strip() else []) for line in lines]
    if asked.attention is not None:
        first = next(said for _, said in rows if said)[0]
        draw(first.looked, first.read, first.pieces, asked.attention)
    told(rows, asked.out, asked.as_json)


def described(task: Any, asked: Asked) -> None:
    """Say what images show: those of a file, a folder or a tar, or features of images.

    Names stand before what is said of them; `--attention` draws, on the first image, what each word
    looked at.

    Raises:
        UsageError: there is no input, or options cannot go together.
        DataError: an image cannot be read, or a file written.
    """
    how, source = chosen(asked), asked.source
    if source is None:
        raise UsageError("INPUT", expected="an image, a folder or a tar", got="nothing")
    shape, found = task.model.shape, images(task, source)
    rows = list(zip(found.ids, task.predict(found.inputs, **how), strict=True))
    if asked.attention is not None:
        first = rows[0][1][0]
        if first.looked is None or len(shape) == 2:
            draw(first.looked, first.read, first.pieces, asked.attention)
        else:
            _draw_on(found.inputs[0], first, task.model.grid, asked.attention)
    told(rows, asked.out, asked.as_json, named=True)


def images(task: Any, source: str) -> Any:
    """Images, or features, as a captioning task takes them.

    Raises:
        DataError: an image cannot be read.
    """
    from unrolled.data.captions import read_pictures

    shape = task.model.shape
    size, colour = ((shape[1], shape[2]), shape[0] == 3) if len(shape) == 3 else (None, None)
    return read_pictures(Path(source).expanduser(), size=size, colour=colour)


def chosen(asked: Asked) -> dict[str, Any]:
    """Options of `predict` from those of the command line.

    Raises:
        UsageError: a value that it cannot have.
    """
    from unrolled.tasks.sampling import Taste

    if not asked.sample:
        return {"beams": asked.beams, "best": asked.best}
    if asked.beams is not None:
        raise UsageError("--beams", expected="a search, or --sample", got="both")
    return {"best": asked.best, "taste": Taste(**asked.taste), "seed": asked.seed}


def told(
    rows: Sequence[tuple[str, Sequence[Any]]],
    out: str | None,
    as_json: bool,
    *,
    named: bool = False,
) -> None:
    """Print, or write to `out`, what was said of each input: behind its name, if it is `named`."""
    if as_json or (out or "").endswith(".jsonl"):
        lines = [json.dumps(_row(name, said), ensure_ascii=False) for name, said in rows]
    elif all(len(said) < 2 for _, said in rows):
        texts = [said[0].text if said else "" for _, said in rows]
        lines = [f"{name}\t{t}" if named else t for (name, _), t in zip(rows, texts, strict=True)]
    else:
        lines = [
            f"{name if named else k + 1}\t{one.score:.4f}\t{one.text}"
            for k, (name, said) in enumerate(rows)
            for one in said
        ]
    if out is None:
        for line in lines:
            typer.echo(line)
        return
    write_out(out, "".join(f"{line}\n" for line in lines))
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


def _draw_on(image: Any, said: Any, grid: tuple[int, int], path: str) -> None:
    from unrolled.inspect.pictures import Style, png
    from unrolled.inspect.pictures.looks import looks
    from unrolled.inspect.tables import written

    weights = said.looked.reshape(len(said.pieces), *grid)
    data = png(lambda style: looks(image, weights, said.pieces, style), Style())
    written(Path(path).expanduser(), data)
    typer.echo(tr("picture: {path}", path=path), err=True)


def measured(task: Any, what: Measured) -> None:
    """Say what a task that says things was measured at, and how that was counted."""
    from unrolled.history import plain

    metrics, count = task.evaluate(task.batches(what.split, 256)), len(what.split)
    signature = metrics.get("signature")
    if what.as_json:
        whole = {"part": what.part, "count": count, **plain(metrics), "signature": signature}
        typer.echo(json.dumps(whole, ensure_ascii=False))
        return
    said, part = task.summary(metrics), tr(what.part)
    typer.echo(tr("{part}: {what} ({count} examples)", part=part, what=said, count=count))
    if signature:
        typer.echo(f"sacreBLEU {signature}")


def _lines(source: str | None, encoding: str) -> list[str]:
    if source in (None, "-"):
        return standard.whole().splitlines()
    from unrolled.data.parallel import read_sentences

    return read_sentences(Path(str(source)).expanduser(), encoding)


def _converse(task: Any, options: dict[str, Any]) -> None:
    typer.echo(tr("Type a text, then Enter; an empty line ends."), err=True)
    while True:
        if sys.stdin.isatty():
            typer.echo("> ", nl=False, err=True)
        line = standard.line()
        if not line.strip():
            return
        for one in task.predict([line.strip()], **options)[0]:
            typer.echo(f"{one.score:.4f}\t{one.text}")
