"""True and guessed tags come in, sentence by sentence; how many were right goes out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unrolled.tasks import spans
from unrolled.tasks.measures import report


class Tally:
    """Counts of right and wrong tags.

    Args:
        labels: the K tags that a model knows.
        named: the name of a tag's number, where tags are of spans, which are then counted too; a
            number below 0 is a tag that the model does not know, and counts as missed.

    Example:
        >>> tally = Tally(["A", "B"])
        >>> tally.add(np.array([0, 1, 1, -2]), np.array([0, 1, 0, 0]))
        >>> tally.figures()["accuracy"], tally.figures()["unknown"]
        (0.5, 1)
    """

    def __init__(self, labels: Sequence[str], named: Callable[[int], str] | None = None):
        self.labels, self.named = list(labels), named
        self.words = self.right = self.unknown = 0
        self.confusion = np.zeros((len(self.labels), len(self.labels)), np.int64)
        self.gold: list[list[str]] = []
        self.said: list[list[str]] = []

    def add(self, truth: np.ndarray, guess: np.ndarray) -> None:
        """One sentence's numbers (T,), the true ones and the guessed."""
        self.words += len(truth)
        self.right += int((truth == guess).sum())
        known = truth >= 0
        self.unknown += int((~known).sum())
        np.add.at(self.confusion, (truth[known], guess[known]), 1)
        if self.named is not None:
            self.gold.append([self.named(k) for k in truth.tolist()])
            self.said.append([self.labels[k] for k in guess])

    def figures(self) -> dict[str, Any]:
        """Accuracy, tags unknown, figures of each class and the confusion; of spans F1 too."""
        true, all_said = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        found = {
            "accuracy": self.right / max(self.words, 1),
            "unknown": self.unknown,
            "per_class": report(self.confusion.diagonal(), all_said, true, self.labels),
            "confusion": self.confusion,
        }
        return found if self.named is None else {**found, **spans.f1(self.gold, self.said)}
