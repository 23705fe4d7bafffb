"""NumPy's .npy and .npz files come in; series or images with their answers go out.

A pickle inside them is never loaded: it could run code.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from unrolled.errors import DataError

from .content import content
from .memory import from_arrays
from .raw import Raw

INPUTS = ("x", "inputs", "data", "features", "images")
TARGETS = ("y", "targets", "target", "labels", "label")
_LENGTHS, _GROUPS, _TIMES, _IDS = (
    ("lengths",),
    ("groups", "group"),
    ("times", "time"),
    ("ids", "id"),
)


def read_npy(
    path: Path,
    *,
    label: str | Path | None = None,
    missing: str = "error",
    example: tuple[int | None, ...] | None = None,
) -> Raw:
    """Read X from a .npy file, and the answers from another.

    Args:
        path: X: (N, T), (N, T, C), or images uint8 (N, H, W) or (N, H, W, C).
        label: path of a .npy file of (N,) or (N, K), also relative to the folder of X.
        missing: "error", or "mask" to allow NaN.
        example: the shape of one example; an array of that shape is one, and gets its axis N.

    Raises:
        DataError: a file holds a pickle or no numbers, or the counts differ.
    """
    values, checksum = _array(path)
    if example is not None and _is_one(values.shape, example):
        values = values[None]
    answers, sums = None, {path.name: checksum}
    if label is not None:
        other = Path(label) if Path(label).exists() else path.parent / label
        answers, sums[other.name] = _array(other)
    return from_arrays(values, answers, source=str(path), missing=missing, sha256=sums)


def read_npz(
    path: Path,
    *,
    label: str | None = None,
    features: str | None = None,
    missing: str = "error",
    part: str = "",
    answered: bool = True,
) -> Raw:
    """Read the named arrays of a .npz file: x, y, and where they are there lengths, groups, times.

    Args:
        path: the file.
        label: the answers' name; None looks for y, targets, labels.
        features: the inputs' name; None looks for x, inputs, data, features, images.
        missing: "error", or "mask" to allow NaN.
        part: "train" or "test" reads x_train, y_train and so on.
        answered: whether there have to be answers.

    Raises:
        DataError: it is no .npz file, holds a pickle, or has no array of that name.
    """
    whole = content(path)
    names = array_names(path)
    with _opened(path, whole.data) as archive:

        def read(wanted: tuple[str, ...], given: str | None, needed: bool, role: str):
            found = given or next((n for n in names if _plain(n, part) in wanted), None)
            if found is not None and found in names:
                return _loaded(path, archive, found)
            if not needed and given is None:
                return None
            raise DataError(
                f"{path}: no array of {role}",
                expected=given or "one called " + " or ".join(wanted),
                got=", ".join(names) or "no arrays",
                fix=f"Save it under that name, or name it: --{role} NAME",
            )

        values = read(INPUTS, features, True, "features")
        answers = read(TARGETS, label, answered, "label")
        lengths = read(_LENGTHS, None, False, "lengths")
        others = [read(wanted, None, False, wanted[0]) for wanted in (_GROUPS, _TIMES, _IDS)]
    return from_arrays(
        values,
        answers,
        lengths=lengths,
        groups=others[0],
        times=others[1],
        ids=None if others[2] is None else [str(one) for one in others[2]],
        source=str(path),
        missing=missing,
        sha256={path.name: whole.sha256},
    )


def array_names(path: Path) -> list[str]:
    """Names of the arrays in a .npz file.

    Raises:
        DataError: it is none.
    """
    with _opened(path, content(path).data) as archive:
        return list(archive.files)


def _is_one(shape: tuple[int, ...], example: tuple[int | None, ...]) -> bool:
    # (T, 1) could be T series of one moment: that is what it means where T is not said.
    fits = len(shape) == len(example) and all(
        b in (None, a) for a, b in zip(shape, example, strict=True)
    )
    return fits and example[-1] != 1


def _plain(name: str, part: str) -> str:
    name = name.lower()
    for one in (part, "train", "test"):
        if one and name.endswith(f"_{one}"):
            return name.removesuffix(f"_{one}") if part == one else name
    return name if not part else ""


def _opened(path: Path, data: bytes):
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise DataError(
            str(path),
            expected="a .npz file, as numpy.savez writes it",
            got="something else, or one that is cut off",
            fix="Save it again with numpy.savez(path, x=x, y=y).",
        )
    return np.load(io.BytesIO(data), allow_pickle=False)


def _loaded(path: Path, archive, name: str) -> np.ndarray:
    try:
        return archive[name]
    except ValueError as error:
        raise _unsafe(f"{path}: {name}", error) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
        raise DataError(
            f"{path}: {name}", expected="an array", got="a damaged one", fix="Save it again."
        ) from None


def _array(path: Path) -> tuple[np.ndarray, str]:
    whole = content(path)
    if whole.data[:6] != b"\x93NUMPY":
        pickled = whole.data[:1] == b"\x80"
        raise DataError(
            str(path),
            expected="a .npy file, as numpy.save writes it",
            got="a pickle, which could run code and is not loaded" if pickled else "something else",
            fix="Save the array with numpy.save(path, array).",
        )
    try:
        return np.load(io.BytesIO(whole.data), allow_pickle=False), whole.sha256
    except (ValueError, EOFError, OSError) as error:
        raise _unsafe(str(path), error) from None


def _unsafe(place: str, error: Exception) -> DataError:
    if "pickle" in str(error).lower():
        return DataError(
            place,
            expected="an array of numbers",
            got="Python objects in a pickle, which could run code and is not loaded",
            fix="Series of different lengths: save them padded as x, with their lengths.",
        )
    return DataError(
        place, expected="a whole array", got="one that is cut off", fix="Save it again."
    )
