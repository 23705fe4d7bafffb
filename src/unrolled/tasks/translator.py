"""Sentences as numbers come in; the memory of them and what is said of it go out.

B sentences, S tokens read, T tokens said, M features of the memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolled.errors import UsageError
from unrolled.layers import Recurrent
from unrolled.tasks.decoder import Decoder, Memory, shifted
from unrolled.text.embedding import Embedding


class Lines(NamedTuple):
    """A batch of sentences and what is to be said.

    Attributes:
        inputs: int64 (B, S), padding 0.
        lengths: int64 (B,) on the CPU.
        targets: int64 (B, T) that end with `EOS`, padding 0; or None.
        index: int64 (B,): where in the split each sentence stands.
        texts: what is to be said, as it was written; or None.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor | None
    index: Tensor  # type: ignore[assignment]  # tuple.index is hidden: nobody looks a batch up
    texts: list[list[str]] | None


class Translator(nn.Module):
    """An encoder that reads a whole sentence, and a decoder that looks at what it read.

    Args:
        encoder: layers that read E features a token, both ways or one.
        decoder: says the translation; its memory is the encoder's output, its summary the mean.
        vocabulary: tokens that are read; None shares the decoder's embedding.
        embedding: E of what is read.
        embedding_dropout: probability of dropping a feature of a token that is read.
        token_dropout: probability of dropping a token that is read in all its places of a batch.

    Raises:
        UsageError: a value that it cannot have.
    """

    def __init__(
        self,
        encoder: Recurrent,
        decoder: Decoder,
        vocabulary: int | None,
        *,
        embedding: int,
        embedding_dropout: float = 0.0,
        token_dropout: float = 0.0,
    ):
        super().__init__()
        if encoder.input_size != embedding:
            raise UsageError("the encoder's input_size", expected=embedding, got=encoder.input_size)
        self.embedding: Any = None
        if vocabulary is not None:
            self.embedding = Embedding(vocabulary, embedding, token_dropout=token_dropout)
            nn.init.normal_(self.embedding.weight, std=embedding**-0.5)
        elif token_dropout:
            raise UsageError("token_dropout", expected="0 with a joint vocabulary")
        self.encoder, self.decoder = encoder, decoder
        self.dropout = nn.Dropout(embedding_dropout)

    def encode(self, inputs: Tensor, lengths: Tensor) -> Memory:
        """The memory of sentences int64 (B, S) of these lengths (B) on the CPU."""
        read = self.decoder.embedding if self.embedding is None else self.embedding
        values, _ = self.encoder(self.dropout(read(inputs)), lengths=lengths)
        here = lengths.to(inputs.device)
        valid = torch.arange(inputs.shape[1], device=inputs.device) < here[:, None]
        # padded steps give 0: the sum over all is that over the valid ones
        summary = values.sum(1) / here[:, None].to(values.dtype)
        return Memory(values, None if bool(valid.all()) else valid, summary)

    def forward(self, batch: Lines) -> Tensor:
        """Outputs (B, T, W) for the batch's targets.

        Raises:
            UsageError: the batch has no translations.
        """
        if batch.targets is None:
            raise UsageError("the loss", expected="a batch with texts to say", got="none")
        memory = self.encode(batch.inputs, batch.lengths)
        return self.decoder(shifted(batch.targets), memory)[0]
