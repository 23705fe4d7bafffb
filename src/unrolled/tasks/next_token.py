"""Token numbers come in; what each next token may be goes out: embedding, layers, softmax over V.

B batch, T time, E features of an embedded token, H units, V tokens of the vocabulary.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from unrolled.data.windows import IGNORED
from unrolled.errors import UsageError
from unrolled.layers import Recurrent

SOFTMAXES = {
    "full": "a product with all V rows",
    "fast": "the same in bfloat16, a few rows at a time: made for V of thousands on a CPU",
    "adaptive": "frequent tokens first, rare ones in clusters (Grave and others 2017)",
}
_ROWS = 128  # of logits at a time: they stay in the cache between the passes over them


class NextToken(nn.Module):
    """An embedding or one-hot input, `Recurrent`, and a softmax over the vocabulary.

    Args:
        recurrent: the layers, in one direction; its `input_size` is E, or V for one-hot input.
        vocabulary: V.
        one_hot: whether a token is read as a one-hot vector instead of an embedding.
        tied: whether the softmax's matrix is the embedding (Press and Wolf 2017,
            arXiv:1608.05859); where E ≠ H, a linear map goes between.
        softmax: a name in `SOFTMAXES`.
        cutoffs: of the adaptive softmax: ranks at which a cluster ends; None chooses.
        order: of the adaptive softmax: token numbers from frequent to rare (V); None is 0, 1, ….
        embedding_dropout: probability of dropping a token of the vocabulary, one draw a window.
        input_dropout: probability of dropping a feature of the input, one draw a row and window.
        head_dropout: the same of the output (Gal and Ghahramani 2016, arXiv:1512.05287).

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> model = NextToken(Recurrent("gru", 16, 16), vocabulary=50, tied=True)
        >>> output, state = model(torch.tensor([[1, 2, 3]]))
        >>> model.log_probs(output).exp().sum(-1).round(decimals=4).tolist()
        [[1.0, 1.0, 1.0]]
    """

    rank: Tensor  # of each token in the adaptive softmax

    def __init__(
        self,
        recurrent: Recurrent,
        vocabulary: int,
        *,
        one_hot: bool = False,
        tied: bool = False,
        softmax: str = "full",
        cutoffs: Sequence[int] | None = None,
        order: Sequence[int] | None = None,
        embedding_dropout: float = 0.0,
        input_dropout: float = 0.0,
        head_dropout: float = 0.0,
    ):
        super().__init__()
        if softmax not in SOFTMAXES:
            raise UsageError("softmax", expected=", ".join(SOFTMAXES), got=repr(softmax))
        if type(vocabulary) is not int or vocabulary < 2:
            raise UsageError("the vocabulary", expected="at least 2 tokens", got=repr(vocabulary))
        if recurrent.bidirectional:
            raise UsageError("bidirectional", expected="one direction: what follows is predicted")
        if tied and (one_hot or softmax == "adaptive"):
            raise UsageError(
                "tied",
                expected="an embedding, and a softmax that is full or fast",
                got="one-hot input" if one_hot else "the adaptive softmax",
                fix="Leave tied out.",
            )
        if one_hot and (recurrent.input_size != vocabulary or embedding_dropout):
            raise UsageError(
                "one-hot input",
                expected=f"layers that read the {vocabulary} tokens, and no embedding_dropout",
                got=recurrent.input_size,
            )
        for name, rate in (
            ("embedding_dropout", embedding_dropout),
            ("input_dropout", input_dropout),
            ("head_dropout", head_dropout),
        ):
            if type(rate) not in (int, float) or not 0 <= rate < 1:
                raise UsageError(name, expected="0 ≤ it < 1", got=repr(rate))
        self.recurrent, self.vocabulary, self.softmax = recurrent, vocabulary, softmax
        self.one_hot, self.tied, self.cutoffs = bool(one_hot), bool(tied), None
        self.embedding_dropout, self.input_dropout = embedding_dropout, input_dropout
        self.head_dropout = head_dropout
        width, units = recurrent.input_size, recurrent.output_size
        self.embedding = None if one_hot else nn.Embedding(vocabulary, width)
        self.bridge = nn.Linear(units, width) if tied and units != width else None
        if softmax == "adaptive":
            self.cutoffs = _cutoffs(cutoffs, vocabulary)
            # each cluster is projected to a quarter of the one before, to no less than 1 feature
            smaller = min(4.0, units ** (1 / len(self.cutoffs)))
            self.head: Any = nn.AdaptiveLogSoftmaxWithLoss(
                units, vocabulary, self.cutoffs, div_value=smaller
            )
            places = torch.arange(vocabulary)
            if order is not None:
                places = torch.empty_like(places).scatter_(0, torch.as_tensor(order), places)
            self.register_buffer("rank", places)
        else:
            self.head = nn.Linear(width if tied else units, vocabulary)
        if tied and self.embedding is not None:
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
            nn.init.zeros_(self.head.bias)
            self.head.weight = self.embedding.weight

    def start_from(self, rows: np.ndarray, known: np.ndarray) -> None:
        """Begin with other vectors: rows (V, E), of which those at `known` bool (V) are given.

        They are brought to the spread of the embedding's own random start, as a tied softmax
        needs it.
        """
        if self.embedding is None or not known.any():
            return
        weight = self.embedding.weight
        given = torch.from_numpy(rows[known]).to(weight.dtype)
        with torch.no_grad():
            weight[torch.from_numpy(known)] = given * (weight.std() / given.std().clamp_min(1e-12))

    def config(self) -> dict[str, Any]:
        """What rebuilds it beside the layers and V, as plain JSON."""
        return {
            name: getattr(self, name)
            for name in (
                "one_hot", "tied", "softmax", "cutoffs", "embedding_dropout", "input_dropout",
                "head_dropout",
            )
        }  # fmt: skip

    def forward(
        self, tokens: Tensor, state: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Tokens (B, T) and the state before them to outputs (B, T, H) and the state after."""
        output, after = self.recurrent(self.read(tokens), state)
        return _locked(output, self.head_dropout, self.training), after

    def read(self, tokens: Tensor) -> Tensor:
        """What the layers see of tokens (…): (…, E), or (…, V) for one-hot input."""
        if self.embedding is None:
            dtype = next(self.head.parameters()).dtype
            x = functional.one_hot(tokens, self.vocabulary).to(dtype)
        else:
            x = self.embedding(tokens)
        if self.training and self.embedding_dropout:
            keep = 1 - self.embedding_dropout
            words = x.new_empty(self.vocabulary).bernoulli_(keep) / keep
            x = x * words[tokens].unsqueeze(-1)
        return _locked(x, self.input_dropout, self.training)

    def losses(self, output: Tensor, targets: Tensor) -> Tensor:
        """Minus the log probability, in nats, of each target (N,) after outputs (N, H): (N,)."""
        if self.softmax == "adaptive":
            return -self.head(output, self.rank[targets]).output
        return functional.cross_entropy(self._logits(output).float(), targets, reduction="none")

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """The mean of `losses` over the targets that are counted."""
        output, targets = output.flatten(0, -2), targets.flatten()
        counted = targets != IGNORED
        if not bool(counted.all()):
            output, targets = output[counted], targets[counted]
        if self.softmax == "fast" and torch.is_grad_enabled():
            return fast_loss(self._bridged(output), self.head.weight, self.head.bias, targets)
        return self.losses(output, targets).mean()

    def log_probs(self, output: Tensor) -> Tensor:
        """Log probabilities of all tokens, (…, V), after outputs (…, H)."""
        if self.softmax == "adaptive":
            flat = self.head.log_prob(output.reshape(-1, output.shape[-1]))
            return flat[:, self.rank].reshape(*output.shape[:-1], self.vocabulary)
        return torch.log_softmax(self._logits(output).float(), -1)

    def _bridged(self, output: Tensor) -> Tensor:
        return output if self.bridge is None else self.bridge(output)

    def _logits(self, output: Tensor) -> Tensor:
        return self.head(self._bridged(output))


