"""Images, or features of them, with captions come in: by name, a folder, a tar; pairs go out.

A tar is read where it lies, never unpacked: what its names would do to a disk cannot happen, and is
refused all the same.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from unrolled.errors import DataError, UsageError

from .catalogue import DATASETS, named
from .content import content, ending_of
from .download import obtain
from .images import ENDINGS, decoded_images, is_image
from .numbers import spoken_numbers
from .pairs import PairDataset, Pairs, Part, split_pairs
from .table import decoded, read_table
from .texts import LINES, objects

_LARGEST = 64 * 2**20  # bytes of one image in a tar
_IMAGE_NAMES = ("image", "file", "filename", "name", "id")
_CAPTION_NAMES = ("caption", "captions", "text", "sentence")


def load_captions(
    source: str | Path,
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    valid: Part = None,
    test: Part = None,
    captions: str | Path | None = None,
    language: str = "en",
    size: tuple[int, int] | None = None,
    encoding: str = "utf-8",
) -> PairDataset:
    """Load images and what people say of them.

    Args:
        source: "flickr8k" or "spoken-numbers"; a folder or a tar of images; or features as .npy or
            .safetensors, (N, F), (N, S, F) or by name.
        data_dir: the folder with a named dataset's files.
        seed: of the split, by images.
        valid: a fraction of the images, a number of them, or 0; None is the part that stands apart,
            or a tenth.
        test: the same.
        captions: a table with the columns image and caption, JSON {image: [captions]}, or JSON
            lines; None looks for captions.json, .csv, .tsv or .jsonl beside the images.
        language: of spoken-numbers: "en" or "ko".
        size: (H, W) to bring images to; None expects them to have one size.
        encoding: of the captions.

    Raises:
        DataError: something is missing, broken, hostile, or captions name no image.
        UsageError: an option cannot be.
    """
    if str(source) == "spoken-numbers":
        return spoken_numbers(
            seed=seed, language=language, data_dir=data_dir, valid=valid, test=test
        )
    if isinstance(valid, str | Path) or isinstance(test, str | Path):
        raise UsageError("valid and test", expected="shares or numbers of images", got="a path")
    sums: dict[str, str] = {}
    reads: dict[str, Callable[[], Pairs]] = {}
    if str(source) in DATASETS:
        facts = named(str(source))
        if facts.form != "captions":
            raise UsageError(f"{source} to be captioned", expected="captions", got=facts.about)
        paths = obtain(facts, data_dir)
        read = partial(_published, facts, paths, size, sums)
        whole = read("train")
        reads = {
            part: partial(read, part)
            for part, value in (("valid", valid), ("test", test))
            if value is None
        }
        where = str(next(iter(paths.values())).parent)
    else:
        path = Path(source).expanduser()
        if not path.exists() and not any(mark in str(source) for mark in "/\\."):
            named(str(source))
        if not path.exists():
            raise DataError(str(path), expected="a folder, a tar or features", got="nothing there")
        said = read_captions(_beside(path, captions), encoding, sums)
        whole = read_pictures(path, size=size, only=said, sums=sums)
        where = str(path)
    return split_pairs(
        str(source), whole, reads, seed=seed, valid=valid, test=test, source=where, sums=sums
    )


def read_pictures(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    colour: bool | None = None,
    only: Mapping[str, list[str]] | None = None,
    sums: dict[str, str] | None = None,
) -> Pairs:
    """Images of a file, a folder or a tar, or features of them; with captions where given.

    Args:
        path: where they are.
        size: (H, W) to bring them to.
        colour: three values a pixel or one; None keeps three if any has colours.
        only: image → captions: these images alone, all of which have to be there.
        sums: takes the checksums.

    Raises:
        DataError: one is missing, broken or hostile.
    """
    sums = {} if sums is None else sums
    if ending_of(path) in (".npy", ".safetensors"):
        return _features(path, only, sums)
    if path.is_dir():
        names = {
            one.relative_to(path).as_posix(): one
            for one in sorted(path.rglob("*"))
            if is_image(one) and one.is_file()
        }
        held: Mapping[str, Any] = names
        read = lambda name: content(names[name]).data  # noqa: E731  # two ways to read, one name
    elif ending_of(path) in (".tar", ".tgz"):
        held = _tar(path)
        read = lambda name: held[name]  # noqa: E731  # two ways to read, one name
    else:
        held = {path.name: path}
        read = lambda name: content(path).data  # noqa: E731  # two ways to read, one name
    chosen = list(held) if only is None else [_found(name, held, path) for name in only]
    if not chosen:
        raise DataError(str(path), expected="at least 1 image", got="none")
    total = hashlib.sha256()
    raw = []
    for name in chosen:
        data = read(name)
        total.update(data)
        raw.append((f"{path}: {name}" if len(held) > 1 else str(path), data))
    sums[path.name] = total.hexdigest()
    pixels = decoded_images(raw, size=size, colour=colour)
    texts = None if only is None else list(only.values())
    return Pairs(pixels, texts, list(chosen if only is None else only), str(path))


def _found(name: str, held: Mapping[str, Any], path: Path) -> str:
    """The image that captions speak of: by its whole name, or the last part of it."""
    if name in held:
        return name
    same = [one for one in held if PurePosixPath(one).name == name]
    if len(same) == 1:
        return same[0]
    raise DataError(
        f"{path}: no image for the captions of {name!r}",
        expected="an image of that name",
        got=f"{len(held)} images, such as {', '.join(list(held)[:3]) or 'none'}"
        if not same
        else f"{len(same)} of them",
        fix="Add the image, or remove its captions.",
    )


def _tar(path: Path) -> dict[str, bytes]:
    """The images of a tar by name; anything that is no plain file at a plain place is refused."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isdir():
                    continue
                name = PurePosixPath(member.name)
                strange = name.is_absolute() or ".." in name.parts or "\\" in member.name
                if strange or ":" in name.parts[0] or not member.isfile():
                    raise DataError(
                        f"{path}: the member {member.name!r}",
                        expected="plain files at places below the tar's own",
                        got="a link or device" if not member.isfile() else "a hostile path",
                        fix="Do not trust this file; make the tar anew from the images.",
                    )
                if name.suffix.lower() not in ENDINGS or name.name.startswith("."):
                    continue
                if member.size > _LARGEST:
                    raise DataError(
                        f"{path}: the member {member.name!r}",
                        expected="an image of at most 64 MiB",
                        got=f"{member.size} bytes",
                    )
                if name.as_posix() in found:
                    raise DataError(
                        f"{path}: the member {member.name!r}", expected="each once", got="twice"
                    )
                file = archive.extractfile(member)
                found[name.as_posix()] = b"" if file is None else file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(
            str(path),
            expected="a whole tar",
            got=str(error) or "a damaged one",
            fix="Get it again.",
        ) from None
    return found


