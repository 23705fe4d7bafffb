"""Examples come in; which of them train, validate and test go out, as a pure function of a seed.

Three rules: by seed (classes keep their shares), by group (nobody is in two parts), by time
(the past trains, the future tests).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from unrolled.errors import DataError, UsageError

from .dataset import Split

RULES = ("seed", "group", "time")


def share(name: str, value: float | int, count: int) -> int:
    """How many of `count` examples `value` means: a fraction below 1, or a number of examples.

    Raises:
        UsageError: it is negative, not a number, or leaves nothing to train on.

    Example:
        >>> share("valid", 0.1, 50), share("valid", 7, 50), share("valid", 0, 50)
        (5, 7, 0)
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (value >= 1 and value != int(value)):
        raise UsageError(
            name,
            expected="a fraction from 0 to below 1, or a whole number of examples",
            got=repr(value),
            fix=f"Give {name}=0.1 for a tenth.",
        )
    many = int(value) if value >= 1 else round(value * count)
    if value and count and many >= count:
        raise UsageError(
            name,
            expected=f"fewer than the {count} examples there are",
            got=f"{value} ({many} examples)",
            fix="Leave some to train on.",
        )
    if value and not many:
        raise UsageError(
            name,
            expected="at least one example",
            got=f"{value} of {count}, which is none",
            fix=f"Give a larger fraction, or {name}=0 for none.",
        )
    return many


def held_out(
    examples: Split, many: int, rule: str, seed: int, *, stratify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (kept, held out) of which about `many` are held out; exactly, but for groups.

    Args:
        examples: N examples, with `groups` or `times` where the rule needs them.
        many: how many to hold out; 0 holds out none.
        rule: "seed", "group" or "time" (the latest are held out).
        seed: of the draw; the rule "time" draws nothing.
        stratify: by seed only: keep each class's share (targets int64).

    Raises:
        DataError: there are no groups or times, or too few groups.
        UsageError: the rule is unknown.
    """
    if rule not in RULES:
        raise UsageError("by", expected=" or ".join(RULES), got=repr(rule))
    if not many:
        return np.arange(len(examples)), np.arange(0)
    chosen = _CHOOSERS[rule](examples, many, np.random.RandomState(seed), stratify)
    keep = np.ones(len(examples), bool)
    keep[chosen] = False
    return np.flatnonzero(keep), np.flatnonzero(~keep)


def _by_seed(examples: Split, many: int, random: np.random.RandomState, stratify: bool):
    if not stratify or examples.targets is None:
        return random.permutation(len(examples))[:many]
    classes, counts = np.unique(examples.targets, return_counts=True)
    # Largest remainders: shares that add up to exactly `many`, a class's last example never taken.
    exact = many * counts / counts.sum()
    take = np.floor(exact).astype(int)
    rest = np.where(take < counts - 1, exact - take, -1.0)
    for best in np.argsort(-rest, kind="stable")[: many - take.sum()]:
        take[best] += rest[best] >= 0
    chosen = [
        random.permutation(np.flatnonzero(examples.targets == label))[:n]
        for label, n in zip(classes, take, strict=True)
    ]
    return np.concatenate(chosen)


def _by_group(examples: Split, many: int, random: np.random.RandomState, stratify: bool):
    if examples.groups is None:
        raise DataError(
            "a split by group",
            expected="a group for every example",
            got="none",
            fix="Name the column that holds it, as in --group device.",
        )
    names, members = np.unique(examples.groups, return_inverse=True)
    if len(names) < 2:
        raise DataError(
            "a split by group",
            expected="at least 2 groups",
            got=f"{len(names)} ({names[0]})",
            fix="Split by seed, or name another column as the group.",
        )
    sizes, total = np.bincount(members), 0
    chosen: list[int] = []
    for group in random.permutation(len(names)):
        # Take a group where that comes nearer to what was asked; never all of them.
        nearer = abs(total + sizes[group] - many) < abs(total - many)
        if nearer and len(chosen) < len(names) - 1:
            chosen.append(group)
            total += sizes[group]
    if not chosen:
        chosen = [int(np.argmin(sizes))]
    return np.flatnonzero(np.isin(members, chosen))


def _by_time(examples: Split, many: int, random: np.random.RandomState, stratify: bool):
    if examples.times is None:
        raise DataError(
            "a split by time",
            expected="a time for every example",
            got="none",
            fix="Name the column that holds it, as in --time date.",
        )
    return np.argsort(examples.times, kind="stable")[-many:]


_CHOOSERS: dict[str, Callable] = {"seed": _by_seed, "group": _by_group, "time": _by_time}