def fast_loss(
    output: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, smoothing: float = 0.0
) -> Tensor:
    """The mean cross-entropy of a linear layer with many outputs: products in bfloat16.

    Args:
        output: (N, H), what the layer reads.
        weight: (V, H).
        bias: (V).
        targets: int64 (N).
        smoothing: ε of label smoothing, shared out among all V.

    Example:
        >>> output, weight, bias = torch.randn(3, 8), torch.randn(50, 8), torch.zeros(50)
        >>> loss = fast_loss(output, weight, bias, torch.tensor([1, 2, 3]), smoothing=0.1)
        >>> wanted = functional.cross_entropy(
        ...     output @ weight.T, torch.tensor([1, 2, 3]), label_smoothing=0.1)
        >>> abs(float(loss - wanted)) < 0.05
        True
    """
    return _FastLoss.apply(output, weight, bias, targets, float(smoothing))


class _FastLoss(torch.autograd.Function):
    """The loss and its gradient in one pass over a few rows at a time: no (N, V) in float32."""

    @staticmethod
    def forward(ctx, output, weight, bias, targets, smoothing):
        count = len(targets)
        inputs, matrix = output.detach().bfloat16(), weight.detach().bfloat16()
        errors = torch.empty(count, len(matrix), dtype=torch.bfloat16, device=output.device)
        total = torch.zeros((), dtype=torch.float32, device=output.device)
        bias_gradient = torch.zeros_like(bias)
        for first in range(0, count, _ROWS):
            rows = slice(first, first + _ROWS)
            chosen = targets[rows, None]
            logits = (inputs[rows] @ matrix.T).float().add_(bias)
            sure = torch.log_softmax(logits, 1)
            total -= (1 - smoothing) * sure.gather(1, chosen).sum()
            if smoothing:
                total -= smoothing / len(matrix) * sure.sum()
            error = sure.exp_().scatter_add_(1, chosen, sure.new_full(chosen.shape, smoothing - 1))
            if smoothing:
                error -= smoothing / len(matrix)
            bias_gradient += error.sum(0)
            errors[rows] = error
        ctx.save_for_backward(errors, inputs, matrix, bias_gradient)
        ctx.kinds = output.dtype, weight.dtype
        return total / count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, scale):
        errors, inputs, matrix, bias_gradient = ctx.saved_tensors
        share = scale / len(errors)
        output = (errors @ matrix).to(ctx.kinds[0]) * share
        weight = (errors.T @ inputs).to(ctx.kinds[1]) * share
        return output, weight, bias_gradient * share, None, None


def _locked(x: Tensor, rate: float, training: bool) -> Tensor:
    """Dropout with one draw a sequence: a feature that is dropped is so at every step."""
    if not rate or not training:
        return x
    return x * (x.new_empty(len(x), 1, x.shape[-1]).bernoulli_(1 - rate) / (1 - rate))


def _cutoffs(given: Sequence[int] | None, vocabulary: int) -> list[int]:
    if given is None:
        given = [n for n in (vocabulary // 20, vocabulary // 5) if n > 0] or [1]
        given = sorted(set(given))
    cutoffs = list(given)
    whole = all(type(n) is int for n in cutoffs)
    if not cutoffs or not whole or sorted({0, *cutoffs, vocabulary}) != [0, *cutoffs, vocabulary]:
        raise UsageError(
            "cutoffs", expected=f"rising whole numbers from 1 to {vocabulary - 1}", got=given
        )
    return cutoffs
