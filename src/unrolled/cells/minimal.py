"""Gated cells with as few gates and matrices as their authors could find: one gate or two."""

from ..engine.primitives import sigmoid, tanh
from .cell import Cell

LABELS = {"n": ("candidate", "후보"), "h": ("hidden state", "은닉 상태")}

ZHOU_2016 = """
@article{zhou2016minimal,
  title   = {Minimal Gated Unit for Recurrent Neural Networks},
  author  = {Zhou, Guo-Bing and Wu, Jianxin and Zhang, Chen-Lin and Zhou, Zhi-Hua},
  journal = {International Journal of Automation and Computing},
  volume  = {13},
  number  = {3},
  pages   = {226--234},
  year    = {2016}
}
"""

COLLINS_2017 = """
@inproceedings{collins2017capacity,
  title     = {Capacity and Trainability in Recurrent Neural Networks},
  author    = {Collins, Jasmine and Sohl-Dickstein, Jascha and Sussillo, David},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2017}
}
"""

LEE_2017 = """
@article{lee2017recurrent,
  title   = {Recurrent Additive Networks},
  author  = {Lee, Kenton and Levy, Omer and Zettlemoyer, Luke},
  journal = {arXiv:1705.07393},
  year    = {2017}
}
"""

WESTHUIZEN_2018 = """
@article{vanderwesthuizen2018unreasonable,
  title   = {The unreasonable effectiveness of the forget gate},
  author  = {van der Westhuizen, Jos and Lasenby, Joan},
  journal = {arXiv:1804.04849},
  year    = {2018}
}
"""

CHEN_2017 = """
@article{chen2017minimalrnn,
  title   = {{MinimalRNN}: Toward More Interpretable and Trainable Recurrent Neural Networks},
  author  = {Chen, Minmin},
  journal = {arXiv:1711.06788},
  year    = {2017}
}
"""

KUSUPATI_2018 = """
@inproceedings{kusupati2018fastgrnn,
  title     = {{FastGRNN}: A Fast, Accurate, Stable and Tiny Kilobyte Sized Gated Recurrent Neural
               Network},
  author    = {Kusupati, Aditya and Singh, Manish and Bhatia, Kush and Kumar, Ashish and Jain,
               Prateek and Varma, Manik},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  volume    = {31},
  year      = {2018}
}
"""


class MGU(Cell):
    """Minimal gated unit: one gate resets and updates (Zhou and others 2016)."""

    gates, states = "f n", "h"
    labels = {**LABELS, "f": ("forget gate", "망각 게이트")}
    paper = ZHOU_2016

    def step(self, x, u, h):
        f = sigmoid(x.f + u.f(h))
        n = tanh(x.n + u.n(f * h))
        return dict(h=(1 - f) * h + f * n, f=f, n=n)


class UGRNN(Cell):
    """Update gate network: one gate blends h with a candidate (Collins and others 2017)."""

    gates, states, start = "g n", "h", {"b.g": 1.0}
    labels = {**LABELS, "g": ("update gate", "업데이트 게이트")}
    paper = COLLINS_2017

    def step(self, x, u, h):
        g, n = sigmoid(x.g + u.g(h)), tanh(x.n + u.n(h))
        return dict(h=g * h + (1 - g) * n, g=g, n=n)


class RAN(Cell):
    """Recurrent additive network: the candidate sees the input alone (Lee and others 2017)."""

    gates, states = "n i f", "h c"
    labels = {
        **LABELS,
        "i": ("input gate", "입력 게이트"),
        "f": ("forget gate", "망각 게이트"),
        "c": ("cell state", "셀 상태"),
    }
    paper = LEE_2017

    def step(self, x, u, h, c):
        i, f = sigmoid(x.i + u.i(h)), sigmoid(x.f + u.f(h))
        c = i * x.n + f * c
        return dict(h=tanh(c), c=c, i=i, f=f)


class JANET(Cell):
    """LSTM of a forget gate alone (van der Westhuizen and Lasenby 2018).

    The forget gate starts as the paper has it, for memories of up to 100 steps; a subclass with
    another `start` says otherwise.
    """

    gates, states, hyper = "f n", "h", {"beta": 1.0}
    start = {"b.f": ("chrono", 100.0), "b.n": "zeros"}
    labels = {**LABELS, "f": ("forget gate", "망각 게이트")}
    paper = WESTHUIZEN_2018
    beta: float

    def step(self, x, u, h):
        s, n = x.f + u.f(h), tanh(x.n + u.n(h))
        f = sigmoid(s)
        return dict(h=f * h + (1 - sigmoid(s - self.beta)) * n, f=f, n=n)


class MinimalRNN(Cell):
    """The input is mapped to a latent z, which one gate blends with h (Chen 2017)."""

    gates, states = "z f q", "h"
    labels = {
        "z": ("latent input", "잠재 입력"),
        "f": ("update gate", "업데이트 게이트"),
        "q": ("latent input as the gate sees it", "게이트가 보는 잠재 입력"),
        "h": ("hidden state", "은닉 상태"),
    }
    paper = CHEN_2017

    def step(self, x, u, h):
        z = tanh(x.z)
        f = sigmoid(u.f(h) + u.q(z))
        return dict(h=f * h + (1 - f) * z, z=z, f=f)


class FastRNN(Cell):
    """RNN with a weighted residual connection of two learnt numbers (Kusupati and others 2018).

    The numbers are kept between 0 and 1 by a sigmoid, and all is initialised, as in the official
    code.
    """

    gates, states, structure = "n", "h", {"w": "shared"}
    start = {"x": ("normal", 0.1), "u": ("normal", 0.1), "b": 1.0, "w.alpha": -3.0, "w.beta": 3.0}
    labels = LABELS
    paper = KUSUPATI_2018

    def step(self, x, u, w, h):
        n = tanh(x.n + u.n(h))
        return dict(h=sigmoid(w.alpha) * n + sigmoid(w.beta) * h, n=n)


class FastGRNN(Cell):
    """Gate and candidate share W and U and differ in their biases (Kusupati and others 2018).

    Initialised as in the official code; W and U are dense, where the paper may factor them.
    """

    gates, states = "z n", "h"
    structure = {"x": "shared", "u": "shared", "w": "shared"}
    start = {"x": ("normal", 0.1), "u": ("normal", 0.1), "b": 1.0, "w.zeta": 1.0, "w.nu": -4.0}
    labels = {**LABELS, "z": ("update gate", "업데이트 게이트")}
    paper = KUSUPATI_2018

    def step(self, x, u, w, h):
        z, n = sigmoid(x.z + u.z(h)), tanh(x.n + u.n(h))
        zeta, nu = sigmoid(w.zeta), sigmoid(w.nu)
        return dict(h=(zeta * (1 - z) + nu) * n + z * h, z=z, n=n)
