"""A path of the user's comes in; its raw examples go out, whichever kind of file it is.

Parts that stand apart (train/ and test/, x_train and x_test, train- and t10k-images) stay apart,
and are read when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unrolled.errors import DataError, UsageError

from . import arrays, idx, images, rows, signals, texts
from .content import ending_of
from .raw import Raw
from .shelves import find_parts
from .table import Table, read_table

Column = str | int
TABLES = (".csv", ".tsv", ".txt", ".data")
_VALID = ("valid", "val", "validation", "dev")
LAYOUTS = ("rows", "long")


@dataclass(frozen=True)
class Options:
    """What the user said about a file; `load` explains each."""

    label: Column | Sequence[Column] | None = None
    features: str | Sequence[Column] | None = None
    group: Column | None = None
    time: Column | None = None
    id: Column | None = None
    encoding: str = "utf-8"
    header: bool | None = None
    layout: str | None = None
    channels: int = 1
    missing: str = "error"
    size: tuple[int, int] | None = None
    answered: bool = True
    text: Column | None = None


@dataclass(frozen=True)
class Parts:
    """What a path holds: examples to learn from, and the parts that stand apart, unread."""

    train: Raw
    valid: Callable[[], Raw] | None = None
    test: Callable[[], Raw] | None = None


def read_parts(path: Path, options: Options) -> Parts:
    """Read what a path holds to learn from; the rest is read when it is called for.

    Raises:
        DataError: there is nothing, of no known kind, or it is broken.
        UsageError: an option cannot go with this kind of file.
    """
    if not path.exists():
        raise DataError(str(path), expected="a file or folder", got="nothing there")
    if path.is_dir():
        return _folder(path, options)
    if path.suffix == ".npz":
        return _npz(path, options)
    return Parts(read_one(path, options))


def read_one(path: Path, options: Options) -> Raw:
    """Read a path that is one part by itself.

    Raises:
        DataError, UsageError: as `read_parts`.
    """
    if path.is_dir():
        _only(options, "a folder of images", ("size",))
        return images.read_folder(path, size=options.size)
    ending = ending_of(path)
    if ending == ".npy":
        _only(options, "a .npy file", ("label", "missing"))
        label = None if options.label is None else str(options.label)
        return arrays.read_npy(path, label=label, missing=options.missing)
    if ending == ".npz":
        return _npz(path, options).train
    if options.text is not None or ending in texts.LINES:
        texts.one_column(options.text)
        _only(options, "a table of texts", "text label group id encoding header".split())
        return texts.read_texts(path, options)
    if ending in TABLES:
        return read_table_file(path, options)
    raise DataError(
        str(path),
        expected=f"a folder, or a file of {', '.join((*TABLES, '.jsonl', '.npy', '.npz'))}",
        got=ending or "no ending",
        fix="Rename the file after what it holds, or save it as one of these.",
    )


def read_table_file(path: Path, options: Options) -> Raw:
    """Read a table, as one example a row or as one moment a row.

    Raises:
        DataError, UsageError: as `read_parts`.
    """
    _only(
        options,
        "a table",
        "label features group time id encoding header layout channels missing".split(),
    )
    if options.layout not in (None, *LAYOUTS):
        raise UsageError("layout", expected=" or ".join(LAYOUTS), got=repr(options.layout))
    delimiter = "\t" if ending_of(path) == ".tsv" else None
    table: Table = read_table(
        path, encoding=options.encoding, header=options.header, delimiter=delimiter
    )
    common = {
        name: getattr(options, name)
        for name in ("label", "features", "group", "time", "id", "missing", "answered")
    }
    by_default = "long" if signals.is_long(table, options.id, options.time) else "rows"
    if (options.layout or by_default) == "long":
        return signals.read_signals(table, **common)
    return rows.read_rows(table, channels=options.channels, **common)


def _folder(folder: Path, options: Options) -> Parts:
    parts = next((found for f in (folder, folder / "raw") if (found := find_parts(f))), {})
    if parts:
        _only(options, "a folder of idx files", ())
        return _idx(folder, parts)
    try:
        inner = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    except OSError as error:
        raise DataError(f"{folder} cannot be read", got=error.strerror or str(error)) from None
    named = {"train", "test", *_VALID}
    if "train" in inner and set(inner) <= named:
        apart = next((inner[name] for name in _VALID if name in inner), None)
        return Parts(
            read_one(inner["train"], options),
            partial(read_one, apart, options) if apart else None,
            partial(read_one, inner["test"], options) if "test" in inner else None,
        )
    return Parts(read_one(folder, options))


def _idx(folder: Path, parts: dict[str, Path]) -> Parts:
    def read(part: str) -> Raw:
        for what in ("images", "labels"):
            if f"{part}-{what}" not in parts:
                raise DataError(
                    str(folder),
                    expected="images with labels in idx files",
                    got=f"no {part} {what}",
                    fix="Add the file, named as MNIST names its own.",
                )
        pixels, answers, sums = idx.read_pair(
            parts[f"{part}-images"], parts[f"{part}-labels"], None
        )
        names = [str(i) for i in range(int(answers.max()) + 1)]
        return Raw(
            pixels,
            "image",
            "images",
            answers,
            labels=names,
            source=str(folder),
            sha256=sums,
        )

    test = partial(read, "test") if any(part.startswith("test") for part in parts) else None
    return Parts(read("train"), test=test)


def _npz(path: Path, options: Options) -> Parts:
    _only(options, "an .npz file", ("label", "features", "missing"))

    def read(part: str) -> Raw:
        return arrays.read_npz(
            path,
            label=None if options.label is None else str(options.label),
            features=None if options.features is None else str(options.features),
            missing=options.missing,
            part=part,
            answered=options.answered,
        )

    names = {name.lower() for name in arrays.array_names(path)}
    apart = {part: any(f"{x}_{part}" in names for x in arrays.INPUTS) for part in ("train", "test")}
    if not apart["train"]:
        return Parts(read(""))
    return Parts(read("train"), test=partial(read, "test") if apart["test"] else None)


def _only(options: Options, what: str, allowed: Sequence[str]) -> None:
    for name, default in vars(Options()).items():
        if name not in allowed and name != "answered" and getattr(options, name) != default:
            raise UsageError(
                f"{name}={getattr(options, name)!r}",
                expected="a kind of file that it can go with",
                got=what,
                fix="Leave it out.",
            )
