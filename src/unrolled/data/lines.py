"""A dataset's name or a path of the user's comes in; its texts go out, one after another.

Answers are left aside, and the test part of a dataset is never read: what is learnt from these
texts may meet it later. Files are read in pieces, as often as asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unrolled.errors import DataError, UsageError

from .catalogue import DATASETS, named
from .corpus import published_passages
from .passages import PIECE, Passage, of_file
from .published import read_named
from .reading import Options, ending_of
from .sentences import read_rows_of
from .shelves import refuse_folder
from .tagged import load_tagged
from .texts import LINES, one_column, read_texts

_COLUMNS = (".conllu", ".conll", ".bio", ".iob")
_TABLES = (".csv", ".tsv", *LINES)


@dataclass(frozen=True, eq=False)
class Lines:
    """Texts that can be read again and again.

    Args:
        name: what the user called them.
        read: begins at the first text.
        provenance: where they come from, as plain JSON.
        in_words: whether blanks part the words already, punctuation too.

    Example:
        >>> list(Lines("two", lambda: iter(["to be", "or not"])))
        ['to be', 'or not']
    """

    name: str
    read: Callable[[], Iterator[str]]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    in_words: bool = False

    def __iter__(self) -> Iterator[str]:
        return self.read()


def load_lines(
    source: str | Path,
    *,
    data_dir: str | Path | None = None,
    text: str | int | None = None,
    encoding: str = "utf-8",
) -> Lines:
    """The texts of a dataset by name, or of a file or folder of the user's.

    Args:
        source: a dataset's name, of texts, with labels or tags or without; a file of plain text, a
            text a line; a table (CSV, TSV, JSON lines); a file of CoNLL's columns; or a folder of
            text files, of which `train.txt`, where it is there, is the only one read.
        data_dir: the folder with a named dataset's files.
        text: the column of the texts, in a table.
        encoding: of the files.

    Raises:
        DataError: it is missing, empty, broken, or not what was published.
        UsageError: an option cannot go with this data, or the data is no text.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.txt").write_text("to be\\nor not\\n")
        ...     list(load_lines(f"{folder}/a.txt"))
        ['to be', 'or not']
    """
    if str(source) in DATASETS:
        if text is not None:
            raise UsageError(
                f"text={text!r}", expected="a file of yours", got=str(source), fix="Leave it out."
            )
        return _named(str(source), data_dir)
    path = Path(source).expanduser()
    if not path.exists() and not any(mark in str(source) for mark in "/\\."):
        named(str(source))
    refuse_folder(data_dir, path)
    if not path.exists():
        raise DataError(str(path), expected="a text file or a folder", got="nothing there")
    if path.is_dir():
        return _folder(path, encoding)
    ending = ending_of(path)
    if ending in _TABLES or text is not None:
        one_column(text)
        raw = read_texts(path, Options(text=text, encoding=encoding, answered=False))
        return _held(str(source), list(map(str, raw.inputs)), raw.source, raw.sha256)
    if ending in _COLUMNS:
        rows = read_rows_of(path, encoding=encoding)
        sentences = [" ".join(words) for words in rows.sentences().words]
        return _held(str(source), sentences, str(path), {path.name: rows.sha256}, in_words=True)
    return _passages(str(source), [of_file(path, encoding)])


def texts_of(pieces: Iterable[str]) -> Iterator[str]:
    """The lines of a text that comes in pieces, without those that are blank.

    A line that goes on for longer than a piece is given in parts, cut at a blank: some collections
    are one line.

    Example:
        >>> list(texts_of(["to be\\nor n", "ot to", " be\\n\\n"]))
        ['to be', 'or not to be']
    """
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from (line for line in whole if line.strip())
        if len(rest) > PIECE and (end := rest.rfind(" ")) > 0:
            yield rest[:end]
            rest = rest[end:]
    if rest.strip():
        yield rest


def _named(name: str, data_dir: str | Path | None) -> Lines:
    facts = named(name)
    if facts.form == "text":
        # what has no part of its own to be tested on ends in one
        passages = published_passages(facts, data_dir)
        whole = passages["train"]
        if facts.counts[1] and "test" not in passages:
            whole = whole.part(0, int(0.9 * whole.facts.characters))
        return _passages(name, [whole])
    if facts.form == "tagged":
        tagged = load_tagged(name, data_dir=data_dir, valid=0)
        sentences = [" ".join(words) for words in tagged.train.words]
        facts_of = tagged.provenance
        return _held(name, sentences, facts_of["source"], facts_of["sha256"], in_words=True)
    if facts.form == "texts" or name == "pronouns":
        raw = read_named(facts, data_dir).train
        return _held(name, list(map(str, raw.inputs)), raw.source, raw.sha256)
    raise UsageError(
        f"{name} as texts",
        expected="a dataset of texts",
        got="what word vectors are measured on" if facts.form == "words" else facts.about,
    )


def _folder(folder: Path, encoding: str) -> Lines:
    found = [path for path in sorted(folder.rglob("*")) if ending_of(path) == ".txt"]
    found = [path for path in found if path.is_file()]
    if not found:
        raise DataError(
            str(folder), expected="text files (.txt) in the folder", got="none", fix="Name a file."
        )
    train = [path for path in found if path.name.startswith("train.txt")]
    return _passages(str(folder), [of_file(path, encoding) for path in train or found])


def _passages(name: str, passages: list[Passage]) -> Lines:
    def read() -> Iterator[str]:
        for passage in passages:
            yield from texts_of(passage)

    sums = {passage.name: passage.facts.sha256 for passage in passages}
    return Lines(name, read, {"source": name, "sha256": sums})


def _held(
    name: str, texts: list[str], source: str, sums: Mapping[str, str], *, in_words: bool = False
) -> Lines:
    provenance = {"source": source, "sha256": dict(sums)}
    return Lines(name, lambda: iter(texts), provenance, in_words)
