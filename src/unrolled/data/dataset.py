"""What every reader of data yields: examples come in, three named parts of them go out.

Axes: N examples, T time, H and W rows and columns of an image, C raw channels, K targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .raw import Inputs

if TYPE_CHECKING:
    from .preparation import Preparation
    from .wording import TextPreparation

Kind = Literal["single", "multi", "regression"]


@dataclass(frozen=True, eq=False)
class Split:
    """Examples as compact as they were read: pixels stay whole numbers until a batch needs them.

    Args:
        inputs: images (N, H, W) or (N, H, W, C), series (N, T, C), a list of N series (Tᵢ, C), or
            a list of N texts.
        targets: int64 (N,) for one label each, float32 (N, K) for several or for regression,
            or None where nothing is known.
        ids: a name for each example, or None.
        groups: who or what each example comes from (N,), or None.
        times: when each example was taken (N,), or None.

    Example:
        >>> part = Split(np.zeros((3, 8, 8), np.uint8), np.array([0, 1, 0]))
        >>> len(part), len(part.take(np.array([2, 0])))
        (3, 2)
    """

    inputs: Inputs
    targets: np.ndarray | None = None
    ids: list[str] | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: np.ndarray | Sequence[int]) -> Split:
        """The examples at `index` (M,), in that order, as a new split."""
        index = np.asarray(index, dtype=np.int64)
        return Split(
            pick(self.inputs, index),
            None if self.targets is None else self.targets[index],
            None if self.ids is None else [self.ids[i] for i in index],
            None if self.groups is None else self.groups[index],
            None if self.times is None else self.times[index],
        )


def pick(inputs: Inputs, index: np.ndarray) -> Inputs:
    """Raw examples at `index` (M,): an array where the examples are one, else a list."""
    if isinstance(inputs, np.ndarray):
        # `take` copies whole rows and is several times faster here than fancy indexing.
        return inputs.take(index, axis=0)
    return [inputs[i] for i in index]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset in three parts, with what turns it into tensors and where it came from.

    Args:
        name: what the user called it.
        train: what is learnt from.
        valid: what decides when to stop; empty when `valid=0` was asked for.
        kind: "single" (one label each), "multi" (any number of labels) or "regression".
        labels: names of the classes, or of the K values to be predicted.
        preparation: from raw examples to (B, T, I).
        provenance: source, checksums, rule of the split, seed and sizes, as plain JSON.
        read_test: reads the test part when it is first asked for.
    """

    name: str
    train: Split
    valid: Split
    kind: Kind
    labels: list[str]
    preparation: Preparation | TextPreparation
    provenance: dict[str, Any] = field(default_factory=dict)
    read_test: Callable[[], Split] | None = None

    @cached_property
    def test(self) -> Split:
        """The test part: read on first use, once, so that training cannot have looked at it."""
        return self.train.take([]) if self.read_test is None else self.read_test()