def _features(path: Path, only: Mapping[str, list[str]] | None, sums: dict[str, str]) -> Pairs:
    """Features of images: an array whose rows the captions number, or tensors by name."""
    sums[path.name] = content(path).sha256
    if ending_of(path) == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DataError(str(path), expected="an array of numbers", got=error) from None
        names = [str(k) for k in range(len(array) if array.ndim else 0)]
    else:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            table = load_file(path)
        except (SafetensorError, OSError) as error:
            raise DataError(str(path), expected="a safetensors file", got=error) from None
        names = sorted(table)
        shapes = {table[name].shape for name in names}
        if len(shapes) != 1:
            raise DataError(
                str(path), expected="tensors of one shape, by image", got=f"{len(shapes)} shapes"
            )
        array = np.stack([table[name] for name in names])
    if array.dtype.kind != "f" or array.ndim not in (2, 3, 4):
        raise DataError(
            str(path),
            expected="floating point (N, F), (N, S, F) or (N, h, w, F)",
            got=f"{array.dtype} of shape {array.shape}",
        )
    if not np.isfinite(array).all():
        raise DataError(str(path), expected="finite numbers", got="nan or inf among them")
    if array.ndim == 4:
        array = array.reshape(len(array), -1, array.shape[-1])
    held = {name: k for k, name in enumerate(names)}
    chosen = names if only is None else [_found(name, held, path) for name in only]
    rows = array[[held[name] for name in chosen]].astype(np.float32)
    texts = None if only is None else list(only.values())
    return Pairs(rows, texts, chosen, str(path))


