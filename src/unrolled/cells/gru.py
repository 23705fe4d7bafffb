"""The family of the gated recurrent unit: one state, that a gate blends with a candidate."""

from ..engine.primitives import sigmoid, tanh
from .cell import Cell

LABELS = {
    "r": ("reset gate", "리셋 게이트"),
    "z": ("update gate", "업데이트 게이트"),
    "n": ("candidate", "후보"),
    "h": ("hidden state", "은닉 상태"),
}

CHO_2014 = """
@inproceedings{cho2014learning,
  title     = {Learning Phrase Representations using {RNN} Encoder-Decoder for Statistical Machine
               Translation},
  author    = {Cho, Kyunghyun and van Merri{\\"e}nboer, Bart and Gulcehre, Caglar and Bahdanau,
               Dzmitry and Bougares, Fethi and Schwenk, Holger and Bengio, Yoshua},
  booktitle = {Proceedings of the Conference on Empirical Methods in Natural Language Processing
               (EMNLP)},
  pages     = {1724--1734},
  year      = {2014}
}
"""


class GRU(Cell):
    """The gated recurrent unit as cuDNN and PyTorch define it, r on U h (Cho and others 2014)."""

    gates, states, kernel = "r z n", "h", "gru"
    labels, paper = LABELS, CHO_2014

    def step(self, x, u, h):
        r, z = sigmoid(x.r + u.r(h)), sigmoid(x.z + u.z(h))
        n = tanh(x.n + r * u.n(h))
        return dict(h=(1 - z) * n + z * h, r=r, z=z, n=n)


class FirstGRU(Cell):
    """The gated recurrent unit as first published, U on r h (Cho and others 2014)."""

    name = "gru-first"
    gates, states = "r z n", "h"
    labels, paper = LABELS, CHO_2014

    def step(self, x, u, h):
        r, z = sigmoid(x.r + u.r(h)), sigmoid(x.z + u.z(h))
        n = tanh(x.n + u.n(r * h))
        return dict(h=(1 - z) * n + z * h, r=r, z=z, n=n)
