"""A tokenizer's level or its JSON comes in; the tokenizer, learnt or as it was saved, goes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from unrolled.errors import ModelError, UsageError
from unrolled.files import with_fields

from .characters import Characters
from .subwords import Subwords
from .tokenizer import Tokenizer
from .words import Words

LEVELS: dict[str, Any] = {kind.level: kind for kind in (Characters, Words, Subwords)}


def learn(level: str, texts: Iterable[str], **options: Any) -> Tokenizer:
    """A tokenizer learnt from `texts`, which are the training part and nothing else.

    Args:
        level: "characters", "words" or "subwords".
        texts: what to learn from.
        options: of the level's own `learn`.

    Raises:
        UsageError: the level is unknown, or an option has a value it cannot have.

    Example:
        >>> learn("words", ["to be or not to be"], least=2).tokens[4:]
        ['be', 'to']
    """
    if level not in LEVELS:
        raise UsageError("level", expected="one of " + ", ".join(LEVELS), got=repr(level))
    return LEVELS[level].learn(texts, **options)


def from_json(table: Any) -> Tokenizer:
    """The tokenizer that `to_json` wrote; nothing in it is executed.

    Raises:
        ModelError: a field is missing, unknown, or has a value it cannot have.

    Example:
        >>> letters = Characters.learn(["abc"])
        >>> from_json(letters.to_json()) == letters
        True
    """
    kind = LEVELS.get(str(table.get("level"))) if isinstance(table, Mapping) else None
    if kind is None:
        raise ModelError("a tokenizer", expected=f"the level {', '.join(LEVELS)}")
    table = {**kind.assumed, **table}
    with_fields(table, {"level", "tokens", *kind.options}, "a tokenizer")
    rest = {name: table[name] for name in kind.options}
    try:
        return kind(table["tokens"], **rest)
    except UsageError as error:
        raise ModelError(error.what, expected=error.expected, got=error.got) from None
    except TypeError as error:
        raise ModelError("a tokenizer", expected="texts and options", got=error) from None
