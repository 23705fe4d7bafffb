"""Cells from discretised differential equations: states that move by small or learnt steps."""

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

CHANG_2019 = """
@inproceedings{chang2019antisymmetricrnn,
  title     = {{AntisymmetricRNN}: A Dynamical System View on Recurrent Neural Networks},
  author    = {Chang, Bo and Chen, Minmin and Haber, Eldad and Chi, Ed H.},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2019}
}
"""

RUSCH_CORNN_2021 = """
@inproceedings{rusch2021coupled,
  title     = {Coupled Oscillatory Recurrent Neural Network ({coRNN}): An accurate and (gradient)
               stable architecture for learning long time dependencies},
  author    = {Rusch, T. Konstantin and Mishra, Siddhartha},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2021}
}
"""

RUSCH_UNICORNN_2021 = """
@inproceedings{rusch2021unicornn,
  title     = {{UnICORNN}: A recurrent model for learning very long time dependencies},
  author    = {Rusch, T. Konstantin and Mishra, Siddhartha},
  booktitle = {Proceedings of the International Conference on Machine Learning (ICML)},
  series    = {PMLR},
  volume    = {139},
  pages     = {9168--9178},
  year      = {2021}
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


class Antisymmetric(Cell):
    """Euler steps of a stable system: U = M - M^T - gamma I (Chang and others 2019)."""

    gates, states, hyper = "n", "h", {"epsilon": 0.01, "gamma": 0.01}
    structure = {"u": "antisymmetric"}
    labels = {"n": ("change", "변화량"), "h": ("hidden state", "은닉 상태")}
    paper = CHANG_2019
    epsilon: float

    def step(self, x, u, h):
        n = tanh(x.n + u.n(h))
        return dict(h=h + self.epsilon * n, n=n)


class GatedAntisymmetric(Cell):
    """Antisymmetric network with an input gate that shares U (Chang and others 2019)."""

    name = "gated-antisymmetric"
    gates, states, hyper = "z n", "h", {"epsilon": 0.01, "gamma": 0.01}
    structure = {"u": "shared antisymmetric"}
    labels = {
        "z": ("input gate", "입력 게이트"),
        "n": ("change", "변화량"),
        "h": ("hidden state", "은닉 상태"),
    }
    paper = CHANG_2019
    epsilon: float

    def step(self, x, u, h):
        z, n = sigmoid(x.z + u.z(h)), tanh(x.n + u.n(h))
        return dict(h=h + self.epsilon * (z * n), z=z, n=n)


class CoRNN(Cell):
    """Coupled oscillators, damped and driven by the input (Rusch and Mishra 2021).

    The damping is explicit and the numbers are those for sequential MNIST, as in the official code.
    """

    gates, states = "a b", "y z"
    hyper = {"dt": 0.042, "gamma": 2.7, "epsilon": 4.7}
    labels = {
        "a": ("force from input and position", "입력과 위치에서 오는 힘"),
        "b": ("force from velocity", "속도에서 오는 힘"),
        "y": ("position", "위치"),
        "z": ("velocity", "속도"),
    }
    paper = RUSCH_CORNN_2021
    dt: float
    gamma: float
    epsilon: float

    def step(self, x, u, y, z):
        a = tanh(x.a + u.a(y) + u.b(z))
        z = z + self.dt * (a - self.gamma * y - self.epsilon * z)
        return dict(y=y + self.dt * z, z=z, a=a)


class UnICORNN(Cell):
    """Undamped oscillators, each with its own frequency (Rusch and Mishra 2021).

    The numbers are those for permuted sequential MNIST, as in the official code.
    """

    gates, states, hyper = "a", "y z", {"dt": 0.19, "alpha": 30.65}
    start = {"w.a": ("uniform", 0.0, 1.0), "w.c": ("uniform", -0.1, 0.1), "b": "zeros"}
    labels = {
        "a": ("force", "힘"),
        "y": ("position", "위치"),
        "z": ("velocity", "속도"),
    }
    paper = RUSCH_UNICORNN_2021
    dt: float
    alpha: float

    def step(self, x, w, y, z):
        a = tanh(w.a * y + x.a)
        d = self.dt * sigmoid(w.c)
        z = z - d * (a + self.alpha * y)
        return dict(y=y + d * z, z=z, a=a)
