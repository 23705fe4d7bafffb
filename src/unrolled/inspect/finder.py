"""Values of units and what they may follow come in; the units that do go out, scored elsewhere.

Units are chosen on one part and scored on another, so that the best of many is no accident; what
accidents reach is measured by shifting what is followed against the text.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError

SHIFTS = 20  # of which the largest score is what chance reaches


@dataclass(frozen=True)
class Follower:
    """A unit that follows a predicate.

    Args:
        name: what holds it, `l0.c`; unit: which.
        measure: "AUC": the share of pairs, a step where it is so and one where it is not, that the
            unit puts in the right order; or "correlation" with a number.
        chosen: on the part that it was chosen on; held: on the other.
        chance: what the best unit reaches there when the predicate is shifted along the text, at
            most of 20 times.
        sign: 1 where the unit rises with the predicate, -1 where it falls.
        threshold: where the two answers are told apart best on the first part; accuracy: with it on
            the other; usual: that of always saying the commoner answer. None for a number.
    """

    name: str
    unit: int
    measure: str
    chosen: float
    held: float
    chance: float
    sign: int
    threshold: float | None = None
    accuracy: float | None = None
    usual: float | None = None


@dataclass(frozen=True)
class Part:
    """Steps that are counted: values by name (N, H), and what may be followed (N)."""

    values: Mapping[str, np.ndarray]
    wanted: np.ndarray

    @classmethod
    def of(cls, values: Mapping[str, np.ndarray], wanted: np.ndarray) -> "Part":
        """The steps whose value is a number."""
        told = np.isfinite(wanted)
        return cls({k: np.nan_to_num(v[told]) for k, v in values.items()}, wanted[told])


def aucs(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The area under the curve of each unit (N, H) for each row of yes and no (K, N): (K, H).

    Example:
        >>> aucs(np.array([[1.0], [2.0], [3.0]]), np.array([[0, 1, 1]])).tolist()
        [[1.0]]
    """
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=0)
    wanted = wanted.astype(float)
    yes = wanted.sum(1, keepdims=True)
    pairs = yes * (len(values) - yes)
    found = wanted @ ranks - yes * (yes + 1) / 2
    return np.divide(found, pairs, out=np.full_like(found, 0.5), where=pairs > 0)


def correlations(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each unit (N, H) with each row of numbers (K, N): (K, H).

    Example:
        >>> correlations(np.array([[1.0], [2.0]]), np.array([[4.0, 2.0]])).round(6).tolist()
        [[-1.0]]
    """
    x = values - values.mean(0)
    y = wanted - wanted.mean(1, keepdims=True)
    scale = np.sqrt((y**2).sum(1))[:, None] * np.sqrt((x.astype(float) ** 2).sum(0))
    found = y @ x
    return np.divide(found, scale, out=np.zeros_like(found), where=scale > 0)


def followers(
    chosen: Part,
    held: Part,
    *,
    yes_or_no: bool,
    count: int = 5,
    first_told: tuple[str, int] | None = None,
) -> list[Follower]:
    """The units that follow best on one part, and how well they do on the other.

    Args:
        chosen: the part that units are chosen on, with their sign and threshold.
        held: the part that they are scored on.
        yes_or_no: whether what is followed is 0 and 1, or a number.
        count: how many.
        first_told: the name and number of a unit that is told first, however well it follows.

    Raises:
        UsageError: what is followed is the same everywhere in a part.

    Example:
        >>> rng = np.random.RandomState(0)
        >>> def part():
        ...     wanted = rng.randint(0, 2, 200).astype(float)
        ...     return Part({"l0.h": rng.randn(200, 3) + 4 * wanted[:, None] * [0, 1, 0]}, wanted)
        >>> first = followers(part(), part(), yes_or_no=True)[0]
        >>> first.unit, first.held > 0.95 > first.chance
        (1, True)
    """
    for part in (chosen, held):
        if len(part.wanted) < 2 or part.wanted.min() == part.wanted.max():
            raise UsageError(
                "what is followed",
                expected="a text where it is so here and not there, in both halves",
                got="the same at every step" if len(part.wanted) else "no step",
                fix="Give a longer text, or another expression.",
            )
    measure = aucs if yes_or_no else correlations
    middle = 0.5 if yes_or_no else 0.0
    names = list(chosen.values)
    first = np.concatenate([chosen.values[k] for k in names], 1)
    other = np.concatenate([held.values[k] for k in names], 1)
    widths = [chosen.values[k].shape[1] for k in names]
    owners = [(name, unit) for name, w in zip(names, widths, strict=True) for unit in range(w)]
    shifted = np.stack([chosen.wanted, *_shifted(chosen.wanted)])
    scores = measure(first, shifted)
    others = measure(other, np.stack([held.wanted, *_shifted(held.wanted)]))
    signs = np.where(scores >= middle, 1, -1)
    strength = np.abs(scores - middle)
    best = np.argmax(strength[1:], axis=1)
    rows = np.arange(1, len(scores))
    by_chance = middle + signs[rows, best] * (others[rows, best] - middle)
    chance = float(by_chance.max())
    found = []
    order = np.argsort(-strength[0], kind="stable")[:count].tolist()
    if first_told is not None:
        if first_told not in owners:
            name, unit = first_told
            width = sum(owner == name for owner, _ in owners)
            if width:
                raise UsageError(f"unit of {name}", expected=f"0 to {width - 1}", got=unit)
            raise UsageError("unit", expected=f"one of {', '.join(names)}", got=name)
        order = [owners.index(first_told), *(k for k in order if owners[k] != first_told)]
    for k in order:
        name, unit = owners[k]
        sign = int(signs[0, k])
        threshold = accuracy = usual = None
        if yes_or_no:
            threshold = _threshold(sign * first[:, k], chosen.wanted)
            said = sign * other[:, k] > threshold
            accuracy = float((said == (held.wanted > 0.5)).mean())
            threshold *= sign
            often = held.wanted.mean() if chosen.wanted.mean() > 0.5 else 1 - held.wanted.mean()
            usual = float(often)
        found.append(
            Follower(
                name, unit, "AUC" if yes_or_no else "correlation",
                float(middle + sign * (scores[0, k] - middle)),
                float(middle + sign * (others[0, k] - middle)),
                chance, sign, threshold, accuracy, usual,
            )
        )  # fmt: skip
    return found


def _shifted(wanted: np.ndarray) -> list[np.ndarray]:
    """The same along the text, moved by 20 distances that are far from none."""
    count = len(wanted)
    return [np.roll(wanted, int(count * (0.1 + 0.8 * (k + 0.5) / SHIFTS))) for k in range(SHIFTS)]


def _threshold(values: np.ndarray, wanted: np.ndarray) -> float:
    """Where most steps are told apart: above it is yes."""
    order = np.argsort(values, kind="stable")
    sorted_values, yes = values[order], wanted[order] > 0.5
    # right[k]: the first k are said to be no, the others yes
    right = (
        np.concatenate([[0], np.cumsum(~yes)]) + yes.sum() - np.concatenate([[0], np.cumsum(yes)])
    )
    places = np.flatnonzero(np.diff(sorted_values) > 0) + 1
    ends = np.array([0, *places, len(values)])
    best = ends[np.argmax(right[ends])]
    if best == 0:
        return float(sorted_values[0]) - 1.0
    if best == len(values):
        return float(sorted_values[-1])
    return float(sorted_values[best - 1] + sorted_values[best]) / 2
