"""A network as a function of what its lowest layer reads comes in; each step's part goes out.

Three answers to what an output came from: gradient × input (one backward pass), integrated
gradients (they add up to what the input changed), and occlusion (what is lost without a step).
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..messages import tr
from .record import recurrent_layers
from .running import reading

METHODS = ("gradient", "integrated", "occlusion")
STRETCHES, POINTS = 8, 8  # of the path that is integrated along; of each by Gauss and Legendre
MOST = 400  # stretches in all, where it is steep
Stretch = tuple[float, float]
COMPLETE = 1e-3  # of the change in score: what a path may lack
VALUES = 2**22  # numbers that the network reads at a time
WINDOWS = 256  # stretches of a sequence that are left out one by one


@dataclass(frozen=True)
class Attribution:
    """What each step of each sequence had a part in.

    Args:
        method: a name in `METHODS`.
        parts: (B, T), what each step added to the score; 0 where a sequence has ended.
        features: (B, T, I), the same of each feature; None for occlusion.
        score: (B), of what was read; empty: (B), of zeros in its place.
    """

    method: str
    parts: np.ndarray
    features: np.ndarray | None
    score: np.ndarray
    empty: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """(B), what the parts lack to `score - empty`: 0 where attribution is complete."""
        return self.score - self.empty - self.parts.sum(1)

    def complete(self, b: int = 0) -> bool:
        """Whether the parts add up to what the input changed, to 2 %: gradients and occlusions
        need not; integrated gradients do unless the network tips over too steeply."""
        return bool(abs(self.gap[b]) <= 0.02 * max(abs(self.score[b] - self.empty[b]), 1e-3))

    def said(self) -> str:
        """The method in words."""
        words = {
            "gradient": tr("gradient × input"),
            "integrated": tr("integrated gradients"),
            "occlusion": tr("occlusion"),
        }
        return words[self.method]


class StepByStep(UsageError):
    """A network reads its sequences a step at a time: no input is there for parts to be of."""


class Scored:
    """A module's scores as a function of what its lowest recurrent layer reads.

    Args:
        module: holds the layer.
        run: from row numbers (N) of a batch to what the module returns for those sequences.
        score: from that and the row numbers to a score for each, (N).
        rows: B, sequences of the batch.
        only: the name of the layer, where it is not the first that runs.

    Example:
        >>> from unrolled.layers import Recurrent
        >>> layer, x = Recurrent("rnn", 3, 4), torch.randn(2, 5, 3)
        >>> last = Scored(layer, lambda k: layer(x[k])[0], lambda out, k: out[:, -1, 0], rows=2)
        >>> last(last.read[:1], torch.tensor([0])).shape
        torch.Size([1])
    """

    def __init__(
        self,
        module: nn.Module,
        run: Callable[[Tensor], Any],
        score: Callable[[Any, Tensor], Tensor],
        *,
        rows: int,
        only: str | None = None,
    ):
        self.module, self.run, self.score, self.rows = module, run, score, rows
        layers = recurrent_layers(module)
        ran: list[nn.Module] = []
        hooks = [m.register_forward_pre_hook(lambda m, _: ran.append(m)) for m in layers.values()]
        try:
            with torch.no_grad(), _evaluating(module), reading(module, only) as reads:
                run(torch.arange(rows))
        finally:
            for hook in hooks:
                hook.remove()
        if len(reads) != 1:
            raise StepByStep(
                "what was looked at",
                expected="a network that reads its sequences in one call",
                got=f"{len(reads)} calls" if reads else "a step at a time",
            )
        self.read = reads[0].detach()
        self.layer = ran[0] if only is None else layers[only]

    def __call__(self, read: Tensor, rows: Tensor) -> Tensor:
        """Scores (N) with `read` (N, T, I) in the place of what the layer would read."""

        def put(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            first = getattr(layer, "batch_first", True)
            return (read if first else read.transpose(0, 1), *args[1:])

        hook = self.layer.register_forward_pre_hook(put)
        try:
            with _evaluating(self.module):
                return self.score(self.run(rows), rows)
        finally:
            hook.remove()


class _evaluating:
    def __init__(self, module: nn.Module):
        self.module = module

    def __enter__(self) -> None:
        self.was = self.module.training
        self.module.eval()

    def __exit__(self, *_: object) -> None:
        self.module.train(self.was)


def attribute(scored: Scored, method: str = "gradient", lengths: Any = None) -> Attribution:
    """What each step had a part in, from an empty input (zeros) to the one that was read.

    Args:
        scored: the network and its sequences.
        method: "gradient" (of the score, times what was read), "integrated" (gradients, averaged
            along the straight line from zeros: Sundararajan and others 2017, arXiv:1703.01365;
            needs the package captum), or "occlusion" (the score minus that without the step, or
            without a stretch of a long sequence, spread over it).
        lengths: (B) valid steps of each sequence.

    Raises:
        UsageError: there is no such method, or captum is not installed.

    Example:
        >>> from unrolled.layers import Recurrent
        >>> layer, x = Recurrent("gru", 3, 4), torch.randn(2, 5, 3)
        >>> last = Scored(layer, lambda k: layer(x[k])[0], lambda out, k: out[:, -1, 0], rows=2)
        >>> found = attribute(last, "integrated")
        >>> found.parts.shape, bool(abs(found.gap).max() < 1e-4)
        ((2, 5), True)
    """
    if method not in METHODS:
        raise UsageError("method", expected=f"one of {', '.join(METHODS)}", got=repr(method))
    every = torch.arange(scored.rows)
    steps = scored.read.shape[1]
    ends = torch.full((scored.rows,), steps) if lengths is None else torch.as_tensor(lengths)
    with torch.no_grad():
        score = scored(scored.read, every)
        empty = scored(torch.zeros_like(scored.read), every)
    features = None
    if method == "occlusion":
        parts = _occluded(scored, score, ends)
    else:
        wide = (
            _integrated(scored, score, empty)
            if method == "integrated"
            else _gradient(scored, every)
        )
        wide = wide * (torch.arange(steps) < ends[:, None])[..., None]
        features, parts = wide.numpy(), wide.sum(-1)
    return Attribution(method, parts.numpy(), features, score.numpy(), empty.numpy())


def _gradient(scored: Scored, every: Tensor) -> Tensor:
    read = scored.read.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(scored(read, every).sum(), read)
    return (gradient * read).detach()


def _integrated(scored: Scored, score: Tensor, empty: Tensor) -> Tensor:
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise UsageError(
            "integrated gradients",
            expected="the package captum",
            got="none installed",
            fix="pip install 'unrolled[inspect]'",
        ) from None
    way = IntegratedGradients(scored, multiply_by_inputs=True)
    size = scored.read.shape[1] * scored.read.shape[2]
    at_once = max(1, VALUES // max(1, size * POINTS))

    def along(
        b: int, some: list[Stretch], dtype: torch.dtype
    ) -> Iterator[tuple[float, Stretch, Tensor]]:
        """What some stretches of the path lack, and the parts that they add."""
        read, rows = scored.read[b : b + 1].to(dtype), torch.tensor([b])
        for k in range(0, len(some), at_once):
            now = some[k : k + at_once]
            low, high = (
                torch.tensor([s[side] for s in now], dtype=read.dtype)[:, None, None] * read
                for side in (0, 1)
            )
            each = rows.expand(len(now))
            parts = way.attribute(
                high, low, additional_forward_args=(each,), n_steps=POINTS, method="gausslegendre"
            ).detach()
            with torch.no_grad():
                change = scored(high, each) - scored(low, each)
            gaps = (change - parts.flatten(1).sum(1)).abs().tolist()
            yield from zip(gaps, now, parts.to(dtype), strict=True)

    def of(b: int, dtype: torch.dtype) -> tuple[Tensor, bool]:
        """The parts of one sequence, and whether they are all.

        The stretches of the path that miss most of their change are halved, again and again: a
        network that remembers is steep where its memory tips over, on a hundred-thousandth of the
        path perhaps, and points that are spread evenly miss that, or count it many times.
        """
        ends = [k / STRETCHES for k in range(STRETCHES + 1)]
        pool = list(along(b, list(itertools.pairwise(ends)), dtype))
        fine = max(abs(float(score[b] - empty[b])), 1e-3) * COMPLETE
        while sum(gap for gap, _, _ in pool) > fine and len(pool) < MOST:
            pool.sort(key=lambda stretch: -stretch[0])
            worst = [s for gap, s, _ in pool[:STRETCHES] if gap > fine / len(pool)]
            halves = [h for a, c in worst for h in ((a, (a + c) / 2), ((a + c) / 2, c))]
            pool = [*pool[len(worst) :], *along(b, halves, dtype)]
        parts = torch.stack([parts for _, _, parts in pool]).sum(0, keepdim=True)
        return parts.to(scored.read.dtype), sum(gap for gap, _, _ in pool) <= fine

    def finest(b: int) -> Tensor:
        """In float32 if that will do: a memory may tip over between two of its numbers."""
        parts, complete = of(b, scored.read.dtype)
        if not complete and scored.read.dtype == torch.float32:
            scored.module.double()
            try:
                parts, _ = of(b, torch.float64)
            finally:
                scored.module.float()
        return parts

    return torch.cat([finest(b) for b in range(scored.rows)])


@torch.no_grad()
def _occluded(scored: Scored, score: Tensor, ends: Tensor) -> Tensor:
    read = scored.read
    found = torch.zeros(read.shape[:2], dtype=score.dtype)
    at_once = max(1, VALUES // max(1, read.shape[1] * read.shape[2]))
    for b, length in enumerate(ends.tolist()):
        wide = -(-length // WINDOWS)
        starts = list(range(0, length, wide))
        for k in range(0, len(starts), at_once):
            some = starts[k : k + at_once]
            without = read[b].expand(len(some), -1, -1).clone()
            for row, start in enumerate(some):
                without[row, start : start + wide] = 0
            lost = score[b] - scored(without, torch.full((len(some),), b))
            for value, start in zip(lost, some, strict=True):
                stretch = slice(start, min(start + wide, length))
                found[b, stretch] = value / (stretch.stop - start)
    return found
