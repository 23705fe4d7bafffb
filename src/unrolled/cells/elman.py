"""The simple recurrent networks: one state, no gates. Declarations in, cells out."""

from ..engine.primitives import relu, tanh
from .cell import Cell

ELMAN_1990 = """
@article{elman1990finding,
  title   = {Finding Structure in Time},
  author  = {Elman, Jeffrey L.},
  journal = {Cognitive Science},
  volume  = {14},
  number  = {2},
  pages   = {179--211},
  year    = {1990}
}
"""

LE_2015 = """
@article{le2015simple,
  title   = {A Simple Way to Initialize Recurrent Networks of Rectified Linear Units},
  author  = {Le, Quoc V. and Jaitly, Navdeep and Hinton, Geoffrey E.},
  journal = {arXiv:1504.00941},
  year    = {2015}
}
"""


class RNN(Cell):
    """Elman's network with the hyperbolic tangent (Elman 1990)."""

    gates, states, kernel = "a", "h", "rnn_tanh"
    labels = {"a": ("activation", "활성"), "h": ("hidden state", "은닉 상태")}
    paper = ELMAN_1990

    def step(self, x, u, h):
        return dict(h=tanh(x.a + u.a(h)))


class RNNReLU(Cell):
    """The same with rectified linear units (Le, Jaitly and Hinton 2015)."""

    name = "rnn-relu"
    gates, states, kernel = "a", "h", "rnn_relu"
    labels = {"a": ("activation", "활성"), "h": ("hidden state", "은닉 상태")}
    paper = LE_2015

    def step(self, x, u, h):
        return dict(h=relu(x.a + u.a(h)))