def _beside(path: Path, captions: str | Path | None) -> Path:
    if captions is not None:
        return Path(captions).expanduser()
    folder = path if path.is_dir() else path.parent
    for ending in (".json", ".csv", ".tsv", ".jsonl"):
        if (folder / f"captions{ending}").exists():
            return folder / f"captions{ending}"
    raise DataError(
        str(folder),
        expected="captions.json, .csv, .tsv or .jsonl beside the images",
        got="none",
        fix="Name the file: --captions FILE",
    )


def read_captions(
    path: Path, encoding: str = "utf-8", sums: dict[str, str] | None = None
) -> dict[str, list[str]]:
    """Image → its captions, in the file's order.

    Raises:
        DataError: the file is missing or broken, or a caption is empty.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "c.csv")
        ...     _ = path.write_text("image,caption\\na.jpg,a dog\\na.jpg,it runs\\n")
        ...     read_captions(path)
        {'a.jpg': ['a dog', 'it runs']}
    """
    whole = content(path)
    if sums is not None:
        sums[path.name] = whole.sha256
    text = decoded(path, whole.data, encoding)
    found: dict[str, list[str]] = {}
    if ending_of(path) == ".json":
        rows = _json(path, text)
    elif ending_of(path) in LINES:
        rows = [(f"line {line}", *_fields(path, line, row)) for line, row in objects(path, text)]
    else:
        table = read_table(path, encoding=encoding, texts=ending_of(path) == ".tsv")
        at, of = table.default(_IMAGE_NAMES), table.default(_CAPTION_NAMES)
        if at is None or of is None:
            raise DataError(
                str(path),
                expected="columns called image and caption",
                got=", ".join(table.header or ["no names in the first line"]),
            )
        rows = [(f"line {line}", row[at], row[of]) for line, row in table.rows()]
    for place, name, caption in rows:
        several = caption if isinstance(caption, list) else [caption]
        if not several or not all(isinstance(one, str) and one.strip() for one in several):
            raise DataError(
                f"{path}, {place}",
                expected="a caption in words",
                got="an empty one",
                fix="Complete it, or remove the line.",
            )
        found.setdefault(str(name).strip(), []).extend(one.strip() for one in several)
    if not found:
        raise DataError(str(path), expected="at least 1 caption", got="0")
    return found


def _json(path: Path, text: str) -> list[tuple[str, Any, Any]]:
    try:
        table = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(str(path), expected="JSON", got=getattr(error, "msg", "brackets")) from None
    if not isinstance(table, dict):
        raise DataError(
            str(path), expected="an object: image to captions", got=type(table).__name__
        )
    return [(repr(name), name, said) for name, said in table.items()]


def _fields(path: Path, line: int, row: Mapping[str, Any]) -> tuple[Any, Any]:
    at = next((name for name in _IMAGE_NAMES if name in row), None)
    of = next((name for name in _CAPTION_NAMES if name in row), None)
    if at is None or of is None:
        raise DataError(
            f"{path}, line {line}", expected="fields called image and caption", got=", ".join(row)
        )
    return row[at], row[of]


def _published(
    facts: Any,
    paths: Mapping[str, Path],
    size: tuple[int, int] | None,
    sums: dict[str, str],
    part: str,
) -> Pairs:
    for name in (f"{part}-pictures", f"{part}-captions"):
        found = content(paths[name]).sha256
        if found != facts.files[name].sha256:
            raise DataError(
                f"{paths[name]} is not the published file of {facts.name}",
                expected=f"SHA-256 {facts.files[name].sha256}",
                got=found,
                fix="Get the file again - or, to use it as data of your own, give its path in "
                "place of the name.",
            )
    said = read_captions(paths[f"{part}-captions"], sums=sums)
    return read_pictures(paths[f"{part}-pictures"], size=size, colour=True, only=said, sums=sums)
