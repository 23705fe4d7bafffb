"""A trace comes in; a file of arrays (.npz) or a tidy table (.csv) goes out."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import chain
from os import getpid
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .traces import Trace


def save_arrays(trace: Trace, path: str | Path) -> Path:
    """Write everything that a trace holds as a .npz file, names as in `Trace.arrays`.

    Raises:
        DataError: the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> from unrolled.inspect import trace
        >>> from unrolled.layers import Recurrent
        >>> seen = trace(Recurrent("gru", 3, 4), torch.zeros(2, 5, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with np.load(save_arrays(seen, f"{folder}/seen.npz")) as arrays:
        ...         arrays["l0.z"].shape
        (2, 5, 4)
    """
    whole = BytesIO()
    np.savez_compressed(whole, **trace.arrays())  # type: ignore[arg-type]  # names, not allow_pickle
    return written(Path(path).expanduser(), whole.getvalue())


def save_table(trace: Trace, path: str | Path, *, units: bool = False) -> Path:
    """Write a tidy table as a .csv file: a row for each value, sequence and step, or each unit too.

    Raises:
        DataError: the file cannot be written.
    """
    rows = trace.rows(units=units)
    return save_rows(rows, path)


def save_rows(rows: Iterable[Mapping[str, Any]], path: str | Path) -> Path:
    """Write rows as a .csv file that Excel too reads as UTF-8; the first names the columns.

    Raises:
        DataError: the file cannot be written.
    """
    path = Path(path).expanduser()
    rows = iter(rows)
    first = next(rows, {})
    with _whole(path) as there, open(there, "w", encoding="utf-8-sig", newline="") as file:
        table = csv.DictWriter(file, list(first), lineterminator="\n")
        table.writeheader()
        table.writerows(chain([first], rows) if first else rows)
    return path


def written(path: Path, content: bytes) -> Path:
    """The path, with this content in it.

    Raises:
        DataError: the file cannot be written.
    """
    with _whole(path) as there:
        there.write_bytes(content)
    return path


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Where to write what is then at `path`, all or nothing; a device is written as it stands."""
    end = path.resolve()
    there = end if end.exists() and not end.is_file() else end.with_name(f".{end.name}.{getpid()}")
    try:
        yield there
        if there != end:
            there.replace(end)
    except OSError as error:
        raise _refused(path, error) from None
    finally:
        if there != end:
            with suppress(OSError):
                there.unlink()


def _refused(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path} cannot be written", got=error.strerror or str(error), fix="Choose another file."
    )
