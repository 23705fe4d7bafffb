"""Sequences come in, one vector each goes out: encoder, recurrent layers, pooled over time, head.

B batch, T time, I input features, D directions, H units, K outputs.
"""

import torch
from torch import Tensor, nn

from unrolled.errors import UsageError
from unrolled.layers import Recurrent

POOLINGS = {
    "last": "where each direction ends: at the last valid step forward, at the first backward",
    "step": "the output at the last valid step, whatever the direction",
    "mean": "the mean over valid steps",
    "max": "the largest value of each feature over valid steps",
    "attention": "a mean weighted by a learnt score of each valid step",
}


class ManyToOne(nn.Module):
    """`Recurrent`, pooled over time, and a linear head.

    Args:
        recurrent: the layers.
        outputs: K.
        pooling: a name in `POOLINGS`.
        head_dropout: probability of dropping a feature before the head.
        encoder: from what a batch holds to (B, T, I); None where it is that already.

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> model = ManyToOne(Recurrent("gru", 3, 8), outputs=2, pooling="mean")
        >>> model(torch.zeros(5, 7, 3), torch.tensor([7, 7, 4, 2, 1])).shape
        torch.Size([5, 2])
    """

    temperature: Tensor  # of probabilities: a buffer of classifiers
    center: Tensor  # mean and deviation of the targets: buffers of regression
    spread: Tensor

    def __init__(
        self,
        recurrent: Recurrent,
        outputs: int,
        pooling: str = "last",
        head_dropout: float = 0.0,
        encoder: nn.Module | None = None,
    ):
        super().__init__()
        if pooling not in POOLINGS:
            raise UsageError("pooling", expected=", ".join(POOLINGS), got=repr(pooling))
        if type(outputs) is not int or outputs < 1:
            raise UsageError("outputs", expected="a whole number of at least 1", got=repr(outputs))
        if not isinstance(head_dropout, int | float) or not 0 <= head_dropout < 1:
            raise UsageError("head_dropout", expected="0 ≤ it < 1", got=repr(head_dropout))
        self.encoder, self.recurrent, self.pooling = encoder, recurrent, pooling
        width = recurrent.output_size
        self.attention = (
            nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
            if pooling == "attention"
            else None
        )
        self.dropout = nn.Dropout(head_dropout)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x (B, T, I) or what `encoder` reads, lengths (B) on the CPU or None, to (B, K)."""
        if self.encoder is not None:
            x = self.encoder(x)
        output, _ = self.recurrent(x, lengths=lengths)
        return self.head(self.dropout(self.pool(output, lengths)))

    def pool(self, output: Tensor, lengths: Tensor | None) -> Tensor:
        """Outputs (B, T, D·H), zero where padded, to (B, D·H)."""
        if self.pooling == "mean":
            if lengths is None:
                return output.mean(dim=1)
            return output.sum(dim=1) / lengths.to(output.device, output.dtype)[:, None]
        if self.attention is not None:
            score = _only_valid(self.attention(output), lengths)
            return (torch.softmax(score, dim=1) * output).sum(dim=1)
        if self.pooling == "max":
            return _only_valid(output, lengths).amax(dim=1)
        if lengths is None:
            end = output[:, -1]
        else:
            rows = torch.arange(len(output), device=output.device)
            end = output[rows, lengths.to(output.device) - 1]
        if self.pooling == "step" or not self.recurrent.bidirectional:
            return end
        half = output.shape[2] // 2
        return torch.cat([end[:, :half], output[:, 0, half:]], dim=1)


def _only_valid(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Values (B, T, any), minus infinity where padded."""
    if lengths is None:
        return values
    steps = torch.arange(values.shape[1], device=values.device)
    valid = steps < lengths.to(values.device)[:, None]
    return values.masked_fill(~valid[:, :, None], -torch.inf)
