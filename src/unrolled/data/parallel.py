"""Parallel text by name, or files of the user's, come in; sentences and translations go out.

Two files whose lines belong together, one table (TSV, CSV, JSON lines), or a folder of parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from unrolled.errors import DataError, UsageError

from .catalogue import DATASETS, named
from .content import content
from .download import obtain
from .pairs import PairDataset, Pairs, Part, split_pairs
from .reading import Options, ending_of
from .shelves import refuse_folder
from .table import decoded, read_table
from .texts import LINES, read_texts

_PARTS = {"train": ("train",), "valid": ("valid", "val", "dev"), "test": ("test",)}
_TABLES = (".tsv", ".csv", *LINES)
_PAIR = re.compile(r"([\w]+)-([\w]+)")


def load_parallel(
    source: str | Path,
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    valid: Part = None,
    test: Part = None,
    pair: str | None = None,
    other: str | Path | None = None,
    text: str | int | None = None,
    label: str | int | None = None,
    encoding: str = "utf-8",
) -> PairDataset:
    """Load sentences and their translations.

    Args:
        source: "multi30k" or "dates"; a file of sentences, with `other`; a table of both (TSV, CSV,
            JSON lines); or a folder with train.de and train.en, or train.tsv, and the like for
            valid and test.
        data_dir: the folder with a named dataset's files.
        seed: of the split.
        valid: a fraction, a number, 0, or the path of a table; None is the part that stands apart,
            or a tenth.
        test: the same; None is the part that stands apart, or a tenth.
        pair: "de-en": from the first language into the second, by the files' endings.
        other: the file of translations, a line for each line of `source`.
        text: the column or field that is read; None is the first, or "source".
        label: the column or field that is said; None is the second, or "target".
        encoding: of the files.

    Raises:
        DataError: the data is missing, broken, or its two sides do not fit.
        UsageError: an option cannot be.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.tsv")
        ...     _ = path.write_text("ein Hund\\ta dog\\n" * 20)
        ...     found = load_parallel(path)
        >>> len(found.train), found.train.inputs[0], found.train.texts[0]
        (16, 'ein Hund', ['a dog'])
    """
    sums: dict[str, str] = {}
    if str(source) == "dates":
        from .dates import dates

        return dates(seed=seed, data_dir=data_dir, valid=valid, test=test)
    columns = {"text": text, "label": label, "encoding": encoding}
    if str(source) in DATASETS:
        parts = _named(str(source), data_dir, pair or "de-en", sums)
    else:
        path = Path(source).expanduser()
        if not path.exists() and not any(mark in str(source) for mark in "/\\."):
            named(str(source))
        refuse_folder(data_dir, path)
        if path.is_dir():
            parts = _folder(path, pair, columns, sums)
        elif other is not None:
            both = (path, Path(other).expanduser())
            parts = {"train": partial(_two, both[0], both[1], encoding, sums)}
        else:
            parts = {"train": partial(_table, path, columns, sums)}
    for part, value in (("valid", valid), ("test", test)):
        if isinstance(value, str | Path):
            parts[part] = partial(_table, Path(value).expanduser(), columns, sums)
        elif value is not None:
            parts.pop(part, None)
    name = f"{source} {pair or 'de-en'}" if str(source) in DATASETS else str(source)
    whole = parts.pop("train")()
    return split_pairs(
        name, whole, parts, seed=seed, valid=valid, test=test, source=whole.source, sums=sums
    )


def _named(
    name: str, data_dir: str | Path | None, pair: str, sums: dict[str, str]
) -> dict[str, Callable[[], Pairs]]:
    facts = named(name)
    if facts.form != "parallel":
        raise UsageError(f"{name} to be translated", expected="parallel text", got=facts.about)
    known = sorted({part.split(".")[1] for part in facts.files})
    one, two = languages(pair)
    if one not in known or two not in known or one == two:
        raise UsageError("pair", expected=f"two of {', '.join(known)}, as in de-en", got=repr(pair))
    wanted = {part: file for part, file in facts.files.items() if part.split(".")[1] in (one, two)}
    paths = obtain(replace(facts, files=wanted), data_dir)

    def read(part: str) -> Pairs:
        both = [paths[f"{part}.{language}"] for language in (one, two)]
        found = _two(both[0], both[1], "utf-8", sums)
        for path, language in zip(both, (one, two), strict=True):
            sha256 = facts.files[f"{part}.{language}"].sha256
            if sums[path.name] != sha256:
                raise DataError(
                    f"{path} is not the published file of {name}",
                    expected=f"SHA-256 {sha256}",
                    got=sums[path.name],
                    fix="Get the file again - or, to use it as data of your own, give its path in "
                    "place of the name.",
                )
        return found

    return {part: partial(read, part) for part in _PARTS}


def languages(pair: str) -> tuple[str, str]:
    """The two languages of "de-en".

    Raises:
        UsageError: it is none such.

    Example:
        >>> languages("de-en")
        ('de', 'en')
    """
    found = _PAIR.fullmatch(pair)
    if found is None:
        raise UsageError("pair", expected="two languages, as in de-en", got=repr(pair))
    return found[1], found[2]


def read_sentences(path: Path, encoding: str = "utf-8") -> list[str]:
    """The lines of a text, one sentence each; a last line's end adds none.

    Raises:
        DataError: it is missing, empty or in another encoding.
    """
    return _lines(path, encoding)[0]


def _lines(path: Path, encoding: str) -> tuple[list[str], str]:
    whole = content(path)
    text = decoded(path, whole.data, encoding).replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n").split("\n"), whole.sha256


def _two(one: Path, other: Path, encoding: str, sums: dict[str, str]) -> Pairs:
    """The lines of two files; a pair of which both are empty is passed over."""
    sides = []
    for path in (one, other):
        lines, sums[path.name] = _lines(path, encoding)
        sides.append(lines)
    if len(sides[0]) != len(sides[1]):
        raise DataError(
            f"{one} and {other}",
            expected="as many lines in both: a line and its translation",
            got=f"{len(sides[0])} and {len(sides[1])}",
            fix="Bring them back into step; the first line that does not fit is where to look.",
        )
    places = [f"line {n}" for n in range(1, len(sides[0]) + 1)]
    return _checked(sides[0], sides[1], places, str(one), (str(one), str(other)))


def _table(path: Path, columns: dict, sums: dict[str, str]) -> Pairs:
    if ending_of(path) not in _TABLES:
        raise DataError(
            str(path),
            expected="a table of two columns (.tsv, .csv, .jsonl), or a second file",
            got=ending_of(path) or "no ending",
            fix="Name the file of translations: --other FILE",
        )
    text, label = columns["text"], columns["label"]
    header: bool | None = None
    if ending_of(path) in LINES:
        text, label = text or "source", label or "target"
    elif text is None and label is None:
        table = read_table(path, encoding=columns["encoding"], texts=True, header=False)
        if table.width != 2:
            raise DataError(
                str(path),
                expected="two columns: a text and its translation",
                got=table.width,
                fix="Name them: --text COLUMN --label COLUMN",
            )
        text, label, header = 0, 1, False
        first = next((row for _, row in table.rows()), ["", ""])
        header = [cell.strip().lower() for cell in first] == ["source", "target"]
    options = Options(text=text, label=label, encoding=columns["encoding"], header=header)
    raw = read_texts(path, options)
    sums |= raw.sha256
    answers = [str(answer) for answer in raw.answers or ()]
    places = [f"line {place}" for place in raw.places or ()]
    return _checked(list(raw.inputs), answers, places, str(path), (str(path),) * 2)  # type: ignore[arg-type]  # texts


def _checked(
    sources: list[str], targets: list[str], places: list[str], source: str, files: tuple[str, str]
) -> Pairs:
    kept: list[int] = []
    for k, sides in enumerate(zip(sources, targets, strict=True)):
        empty = [not side.strip() for side in sides]
        if all(empty):
            continue
        if any(empty):
            raise DataError(
                f"{files[empty.index(True)]}, {places[k]}",
                expected="a text on both sides",
                got="an empty one",
                fix="Complete the line, or remove it on both sides.",
            )
        kept.append(k)
    if not kept:
        raise DataError(source, expected="at least 1 pair of texts", got="0")
    return Pairs(
        [sources[k].strip() for k in kept], [[targets[k].strip()] for k in kept], (), source
    )


def _folder(
    folder: Path, pair: str | None, columns: dict, sums: dict[str, str]
) -> dict[str, Callable[[], Pairs]]:
    files = {path.name.removesuffix(".gz"): path for path in sorted(folder.iterdir())}
    ends = [f".{language}" for language in languages(pair)] if pair else []
    parts: dict[str, Callable[[], Pairs]] = {}
    for part, words in _PARTS.items():
        fits = [name for name in files if any(word in name.lower() for word in words)]
        if pair:
            sides = [[files[name] for name in fits if name.endswith(end)] for end in ends]
            if all(len(side) == 1 for side in sides):
                both = (sides[0][0], sides[1][0])
                parts[part] = partial(_two, both[0], both[1], columns["encoding"], sums)
            elif any(sides):
                raise DataError(
                    str(folder),
                    expected=f"one file of the {part} part for each of {pair}",
                    got=", ".join(path.name for side in sides for path in side),
                )
        else:
            tables = [files[name] for name in fits if ending_of(files[name]) in _TABLES]
            if len(tables) == 1:
                parts[part] = partial(_table, tables[0], columns, sums)
    if "train" not in parts:
        raise DataError(
            str(folder),
            expected="train.tsv, or train.de and train.en with --pair de-en",
            got=", ".join(list(files)[:5]) or "an empty folder",
        )
    return parts
