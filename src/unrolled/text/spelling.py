"""The characters of words come in, (N, C); one vector a word, (N, W), goes out.

A BiLSTM reads each word (Ling and others 2015, arXiv:1508.02096; Lample and others 2016,
arXiv:1603.01360): where its two directions end is the word's vector.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.layers import Recurrent

from .embedding import Embedding


class Spelling(nn.Module):
    """Words by their characters.

    Args:
        size: V, characters known.
        width: of a character's vector.
        hidden: units of each direction; a word's vector has twice as many.
        cell: that reads the characters.
        dropout: probability of dropping a number of a character's vector.
        backend: of the layer.

    Example:
        >>> spelling = Spelling(30, 8, 16)
        >>> spelling(torch.tensor([[5, 6, 7], [8, 0, 0]]), torch.tensor([3, 1])).shape
        torch.Size([2, 32])
    """

    def __init__(
        self,
        size: int,
        width: int,
        hidden: int,
        *,
        cell: Any = "lstm",
        dropout: float = 0.0,
        backend: str = "auto",
    ):
        super().__init__()
        self.embedding = Embedding(size, width, dropout=dropout)
        self.recurrent = Recurrent(cell, width, hidden, bidirectional=True, backend=backend)
        self.width = self.recurrent.output_size

    def forward(self, characters: Tensor, lengths: Tensor) -> Tensor:
        """characters int64 (N, C), lengths (N), at least 1, on the CPU, to (N, W)."""
        output, _ = self.recurrent(self.embedding(characters), lengths=lengths)
        rows = torch.arange(len(output), device=output.device)
        end = output[rows, lengths.to(output.device) - 1]
        half = self.width // 2
        return torch.cat([end[:, :half], output[:, 0, half:]], dim=1)
