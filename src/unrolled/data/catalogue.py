"""The datasets with a name: a name comes in, the facts about it go out.

The facts themselves stand under `listed`, a module for each kind of data.
"""

from __future__ import annotations

import difflib

from unrolled.errors import DataError

from .facts import File, Named
from .listed import corpora, generated, images, pairs, tagged, texts, words

__all__ = ["DATASETS", "File", "Named", "named"]

DATASETS = {
    entry.name: entry
    for kind in (images, corpora, generated, tagged, texts, pairs, words)
    for entry in kind.ENTRIES
}


def named(name: str, *, lists: bool = False) -> Named:
    """The facts about the dataset called `name`.

    Args:
        name: of the dataset.
        lists: whether lists that word vectors are measured on are meant too; nothing is trained on
            those, so that an error does not name them otherwise.

    Raises:
        DataError: none is called so; the message suggests the nearest.

    Example:
        >>> named("mnist").counts
        (60000, 10000)
    """
    found = DATASETS.get(name)
    if found is None:
        meant = [n for n, entry in DATASETS.items() if lists or entry.form != "words"]
        near = difflib.get_close_matches(name.lower(), meant, n=1)
        raise DataError(
            "unknown dataset",
            expected="a name (" + ", ".join(meant) + ") or a path that exists",
            got=repr(name),
            fix=f"Did you mean {near[0]!r}?" if near else "See them with: unrolled data list",
        )
    return found
