"""What was typed comes in; it goes out as one piece, for whichever task it is meant."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class Measured(NamedTuple):
    """What `eval` measures.

    Args:
        part: its name.
        split: the part itself.
        as_json: print JSON.
        adapt: the rate with which a language model learns from what it has read.
    """

    part: str
    split: Any
    as_json: bool
    adapt: float | None


@dataclass(frozen=True)
class Asked:
    """What `predict` was asked for: its options, as its help describes them.

    Args:
        every: the probability of every class.
        reading: how the source is read: keywords of `unrolled.data.read_inputs`.
        taste: how tokens are drawn.
    """

    source: str | None
    prompt: str | None
    interactive: bool
    encoding: str
    out: str | None
    as_json: bool
    every: bool
    reading: dict[str, Any]
    length: int
    stop: str | None
    seed: int
    taste: dict[str, Any]
    beams: int | None
    best: int
    sample: bool
    attention: str | None
    state: str | None


class Looked(NamedTuple):
    """What `inspect` looks at.

    Args:
        source: a file, or a text.
        resize: bring images to the size.
        length: tokens of a text that are read.
    """

    source: str
    resize: bool
    length: int
