"""Numbers of tokens (B, T) come in; the vectors (B, T, E) that recurrent layers read go out.

A one-hot vector times a matrix is a row of that matrix: `Embedding` looks the row up, `OneHot`
makes the vector itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unrolled.errors import ModelError, UsageError

from .tokenizer import PAD

KINDS = ("learned", "onehot")


class OneHot(nn.Module):
    """Each token as a vector of V numbers, all 0 but one; padding is all 0.

    Args:
        size: V.

    Example:
        >>> OneHot(3)(torch.tensor([[2, 0]])).tolist()
        [[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]]
    """

    table: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.size = self.width = _positive("size", size)
        table = torch.eye(size)
        table[PAD] = 0
        self.register_buffer("table", table, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """ids int64 (B, T) to float32 (B, T, V)."""
        return functional.embedding(ids, self.table)

    def config(self) -> dict[str, Any]:
        """What rebuilds it, as plain JSON."""
        return {"kind": "onehot", "size": self.size}


class Embedding(nn.Module):
    """Each token's own vector, learnt: the row that its one-hot vector would pick of a matrix.

    Args:
        size: V.
        width: E.
        dropout: probability of dropping a number of a vector.
        token_dropout: probability of dropping a token in all its places of a batch, the others
            scaled up (Gal and Ghahramani 2016, arXiv:1512.05287).
        frozen: keep the vectors as they are; see `freeze`.

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> embedding = Embedding(10, 4)
        >>> ids = torch.tensor([[5, 7, 0]])
        >>> dense = functional.one_hot(ids, 10).float() @ embedding.weight
        >>> torch.equal(embedding(ids), dense)
        True
        >>> embedding(ids)[0, 2].tolist()
        [0.0, 0.0, 0.0, 0.0]
    """

    def __init__(
        self,
        size: int,
        width: int,
        *,
        dropout: float = 0.0,
        token_dropout: float = 0.0,
        frozen: bool = False,
    ):
        super().__init__()
        self.size, self.width = _positive("size", size), _positive("width", width)
        for name, value in (("dropout", dropout), ("token_dropout", token_dropout)):
            if not isinstance(value, int | float) or not 0 <= value < 1:
                raise UsageError(f"embedding {name}", expected="0 ≤ it < 1", got=repr(value))
        self.token_dropout = float(token_dropout)
        self.dropout = nn.Dropout(dropout)
        self.weight = nn.Parameter(torch.empty(size, width))
        self.frozen = bool(frozen)
        if self.weight.device.type != "meta":
            nn.init.normal_(self.weight, std=0.1)
            with torch.no_grad():
                self.weight[PAD] = 0

    def load(self, rows: Tensor, known: Tensor) -> None:
        """Start from other vectors: rows (V, E), of which those at `known` bool (V) are given.

        The rest keep their own random start, at the spread of those given.
        """
        with torch.no_grad():
            if bool(known.any()):
                self.weight.mul_(rows[known].std() / 0.1)
            self.weight[known] = rows[known].to(self.weight.dtype)
            self.weight[PAD] = 0

    def freeze(self, frozen: bool = True) -> None:
        """Keep the vectors as they are from now on, or learn them again."""
        self.frozen = frozen

    def forward(self, ids: Tensor) -> Tensor:
        """ids int64 (B, T) to (B, T, E), zero where padded."""
        # Detached, the optimizer sees no gradient at all: neither a step nor decay moves it.
        weight = self.weight.detach() if self.frozen else self.weight
        vectors = functional.embedding(ids, weight, padding_idx=PAD)
        if self.training and self.token_dropout:
            kept = torch.rand(self.size, device=ids.device) >= self.token_dropout
            scale = kept.to(vectors.dtype) / (1 - self.token_dropout)
            vectors = vectors * scale[ids].unsqueeze(-1)
        return self.dropout(vectors)

    def config(self) -> dict[str, Any]:
        """What rebuilds it without its weights, as plain JSON."""
        return {
            "kind": "learned",
            "size": self.size,
            "width": self.width,
            "dropout": self.dropout.p,
            "token_dropout": self.token_dropout,
            "frozen": self.frozen,
        }


def from_config(config: Any) -> OneHot | Embedding:
    """The encoder of tokens that `config` describes, its weights yet to be loaded.

    Raises:
        ModelError: a field is missing or unknown.
        UsageError: a field has a value it cannot have.

    Example:
        >>> from_config(OneHot(5).config()).width
        5
    """
    kinds: dict[str, Any] = {"onehot": OneHot, "learned": Embedding}
    wanted = {
        "onehot": {"size"},
        "learned": {"size", "width", "dropout", "token_dropout", "frozen"},
    }
    kind = config.get("kind") if isinstance(config, dict) else None
    if kind not in kinds or set(config) != {"kind", *wanted[kind]}:
        raise ModelError(
            "an embedding's configuration", expected="a kind of embedding and its fields"
        )
    return kinds[kind](**{name: config[name] for name in wanted[kind]})


def _positive(name: str, value: object) -> int:
    if type(value) is not int or not 0 < value < 2**31:
        raise UsageError(
            f"embedding {name}", expected="a whole number of at least 1", got=repr(value)
        )
    return value
