"""Queries and a memory come in; for each query a mean of the memory, and its weights, go out.

B sequences, T queries of H features, S places of a memory of M features, A features of a key.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..errors import UsageError

KINDS = {
    "multiplicative": "a product of the query and a linear map of the place (Luong 2015)",
    "additive": "a small network over both (Bahdanau 2015)",
}


class Attention(nn.Module):
    """Where to look: weights over the places of a memory, which sum to one (arXiv:1508.04025).

    Args:
        query: H.
        memory: M.
        kind: "multiplicative" (divided by √H), or "additive" (arXiv:1409.0473).

    Raises:
        UsageError: there is no such kind.

    Example:
        >>> attention = Attention(8, 6)
        >>> memory = torch.randn(2, 5, 6)
        >>> valid = torch.arange(5) < torch.tensor([[5], [3]])
        >>> found, weights = attention(torch.randn(2, 4, 8), memory, attention.keys(memory), valid)
        >>> found.shape, bool((weights[1, :, 3:] == 0).all())
        (torch.Size([2, 4, 6]), True)
    """

    def __init__(self, query: int, memory: int, kind: str = "multiplicative"):
        super().__init__()
        if kind not in KINDS:
            raise UsageError("attention", expected=f"none, {', '.join(KINDS)}", got=repr(kind))
        self.kind, self.scale = kind, 1 / math.sqrt(query)
        self.of_memory = nn.Linear(memory, query, bias=False)
        if kind == "additive":
            self.of_query = nn.Linear(query, query)
            self.weigh = nn.Linear(query, 1, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        """What queries are compared with, made once a sequence: (B, S, M) to (B, S, A)."""
        return self.of_memory(memory)

    def forward(
        self, queries: Tensor, memory: Tensor, keys: Tensor, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Look for each query.

        Args:
            queries: (B, T, H).
            memory: (B, S, M).
            keys: (B, S, A), of `keys(memory)`.
            valid: bool (B, S), at least one True a row; the other places get no weight at all.

        Returns:
            (B, T, M), and the weights (B, T, S).
        """
        if self.kind == "multiplicative":
            scores = torch.bmm(queries, keys.transpose(1, 2)) * self.scale
        else:
            both = self.of_query(queries).unsqueeze(2) + keys.unsqueeze(1)
            scores = self.weigh(torch.tanh(both)).squeeze(-1)
        if valid is not None:
            scores = scores.masked_fill(~valid.unsqueeze(1), float("-inf"))
        weights = torch.softmax(scores, -1)
        return torch.bmm(weights, memory), weights
