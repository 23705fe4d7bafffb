"""What a network said of one sequence comes in; its pieces go out, with how sure each was."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Parts:
    """A network that says things, as it is drawn.

    Args:
        read: what stands at each step of the encoder; a single name where nothing is recurrent.
        said: what is said at each step, the end last.
        reader: name of the encoder's cell, or of what it is.
        sayer: name of the decoder's cell.
        both: whether the encoder reads both ways.
        recurrent: whether the encoder has steps.
        looks: whether the decoder looks at each place of what was read.
        start: "state", "input" or "none": how what was read opens the decoder.
        fed: whether what was looked at is read by the next step.
    """

    read: Sequence[str]
    said: Sequence[str]
    reader: str
    sayer: str
    both: bool
    recurrent: bool
    looks: bool
    start: str
    fed: bool = False


@dataclass(frozen=True)
class Spoken:
    """What was said of one sequence.

    Args:
        pieces: (T) tokens as they are written, the end last.
        probability: (T) of each, given those before it.
        read: (S) names of the places that are looked at.
        looked: (T, S), where was looked for each piece; None without attention.
        parts: of the network, for its picture.
    """

    pieces: Sequence[str]
    probability: Sequence[float]
    read: Sequence[str]
    looked: np.ndarray | None
    parts: Parts


def arrays(said: Sequence[Spoken]) -> dict[str, Any]:
    """All of it by name, a row a sequence: `said`, `said_probability`, and `looked`."""
    if not said:
        return {}
    steps = max(len(one.pieces) for one in said)
    sure = np.full((len(said), steps), np.nan)
    for b, one in enumerate(said):
        sure[b, : len(one.pieces)] = one.probability
    pieces = [[*one.pieces] + [""] * (steps - len(one.pieces)) for one in said]
    found = {"said": np.array(pieces, str), "said_probability": sure}
    if all(one.looked is not None for one in said):
        looked = np.zeros((len(said), steps, max(len(one.read) for one in said)))
        for b, one in enumerate(said):
            looked[b, : len(one.pieces), : len(one.read)] = one.looked
        found["looked"] = looked
    return found
