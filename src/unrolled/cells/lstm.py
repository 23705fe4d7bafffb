"""The family of the long short-term memory: a cell state that gates write, keep and read."""

from ..engine.primitives import sigmoid, tanh
from .cell import Cell

LABELS = {
    "i": ("input gate", "입력 게이트"),
    "f": ("forget gate", "망각 게이트"),
    "g": ("candidate", "후보"),
    "o": ("output gate", "출력 게이트"),
    "h": ("hidden state", "은닉 상태"),
    "c": ("cell state", "셀 상태"),
}

HOCHREITER_1997 = """
@article{hochreiter1997long,
  title   = {Long Short-Term Memory},
  author  = {Hochreiter, Sepp and Schmidhuber, J{\\"u}rgen},
  journal = {Neural Computation},
  volume  = {9},
  number  = {8},
  pages   = {1735--1780},
  year    = {1997}
}
"""

GERS_2000 = """
@article{gers2000learning,
  title   = {Learning to Forget: Continual Prediction with {LSTM}},
  author  = {Gers, Felix A. and Schmidhuber, J{\\"u}rgen and Cummins, Fred},
  journal = {Neural Computation},
  volume  = {12},
  number  = {10},
  pages   = {2451--2471},
  year    = {2000}
}
"""

GERS_PEEPHOLE_2000 = """
@inproceedings{gers2000recurrent,
  title     = {Recurrent Nets that Time and Count},
  author    = {Gers, Felix A. and Schmidhuber, J{\\"u}rgen},
  booktitle = {Proceedings of the International Joint Conference on Neural Networks (IJCNN)},
  volume    = {3},
  pages     = {189--194},
  year      = {2000}
}
"""

GREFF_2017 = """
@article{greff2017lstm,
  title   = {{LSTM}: A Search Space Odyssey},
  author  = {Greff, Klaus and Srivastava, Rupesh K. and Koutn{\\'i}k, Jan and Steunebrink, Bas R.
             and Schmidhuber, J{\\"u}rgen},
  journal = {IEEE Transactions on Neural Networks and Learning Systems},
  volume  = {28},
  number  = {10},
  pages   = {2222--2232},
  year    = {2017}
}
"""

SAK_2014 = """
@article{sak2014long,
  title   = {Long Short-Term Memory Based Recurrent Neural Network Architectures for Large
             Vocabulary Speech Recognition},
  author  = {Sak, Ha{\\c{s}}im and Senior, Andrew and Beaufays, Fran{\\c{c}}oise},
  journal = {arXiv:1402.1128},
  year    = {2014}
}
"""

BA_2016 = """
@article{ba2016layer,
  title   = {Layer Normalization},
  author  = {Ba, Jimmy Lei and Kiros, Jamie Ryan and Hinton, Geoffrey E.},
  journal = {arXiv:1607.06450},
  year    = {2016}
}
"""

KRAUSE_2016 = """
@article{krause2016multiplicative,
  title   = {Multiplicative {LSTM} for Sequence Modelling},
  author  = {Krause, Ben and Lu, Liang and Murray, Iain and Renals, Steve},
  journal = {arXiv:1609.07959},
  year    = {2016}
}
"""


class FirstLSTM(Cell):
    """LSTM without a forget gate, as first published (Hochreiter and Schmidhuber 1997).

    Candidate and output are squashed to (-2, 2) and (-1, 1) as in the paper's experiments; the
    gradient is whole, where the paper cuts it at the gates.
    """

    name = "lstm-1997"
    gates, states = "i g o", "h c"
    labels = {k: LABELS[k] for k in ("i", "g", "o", "h", "c")}
    paper = HOCHREITER_1997

    def step(self, x, u, h, c):
        i, o = sigmoid(x.i + u.i(h)), sigmoid(x.o + u.o(h))
        g = 4 * sigmoid(x.g + u.g(h)) - 2
        c = c + i * g
        return dict(h=o * (2 * sigmoid(c) - 1), c=c, i=i, g=g, o=o)


