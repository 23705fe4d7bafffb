"""Folders of image files come in; pixels uint8 (N, H, W) or (N, H, W, 3) go out."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unrolled.errors import DataError

from .content import content
from .raw import Raw

ENDINGS = frozenset(".png .jpg .jpeg .bmp .gif .tif .tiff .webp .pgm .ppm .pbm".split())
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")


def is_image(path: Path) -> bool:
    """Whether a path is called as images are; files that start with a dot are none."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def class_folders(folder: Path) -> list[Path]:
    """The folders of the classes, those that hold an image somewhere, by name."""
    inner = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    return sorted(path for path in inner if any(map(is_image, path.rglob("*"))))


def read_folder(folder: Path, *, size: tuple[int, int] | None = None) -> Raw:
    """Read FOLDER/CLASS/*.png (or jpg, bmp, gif, tif, webp, pgm), folders in folders included.

    Args:
        folder: one folder a class in it.
        size: (H, W) to resize every image to; None expects that all have one size.

    Raises:
        DataError: there is no image, one cannot be read, or sizes differ.
    """
    classes = class_folders(folder)
    pairs = [
        (path, one.name)
        for one in classes
        for path in sorted(one.rglob("*"))
        if is_image(path) and path.is_file()
    ]
    if not pairs:
        raise DataError(
            f"{folder}: no images",
            expected="a folder for each class with images in it, as in cats/1.png",
            got="images without such folders" if any(map(is_image, folder.iterdir())) else "none",
            fix="Sort the images into folders named by their classes.",
        )
    paths = [path for path, _ in pairs]
    images, checksum = read_images(paths, size=size)
    return Raw(
        images,
        "image",
        "images",
        answers=[name for _, name in pairs],
        ids=[path.relative_to(folder).as_posix() for path in paths],
        places=[str(path) for path in paths],
        source=str(folder),
        sha256={folder.name: checksum},
    )


def read_images(
    paths: Sequence[Path],
    *,
    size: tuple[int, int] | None = None,
    colour: bool | None = None,
    invert: bool = False,
) -> tuple[np.ndarray, str]:
    """Read images of one size.

    Args:
        paths: the files.
        size: (H, W) to resize to, or None.
        colour: three values a pixel or one; None keeps three if any image has colours.
        invert: exchange black and white (as for ink on paper where the others are light on dark).

    Returns:
        uint8 (N, H, W) or (N, H, W, 3), and a checksum of the files in their order.

    Raises:
        DataError: an image cannot be read, or their sizes differ.
    """
    total = hashlib.sha256()
    raw = []
    for path in paths:
        data = content(path)
        total.update(bytes.fromhex(data.sha256))
        raw.append((str(path), data.data))
    return decoded_images(raw, size=size, colour=colour, invert=invert), total.hexdigest()


def decoded_images(
    raw: Sequence[tuple[str, bytes]],
    *,
    size: tuple[int, int] | None = None,
    colour: bool | None = None,
    invert: bool = False,
) -> np.ndarray:
    """Images from the bytes of their files, with what to call each: as `read_images`.

    Raises:
        DataError: an image cannot be read, or their sizes differ.
    """
    pictures = [_opened(name, data) for name, data in raw]
    if colour is None:
        colour = any(picture.mode not in _GREY for picture in pictures)
    arrays: list[np.ndarray] = []
    for (name, _), picture in zip(raw, pictures, strict=True):
        pixels = _pixels(picture, colour, size)
        if arrays and pixels.shape != arrays[0].shape:
            raise DataError(
                name,
                expected=f"{_size(arrays[0])} pixels (rows x columns) as {Path(raw[0][0]).name} "
                "has",
                got=_size(pixels),
                fix="Bring all images to one size, or let them be resized: --size 28x28",
            )
        arrays.append(255 - pixels if invert else pixels)
    return np.stack(arrays)


def _opened(path: str, data: bytes):
    import io

    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(
            str(path), expected="an image of a sensible size", got="far too many pixels"
        ) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        reason = "no image format that is known"
        if not isinstance(error, UnidentifiedImageError):
            reason = f"a damaged one ({error})"
        raise DataError(
            str(path), expected="an image", got=reason, fix="Replace the file or remove it."
        ) from None


def _pixels(picture, colour: bool, size: tuple[int, int] | None) -> np.ndarray:
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits a pixel: the upper 8 are kept
        values = np.clip(np.asarray(picture).astype(np.int64), 0, 65535)
        picture = Image.fromarray((values >> 8).astype(np.uint8))
    picture = picture.convert("RGB" if colour else "L")
    if size is not None and picture.size != (size[1], size[0]):
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[0]} x {pixels.shape[1]}"
