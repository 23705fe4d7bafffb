"""A file without answers comes in, with the preparation of a model; what it can read goes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unrolled.errors import DataError

from .arrays import read_npy, read_npz
from .assemble import suits
from .images import is_image, read_images
from .preparation import Preparation
from .raw import Inputs, Raw
from .reading import TABLES, Column, Options, ending_of, read_table_file
from .texts import read_texts
from .wording import TextPreparation


def read_inputs(
    path: str | Path,
    preparation: Preparation | TextPreparation,
    *,
    features: str | list[str | int] | None = None,
    label: Column | None = None,
    id: Column | None = None,
    time: Column | None = None,
    encoding: str = "utf-8",
    header: bool | None = None,
    resize: bool = False,
    invert: bool = False,
    text: Column | None = None,
) -> tuple[Inputs, list[str]]:
    """Read examples to predict from: an image, a folder of images, a table, a .npy or .npz file.

    Args:
        path: what to read.
        preparation: that of the model; it says which columns, which size, which missing values.
        features: the columns to read; None takes those of the training data by name.
        label: a column to pass over, where the table has no header.
        id: the column that names an example.
        time: the column of times in a long table.
        encoding: of a text file.
        header: whether a table's first line names its columns; None finds out.
        resize: whether to bring images to the model's size instead of refusing them.
        invert: exchange black and white.
        text: the column of texts; None takes that of the training data.

    Returns:
        Raw examples, for `preparation` or for a `Split`, and a name for each.

    Raises:
        DataError: it is missing or broken, or does not fit the model.
        UsageError: an option cannot go with this kind of file.

    Example:
        >>> import numpy as np, tempfile
        >>> prepare = Preparation("series", (None, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/new.npy", np.ones((2, 5)))
        ...     inputs, ids = read_inputs(f"{folder}/new.npy", prepare)
        >>> inputs.shape, ids
        ((2, 5, 1), ['0', '1'])
    """
    path = Path(path).expanduser()
    if isinstance(preparation, TextPreparation):
        return _texts(
            path, preparation, Options(id=id, encoding=encoding, header=header, text=text)
        )
    options = Options(
        label=label,
        features=features if features is not None else _learnt_columns(preparation),
        id=id,
        time=time,
        encoding=encoding,
        header=header,
        layout=preparation.layout if preparation.layout in ("rows", "long") else None,
        channels=preparation.channels if preparation.form == "series" else 1,
        missing=preparation.missing,
        answered=False,
    )
    if not path.exists():
        raise DataError(
            str(path), expected="a file or folder", got="nothing there", fix="Check the path."
        )
    if path.is_dir() or is_image(path):
        raw = _pictures(path, preparation, resize or preparation.resize, invert)
    elif ending_of(path) in (".npy", ".npz"):
        raw = _arrays(path, preparation, options)
    elif ending_of(path) in TABLES:
        raw = read_table_file(path, options)
    else:
        raise DataError(
            str(path),
            expected=f"an image, a folder of images, or a file of {', '.join(TABLES)}, .npy, .npz",
            got=path.suffix or "no ending",
            fix="Rename the file after what it holds.",
        )
    suits(raw, preparation)
    return raw.inputs, raw.ids or [str(i) for i in range(len(raw.inputs))]


def _texts(path: Path, preparation: TextPreparation, options: Options) -> tuple[Inputs, list[str]]:
    if options.text is None and ending_of(path) != ".txt" and preparation.columns:
        options = replace(options, text=preparation.columns[0])
    raw = read_texts(path, replace(options, answered=False))
    return raw.inputs, raw.ids or [str(i) for i in range(len(raw.inputs))]


def _learnt_columns(preparation: Preparation) -> list[str] | None:
    return list(preparation.columns) if preparation.columns else None


def _pictures(path: Path, preparation: Preparation, resize: bool, invert: bool) -> Raw:
    paths = [path] if path.is_file() else sorted(p for p in path.rglob("*") if is_image(p))
    if preparation.form != "image" or not paths:
        raise DataError(
            str(path),
            expected="images" if preparation.form == "image" else "series, as the model reads them",
            got="none" if preparation.form == "image" else "images",
            fix="Give a file of the kind that the model was trained on.",
        )
    height, width = preparation.shape[:2]
    size = (int(height or 0), int(width or 0)) if resize else None
    pixels, _ = read_images(paths, size=size, colour=preparation.channels == 3, invert=invert)
    if pixels.shape[1:] != preparation.shape:
        raise DataError(
            str(paths[0]),
            expected=f"{height} x {width} pixels (rows x columns), as the model was trained on",
            got=f"{pixels.shape[1]} x {pixels.shape[2]}",
            fix="Resize it, or let it be resized: --resize",
        )
    base = path if path.is_dir() else path.parent
    ids = [one.relative_to(base).as_posix() for one in paths]
    return Raw(pixels, "image", "images", ids=ids, source=str(path))


def _arrays(path: Path, preparation: Preparation, options: Options) -> Raw:
    if ending_of(path) == ".npz":
        return read_npz(path, missing=options.missing, answered=False)
    one = preparation.shape if preparation.form == "image" else (None, preparation.channels)
    return read_npy(path, missing=options.missing, example=one)
