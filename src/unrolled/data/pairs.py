"""What is read and what is to be said of it: sentences or images with one text or several each.

Readers of parallel text and of captions hand on `Pairs`; `split_pairs` cuts them by seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import UsageError

from .splitting import share

Part = float | int | str | Path | None


@dataclass(frozen=True, eq=False)
class Pairs:
    """N inputs and what is said of each.

    Args:
        inputs: N sentences, images uint8 (N, H, W[, 3]), or features float32 (N, …).
        texts: for each input one text or several, or None where nothing is known.
        ids: a name for each input, or none.
        source: where they came from.

    Example:
        >>> pairs = Pairs(["ein Hund", "zwei Hunde"], [["a dog"], ["two dogs"]])
        >>> len(pairs), pairs.take([1]).texts
        (2, [['two dogs']])
    """

    inputs: Any
    texts: list[list[str]] | None = None
    ids: Sequence[str] = ()
    source: str = ""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Sequence[int] | np.ndarray) -> Pairs:
        """The pairs at `index`, in that order."""
        if isinstance(self.inputs, np.ndarray):
            inputs: Any = self.inputs[np.asarray(index, np.int64)]
        else:
            inputs = [self.inputs[i] for i in index]
        return Pairs(
            inputs,
            None if self.texts is None else [self.texts[i] for i in index],
            [self.ids[i] for i in index] if len(self.ids) else (),
            self.source,
        )


@dataclass(frozen=True, eq=False)
class PairDataset:
    """Pairs in three parts.

    Args:
        name: what the user called it.
        train: what is learnt from.
        valid: what decides which weights are kept; may be empty.
        provenance: source, checksums, rule of the split, seed and sizes, as plain JSON.
        read_test: reads the test part when it is first asked for.
    """

    name: str
    train: Pairs
    valid: Pairs
    provenance: dict[str, Any] = field(default_factory=dict)
    read_test: Callable[[], Pairs] | None = None

    @cached_property
    def test(self) -> Pairs:
        """The test part, read once, at the end."""
        return self.train.take([]) if self.read_test is None else self.read_test()


def split_pairs(
    name: str,
    whole: Pairs,
    reads: Mapping[str, Callable[[], Pairs]],
    *,
    seed: int,
    valid: Part,
    test: Part,
    source: str,
    sums: Mapping[str, str],
) -> PairDataset:
    """Three parts: those that stand apart are read, the others drawn from `whole` by seed.

    Args:
        name: of the dataset.
        whole: what is learnt from, and drawn from.
        reads: how to read "valid" and "test", where they stand apart.
        seed: of the draws.
        valid: a share or a number drawn; None is what stands apart, or a tenth.
        test: the same; where nothing stands apart and None is said, a tenth.
        source: where the data lies.
        sums: checksums of the files.

    Raises:
        UsageError: the parts leave nothing to learn from.
    """
    sizes = {}
    for part, value in (("test", test), ("valid", valid)):
        alone = part not in reads
        asked = 0.1 if value is None and alone else value
        drawn = alone and isinstance(asked, int | float)
        sizes[part] = share(part, asked, len(whole)) if drawn else 0  # type: ignore[arg-type]  # a number
    if sum(sizes.values()) >= len(whole):
        raise UsageError(
            "valid and test",
            expected=f"fewer than the {len(whole)} examples in all",
            got=f"{sizes['valid']} and {sizes['test']}",
            fix="Leave some to learn from; valid=0 or test=0 holds out none.",
        )
    # RandomState, not Generator: NumPy promises that its stream never changes
    order = np.random.RandomState(seed).permutation(len(whole))
    cut, keep = sizes["test"], sizes["test"] + sizes["valid"]
    drawn_test = whole.take(np.sort(order[:cut]))
    held = reads["valid"]() if "valid" in reads else whole.take(np.sort(order[cut:keep]))
    train = whole.take(np.sort(order[keep:])) if keep else whole
    provenance = {
        "source": source,
        "sha256": dict(sums),
        "rule": "by seed" if keep else "as published",
        "seed": seed,
        "sizes": {"train": len(train), "valid": len(held)},
    }
    return PairDataset(name, train, held, provenance, reads.get("test", lambda: drawn_test))
