"""A text by name or a path of the user's comes in; token numbers in three parts go out.

The parts lie side by side in the text: what is learnt from, what validates, what is tested on.
Token numbers of a large file lie in the cache as a file of their own, mapped into memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import DataError, UsageError
from unrolled.text import EOS, UNK, Tokenizer, learn

from .catalogue import DATASETS, Named, named
from .download import obtain, problem
from .passages import Passage, of_file, whole_lines
from .shelves import cache_folder

Part = float | int | str | Path | None
IN_MEMORY = 2**26  # characters; the tokens of a longer passage are kept in a file
_RULES = {
    "end": "in the order of the text",
    "start": "in the order of the text, what validates first",
}
_PARTS = {"train": ("train",), "valid": ("valid", "val", "validation", "dev"), "test": ("test",)}


@dataclass(frozen=True, eq=False)
class Text:
    """A passage as token numbers.

    Args:
        ids: (N,), in memory or mapped from a file.
        characters: how many characters they stand for.
        unknown: how many of them stand for something the vocabulary does not have.
    """

    ids: np.ndarray
    characters: int
    unknown: int = 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text in three parts, with the tokens learnt from the first and where it came from.

    Args:
        name: what the user called it.
        train: what is learnt from.
        valid: what decides which weights are kept; may be empty.
        tokenizer: from text to token numbers and back.
        provenance: source, checksums, rule of the split and sizes, as plain JSON.
        read_test: reads the test part when it is first asked for.
    """

    name: str
    train: Text
    valid: Text
    tokenizer: Tokenizer
    provenance: dict[str, Any] = field(default_factory=dict)
    read_test: Callable[[], Text] | None = None

    @cached_property
    def test(self) -> Text:
        """The test part: read on first use, once, so that training cannot have looked at it."""
        return _nothing() if self.read_test is None else self.read_test()


def corpus_of(text: str, **options: Any) -> Corpus:
    """A corpus of a text in memory; options as in `assemble`.

    Example:
        >>> corpus = corpus_of("to be or not to be " * 10, valid=19)
        >>> len(corpus.train), len(corpus.valid), len(corpus.test), len(corpus.tokenizer)
        (152, 19, 19, 11)
    """
    return assemble("text", {"train": Passage(text)}, **options)


def assemble(
    name: str,
    passages: dict[str, Passage],
    *,
    level: str = "characters",
    split_at: str = "blanks",
    vocabulary: int = 0,
    valid: Part = None,
    valid_from: str = "end",
    test: Part = None,
    encoding: str = "utf-8",
    tokenizer: Tokenizer | None = None,
) -> Corpus:
    """Cut a text into its parts, learn the tokens from the first, and number all.

    Args:
        name: what the user called it.
        passages: "train", and "valid" and "test" where they stand apart.
        level: "characters", "words" (and an end of each line) or "subwords".
        split_at: words are what "blanks" separate, or "words", punctuation apart.
        vocabulary: the most tokens, the four special ones included; 0 is all, or 8,000 subwords.
        valid: what is cut from the text to choose weights by: a fraction of its characters, a
            number of them, or a path; None is 1/20 where nothing stands apart.
        valid_from: where that is cut: at the "end" of what is learnt from, before the test part,
            or at its "start", so that what is learnt from reaches up to the test part.
        test: what is cut from the very end, said as `valid` is; None is 1/10.
        encoding: of a part given by its path.
        tokenizer: that of a trained model, instead of learning one.

    Raises:
        DataError: a text is empty, too short, or not in its encoding.
        UsageError: an option has a value that it cannot have.
    """
    if valid_from not in _RULES:
        raise UsageError("valid_from", expected=" or ".join(_RULES), got=repr(valid_from))
    apart = valid is None and "valid" in passages
    if valid_from != "end" and (apart or isinstance(valid, str | Path)):
        raise UsageError(
            f"valid_from={valid_from!r}",
            expected="a part that is cut from the text",
            got="one that stands apart",
        )
    passages = dict(passages)
    for part, value, usual in (("test", test, 0.1), ("valid", valid, 0.05)):
        if isinstance(value, str | Path):
            passages[part] = of_file(Path(value).expanduser(), encoding)
        elif value is not None or part not in passages:
            whole = passages["train"]
            start, end = whole.start, _end(whole)
            size = min(_characters(part, usual if value is None else value, whole), end - start)
            at_start = part == "valid" and valid_from == "start"
            cut = start + size if at_start else end - size
            pieces = whole.part(start, cut), whole.part(cut, end)
            passages[part], passages["train"] = pieces if at_start else pieces[::-1]
    if tokenizer is None:
        tokenizer = _learnt(passages["train"], level, split_at, vocabulary)
    train, held_out = numbered(passages["train"], tokenizer), numbered(passages["valid"], tokenizer)
    if len(train) < 2:
        raise DataError(
            f"the training part of {name}",
            expected="at least 2 tokens",
            got=len(train),
            fix="Give a longer text.",
        )
    later = passages["test"]
    return Corpus(
        name,
        train,
        held_out,
        tokenizer,
        {
            "source": passages["train"].name,
            "sha256": {p.name: p.facts.sha256 for part, p in passages.items() if part != "test"},
            "rule": _RULES[valid_from],
            "level": tokenizer.level,
            "sizes": {"train": len(train), "valid": len(held_out)},
        },
        lambda: numbered(later, tokenizer),
    )


