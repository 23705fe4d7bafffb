"""A cell and a shape come in; the work that they are, and how many operations it takes, go out."""

import math
from dataclasses import dataclass

from ..cells import find
from ..engine.traced import Traced
from ..errors import UsageError


@dataclass(frozen=True)
class Shape:
    """Sizes of a network and its batch: B, T, I, H, L."""

    batch: int
    steps: int
    inputs: int
    units: int
    layers: int = 1

    def __str__(self) -> str:
        said = f"B={self.batch} T={self.steps} I={self.inputs} H={self.units}"
        return said + (f" L={self.layers}" if self.layers > 1 else "")


def shape(text: str) -> Shape:
    """`B,T,I,H` or `B,T,I,H,L` as a shape.

    Raises:
        UsageError: it is something else.

    Example:
        >>> str(shape("100,28,28,128,2"))
        'B=100 T=28 I=28 H=128 L=2'
    """
    parts = text.split(",")
    if not 4 <= len(parts) <= 5 or not all(p.strip().isdecimal() and int(p) for p in parts):
        raise UsageError("--shape", expected="B,T,I,H or B,T,I,H,L, each at least 1", got=text)
    return Shape(*map(int, parts))


@dataclass(frozen=True)
class Work:
    """What is timed.

    Args:
        cell: a name of the catalogue or FILE.py:Class.
        shape: of the network and its batch.
        training: forward and backward, all gradients of parameters; else forward alone.
        dtype: `float32`, `float64` or `bfloat16`.
    """

    cell: str
    shape: Shape
    training: bool = True
    dtype: str = "float32"

    @property
    def traced(self) -> Traced:
        return find(self.cell).trace()

    def operations(self) -> int:
        """Multiplications and additions in matrix products; the pointwise ones are not counted.

        A backward pass takes each product twice more, but for the first layer's W^T dz: nobody
        asks for the gradient of the data.

        Example:
            >>> Work("lstm", Shape(1, 1, 3, 5), training=False).operations() == 2 * 20 * (3 + 5)
            True
            >>> Work("lstm", Shape(1, 1, 3, 5)).operations() == 2 * 20 * (2 * 3 + 3 * 5)
            True
        """
        traced, s = self.traced, self.shape
        nodes = traced.graph.nodes
        heads = traced.heads if "blocks" in traced.structure.get("u", "") else 1
        recurrent = sum(s.units * s.units / heads for n in nodes if n.op == "u")
        recurrent += sum(s.units * s.units for n in nodes if n.op == "proj")
        again = 3 if self.training else 1
        total = 0.0
        for layer in range(s.layers):
            features = (s.units if layer else s.inputs) * traced.window
            of_x = len(traced.x_gates) * s.units * features
            total += recurrent * again + of_x * (again if layer else min(again, 2))
        return math.ceil(2 * total * s.batch * s.steps)
