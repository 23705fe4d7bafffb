"""A trace comes in; a file of arrays (.npz) or a tidy table (.csv) goes out."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..files import whole
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
    packed = BytesIO()
    np.savez_compressed(packed, **trace.arrays())  # type: ignore[arg-type]  # names, not allow_pickle
    return written(Path(path).expanduser(), packed.getvalue())


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
    with (
        _refusing(path),
        whole(path) as there,
        open(there, "w", encoding="utf-8-sig", newline="") as file,
    ):
        table = csv.DictWriter(file, list(first), lineterminator="\n")
        table.writeheader()
        table.writerows(chain([first], rows) if first else rows)
    return path


def written(path: Path, content: bytes) -> Path:
    """The path, with this content in it.

    Raises:
        DataError: the file cannot be written.
    """
    with _refusing(path), whole(path) as there:
        there.write_bytes(content)
    return path


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be written",
            got=error.strerror or str(error),
            fix="Choose another file.",
        ) from None