class LSTM(Cell):
    """Long short-term memory with a forget gate (Gers, Schmidhuber and Cummins 2000)."""

    gates, states, kernel = "i f g o", "h c", "lstm"
    labels, paper = LABELS, GERS_2000

    def step(self, x, u, h, c):
        i, f = sigmoid(x.i + u.i(h)), sigmoid(x.f + u.f(h))
        g, o = tanh(x.g + u.g(h)), sigmoid(x.o + u.o(h))
        c = f * c + i * g
        return dict(h=o * tanh(c), c=c, i=i, f=f, g=g, o=o)


class LSTMP(Cell):
    """LSTM whose hidden state is a projection of the cell's output (Sak and others 2014)."""

    gates, states, kernel = "i f g o", "h c", "lstm"
    labels, paper = LABELS, SAK_2014

    def step(self, x, u, proj, h, c):
        i, f = sigmoid(x.i + u.i(h)), sigmoid(x.f + u.f(h))
        g, o = tanh(x.g + u.g(h)), sigmoid(x.o + u.o(h))
        c = f * c + i * g
        return dict(h=proj.h(o * tanh(c)), c=c, i=i, f=f, g=g, o=o)


class Peephole(Cell):
    """LSTM whose gates see the cell state (Gers and Schmidhuber 2000)."""

    gates, states = "i f g o", "h c"
    labels, paper = LABELS, GERS_PEEPHOLE_2000

    def step(self, x, u, w, h, c):
        i, f = sigmoid(x.i + u.i(h) + w.i * c), sigmoid(x.f + u.f(h) + w.f * c)
        g = tanh(x.g + u.g(h))
        c = f * c + i * g
        o = sigmoid(x.o + u.o(h) + w.o * c)
        return dict(h=o * tanh(c), c=c, i=i, f=f, g=g, o=o)


class CoupledLSTM(Cell):
    """LSTM that forgets exactly as much as it writes, f = 1 - i (Greff and others 2017)."""

    name = "coupled-lstm"
    gates, states = "i g o", "h c"
    labels, paper = LABELS, GREFF_2017

    def step(self, x, u, h, c):
        i = sigmoid(x.i + u.i(h))
        g, o = tanh(x.g + u.g(h)), sigmoid(x.o + u.o(h))
        f = 1 - i
        c = f * c + i * g
        return dict(h=o * tanh(c), c=c, i=i, f=f, g=g, o=o)


class LayerNormLSTM(Cell):
    """LSTM with normalised products and cell state (Ba, Kiros and Hinton 2016)."""

    name = "layernorm-lstm"
    gates, states, layer_norm = "i f g o", "h c", True
    labels, paper = LABELS, BA_2016

    def step(self, x, u, norm, h, c):
        i, f = sigmoid(x.i + u.i(h)), sigmoid(x.f + u.f(h))
        g, o = tanh(x.g + u.g(h)), sigmoid(x.o + u.o(h))
        c = f * c + i * g
        return dict(h=o * tanh(norm.c(c)), c=c, i=i, f=f, g=g, o=o)


class MultiplicativeLSTM(Cell):
    """LSTM whose gates see h through a factor that the input makes (Krause and others 2016).

    Both factors of m have biases here; without biases (`bias=False`) m is the paper's.
    """

    name = "multiplicative-lstm"
    gates, states = "m i f g o", "h c"
    labels = {**LABELS, "m": ("intermediate state", "중간 상태")}
    paper = KRAUSE_2016

    def step(self, x, u, h, c):
        m = x.m * u.m(h)
        i, f = sigmoid(x.i + u.i(m)), sigmoid(x.f + u.f(m))
        g, o = tanh(x.g + u.g(m)), sigmoid(x.o + u.o(m))
        c = f * c + i * g
        return dict(h=o * tanh(c), c=c, m=m, i=i, f=f, g=g, o=o)
