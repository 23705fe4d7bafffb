"""The name of a list that word vectors are measured on, or a path, comes in; its text goes out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from unrolled.errors import DataError, UsageError

from .catalogue import DATASETS, Named, named
from .content import content
from .download import fetch
from .shelves import find_parts, locate
from .table import decoded

NAMES = tuple(name for name, facts in DATASETS.items() if facts.form == "words")


def read_list(
    source: str | Path, *, data_dir: str | Path | None = None, encoding: str = "utf-8"
) -> str:
    """The text of a list.

    A list by name is looked for in `data_dir`, in UNROLLED_DATA, in the cache and in gensim, which
    carries all three, and else downloaded.

    Args:
        source: "wordsim353", "simlex999", "analogies", or a path.
        data_dir: the folder with a named list's file.
        encoding: of a file.

    Raises:
        DataError: it is missing, or no text, or not the published one.
        UsageError: the name is that of something else.
    """
    if str(source) in DATASETS:
        facts = named(str(source), lists=True)
        if facts.form != "words":
            raise UsageError(
                f"{facts.name} to measure vectors on",
                expected="one of " + ", ".join(NAMES) + ", or a path",
                got=facts.about,
            )
        return _published(facts, data_dir)
    path = Path(source).expanduser()
    if not path.exists() and not any(mark in str(source) for mark in "/\\."):
        raise DataError(
            str(source),
            expected="one of " + ", ".join(NAMES) + ", or a path that exists",
            got="nothing there",
        )
    return decoded(path, content(path).data, encoding)


def _published(facts: Named, data_dir: str | Path | None) -> str:
    found = locate(facts, data_dir) or _of_gensim(facts) or fetch(facts)
    (path,), (file,) = found.values(), facts.files.values()
    whole = content(path)
    if whole.sha256 != file.sha256:
        raise DataError(
            f"{path} is not the published file of {facts.name}",
            expected=f"SHA-256 {file.sha256}",
            got=whole.sha256,
            fix="Get the file again - or, to use it as a list of your own, give its path in place "
            "of the name.",
        )
    return whole.data.decode()


def _of_gensim(facts: Named) -> dict[str, Path]:
    place = find_spec("gensim")
    if place is None or place.origin is None:
        return {}
    return find_parts(Path(place.origin).parent / "test" / "test_data", facts.files)
