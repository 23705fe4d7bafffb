"""Scores of K tags a step come in; the likelihood of whole tag sequences, and the best one, go out.

B batch, T time, K tags. An exact linear-chain conditional random field (Lafferty, McCallum and
Pereira 2001), in log space; its gradient is the difference of counts and marginals.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..errors import ShapeError, UsageError
from .checks import checked_lengths

BARRED = -1e4  # the score of a step that cannot be: e^-10000 is 0, and stays finite in sums


class ChainField(nn.Module):
    """A linear-chain CRF over tags: transitions are learnt, the scores of each step come in.

    Args:
        tags: K.
        barred: pairs (from, to) of tags that never follow one another; K stands for the
            beginning as "from" and for the end as "to".

    Raises:
        UsageError: K or a pair cannot be.

    Example:
        >>> field = ChainField(3)
        >>> scores = torch.tensor([[[2.0, 0, 0], [0, 1, 0]]])
        >>> field.best(scores)[0].tolist()
        [[0, 1]]
        >>> field(scores, torch.tensor([[0, 1]])).shape  # log-likelihoods
        torch.Size([1])
    """

    barriers: Tensor

    def __init__(self, tags: int, barred: Sequence[tuple[int, int]] = ()):
        super().__init__()
        if type(tags) is not int or not 1 <= tags <= 10_000:
            raise UsageError("tags", expected="a whole number from 1 to 10000", got=repr(tags))
        for pair in barred:
            if len(pair) != 2 or not all(type(k) is int and 0 <= k <= tags for k in pair):
                raise UsageError(
                    "barred", expected=f"pairs of whole numbers from 0 to {tags}", got=pair
                )
        self.tags, self.barred = tags, [(int(a), int(b)) for a, b in barred]
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.first, self.last = nn.Parameter(torch.zeros(tags)), nn.Parameter(torch.zeros(tags))
        barriers = torch.zeros(tags + 1, tags + 1)
        for before, after in self.barred:
            barriers[before, after] = BARRED
        self.register_buffer("barriers", barriers, persistent=False)
        nn.init.uniform_(self.transitions, -0.1, 0.1)

    def forward(self, scores: Tensor, tags: Tensor, lengths: Any = None) -> Tensor:
        """The log-likelihood of `tags` (B, T) under scores (B, T, K): (B), at most 0.

        Raises:
            ShapeError: shapes or lengths do not fit.
        """
        return self.score(scores, tags, lengths) - self.partition(scores, lengths)

    def partition(self, scores: Tensor, lengths: Any = None) -> Tensor:
        """log Z (B): the log of the sum of e^score over all K^T tag sequences."""
        return _Partition.apply(*self._chain(scores, lengths))

    def score(self, scores: Tensor, tags: Tensor, lengths: Any = None) -> Tensor:
        """The score (B) of one tag sequence each, (B, T); what lies behind an end plays no part."""
        scores, moves, first, last, valid = self._chain(scores, lengths)
        if tags.shape != scores.shape[:2]:
            raise ShapeError("tags", expected=tuple(scores.shape[:2]), got=tuple(tags.shape))
        tags = tags.masked_fill(~valid, 0)
        own = scores.gather(2, tags[:, :, None])[:, :, 0].masked_fill(~valid, 0.0).sum(dim=1)
        steps = moves[tags[:, :-1], tags[:, 1:]].masked_fill(~valid[:, 1:], 0.0).sum(dim=1)
        ends = tags.gather(1, valid.sum(dim=1, keepdim=True) - 1)[:, 0]
        return own + steps + first[tags[:, 0]] + last[ends]

    def marginals(self, scores: Tensor, lengths: Any = None) -> Tensor:
        """P(tag at a step) (B, T, K), 0 behind each end."""
        scores, moves, first, last, valid = self._chain(scores, lengths)
        with torch.no_grad():
            scores = scores.masked_fill(~valid[:, :, None], 0.0)
            forward, total = _forward(scores, moves, first, last, valid)
            backward = _backward(scores, moves, last, valid)
            both = (forward + backward - total[:, None, None]).exp()
        return both.masked_fill(~valid[:, :, None], 0.0)

    @torch.no_grad()
    def best(self, scores: Tensor, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """The best tag sequence (B, T), 0 behind each end, and its score (B) (Viterbi 1967)."""
        scores, moves, first, last, valid = self._chain(scores, lengths)
        batch, steps, tags = scores.shape
        value = first + scores[:, 0]
        stay = torch.arange(tags, device=scores.device).expand(batch, tags)
        back = []
        for t in range(1, steps):
            top, source = (value[:, :, None] + moves).max(dim=1)
            here = valid[:, t, None]
            value = torch.where(here, top + scores[:, t], value)
            back.append(torch.where(here, source, stay))
        total, tag = (value + last).max(dim=1)
        path = [tag]
        for source in reversed(back):
            path.append(source.gather(1, path[-1][:, None])[:, 0])
        return torch.stack(path[::-1], dim=1).masked_fill(~valid, 0), total

    def _chain(self, scores: Tensor, lengths: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Scores, transitions, first, last, and which steps are valid (B, T)."""
        if scores.dim() != 3 or scores.shape[2] != self.tags or scores.shape[1] == 0:
            raise ShapeError(
                "scores of tags", expected=f"(B, T, {self.tags})", got=tuple(scores.shape)
            )
        batch, steps, _ = scores.shape
        known = checked_lengths(lengths, steps, batch)
        at = torch.arange(steps, device=scores.device)
        if known is None:
            valid = torch.ones(batch, steps, dtype=torch.bool, device=scores.device)
        elif batch and int(known.min()) < 1:
            raise ShapeError("lengths", expected="at least one step each", got="0")
        else:
            valid = at < known.to(scores.device)[:, None]
        kind, walls = scores.dtype, self.barriers
        return (
            scores,
            (self.transitions + walls[:-1, :-1]).to(kind),
            (self.first + walls[-1, :-1]).to(kind),
            (self.last + walls[:-1, -1]).to(kind),
            valid,
        )


