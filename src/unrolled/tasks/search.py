"""A process that says tokens comes in; the likeliest sequences of each of B sentences go out.

K hypotheses a sentence, V tokens. What a sentence gets does not depend on those beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import UsageError
from unrolled.tasks.sampling import Taste
from unrolled.text import BOS, EOS


@dataclass(frozen=True)
class Hypothesis:
    """One sequence that may be said.

    Args:
        tokens: without `BOS` and `EOS`.
        log_prob: log P of all of them and of the end, in nats.
        score: what hypotheses are ranked by: log P by the length to some power.
    """

    tokens: tuple[int, ...]
    log_prob: float
    score: float


@torch.no_grad()
def beam_search(
    saying: Any,
    limits: Sequence[int],
    *,
    beams: int,
    best: int = 1,
    power: float = 1.0,
    thorough: bool = False,
) -> list[list[Hypothesis]]:
    """The `best` sequences of each sentence among `beams` kept a step.

    At a sentence's limit only the end is possible. A sentence is done when as many sequences have
    ended as there are beams and the best that goes on, at its present length, is behind them all.

    Args:
        saying: `saying(tokens)` gives logits (B·K, V) after tokens (B·K); `saying.pick(rows,
            sequences)` goes on with other rows; `saying.unsayable` are tokens never said.
        limits: for each of the B sentences, how many tokens it may have, the end apart.
        beams: K, the rows of a sentence that `saying` has; 1 is the greedy search.
        best: how many to give back, at most K.
        power: 0 ranks by log P, 1 by its mean over the tokens, the end included.
        thorough: go on until no sequence that goes on could ever win: exact, for the beams kept.

    Raises:
        UsageError: numbers that cannot be.
    """
    checked(beams, best, power)
    count, width = len(limits), beams
    limit = torch.as_tensor(list(limits))
    finished: list[list[Hypothesis]] = [[] for _ in range(count)]
    place = torch.arange(count)  # which sentence each group of rows is
    scores = torch.full((count, width), float("-inf"))
    scores[:, 0] = 0.0
    said = torch.empty(count, width, 0, dtype=torch.int64)
    tokens = torch.full((count * width,), BOS)
    for step in range((int(limit.max()) if count else -1) + 1):
        logits = saying(tokens).float()
        last = (limit[place] <= step)[:, None]
        values, picks = _likeliest(logits, scores, last, width, saying.unsayable)
        parents, chosen = picks // logits.shape[1], picks % logits.shape[1]
        ends = (chosen == EOS) & (values > float("-inf"))
        ranks = torch.arange(values.shape[1])
        for group, rank in ends.logical_and(ranks < width).nonzero().tolist():
            log_prob = values[group, rank].item()
            finished[place[group]].append(
                Hypothesis(
                    tuple(said[group, parents[group, rank]].tolist()),
                    log_prob,
                    log_prob / (step + 1) ** power,
                )
            )
        # the K likeliest that go on, in their order
        going = values.masked_fill(chosen == EOS, float("-inf"))
        scores, at = going.sort(dim=1, descending=True, stable=True)
        scores, at = scores[:, :width], at[:, :width]
        parents, chosen = parents.gather(1, at), chosen.gather(1, at)
        said = torch.cat(
            [said.gather(1, parents[..., None].expand(-1, -1, step)), chosen[..., None]], 2
        )
        open_ = [
            not _done(finished[name], top, step + 1, stop, width, power, thorough)
            for name, top, stop in zip(
                place.tolist(), scores[:, 0].tolist(), limit[place].tolist(), strict=True
            )
        ]
        left = sum(open_)
        if not left:
            break
        rows = parents + width * torch.arange(len(place))[:, None]
        if left <= len(place) // 2:
            kept = torch.tensor(open_).nonzero()[:, 0]
            saying.pick(rows[kept].flatten(), kept)
            place, scores, said, chosen = place[kept], scores[kept], said[kept], chosen[kept]
        else:
            saying.pick(rows.flatten())
            # what is done stays, so that rows keep their places, but finds nothing more
            scores = scores.masked_fill(~torch.tensor(open_)[:, None], float("-inf"))
        tokens = chosen.flatten()
    return [sorted(found, key=lambda h: (-h.score, h.tokens))[:best] for found in finished]


def _likeliest(
    logits: Tensor, scores: Tensor, last: Tensor, width: int, unsayable: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The 2·K best continuations of each sentence: log P, and row · V + token; both (B, 2·K)."""
    count, size = len(scores), logits.shape[1]
    normal = torch.logsumexp(logits, 1, keepdim=True)
    logits[:, list(unsayable)] = float("-inf")
    few = min(2 * width, size)
    # no continuation of a sentence is among its 2 K best without being among its row's
    values, tokens = logits.topk(few, 1)
    ends = logits[:, EOS, None]
    values = torch.where(last.repeat_interleave(width, 0), float("-inf"), values)
    values[:, :1] = torch.where(last.repeat_interleave(width, 0), ends, values[:, :1])
    tokens[:, :1] = torch.where(last.repeat_interleave(width, 0), EOS, tokens[:, :1])
    values = (values - normal).view(count, width, few) + scores[..., None]
    places = tokens.view(count, width, few) + size * torch.arange(width)[:, None]
    found, at = values.flatten(1).topk(min(2 * width, width * few), 1)
    return found, places.flatten(1).gather(1, at)


