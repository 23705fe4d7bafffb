"""A figure of Matplotlib comes in; a file, for paper or a dark screen, goes out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from unrolled.inspect.pictures import Style, png
from unrolled.inspect.tables import written


def save(draw: Callable[[Style], Any], path: Path, dark: bool = False) -> Path:
    """The picture as a PNG at `path`.

    Raises:
        DataError: the file cannot be written.
    """
    return written(path, png(draw, Style(dark), dpi=130))
