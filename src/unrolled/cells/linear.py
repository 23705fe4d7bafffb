"""Cells without a matrix in the recurrence: one product for all steps, then a scan a unit."""

from ..engine.primitives import exp, logsigmoid, maximum, relu, sigmoid, sqrt, tanh
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

LI_2018 = """
@inproceedings{li2018independently,
  title     = {Independently Recurrent Neural Network ({IndRNN}): Building A Longer and Deeper
               {RNN}},
  author    = {Li, Shuai and Li, Wanqing and Cook, Chris and Zhu, Ce and Gao, Yanbo},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition
               (CVPR)},
  pages     = {5457--5466},
  year      = {2018}
}
"""

LEI_2018 = """
@inproceedings{lei2018simple,
  title     = {Simple Recurrent Units for Highly Parallelizable Recurrence},
  author    = {Lei, Tao and Zhang, Yu and Wang, Sida I. and Dai, Hui and Artzi, Yoav},
  booktitle = {Proceedings of the Conference on Empirical Methods in Natural Language Processing
               (EMNLP)},
  pages     = {4470--4481},
  year      = {2018}
}
"""

BRADBURY_2017 = """
@inproceedings{bradbury2017quasi,
  title     = {Quasi-Recurrent Neural Networks},
  author    = {Bradbury, James and Merity, Stephen and Xiong, Caiming and Socher, Richard},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2017}
}
"""

DE_2024 = """
@article{de2024griffin,
  title   = {Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language
             Models},
  author  = {De, Soham and Smith, Samuel L. and Fernando, Anushan and Botev, Aleksandar and
             Cristian-Muraru, George and Gu, Albert and Haroun, Ruba and Berrada, Leonard and
             Chen, Yutian and Srinivasan, Srivatsan and Desjardins, Guillaume and Doucet, Arnaud
             and Budden, David and Teh, Yee Whye and Pascanu, Razvan and De Freitas, Nando and
             Gulcehre, Caglar},
  journal = {arXiv:2402.19427},
  year    = {2024}
}
"""


class IndRNN(Cell):
    """Rectified linear units, each of which sees its own past alone (Li and others 2018)."""

    gates, states = "a", "h"
    start = {"w.a": ("uniform", 0.0, 1.0)}
    labels = {"a": ("activation", "활성"), "h": ("hidden state", "은닉 상태")}
    paper = LI_2018

    def step(self, x, w, h):
        return dict(h=relu(x.a + w.a * h))


class SRU(Cell):
    """Simple recurrent unit: light recurrence, highway output (Lei and others 2018).

    The highway carries the input through a matrix of its own, as the official code does where
    input and units differ in number; the correction alpha of its scale is not applied.
    """

    gates, states = "n f r k", "h c"
    labels = {
        "n": ("candidate", "후보"),
        "f": ("forget gate", "망각 게이트"),
        "r": ("reset gate", "리셋 게이트"),
        "k": ("input of the highway", "고속 경로의 입력"),
        "h": ("hidden state", "은닉 상태"),
        "c": ("cell state", "셀 상태"),
    }
    paper = LEI_2018

    def step(self, x, w, c):
        f, r = sigmoid(x.f + w.f * c), sigmoid(x.r + w.r * c)
        c = f * c + (1 - f) * x.n
        return dict(h=r * c + (1 - r) * x.k, c=c, f=f, r=r)


class QRNN(Cell):
    """Quasi-recurrent network of filter width 2 with fo-pooling (Bradbury and others 2017)."""

    gates, states, window = "z f o", "h c", 2
    labels = {
        "z": ("candidate", "후보"),
        "f": ("forget gate", "망각 게이트"),
        "o": ("output gate", "출력 게이트"),
        "h": ("hidden state", "은닉 상태"),
        "c": ("cell state", "셀 상태"),
    }
    paper = BRADBURY_2017

    def step(self, x, c):
        z, f, o = tanh(x.z), sigmoid(x.f), sigmoid(x.o)
        c = f * c + (1 - f) * z
        return dict(h=o * c, c=c, z=z, f=f, o=o)


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


class MinLSTM(Cell):
    """The minimal LSTM, its two gates normalised to a sum of 1 (Feng and others 2024).

    f / (f + i) is computed from the logarithms of the gates, which holds where both vanish.
    """

    gates, states = "f i n", "h"
    labels = {
        "f": ("forget gate", "망각 게이트"),
        "i": ("input gate", "입력 게이트"),
        "n": ("candidate", "후보"),
        "h": ("hidden state", "은닉 상태"),
    }
    paper = FENG_2024

    def step(self, x, h):
        d = logsigmoid(x.f) - logsigmoid(x.i)
        f, i = sigmoid(d), sigmoid(-d)
        return dict(h=f * h + i * x.n, f=f, i=i)


class RGLRU(Cell):
    """Real-gated linear recurrent unit, of the Griffin architecture (De and others 2024).

    The gated value is a linear map of the input (in Griffin a layer before the unit makes it), and
    the gates' matrices are whole, as in the paper. 1 - a * a is kept from 0, where a square root
    has no derivative.
    """

    name = "rg-lru"
    gates, states, hyper = "r i v", "h", {"c": 8.0}
    # a^c lies between 0.9 and 0.999 at first, as in the paper.
    start = {"w.a": ("logit", 0.9 ** (1 / 8), 0.999 ** (1 / 8))}
    labels = {
        "r": ("recurrence gate", "순환 게이트"),
        "i": ("input gate", "입력 게이트"),
        "v": ("input value", "입력값"),
        "h": ("hidden state", "은닉 상태"),
    }
    paper = DE_2024
    c: float

    def step(self, x, w, h):
        r, i = sigmoid(x.r), sigmoid(x.i)
        a = exp(self.c * r * logsigmoid(w.a))
        norm = sqrt(maximum(1 - a * a, 1e-12))
        return dict(h=a * h + norm * (i * x.v), r=r, i=i, a=a)
