"""Cells from discretised differential equations: states that move by learnt time steps."""

from ..engine.primitives import sigmoid, tanh
from .cell import Cell

RUSCH_2022 = """
@inproceedings{rusch2022long,
  title     = {Long Expressive Memory for Sequence Modeling},
  author    = {Rusch, T. Konstantin and Mishra, Siddhartha and Erichson, N. Benjamin and Mahoney,
               Michael W.},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2022}
}
"""


class LEM(Cell):
    """Long expressive memory: two states, each with a learnt time step (Rusch and others 2022)."""

    gates, states, hyper = "d e z y", "y1 z1", {"dt": 1.0}
    labels = {
        "d": ("time step of the memory", "기억의 시간 간격"),
        "e": ("time step of the output", "출력의 시간 간격"),
        "z": ("memory candidate", "기억 후보"),
        "y": ("output candidate", "출력 후보"),
        "y1": ("output state", "출력 상태"),
        "z1": ("memory state", "기억 상태"),
    }
    paper = RUSCH_2022
    dt: float

    def step(self, x, u, y1, z1):
        d = self.dt * sigmoid(x.d + u.d(y1))
        e = self.dt * sigmoid(x.e + u.e(y1))
        z1 = (1 - d) * z1 + d * tanh(x.z + u.z(y1))
        y1 = (1 - e) * y1 + e * tanh(x.y + u.y(z1))
        return dict(y1=y1, z1=z1, d=d, e=e)
