"""Data comes in; the encoder by which a task reads it goes out: texts need one, numbers none."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from unrolled.data import Preparation, TextPreparation
from unrolled.errors import UsageError
from unrolled.messages import tr
from unrolled.text import read_vectors
from unrolled.text.embedding import Embedding, OneHot, from_config

WIDTH = 128  # numbers of a token's vector where nothing else is asked for


def encoder_for(
    preparation: Preparation | TextPreparation,
    embedding: int | str = WIDTH,
    dropout: float = 0.0,
    token_dropout: float = 0.0,
) -> nn.Module | None:
    """The encoder of texts that is asked for; None for what is numbers already.

    Args:
        preparation: of the data.
        embedding: E, "one-hot", or a file of word vectors.
        dropout, token_dropout: as for `Embedding`.

    Raises:
        UsageError: the embedding cannot be.
        DataError: the file of vectors is missing or broken.
    """
    if not isinstance(preparation, TextPreparation):
        return None
    size = preparation.features
    if embedding == "one-hot":
        if size > 5000:
            raise UsageError(
                "embedding='one-hot'",
                expected="at most 5000 tokens",
                got=size,
                fix="Use an embedding, which is the same product by look-up: embedding=128",
            )
        return OneHot(size)
    if type(embedding) is int:
        return Embedding(size, embedding, dropout=dropout, token_dropout=token_dropout)
    if not isinstance(embedding, str):
        raise UsageError(
            "embedding", expected="a width, 'one-hot' or a file of vectors", got=repr(embedding)
        )
    vectors = read_vectors(embedding)
    encoder = Embedding(size, vectors.size, dropout=dropout, token_dropout=token_dropout)
    rows, known = vectors.rows(preparation.tokenizer.tokens)
    encoder.load(torch.from_numpy(rows), torch.from_numpy(known))
    return encoder


def checked(encoder: nn.Module | None, preparation: Preparation | TextPreparation) -> int:
    """I: features of what the recurrent layers read.

    Raises:
        UsageError: texts without an encoder, an encoder without texts, or of another vocabulary.
    """
    if not isinstance(preparation, TextPreparation):
        if encoder is not None:
            raise UsageError("encoder", expected="none for numbers", got=type(encoder).__name__)
        return preparation.features
    if encoder is None:
        raise UsageError("encoder", expected="one for texts", got="none")
    size: Any = encoder.size
    if size != preparation.features:
        raise UsageError(
            "the encoder's size", expected=f"{preparation.features}, the vocabulary", got=size
        )
    width: Any = encoder.width
    return width


def checked_freeze(freeze: object) -> int:
    """Epochs in which vectors stay as they are.

    Raises:
        UsageError: it is no whole number of at least -1.
    """
    if type(freeze) is not int or freeze < -1:
        raise UsageError("freeze", expected="a whole number of at least -1", got=repr(freeze))
    return freeze


def preparation_from(table: Any, tokenizer: Any) -> Preparation | TextPreparation:
    """The preparation that a model directory holds.

    Raises:
        UnrolledError: a field is missing, unknown or has a value it cannot have.
    """
    if isinstance(table, dict) and table.get("form") == "text":
        return TextPreparation.from_json(table, tokenizer)
    return Preparation.from_json(table)


def encoder_from(config: Any) -> nn.Module | None:
    """The encoder that a model directory describes, its weights yet to be loaded."""
    return None if config is None else from_config(config)


def config_of(encoder: Any, freeze: int = 0) -> dict[str, Any] | None:
    """What rebuilds an encoder, as plain JSON; the same in every epoch of a run."""
    if encoder is None:
        return None
    config = encoder.config()
    return {**config, "frozen": freeze < 0} if freeze and "frozen" in config else config


def keep(encoder: Any, frozen: bool) -> None:
    """Keep the vectors of an encoder as they are, or learn them."""
    if isinstance(encoder, Embedding):
        encoder.freeze(frozen)


def describe(encoder: Any, preparation: Preparation | TextPreparation) -> str:
    """What stands before the layers, in words; nothing where they read the data itself."""
    if not isinstance(preparation, TextPreparation):
        return ""
    return tr(
        "{size} {level} as {width} numbers each, ",
        size=preparation.features,
        level=tr(preparation.tokenizer.level),
        width=encoder.width,
    )


def as_inputs(
    inputs: Any, preparation: Preparation | TextPreparation
) -> np.ndarray | list[np.ndarray] | list[str]:
    """Raw examples as a split holds them.

    Raises:
        UsageError: one text, where a list of texts is read.
    """
    if isinstance(preparation, TextPreparation):
        if isinstance(inputs, str) or not isinstance(inputs, Sequence | np.ndarray):
            raise UsageError("the inputs", expected="a list of texts", got=type(inputs).__name__)
        return list(inputs)
    return inputs if isinstance(inputs, np.ndarray) else [np.asarray(one) for one in inputs]
