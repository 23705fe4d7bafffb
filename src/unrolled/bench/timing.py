"""Contenders come in; how long each took, measured in turn in one run, goes out."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

LONG = 0.1  # seconds of a call that warms itself up
LEAST_SECONDS = 2e-3  # a sample repeats what is shorter, so that the clock does not count


@dataclass(frozen=True)
class Times:
    """Seconds of one call, a sample a round.

    Args:
        samples: in the order of the rounds.
    """

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def best(self) -> float:
        return min(self.samples)


class Timed(Protocol):
    """Who can be timed, here or in a process of its own."""

    name: str

    def seconds(self, repeats: int, *, warm: bool = False) -> float:
        """How long it takes to do the work so many times; `warm`: once more before that."""


def interleaved(contenders: Sequence[Timed], runs: int) -> dict[str, Times]:
    """Every contender once a round, each round begun by another of them.

    Args:
        contenders: who is timed.
        runs: rounds; 30 and more make a median that can be believed.

    Example:
        >>> from unrolled.bench.contenders import Contender
        >>> times = interleaved([Contender("sum", lambda: sum(range(9)))], 3)
        >>> len(times["sum"].samples)
        3
    """
    repeats, spans = {}, {}
    for c in contenders:
        took = max(c.seconds(1, warm=True), 1e-7)
        spans[c.name] = took
        repeats[c.name] = max(1, round(LEAST_SECONDS / took))
    samples: dict[str, list[float]] = {c.name: [] for c in contenders}
    for k in range(runs):
        first = k % len(contenders)
        for c in [*contenders[first:], *contenders[:first]]:
            n = repeats[c.name]
            warm = spans[c.name] < LONG  # what the one before left in the caches is not this one's
            samples[c.name].append(c.seconds(n, warm=warm) / n)
    return {name: Times(tuple(v)) for name, v in samples.items()}
