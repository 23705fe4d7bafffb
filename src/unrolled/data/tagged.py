"""A dataset of tagged sentences by name, or a path of the user's, comes in; three parts go out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import DataError, UsageError

from .catalogue import DATASETS, Named, named
from .download import obtain
from .generated import COPIED, STEPS, copy
from .sentences import Rows, Tagged, checked_column, read_rows_of
from .shelves import refuse_folder
from .splitting import share

Part = float | int | str | Path | None
_PARTS = {"train": ("train",), "valid": ("dev", "valid", "val"), "test": ("test",)}
_ENDINGS = (".conllu", ".conll", ".txt", ".tsv", ".bio", ".iob")


@dataclass(frozen=True, eq=False)
class TaggedDataset:
    """Tagged sentences in three parts.

    Args:
        name: what the user called it.
        train: what is learnt from.
        valid: what decides which weights are kept; may be empty.
        provenance: source, checksums, rule of the split, seed and sizes, as plain JSON.
        read_test: reads the test part when it is first asked for.
    """

    name: str
    train: Tagged
    valid: Tagged
    provenance: dict[str, Any] = field(default_factory=dict)
    read_test: Callable[[], Tagged] | None = None

    @cached_property
    def test(self) -> Tagged:
        """The test part, read once, at the end."""
        return self.train.take([]) if self.read_test is None else self.read_test()


def load_tagged(
    source: str | Path,
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    valid: Part = None,
    test: Part = None,
    token: int | str | None = None,
    label: int | str | None = None,
    also: int | str | None = None,
    encoding: str = "utf-8",
    steps: int | None = None,
) -> TaggedDataset:
    """Load tagged sentences by name, or a file or a folder of the user's.

    Args:
        source: "conll2000", "ud-english-ewt", "ud-korean-gsd", "copy"; a file of CoNLL's columns
            or CoNLL-U; or a folder with files that have train, dev and test in their names.
        data_dir: the folder with a named dataset's files.
        seed: of the split.
        valid: a fraction of the sentences, a number of them, 0, or a path; None is the part that
            stands apart, or a tenth.
        test: the same; None is the part that stands apart, or a tenth of a single file.
        token: the column of words, by number or CoNLL-U's name; None is the first, or the form.
        label: the column of tags; None is the last one, or upos.
        also: a further column of tags, learnt beside them; None for none.
        encoding: of the files.
        steps: blanks between what is to be kept and the signal, in "copy"; None is 30.

    Raises:
        DataError: the data is missing, broken or not what it should be.
        UsageError: an option cannot be.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.txt")
        ...     _ = path.write_text("I PRP\\n\\nrun VB\\n\\n" * 10)
        ...     found = load_tagged(path)
        >>> len(found.train), len(found.valid), len(found.test)
        (16, 2, 2)
    """
    if str(source) == "copy":
        others = {"data_dir": data_dir, "valid": valid, "test": test}
        columns = {"token": token, "label": label, "also": also}
        for name, value in {**others, **columns}.items():
            if value is not None:
                raise UsageError(f"{name}={value!r}", expected="none for copy", fix="Leave it out.")
        return _copies(steps, seed)
    if steps is not None:
        raise UsageError(f"steps={steps!r}", expected="the dataset copy", got=str(source))
    token, label = checked_column(token, "token"), checked_column(label, "label")
    also = checked_column(also, "also")
    sums: dict[str, str] = {}

    def read(path: Path, wanted: str = "") -> Tagged:
        rows = read_rows_of(path, encoding=encoding)
        sums[path.name] = rows.sha256
        if wanted and rows.sha256 != wanted:
            raise DataError(
                f"{path} is not the published file of {source}",
                expected=f"SHA-256 {wanted}",
                got=rows.sha256,
                fix="Get the file again - or, to use it as data of your own, give its path in "
                "place of the name.",
            )
        return rows.sentences(token, label, also)

    apart, base = _files(source, data_dir)
    reads: dict[str, Callable[[], Tagged]] = {
        part: partial(read, path, sha) for part, (path, sha) in apart.items()
    }
    for part, value in (("valid", valid), ("test", test)):
        if isinstance(value, str | Path):
            path = Path(value).expanduser()
            reads[part] = partial(read, path)
        elif value is not None:
            reads.pop(part, None)
    whole = reads["train"]()
    sizes = {}
    single = set(apart) == {"train"}
    for part, value in (("test", test), ("valid", valid)):
        asked = 0.1 if value is None and (part == "valid" or single) else value
        sizes[part] = (
            share(part, asked, len(whole))
            if part not in reads and isinstance(asked, int | float)
            else 0
        )
    if sum(sizes.values()) >= len(whole):
        raise UsageError(
            "valid and test",
            expected=f"fewer than the {len(whole)} sentences in all",
            got=f"{sizes['valid']} and {sizes['test']}",
        )
    # RandomState, not Generator: NumPy promises that its stream never changes
    order = np.random.RandomState(seed).permutation(len(whole))
    cut, keep = sizes["test"], sizes["test"] + sizes["valid"]
    drawn_test = whole.take(np.sort(order[:cut]))
    held = reads["valid"]() if "valid" in reads else whole.take(np.sort(order[cut:keep]))
    train = whole.take(np.sort(order[keep:])) if keep else whole
    provenance = {
        "source": str(base),
        "sha256": sums,
        "rule": "by seed" if keep else "as published",
        "seed": seed,
        "sizes": {"train": len(train), "valid": len(held)},
    }
    return TaggedDataset(
        str(source), train, held, provenance, reads.get("test", lambda: drawn_test)
    )


def read_tagged(path: str | Path, *, encoding: str = "utf-8") -> Rows:
    """A file of columns with its lines, to write tags beside them.

    Raises:
        DataError: as `read_rows_of` raises it.
    """
    return read_rows_of(Path(path).expanduser(), encoding=encoding)


def _copies(steps: int | None, seed: int) -> TaggedDataset:
    """The copy test as sentences: symbols, blanks and a signal as words, the answers as tags."""
    facts, length = named("copy"), STEPS["copy"] if steps is None else steps

    def draw(part: int) -> Tagged:
        inputs, answers = copy(facts.counts[part], length, seed, part)
        words, tags = (
            [[COPIED[number] for number in row] for row in rows.tolist()]
            for rows in (inputs, answers)
        )
        return Tagged(words, tags, (), f"copy, {length} blanks, seed {seed}")

    whole = draw(0)
    numbers = np.arange(len(whole))
    train, held = whole.take(numbers[facts.valid :]), whole.take(numbers[: facts.valid])
    provenance = {
        "source": whole.source,
        "rule": "drawn anew",
        "seed": seed,
        "sizes": {"train": len(train), "valid": len(held)},
    }
    return TaggedDataset("copy", train, held, provenance, lambda: draw(1))


def _files(
    source: str | Path, data_dir: str | Path | None
) -> tuple[dict[str, tuple[Path, str]], Path]:
    """The files of each part, with the checksum that they should have, and where they lie."""
    if str(source) in DATASETS:
        facts: Named = named(str(source))
        if facts.form != "tagged":
            raise UsageError(
                f"{facts.name} to be tagged", expected="tagged sentences", got=facts.about
            )
        paths = obtain(facts, data_dir)
        found = {part: (path, facts.files[part].sha256) for part, path in paths.items()}
        return found, next(iter(paths.values())).parent
    path = Path(source).expanduser()
    if not path.exists() and not any(mark in str(source) for mark in "/\\."):
        named(str(source))
    refuse_folder(data_dir, path)
    if not path.is_dir():
        return {"train": (path, "")}, path
    files = sorted(p for p in path.iterdir() if p.is_file() and _ending(p) in _ENDINGS)
    parts: dict[str, tuple[Path, str]] = {}
    for part, words in _PARTS.items():
        fits = [p for p in files if any(word in p.name.lower() for word in words)]
        if len(fits) > 1:
            raise DataError(
                str(path), expected=f"one file of the {part} part", got=", ".join(map(str, fits))
            )
        if fits:
            parts[part] = (fits[0], "")
    if "train" not in parts:
        raise DataError(
            str(path),
            expected=f"a file with train in its name, of {', '.join(_ENDINGS)}",
            got=", ".join(p.name for p in files[:5]) or "none",
        )
    return parts, path


def _ending(path: Path) -> str:
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
