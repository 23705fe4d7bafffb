"""Cells with exponential gates, kept finite by a state that remembers their scale."""

import math

from ..engine.primitives import exp, logsigmoid, maximum, sigmoid, tanh
from .cell import Cell

BECK_2024 = """
@inproceedings{beck2024xlstm,
  title     = {{xLSTM}: Extended Long Short-Term Memory},
  author    = {Beck, Maximilian and P{\\"o}ppel, Korbinian and Spanring, Markus and Auer, Andreas
               and Prudnikova, Oleksandra and Kopp, Michael and Klambauer, G{\\"u}nter and
               Brandstetter, Johannes and Hochreiter, Sepp},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year      = {2024}
}
"""


class SLSTM(Cell):
    """LSTM with exponential input gate, normaliser n and stabiliser m (Beck and others 2024)."""

    gates, states, init = "i f z o", "h c n m", {"m": -math.inf}
    structure = {"u": "blocks"}
    labels = {
        "i": ("input gate", "입력 게이트"),
        "f": ("forget gate", "망각 게이트"),
        "z": ("candidate", "후보"),
        "o": ("output gate", "출력 게이트"),
        "h": ("hidden state", "은닉 상태"),
        "c": ("cell state", "셀 상태"),
        "n": ("normaliser", "정규화 상태"),
        "m": ("stabiliser", "안정화 상태"),
    }
    paper = BECK_2024

    def step(self, x, u, h, c, n, m):
        i, f = x.i + u.i(h), logsigmoid(x.f + u.f(h))
        m1 = maximum(f + m, i)
        i, f = exp(i - m1), exp(f + m - m1)
        c, n = f * c + i * tanh(x.z + u.z(h)), f * n + i
        return dict(h=sigmoid(x.o + u.o(h)) * c / n, c=c, n=n, m=m1, i=i, f=f)