def numbered(passage: Passage, tokenizer: Tokenizer) -> Text:
    """A passage as token numbers; those of a long one lie in a file of the cache.

    Raises:
        DataError: the file cannot be read, or is no text.
    """
    if not _end(passage) - passage.start:
        return _nothing()
    kind = np.min_scalar_type(len(tokenizer) - 1)
    if _end(passage) - passage.start <= IN_MEMORY:
        parts = [np.array(numbers(tokenizer, p), kind) for p in _cut(passage, tokenizer)]
        ids = np.concatenate(parts)
        return Text(ids, _end(passage) - passage.start, int((ids == UNK).sum()))
    path = _kept(passage, tokenizer)
    if not path.exists():
        _write(path, (np.array(numbers(tokenizer, p), kind) for p in _cut(passage, tokenizer)))
    ids = np.memmap(path, kind, mode="r")
    pieces = (ids[k : k + IN_MEMORY] for k in range(0, len(ids), IN_MEMORY))
    unknown = sum(int((piece == UNK).sum()) for piece in pieces)
    return Text(ids, _end(passage) - passage.start, unknown)


def numbers(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token numbers of a stretch of a text; `EOS` is the end of a line of words.

    Example:
        >>> words = learn("words", ["to be"])
        >>> numbers(words, "to be\\nor not\\n")
        [5, 4, 3, 1, 1, 3]
    """
    if tokenizer.level != "words":
        return tokenizer.encode(text)
    *lines, rest = text.split("\n")
    found = [number for line in lines for number in tokenizer.encode(line, eos=True)]
    return found + tokenizer.encode(rest)


def written(tokenizer: Tokenizer, found: Iterable[int]) -> str:
    """The text of token numbers, as `numbers` has them.

    Example:
        >>> words = learn("words", ["to be"])
        >>> written(words, [5, 4, 3, 5, 4, 3])
        'to be\\nto be\\n'
    """
    lines: list[list[int]] = [[]]
    for number in found:
        if number == EOS:
            lines.append([])
        else:
            lines[-1].append(number)
    return "\n".join(map(tokenizer.decode, lines))


def _learnt(passage: Passage, level: str, split_at: str, vocabulary: int) -> Tokenizer:
    if type(vocabulary) is not int or vocabulary < 0:
        raise UsageError("vocabulary", expected="a whole number, 0 for all", got=repr(vocabulary))
    # a text that is not changed is one whose characters can be counted
    options: dict[str, Any] = {"form": "none", "size": vocabulary or None}
    options |= {"split_at": split_at} if level == "words" else {}
    return learn(level, passage if level == "characters" else whole_lines(passage), **options)


def _cut(passage: Passage, tokenizer: Tokenizer) -> Iterator[str]:
    return iter(passage) if tokenizer.level == "characters" else whole_lines(passage)


def _kept(passage: Passage, tokenizer: Tokenizer) -> Path:
    facts = [passage.facts.sha256, passage.encoding, passage.start, passage.stop]
    facts.append(tokenizer.to_json())
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    return cache_folder("tokens") / f"{name}.bin"


def _write(path: Path, parts: Iterable[np.ndarray]) -> None:
    """Put token numbers at `path`, in one rename: two processes may race and both win."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    file.write(part.tobytes())
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written",
            got=error.strerror or str(error),
            fix="Make room, or set XDG_CACHE_HOME to a folder on another disk.",
        ) from None


