"""A dataset's name comes in; its files, downloaded and checked, lie in the cache afterwards."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from unrolled.errors import DataError

from .content import content, stored
from .facts import File, Named
from .shelves import cache_folder, find_parts, locate

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SECONDS = (10, 60)  # to connect, and between two pieces


def fetch(
    named: Named,
    folder: str | Path | None = None,
    *,
    mirrors: Iterable[str] | None = None,
    progress: Callable[[str, int], Any] | None = None,
) -> dict[str, Path]:
    """Download what is missing of a dataset; what is there and right is kept.

    Args:
        named: the dataset.
        folder: where to; None is the cache.
        mirrors: folders on the web to try in this order; None takes the dataset's own.
        progress: called with a file's name and size before it is downloaded; may return an
            object that pooch can use as a progress bar.

    Returns:
        {part: path}.

    Raises:
        DataError: no mirror answers, what they send is wrong, or the disk is full.
    """
    target = cache_folder(named.name) if folder is None else Path(folder).expanduser()
    mirrors = tuple(named.mirrors if mirrors is None else mirrors)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(target, error) from None
    there = find_parts(target, named.files)
    paths = {}
    for part, file in named.files.items():
        path = there.get(part)
        if path is None or problem(file, path):
            path = target / _sent(file)
            _download(named, file, path, mirrors, progress)
        paths[part] = path
    return paths


def obtain(named: Named, data_dir: str | Path | None = None) -> dict[str, Path]:
    """A dataset's files: those that are there, or else downloaded ones.

    Raises:
        DataError: as `locate` and `fetch` raise it.
    """
    return locate(named, data_dir) or fetch(named)


def problem(file: File, path: Path) -> str:
    """What is wrong with a file of a known dataset, or "" where nothing is.

    Example:
        >>> problem(File("nothing", 5), Path("no such file"))
        'nothing there'
    """
    try:
        whole = content(path, limit=file.size)
    except DataError as error:
        return error.got if error.expected else "cannot be read"
    if len(whole.data) != file.size:
        return f"{len(whole.data)} bytes"
    if file.sha256:
        return "" if whole.sha256 == file.sha256 else f"SHA-256 {whole.sha256}"
    return ""


def known(file: File, path: Path, sha256: str) -> bool | None:
    """Whether a file that was read is the published one; None where that cannot be told.

    Args:
        file: the published facts.
        path: where it was read.
        sha256: of its uncompressed content.
    """
    if file.sha256:
        return sha256 == file.sha256
    same = path.suffix == ".gz" and hashlib.sha256(stored(path)).hexdigest() == file.gz_sha256
    # Another gzip of the same content has another checksum, so a difference proves nothing.
    return True if same else None


def _download(named: Named, file: File, path: Path, mirrors: tuple[str, ...], progress) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    reasons = []
    for mirror in mirrors:
        bar = progress(path.name, file.size) if progress else None
        getter = pooch.HTTPDownloader(timeout=_SECONDS, progressbar=bar or False)
        # A name of its own, so that two processes may race and nobody sees half a file.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        part = Path(name)
        try:
            part.unlink()
            pooch.retrieve(
                f"{mirror}{_sent(file)}", None, part.name, path.parent, downloader=getter
            )
            wrong = problem(file, part) or _wrong_gzip(file, part)
            if not wrong:
                os.replace(part, path)
                return
            reasons.append((mirror, f"sent {wrong}"))
        except requests.RequestException as error:
            reasons.append((mirror, _reason(error)))
        except OSError as error:
            raise _unwritable(path, error) from None
        finally:
            part.unlink(missing_ok=True)
    wrong_content = [reason for reason in reasons if reason[1].startswith("sent ")]
    told = "; ".join(f"{mirror} {reason}" for mirror, reason in wrong_content or reasons)
    if wrong_content:
        raise DataError(
            f"{_sent(file)} as downloaded is not the published file",
            expected=f"SHA-256 {file.sha256 or file.gz_sha256} of {file.size} bytes",
            got=told,
            fix="Try again later, or put the right files in a folder and give it: --data DIR",
        )
    raise DataError(
        f"{named.name} is not on this machine and cannot be downloaded",
        expected="one of its mirrors to answer",
        got=told,
        fix=f"Connect to a network and run: unrolled data fetch {named.name} - or put its files "
        "in a folder and give it: --data DIR (or UNROLLED_DATA, a folder of such folders)",
    )


def _sent(file: File) -> str:
    """The name of a file on its mirrors."""
    return f"{file.name}.gz" if file.zipped else file.name


def _wrong_gzip(file: File, path: Path) -> str:
    # From the mirrors the published gzip itself must come where its content's sum is not known.
    if file.sha256 or not file.gz_sha256:
        return ""
    found = hashlib.sha256(stored(path)).hexdigest()
    return "" if found == file.gz_sha256 else f"SHA-256 {found}"


def _reason(error: Exception) -> str:
    import requests

    response = getattr(error, "response", None)
    if response is not None:
        return f"answers {response.status_code}"
    if isinstance(error, requests.Timeout):
        return "does not answer in time"
    return "cannot be reached"


def _unwritable(path: Path, error: OSError) -> DataError:
    if error.errno in _FULL:
        return DataError(
            f"{path} cannot be written",
            expected="room on the disk",
            got="disk full",
            fix="Make room, or set XDG_CACHE_HOME to a folder on another disk.",
        )
    return DataError(
        f"{path} cannot be written",
        got=error.strerror or str(error),
        fix="Check who may write there, or set XDG_CACHE_HOME to another folder.",
    )