def _done(
    found: list[Hypothesis],
    top: float,
    length: int,
    limit: int,
    width: int,
    power: float,
    thorough: bool,
) -> bool:
    """Whether nothing that goes on, of log P `top` at best, can still change the best ones."""
    if top == float("-inf"):
        return True
    if len(found) < width:
        return False
    worst = sorted((one.score for one in found), reverse=True)[width - 1]
    return top / (limit + 1 if thorough else length) ** power <= worst


@torch.no_grad()
def sample_search(
    saying: Any,
    limits: Sequence[int],
    *,
    draws: int,
    taste: Taste,
    seeds: Sequence[int],
    power: float = 1.0,
) -> list[list[Hypothesis]]:
    """`draws` sequences of each sentence, drawn token by token, the likeliest first.

    Args:
        saying: as for `beam_search`, with `draws` rows a sentence.
        limits: as there.
        draws: K.
        taste: how a token is drawn.
        seeds: one a sentence: equal seeds draw the same, whatever stands beside it.
        power: as there.
    """
    checked(draws, draws, power)
    count = len(limits)
    random = [np.random.RandomState([seed % 2**32, k]) for seed in seeds for k in range(draws)]
    said: list[list[int]] = [[] for _ in range(count * draws)]
    log_probs, ended = np.zeros(count * draws), np.zeros(count * draws, bool)
    tokens = torch.full((count * draws,), BOS)
    for step in range(max(limits, default=0) + 1):
        logits = saying(tokens).float()
        logits[:, list(saying.unsayable)] = float("-inf")
        chances = torch.log_softmax(logits, 1)
        for row in np.flatnonzero(~ended).tolist():
            token = EOS
            if step < limits[row // draws]:
                odds = np.cumsum(taste.probabilities(logits[row]))
                last = int(np.searchsorted(odds, odds[-1]))  # where rounding leaves the sum
                token = min(int(np.searchsorted(odds, random[row].random_sample(), "right")), last)
            log_probs[row] += chances[row, token].item()
            tokens[row] = token
            ended[row] = token == EOS
            if token != EOS:
                said[row].append(token)
        if ended.all():
            break
    found = [
        Hypothesis(tuple(row), value, value / (len(row) + 1) ** power)
        for row, value in zip(said, log_probs.tolist(), strict=True)
    ]
    groups = [found[k * draws : (k + 1) * draws] for k in range(count)]
    return [sorted(group, key=lambda h: -h.score) for group in groups]


def checked(beams: int, best: int, power: float) -> None:
    """Refuse numbers that cannot be.

    Raises:
        UsageError: saying which.
    """
    if type(beams) is not int or not 1 <= beams <= 1000:
        raise UsageError("beams", expected="a whole number from 1 to 1000", got=repr(beams))
    if type(best) is not int or not 1 <= best <= beams:
        raise UsageError(
            "best", expected=f"a whole number from 1 to the {beams} beams", got=repr(best)
        )
    if type(power) not in (int, float) or not 0 <= power <= 10:
        raise UsageError("power", expected="a number from 0 to 10", got=repr(power))
