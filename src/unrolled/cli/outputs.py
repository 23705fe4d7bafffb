"""Where a command is to write comes in; it is known to be possible before any work is done.

One rule for all commands: a folder that is to be filled is made, with those above it; a file is
written into a folder that is there, under a name whose ending says what it holds.
"""

from pathlib import Path

from unrolled.errors import DataError, UsageError
from unrolled.files import whole


def file_to_write(option: str, path: str | Path | None, *endings: str) -> Path | None:
    """The path of a file that an option names; None of nothing.

    Args:
        option: as it was typed, such as "--picture".
        path: of the file.
        endings: that its name may have; any, where none is told.

    Raises:
        UsageError: the name has another ending, or no folder is there for it.

    Example:
        >>> file_to_write("--table", "a.csv", ".csv").name
        'a.csv'
    """
    if path is None:
        return None
    found, what = Path(path).expanduser(), f"{option} {path}"
    if found.is_dir():
        raise UsageError(what, expected="the name of a file", got="a folder")
    if endings and found.suffix.lower() not in endings:
        raise UsageError(
            what, expected=f"a name that ends in {' or '.join(endings)}", got=repr(found.suffix),
            fix=f"Such as {found.with_suffix(endings[0]) if found.name else 'a' + endings[0]}.",
        )  # fmt: skip
    if not found.parent.is_dir():
        raise UsageError(
            what, expected="a folder that is there", got=f"none at {found.parent}",
            fix=f"Make it: mkdir -p {found.parent}",
        )  # fmt: skip
    return found


def write_out(out: str, text: str) -> None:
    """Write what `--out` asks for, all of it or nothing.

    Raises:
        DataError: the file cannot be written.
    """
    path = Path(out).expanduser()
    try:
        # A byte order mark would be for one spreadsheet alone; plain UTF-8 is read everywhere.
        with whole(path) as there:
            there.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise DataError(
            f"{out} cannot be written", got=error.strerror, fix="Choose another file with --out."
        ) from None
