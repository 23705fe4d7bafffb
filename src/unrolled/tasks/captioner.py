"""Images or features of them come in; the memory of them, a place for each part, goes out.

B images, (H, W) pixels of C colours, S places, M features of a place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from unrolled.errors import UsageError
from unrolled.layers import Recurrent
from unrolled.tasks.decoder import Decoder, Memory, shifted

ENCODERS = {
    "cnn": "a small convolutional network, learnt here; its grid is the memory",
    "columns": "a recurrent layer that reads an image column by column, both ways",
    "features": "what another network found: a vector, or one for each place",
}


class Pictures(NamedTuple):
    """A batch of images and what is to be said of them.

    Attributes:
        inputs: float32 (B, C, H, W), from 0 to 1, or features (B, S, F).
        rows: int64 (R,): of which image each target is.
        targets: int64 (R, T) that end with `EOS`, padding 0; or None.
        index: int64 (B,): where in the split each image stands.
        texts: what is to be said, as it was written; or None.
    """

    inputs: Tensor
    rows: Tensor
    targets: Tensor | None
    index: Tensor  # type: ignore[assignment]  # tuple.index is hidden: nobody looks a batch up
    texts: list[list[str]] | None


class Level(nn.Module):
    """More channels, half the height and width, one residual block (He and others 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 2):
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first = nn.BatchNorm2d(outputs)
        self.one = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second = nn.BatchNorm2d(outputs)
        self.two = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.third = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H/2, W/2), or as high and wide where the stride is 1."""
        x = functional.relu(self.first(self.down(x)))
        y = self.two(functional.relu(self.second(self.one(x))))
        return functional.relu(x + self.third(y))


class Captioner(nn.Module):
    """An encoder of images and a decoder that looks at its grid, or starts from it.

    Args:
        decoder: says the caption.
        encoder: a name in `ENCODERS`.
        shape: of an input: (C, H, W), or (S, F) of features.
        levels: of the network of convolutions: how often height and width are halved.
        fine: whether a level of full size comes before: for images of few pixels.
        channels: of its first level; each further one has twice as many, up to eight times.
        memory: M, which the encoder's features are mapped to.
        columns: the layer that reads columns, C·H features each, for the encoder of that name.
        dropout: probability of dropping a feature of the memory before it is mapped.

    Raises:
        UsageError: a value that it cannot have.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        encoder: str,
        shape: Sequence[int],
        levels: int,
        fine: bool,
        channels: int,
        memory: int,
        columns: Recurrent | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        if encoder not in ENCODERS:
            raise UsageError("encoder", expected=", ".join(ENCODERS), got=repr(encoder))
        if (encoder == "features") != (len(shape) == 2):
            raise UsageError(
                f"encoder={encoder!r}",
                expected="features where features are given, else cnn or columns",
                got=f"inputs of shape {tuple(shape)}",
            )
        if type(levels) is not int or not 1 <= levels <= 6:
            raise UsageError("levels", expected="a whole number from 1 to 6", got=repr(levels))
        if type(channels) is not int or not 1 <= channels <= 1024:
            raise UsageError("channels", expected="a whole number from 1 to 1024", got=channels)
        self.kind, self.shape = encoder, tuple(shape)
        self.levels, self.fine, self.channels = levels, bool(fine), channels
        self.decoder, self.columns = decoder, columns
        self.network: Any = None
        if encoder == "cnn":
            widths = [channels * min(2**k, 8) for k in range(levels)]
            before = [channels if fine else shape[0], *widths[:-1]]
            first = [Level(shape[0], channels, stride=1)] if fine else []
            self.network = nn.Sequential(*first, *map(Level, before, widths))
            features, size = widths[-1], [-(-n // 2**levels) for n in shape[1:]]
            self.grid = (size[0], size[1])
        elif encoder == "columns":
            if columns is None or columns.input_size != shape[0] * shape[1]:
                raise UsageError("the columns", expected=f"a layer of {shape[0] * shape[1]} inputs")
            features, self.grid = columns.output_size, (1, shape[2])
        else:
            features, self.grid = shape[1], (1, shape[0])
        self.dropout = nn.Dropout(dropout)
        self.map = nn.Linear(features, memory)
        # a place says where it is: a mean over the grid could not tell left from right
        count = self.grid[0] * self.grid[1]
        self.places = nn.Parameter(torch.empty(count, memory))
        nn.init.normal_(self.places, std=0.1)
        # without attention the summary is all that is known: every place by weights of its own
        self.whole = nn.Linear(count * memory, memory) if decoder.attention is None else None

    def encode(self, inputs: Tensor) -> Memory:
        """The memory of images (B, C, H, W) or features (B, S, F)."""
        if self.network is not None:
            found = self.network(inputs - 0.5).flatten(2).transpose(1, 2)
        elif self.columns is not None:
            found, _ = self.columns(inputs.permute(0, 3, 1, 2).flatten(2))
        else:
            found = inputs
        values = torch.relu(self.map(self.dropout(found)) + self.places)
        summary = values.mean(1) if self.whole is None else self.whole(values.flatten(1))
        return Memory(values, None, summary)

    def forward(self, batch: Pictures) -> Tensor:
        """Outputs (R, T, W) for the batch's targets.

        Raises:
            UsageError: the batch has no captions.
        """
        if batch.targets is None:
            raise UsageError("the loss", expected="a batch with texts to say", got="none")
        memory = self.encode(batch.inputs).take(batch.rows)
        return self.decoder(shifted(batch.targets), memory)[0]
