"""A cell whose gradients explode comes in; what clipping does to its training goes out.

U is the identity times ρ, which a gradient is multiplied by at every step back; the optimizer is
plain SGD, since others divide an exploding gradient by its own size (Pascanu, Mikolov and Bengio
2013, arXiv:1211.5063).
"""

import math
from typing import Any

import torch
from torch import nn

from unrolled.engine.traced import Traced
from unrolled.errors import UsageError

from .learning import Network, network
from .problems import TRAIN, Problem

RATE = 0.01  # of SGD


def exploding(cell: Traced, problem: Problem, hidden: int, rho: float, seed: int) -> Network:
    """A network whose U is the identity times ρ, in each of its blocks.

    Raises:
        UsageError: the cell has no U.
    """
    model = network(cell, problem, hidden, 1, seed)
    weight: Any = getattr(model.recurrent, "weight_hh_l0", None)
    if weight is None or weight.shape[1] != hidden:
        raise UsageError(
            "the cell that explodes",
            expected="one whose U multiplies h",
            got=cell.name,
            fix="Take rnn-relu.",
        )
    with torch.no_grad():
        blocks = len(weight) // hidden
        weight.copy_(rho * torch.eye(hidden).repeat(blocks, 1))
    return model


def train(
    model: Network, problem: Problem, *, clip: float, updates: int, batch: int, seed: int
) -> dict[str, Any]:
    """Train by SGD and note the loss and the gradient's norm, before clipping, of each update.

    Args:
        model: changed in place.
        problem: what is learnt.
        clip: the largest norm of all gradients together; 0 never clips.
        updates: at most so many; it ends at the first number that is not finite.
        batch: sequences an update.
        seed: of the draws.

    Returns:
        `norms` and `losses`, finite ones; `stop`: budget or diverged.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    norms: list[float] = []
    losses: list[float] = []
    for done in range(updates):
        x, y = problem.draw(batch, seed * 1_000_003 + done, TRAIN)
        loss = problem.loss(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        learning = [p for p in model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in learning if p.grad is not None])
        if not (math.isfinite(norm.item()) and math.isfinite(loss.item())):
            return {"norms": norms, "losses": losses, "stop": "diverged"}
        norms.append(norm.item())
        losses.append(loss.item())
        if clip:
            nn.utils.clip_grads_with_norm_(learning, clip, norm)
        optimizer.step()
    return {"norms": norms, "losses": losses, "stop": "budget"}
