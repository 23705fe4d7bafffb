"""Contenders come in; how long each took, measured in turn in one run, goes out."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .apart import Apart
from .contenders import Contender

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


def interleaved(
    contenders: Sequence[Contender | Apart],
    runs: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Times]:
    """Every contender once a round, each round begun by another of them.

    Args:
        contenders: who is timed.
        runs: rounds; 30 and more make a median that can be believed.
        clock: seconds.

    Example:
        >>> times = interleaved([Contender("sum", lambda: sum(range(9)))], 3)
        >>> len(times["sum"].samples)
        3
    """
    repeats, spans = {}, {}
    for c in contenders:
        took = max(c.seconds(1, warm=True, clock=clock), 1e-7)
        spans[c.name] = took
        repeats[c.name] = max(1, round(LEAST_SECONDS / took))
    samples: dict[str, list[float]] = {c.name: [] for c in contenders}
    for k in range(runs):
        first = k % len(contenders)
        for c in [*contenders[first:], *contenders[:first]]:
            n = repeats[c.name]
            warm = spans[c.name] < LONG  # what the one before left in the caches is not this one's
            samples[c.name].append(c.seconds(n, warm=warm, clock=clock) / n)
    return {name: Times(tuple(v)) for name, v in samples.items()}
