"""A source, or a part of data, comes in; the examples in it go out, as each task reads them."""

from pathlib import Path
from typing import Any, NamedTuple

from unrolled.cli.asked import Looked
from unrolled.errors import DataError


class Examples(NamedTuple):
    """Raw examples, as for `predict`.

    Args:
        inputs: the examples.
        ids: their names.
        tags: of columns the tags that stand there, a row a sentence.
    """

    inputs: Any
    ids: list[str]
    tags: list[list[str]] | None = None


def examples(task: Any, what: Looked) -> Examples:
    """Of a model that tells classes or numbers: images, series or texts of a file, or one text."""
    from unrolled.data import read_inputs

    if task.reads_texts and not _is_file(what.source):
        return Examples([what.source], [_named(what.source)])
    return Examples(*read_inputs(what.source, task.preparation, resize=what.resize))


def passage(task: Any, what: Looked) -> Examples:
    """Of a language model: one text, or the start of a file."""
    text = _text(what.source)
    return Examples([_cut(task, text, what.length)], [_named(what.source)])


def sentences(task: Any, what: Looked) -> Examples:
    """Of a translator: the lines of a file, or one sentence."""
    from unrolled.data.parallel import read_sentences

    source = what.source
    lines = read_sentences(Path(source).expanduser()) if _is_file(source) else [source]
    some = [line for line in lines if line.strip()]
    return Examples(some, _numbered(source, len(some)))


def tagged(task: Any, what: Looked) -> Examples:
    """Of a tagger: the sentences of columns with their tags, of lines, or of a text."""
    part = _sentences(what.source)
    some = [words[: what.length] for words in part.words]
    tags = None if part.tags is None else [row[: what.length] for row in part.tags]
    return Examples(some, _numbered(what.source, len(some)), tags)


def pictures(task: Any, what: Looked) -> Examples:
    """Of a captioner: an image, a folder, a tar, or features of images."""
    from unrolled.cli.said import images

    shown = images(task, what.source)
    return Examples(shown.inputs, list(shown.ids))


def first_examples(task: Any, split: Any, part: str, count: int, length: int) -> Examples:
    """So many of a part of data, by their places in it."""
    some = split.take(range(min(count, len(split))))
    return Examples(some.inputs, [f"{part}:{k}" for k in range(len(some))])


def first_sentences(task: Any, split: Any, part: str, count: int, length: int) -> Examples:
    """The same of a tagger, with tags."""
    some = split.take(range(min(count, len(split))))
    return Examples(some.words, [f"{part}:{k}" for k in range(len(some))], some.tags)


def first_tokens(task: Any, split: Any, part: str, count: int, length: int) -> Examples:
    """So many tokens of a text."""
    return Examples([task.decode(split.ids[:length].tolist())], [part])


def _is_file(source: str) -> bool:
    """Whether a file is meant: what has no blank and an ending is no text that is worth looking at.

    Raises:
        DataError: it is not there.
    """
    path = Path(source).expanduser()
    try:
        there = path.is_file()
    except OSError:  # a text that is too long for a name
        return False
    if not there and " " not in source and 0 < len(path.suffix) <= 7 and path.stem:
        raise DataError(
            source, expected="a file or a text", got="nothing there", fix="Check the path."
        )
    return there


def _text(source: str) -> str:
    from unrolled.data.passages import of_file

    if not _is_file(source):
        return source.replace("\\n", "\n")  # typed at a shell, "\n" is the way to end a line
    text = "".join(of_file(Path(source).expanduser(), "utf-8"))
    if not text:
        raise DataError(source, expected="some text", got="an empty file")
    return text


def _cut(task: Any, text: str, length: int) -> str:
    """The start of a text, about so many tokens of it."""
    return text[:length] if task.tokenizer.level == "characters" else text[: 4 * length]


def _sentences(source: str) -> Any:
    from unrolled.data.sentences import Tagged, read_lines, read_rows_of

    if not _is_file(source):
        return Tagged([list(words) for words in read_lines(source)])
    path = Path(source).expanduser()
    try:
        return read_rows_of(path).sentences()
    except DataError:
        if path.suffix != ".txt":
            raise
        return Tagged([list(words) for words in read_lines(_text(source))])


def _numbered(source: str, count: int) -> list[str]:
    return [f"{_named(source)}:{k + 1}" for k in range(count)]


def _named(source: str) -> str:
    word = Path(source).name if "/" in source else source
    return word if len(word) <= 24 else word[:23] + "…"