def _characters(part: str, value: Any, whole: Passage) -> int:
    """How many characters a part gets: `value` of the whole source, or as many as it says."""
    count = whole.facts.characters
    if type(value) is float and 0 <= value < 1:
        # the first 90 % of n characters are int(0.9 n), as is usual for the last tenth to be told
        return count - int((1 - value) * count)
    if type(value) is int and 0 <= value < _end(whole) - whole.start:
        return value
    raise UsageError(
        part,
        expected=f"a share below 1, a number below the {count} characters, or a path",
        got=repr(value),
    )


def _end(passage: Passage) -> int:
    count = passage.facts.characters
    return count if passage.stop is None else min(passage.stop, count)


def _nothing() -> Text:
    return Text(np.zeros(0, np.uint8), 0)


def load_text(
    name_or_path: str | Path, *, data_dir: str | Path | None = None, **options: Any
) -> Corpus:
    """A text by name, or a file or folder of the user's, in three parts.

    Args:
        name_or_path: "tinyshakespeare", "ptb", "pydocs"; a text file, gzipped or not; or a folder
            with train.txt and, where they are there, valid.txt and test.txt.
        data_dir: the folder with a named text's files; None looks in UNROLLED_DATA, then in the
            cache, then downloads.
        options: as in `assemble`.

    Raises:
        DataError: it is missing, empty, not in its encoding, or not what was published.
        UsageError: an option has a value that it cannot have.

    Example:
        >>> python = load_text("pydocs")
        >>> python.tokenizer.level, len(python.test) > 10_000
        ('characters', True)
    """
    known = DATASETS.get(str(name_or_path))
    if known is not None and known.form == "text":
        return assemble(known.name, published_passages(known, data_dir), **options)
    path = Path(name_or_path).expanduser()
    if not path.exists() and not any(mark in str(name_or_path) for mark in "/\\."):
        named(str(name_or_path))
    if data_dir is not None or known is not None:
        texts = ", ".join(name for name, facts in DATASETS.items() if facts.form == "text")
        raise UsageError(
            f"{name_or_path} as a text",
            expected=f"a text by name ({texts}), or a path without data_dir",
            got="a folder beside a path" if known is None else f"a dataset of {known.form}",
        )
    if not path.exists():
        raise DataError(str(path), expected="a text file or a folder", got="nothing there")
    encoding = options.get("encoding", "utf-8")
    if path.is_file():
        return assemble(str(name_or_path), {"train": of_file(path, encoding)}, **options)
    files = {one.name.removesuffix(".gz"): one for one in sorted(path.iterdir())}
    passages = {}
    for part, names in _PARTS.items():
        found = [files[f"{name}.txt"] for name in names if f"{name}.txt" in files]
        if found:
            passages[part] = of_file(found[0], encoding)
    if "train" not in passages:
        raise DataError(
            str(path),
            expected="train.txt in the folder, and valid.txt and test.txt where there are such",
            got=", ".join(list(files)[:5]) or "an empty folder",
        )
    return assemble(str(name_or_path), passages, **options)


def published_passages(facts: Named, data_dir: str | Path | None) -> dict[str, Passage]:
    """The parts of a text that is known by name, as they are published.

    Raises:
        DataError: files are missing, broken, or not the published ones.
        UsageError: a folder was given for a text that a library carries.
    """
    if not facts.files:
        if data_dir is not None:
            raise UsageError(
                f"{facts.name} with a folder",
                expected="no folder",
                got=str(data_dir),
                fix="Leave it out: Python carries this text.",
            )
        from pydoc_data.topics import topics

        whole = "\n\n".join(f"{name}\n\n{topics[name].strip()}" for name in sorted(topics))
        source = f"pydoc_data.topics of Python {platform.python_version()}"
        return {"train": Passage(whole + "\n", name=source)}
    passages = {}
    for part, path in obtain(facts, data_dir).items():
        passages["train" if part == "text" else part] = of_file(path)
        if problem(facts.files[part], path):
            raise DataError(
                f"{path} is not the published file of {facts.name}",
                expected=f"SHA-256 {facts.files[part].sha256}",
                got=problem(facts.files[part], path),
                fix=f"Run: unrolled data fetch {facts.name} - or, to use it as data of your own, "
                "give its path in place of the name.",
            )
    return passages
