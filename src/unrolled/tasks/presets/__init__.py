"""Presets: files of plain data beside this one, `NAME.toml`; a name comes in, its table goes out.

To add one, add a file: `about` in a sentence, `for` the datasets whose default it is, `task` if it
is not classify, and the sections [model], [data] and [training], whose keys are those of `--set`.
"""

import tomllib
from pathlib import Path
from typing import Any

from unrolled.errors import UsageError

FOLDER = Path(__file__).parent
_STARTS = {
    "classify": "series",
    "language": "text",
    "tag": "tags",
    "embed": "vectors",
    "translate": "sentence-pairs",
    "caption": "pictures",
}  # for data of one's own


def names() -> list[str]:
    """Names of all presets.

    Example:
        >>> "notebook" in names()
        True
    """
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(name: str) -> dict[str, Any]:
    """The table of a preset.

    Raises:
        UsageError: there is none of that name.

    Example:
        >>> read("notebook")["training"]["batch"]
        100
    """
    if name not in names():
        raise UsageError("preset", expected="one of " + ", ".join(names()), got=repr(name))
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def default_for(dataset: str, task: str | None = None, *, texts: bool = False) -> str:
    """The preset for a dataset, a task if one is said, and texts, when none is asked for.

    Example:
        >>> default_for("digits"), default_for("signals.csv")
        ('digits', 'series')
    """
    for name in names():
        table = read(name)
        if dataset in table.get("for", []) and task in (None, table.get("task", "classify")):
            return name
    if texts and task in (None, "classify"):
        return "sentences"
    return _STARTS.get(task or "classify", "series")