class _Partition(torch.autograd.Function):
    """log Z, whose derivatives are expected counts: both recursions run once, without a graph."""

    @staticmethod
    def forward(ctx, scores, moves, first, last, valid):
        kind = scores.dtype
        if scores.device.type != "mps":  # which has no float64
            scores, moves, first, last = (x.double() for x in (scores, moves, first, last))
        # what stands behind an end may be anything, NaN too
        scores = scores.masked_fill(~valid[:, :, None], 0.0)
        alphas, total = _forward(scores, moves, first, last, valid)
        ctx.save_for_backward(scores, moves, last, valid, alphas, total)
        ctx.kind = kind
        return total.to(kind)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        scores, moves, last, valid, alphas, total = ctx.saved_tensors
        grad = grad.to(scores.dtype)
        betas = _backward(scores, moves, last, valid)
        single = (alphas + betas - total[:, None, None]).exp()
        single = single.masked_fill(~valid[:, :, None], 0.0) * grad[:, None, None]
        pairs = _pairs(scores, moves, valid, alphas, betas, total, grad)
        rows = torch.arange(len(scores), device=scores.device)
        ends = single[rows, valid.sum(dim=1) - 1].sum(dim=0)
        found = (single, pairs, single[:, 0].sum(dim=0), ends)
        return *(value.to(ctx.kind) for value in found), None


def _forward(scores, moves, first, last, valid) -> tuple[Tensor, Tensor]:
    """log of the sum over prefixes that end in a tag (B, T, K), and log Z (B)."""
    product = _LogProduct(moves)
    alpha = first + scores[:, 0]
    alphas = [alpha]
    for t in range(1, scores.shape[1]):
        live = valid[:, t, None]
        alpha = torch.where(live, product(alpha, live) + scores[:, t], alpha)
        alphas.append(alpha)
    return torch.stack(alphas, dim=1), torch.logsumexp(alpha + last, dim=1)


def _backward(scores, moves, last, valid) -> Tensor:
    """log of the sum over what can follow a tag at a step (B, T, K)."""
    product = _LogProduct(moves.T)
    beta = last.expand(len(scores), -1)
    betas = [beta]
    for t in range(scores.shape[1] - 1, 0, -1):
        live = valid[:, t, None]
        beta = torch.where(live, product(scores[:, t] + beta, live), beta)
        betas.append(beta)
    return torch.stack(betas[::-1], dim=1)


class _LogProduct:
    """log(e^value e^moves), (B, K) and (K, K) to (B, K), as a product of matrices where it can be.

    What underflows in the product is below e^-700 in float64 (e^-80 in float32); where a sum is
    not larger than that by far, the product is taken again in log space, term by term.
    """

    def __init__(self, moves: Tensor):
        self.moves, self.top = moves, moves.max()
        self.weights = (moves - self.top).exp()
        self.least = 1e-280 if moves.dtype == torch.float64 else 1e-28

    def __call__(self, value: Tensor, live: Tensor) -> Tensor:
        peak = value.amax(dim=1, keepdim=True)
        sums = (value - peak).exp() @ self.weights
        if bool((torch.where(live, sums, 1.0) < self.least).any()):
            return torch.logsumexp(value[:, :, None] + self.moves, dim=1)
        return sums.log() + (peak + self.top)


def _pairs(scores, moves, valid, alphas, betas, total, grad) -> Tensor:
    """The sum over steps t, weighted by grad (B), of P(tag i at t-1, tag j at t): (K, K)."""
    before = alphas[:, :-1]
    # sequences that ended before t count nothing
    live = valid[:, 1:, None]
    after = (scores[:, 1:] + betas[:, 1:] - total[:, None, None]).masked_fill(~live, BARRED)
    peak = before.amax(dim=2, keepdim=True)
    later = after + peak
    weight = grad[:, None, None].expand_as(peak)
    if later.numel() and float(later.amax()) < (600 if scores.dtype == torch.float64 else 60):
        left = ((before - peak).exp() * weight).flatten(0, 1)
        return moves.exp() * (left.T @ later.exp().flatten(0, 1))
    pairs = torch.zeros_like(moves)
    for t in range(before.shape[1]):
        both = (before[:, t, :, None] + moves + after[:, t, None, :]).exp()
        pairs += (grad @ both.flatten(1)).view_as(moves)
    return pairs
