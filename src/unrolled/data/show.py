"""A few examples come in; a picture of them with their labels goes out, as a PNG."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from unrolled.errors import DataError, UsageError
from unrolled.fonts import boxes_told, look_again

from .dataset import Dataset, Split

# Looked for where the plain font has no letter, as for Korean labels.
_FONTS = (
    "Noto Sans CJK KR",
    "NanumGothic",
    "Nanum Gothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "UnDotum",
)


def show(
    dataset: Dataset, out: str | Path, *, count: int = 12, part: str = "train", seed: int = 0
) -> Path:
    """Draw examples: images as they are, series as one line a channel, gaps where values miss.

    Args:
        dataset: what to draw from.
        out: where to write the PNG; its folders are made.
        count: how many examples, from 1 to 100.
        part: "train", "valid" or "test".
        seed: which ones are drawn.

    Returns:
        The path written.

    Raises:
        DataError: the part is empty, or the file cannot be written.
        UsageError: the count or the part cannot be.

    Example:
        >>> import tempfile
        >>> from unrolled.data import load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     show(load("digits"), folder + "/digits.png").name
        'digits.png'
    """
    _, few = _drawn(dataset, count, part, seed)
    from matplotlib import font_manager, rc_context
    from matplotlib.figure import Figure

    look_again()
    known = set(font_manager.get_font_names())
    families = ["DejaVu Sans", *(name for name in _FONTS if name in known)]
    image = dataset.preparation.form == "image"
    columns = min(len(few), 6 if image else 3)
    rows = math.ceil(len(few) / columns)
    size = (1.6 * columns, 1.9 * rows) if image else (4 * columns, 2.2 * rows)
    with rc_context({"font.family": families}), boxes_told():
        figure = Figure(figsize=size, layout="constrained")
        for i, axes in enumerate(np.ravel(figure.subplots(rows, columns, squeeze=False))):
            if i >= len(few):
                axes.remove()
                continue
            if dataset.preparation.form == "text":
                _text(axes, str(few.inputs[i]))
            elif image:
                axes.imshow(few.inputs[i], cmap="gray", interpolation="nearest")
                axes.set_axis_off()
            else:
                _lines(axes, np.asarray(few.inputs[i]), dataset.preparation.columns)
            axes.set_title(answer(dataset, few, i), fontsize=9)
        return _saved(figure, Path(out).expanduser())


def save_images(
    dataset: Dataset, folder: str | Path, *, count: int = 12, part: str = "train", seed: int = 0
) -> list[Path]:
    """Save the examples that `show` draws, each as an image of its own size.

    Args:
        dataset: of images.
        folder: where to; it is made.
        count, part, seed: as for `show`.

    Returns:
        The paths, each named by the label and the place in the part: 3-17.png.

    Raises:
        DataError: the part is empty, or the folder cannot be written.
        UsageError: these are no images, or the count or the part cannot be.

    Example:
        >>> import tempfile
        >>> from unrolled.data import load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.suffix for path in save_images(load("digits"), folder, count=2)]
        ['.png', '.png']
    """
    if dataset.preparation.form != "image":
        raise UsageError("images", expected="a dataset of images", got=f"{dataset.name}: series")
    from PIL import Image

    chosen, few = _drawn(dataset, count, part, seed)
    target, paths = Path(folder).expanduser(), []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for i, place in enumerate(chosen):
            name = re.sub(r"[^\w.-]+", "-", answer(dataset, few, i))
            paths.append(target / f"{name}-{place}.png")
            Image.fromarray(np.asarray(few.inputs[i])).save(paths[-1])
    except OSError as error:
        raise DataError(
            f"{target} cannot be written",
            got=error.strerror or str(error),
            fix="Choose another folder.",
        ) from None
    return paths


def answer(dataset: Dataset, split: Split, i: int) -> str:
    """The answer of example `i` in words: its label, its labels, or its numbers.

    Example:
        >>> from unrolled.data import from_arrays
        >>> data = from_arrays(np.zeros((4, 3)), ["a", "b", "a", "b"], valid=0)
        >>> answer(data, data.train, 1)
        'b'
    """
    if split.targets is None:
        return ""
    target = split.targets[i]
    if dataset.kind == "single":
        return dataset.labels[int(target)]
    if dataset.kind == "multi":
        return ", ".join(dataset.labels[k] for k in np.flatnonzero(target)) or "–"
    return ", ".join(f"{value:.4g}" for value in target)


def _drawn(dataset: Dataset, count: int, part: str, seed: int) -> tuple[np.ndarray, Split]:
    if not 1 <= count <= 100:
        raise UsageError("count", expected="1 to 100", got=count)
    if part not in ("train", "valid", "test"):
        raise UsageError("part", expected="train, valid or test", got=repr(part))
    split: Split = getattr(dataset, part)
    if not len(split):
        raise DataError(f"{dataset.name}: the part {part}", expected="examples", got="none")
    chosen = np.random.RandomState(seed).permutation(len(split))[:count]
    return chosen, split.take(chosen)


def _text(axes, text: str) -> None:
    import textwrap

    shown = textwrap.shorten(text, 300, placeholder=" …") if " " in text else text[:300]
    lines = "\n".join(textwrap.wrap(shown, 44)[:7])
    axes.text(0, 1, lines.replace("$", r"\$"), fontsize=7, va="top", transform=axes.transAxes)
    axes.set_axis_off()


def one_hot(
    dataset: Dataset, out: str | Path, *, part: str = "train", seed: int = 0, most: int = 60
) -> Path:
    """Draw one text as the matrix that it is: a row for each token it has, a column for each step.

    Args:
        dataset: of texts.
        out: where to write the PNG.
        part: "train", "valid" or "test".
        seed: which text is drawn.
        most: tokens that are drawn.

    Raises:
        DataError: the part is empty, or the file cannot be written.
        UsageError: the data is no text.
    """
    from .wording import TextPreparation

    prepare = dataset.preparation
    if not isinstance(prepare, TextPreparation):
        raise UsageError("one-hot", expected="texts", got=prepare.form)
    split: Split = getattr(dataset, part)
    if not len(split):
        raise DataError(f"{dataset.name}: the part {part}", expected="examples", got="none")
    text = str(split.inputs[int(np.random.RandomState(seed).permutation(len(split))[0])])
    ids = prepare.encode(text)[:most]
    rows = np.unique(ids)
    matrix = (rows[:, None] == ids[None]).astype(float)
    names = [prepare.tokenizer.decode([int(n)]) or prepare.tokenizer.tokens[n] for n in rows]
    from matplotlib import font_manager, rc_context
    from matplotlib.figure import Figure

    look_again()
    known = set(font_manager.get_font_names())
    families = ["DejaVu Sans", *(name for name in _FONTS if name in known)]
    with rc_context({"font.family": families}), boxes_told():
        figure = Figure(figsize=(1.5 + 0.18 * len(ids), 1 + 0.18 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.imshow(matrix, cmap="gray_r", aspect="equal", interpolation="nearest")
        shown = zip(names, rows, strict=True)
        labels = [f"{name!r} {n}"[:24].replace("$", r"\$") for name, n in shown]
        axes.set_yticks(range(len(rows)), labels, fontsize=6)
        axes.set_xlabel("step")
        axes.set_title(f"{len(rows)} of the {prepare.features} rows; the others are 0", fontsize=7)
        return _saved(figure, Path(out).expanduser())


def _lines(axes, series: np.ndarray, columns: tuple[str, ...] | None) -> None:
    # The names of a row's cells are those of moments; only those of channels make a legend.
    names = columns if columns and len(columns) == series.shape[1] else None
    for channel in range(series.shape[1])[:8]:
        marker = "." if len(series) == 1 else None
        axes.plot(
            series[:, channel],
            lw=1,
            marker=marker,
            label=names[channel] if names else f"{channel}",
        )
    axes.tick_params(labelsize=7)
    if 1 < series.shape[1] <= 8:
        axes.legend(fontsize=6)


def _saved(figure, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written",
            got=error.strerror or str(error),
            fix="Choose another file with --out.",
        ) from None
    return path
