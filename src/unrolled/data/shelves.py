"""A dataset's name comes in; the files that are already on this machine go out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from unrolled.errors import DataError, UsageError

from .facts import PARTS, File, Named

VARIABLE = "UNROLLED_DATA"


def cache_folder(name: str) -> Path:
    """Where a dataset's downloads are kept: under the user's cache, as XDG or the system has it."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("unrolled", appauthor=False)) / "data" / name


def refuse_folder(data_dir: str | Path | None, path: Path) -> None:
    """A path of one's own says itself where the data is.

    Raises:
        UsageError: a folder is given beside it.
    """
    if data_dir is not None:
        raise UsageError(
            f"data_dir={str(data_dir)!r}",
            expected="a dataset's name beside it",
            got=f"the path {path}",
            fix="Leave it out: the path says where the data is.",
        )


def locate(named: Named, data_dir: str | Path | None = None) -> dict[str, Path] | None:
    """Find a dataset's files, by part.

    They are looked for in `data_dir`; without it in the folder of that name under the variable
    UNROLLED_DATA, then in the cache. Torchvision's layout (MNIST/raw) is known.

    Args:
        named: the dataset.
        data_dir: the folder that the user gave, or None.

    Returns:
        {part: path}, or None where they have to be downloaded.

    Raises:
        DataError: the folder that was given does not exist or lacks files.
    """
    if data_dir is not None:
        return _required(Path(data_dir).expanduser(), named, f"--data {data_dir}")
    shelf = os.environ.get(VARIABLE)
    if shelf:
        base = Path(shelf).expanduser()
        if not base.is_dir():
            raise DataError(
                f"{VARIABLE}={shelf}",
                expected="a folder of datasets",
                got="no such folder",
                fix=f"Correct the variable, or unset it: unset {VARIABLE}",
            )
        for name in named.folders:
            if (base / name).is_dir():
                return _required(base / name, named, f"{VARIABLE}={shelf}")
    found = find_parts(cache_folder(named.name), named.files)
    return found if len(found) == len(named.files) else None


def find_parts(folder: Path, files: Mapping[str, File] | None = None) -> dict[str, Path]:
    """A dataset's files in a folder by part, however they are spelt; raw before compressed.

    Args:
        folder: where to look.
        files: what to look for; None is idx files of images, whose names vary.
    """
    found = {}
    for part in files or PARTS:
        names = spellings(part)
        if files is not None and part not in PARTS:
            names = tuple(files[part].name + ending for ending in ("", ".gz", ".xz"))
        for name in names:
            if (folder / name).exists():
                found[part] = folder / name
                break
    return found


def spellings(part: str) -> Iterable[str]:
    """Names that the file of a part goes by, as in train-images-idx3-ubyte.gz."""
    split, what = part.split("-")
    axes = 3 if what == "images" else 1
    stems = ("train",) if split == "train" else ("t10k", "test")
    for ending in ("", ".gz"):
        for stem in stems:
            for mark in "-.":
                yield f"{stem}-{what}{mark}idx{axes}-ubyte{ending}"


def _required(folder: Path, named: Named, given: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(
            given,
            expected=f"the folder of {named.name}",
            got="a file" if folder.exists() else "no such folder",
            fix="Check the path.",
        )
    below = [Path(), Path("raw")]
    for name in named.folders:
        below += [Path(name), Path(name, "raw")]
    best = max((find_parts(folder / path, named.files) for path in below), key=len)
    missing = [file.name for part, file in named.files.items() if part not in best]
    if missing:
        raise DataError(
            f"{given} ({folder})",
            expected=f"the {len(named.files)} files of {named.name}, gzipped or not",
            got=f"no {', '.join(missing)}",
            fix=f"Add them, or leave the folder out and run: unrolled data fetch {named.name}",
        )
    return best
