"""What each reader of files hands on: raw examples, their answers, and where each one stood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Inputs = np.ndarray | list[np.ndarray] | list[str]
Answers = np.ndarray | list[str] | list[list[str]]


@dataclass(eq=False)
class Raw:
    """Examples as read from a user's file, before their answers are numbered and split.

    Args:
        inputs: images (N, H, W[, C]), series (N, T, C), a list of N series (Tᵢ, C), or of texts.
        form: "image", "series" or "text".
        layout: "images", "arrays", "rows", "long" or "texts".
        answers: per example a cell, a list of K cells, or an array (N,) or (N, K); or None.
        names: of the K answers, where there are several columns.
        labels: names of the classes, where the answers are their numbers already.
        ids: a name for each example.
        groups: whom each example comes from (N,).
        times: when each was taken (N,).
        columns: names of the channels, or of the values of a row.
        places: where each example stood: the line in the source, or a path.
        source: path of the file or folder.
        sha256: {file: checksum of its uncompressed content}.
    """

    inputs: Inputs
    form: str
    layout: str
    answers: Answers | None = None
    names: list[str] | None = None
    labels: list[str] | None = None
    ids: list[str] | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    columns: list[str] | None = None
    places: Sequence[object] | None = None
    source: str = ""
    sha256: dict[str, str] = field(default_factory=dict)

    def place(self, i: int) -> str:
        """Where example `i` stood, for a message."""
        if self.places is None:
            return f"{self.source}, example {i}"
        place = self.places[i]
        return f"{self.source}, line {place}" if isinstance(place, int) else str(place)
