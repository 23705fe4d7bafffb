"""A cell and a test of memory come in; how its error fell, by updates and by seconds, goes out."""

import math
import time
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.engine.traced import Traced
from unrolled.layers import Recurrent

from .problems import HELD, TEST, TRAIN, Problem

EXAMPLES = 1000  # that a network is measured on


class Network(nn.Module):
    """Recurrent layers and a linear read-out of the last step, or of every step.

    Args:
        cell: traced.
        problem: gives the sizes.
        hidden: H.
        layers: L.
        backend: of the layers.
    """

    def __init__(self, cell: Traced, problem: Problem, hidden: int, layers: int, backend: str):
        super().__init__()
        self.recurrent = Recurrent(cell, problem.features, hidden, layers, backend=backend)
        self.head = nn.Linear(hidden, problem.outputs)
        self.every_step = problem.each > 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, I) to (B, K), or (B, T, K)."""
        output = self.recurrent(x)[0]
        return self.head(output if self.every_step else output[:, -1])


def network(
    cell: Traced, problem: Problem, hidden: int, layers: int, seed: int, backend: str = "auto"
) -> Network:
    """A new network, its first weights decided by `seed`."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return Network(cell, problem, hidden, layers, backend)


def learn(
    model: Network,
    problem: Problem,
    *,
    seed: int,
    lr: float,
    batch: int,
    clip: float,
    updates: int,
    seconds: float,
    every: int,
) -> dict[str, Any]:
    """Train on sequences drawn anew for each update, until it is solved or the budgets are used.

    Args:
        model: changed in place.
        problem: what is learnt.
        seed: of the draws.
        lr: of Adam.
        batch: sequences an update.
        clip: the largest norm of all gradients together; 0 never clips.
        updates, seconds: both budgets have to be used up before an unsolved run ends. Seconds are
            those of updates alone; measuring is not counted.
        every: updates between two measurements; one is made where the updates are used up, too.

    Returns:
        `curve`, rows of updates, seconds and the error on held-out sequences; `updates`, `seconds`
        at the end; `error` on sequences of another draw; `solved`; `stop`, the rule that ended it:
        solved, budget or diverged.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    curve: list[list[float]] = []
    done, spent, stop = 0, 0.0, "budget"
    held = problem.draw(EXAMPLES, HELD, TRAIN)
    while done < updates or spent < seconds:
        began = time.perf_counter()
        left = updates - done  # the last stretch ends where the updates do
        for _ in range(min(every, left) if left > 0 else every):
            x, y = problem.draw(batch, seed * 1_000_003 + done, TRAIN)
            loss = problem.loss(model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.get_total_norm(
                [p.grad for p in model.parameters() if p.grad is not None]
            )
            if clip:
                nn.utils.clip_grads_with_norm_(model.parameters(), clip, norm)
            optimizer.step()
            done += 1
        spent += time.perf_counter() - began
        error = measure(model, problem, *held)
        curve.append([done, round(spent, 3), error if math.isfinite(error) else math.inf])
        if not (math.isfinite(error) and math.isfinite(norm.item())):
            stop = "diverged"
            curve.pop()
            break
        if error < problem.solved:
            stop = "solved"
            break
    final = measure(model, problem, *problem.draw(EXAMPLES, HELD, TEST))
    return {
        "stop": stop,
        "solved": stop == "solved",
        "updates": done,
        "seconds": round(spent, 3),
        "error": final if math.isfinite(final) else None,
        "curve": curve,
    }


@torch.no_grad()
def measure(model: Network, problem: Problem, x: Tensor, y: Tensor, batch: int = 250) -> float:
    """The error over all of these sequences."""
    model.eval()
    outputs = torch.cat([model(part) for part in x.split(batch)])
    model.train()
    return problem.error(outputs, y)
