"""Cells without a matrix in the recurrence: gates see the input alone, so a scan runs them."""

from ..engine.primitives import sigmoid
from .cell import Cell

FENG_2024 = """
@article{feng2024were,
  title   = {Were {RNNs} All We Needed?},
  author  = {Feng, Leo and Tung, Frederick and Ahmed, Mohamed Osama and Bengio, Yoshua and
             Hajimirsadeghi, Hossein},
  journal = {arXiv:2410.01201},
  year    = {2024}
}
"""


class MinGRU(Cell):
    """The minimal GRU whose gate and candidate do not see h (Feng and others 2024)."""

    gates, states = "z n", "h"
    labels = {
        "z": ("update gate", "업데이트 게이트"),
        "n": ("candidate", "후보"),
        "h": ("hidden state", "은닉 상태"),
    }
    paper = FENG_2024

    def step(self, x, h):
        z = sigmoid(x.z)
        return dict(h=(1 - z) * h + z * x.n, z=z)
