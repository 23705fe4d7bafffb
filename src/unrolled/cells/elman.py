"""The simple recurrent networks: an activation of the input and the state, and no gates."""

from ..engine.primitives import relu, sigmoid, tanh
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

MIKOLOV_2014 = """
@article{mikolov2014learning,
  title   = {Learning Longer Memory in Recurrent Neural Networks},
  author  = {Mikolov, Tomas and Joulin, Armand and Chopra, Sumit and Mathieu, Michael and Ranzato,
             Marc'Aurelio},
  journal = {arXiv:1412.7753},
  year    = {2014}
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


class SCRN(Cell):
    """Structurally constrained network: a slow context feeds h (Mikolov and others 2014).

    There are as many context units as hidden ones, and the layer's output is h: the paper's output
    layer reads s beside it.
    """

    gates, states, hyper = "a b p", "h s", {"alpha": 0.95}
    labels = {
        "a": ("activation", "활성"),
        "b": ("input of the context", "문맥의 입력"),
        "p": ("context as h sees it", "은닉 상태가 보는 문맥"),
        "h": ("hidden state", "은닉 상태"),
        "s": ("context", "문맥"),
    }
    paper = MIKOLOV_2014
    alpha: float

    def step(self, x, u, h, s):
        s = (1 - self.alpha) * x.b + self.alpha * s
        return dict(h=sigmoid(u.p(s) + x.a + u.a(h)), s=s)
