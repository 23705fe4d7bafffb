"""The cells of the catalogue once more, transcribed by hand from their papers in NumPy.

The steps work on one sequence, in float64, with matrices named as in the papers: W for the input, U
for the state, b the bias (bx and bu where a paper's product keeps the two apart).
"""

import numpy as np


def sigma(a):
    return 1 / (1 + np.exp(-a))


def tanh(a):
    return np.tanh(a)


def lstm_1997(p, x, h, c):
    i = sigma(p.W.i @ x + p.U.i @ h + p.b.i)
    o = sigma(p.W.o @ x + p.U.o @ h + p.b.o)
    c = c + i * 2 * tanh((p.W.g @ x + p.U.g @ h + p.b.g) / 2)  # 4 sigma(a) - 2
    return {"h": o * tanh(c / 2), "c": c, "i": i, "o": o}


def peephole(p, x, h, c):
    i = sigma(p.W.i @ x + p.U.i @ h + p.w.i * c + p.b.i)
    f = sigma(p.W.f @ x + p.U.f @ h + p.w.f * c + p.b.f)
    c = f * c + i * tanh(p.W.g @ x + p.U.g @ h + p.b.g)
    o = sigma(p.W.o @ x + p.U.o @ h + p.w.o * c + p.b.o)
    return {"h": o * tanh(c), "c": c, "i": i, "f": f, "o": o}


def coupled(p, x, h, c):
    i = sigma(p.W.i @ x + p.U.i @ h + p.b.i)
    c = (1 - i) * c + i * tanh(p.W.g @ x + p.U.g @ h + p.b.g)
    return {"h": sigma(p.W.o @ x + p.U.o @ h + p.b.o) * tanh(c), "c": c, "f": 1 - i}


def normalised(v, gain, bias):
    return gain * (v - v.mean()) / np.sqrt(v.var() + 1e-5) + bias


def layernorm_lstm(p, x, h, c):
    def gate(k):
        n = p.norm
        of_x = normalised(getattr(p.W, k) @ x, n[f"x_{k}"], getattr(p.bx, k))
        return of_x + normalised(getattr(p.U, k) @ h, n[f"u_{k}"], getattr(p.bu, k))

    c = sigma(gate("f")) * c + sigma(gate("i")) * tanh(gate("g"))
    return {"h": sigma(gate("o")) * tanh(normalised(c, p.norm["c"], p.norm["c_bias"])), "c": c}


def multiplicative_lstm(p, x, h, c):
    m = (p.W.m @ x + p.bx.m) * (p.U.m @ h + p.bu.m)
    i = sigma(p.W.i @ x + p.U.i @ m + p.b.i)
    f = sigma(p.W.f @ x + p.U.f @ m + p.b.f)
    o = sigma(p.W.o @ x + p.U.o @ m + p.b.o)
    c = f * c + i * tanh(p.W.g @ x + p.U.g @ m + p.b.g)
    return {"h": tanh(c) * o, "c": c, "m": m, "i": i, "f": f, "o": o}


def gru_first(p, x, h):
    r = sigma(p.W.r @ x + p.U.r @ h + p.b.r)
    z = sigma(p.W.z @ x + p.U.z @ h + p.b.z)
    return {"h": z * h + (1 - z) * tanh(p.W.n @ x + p.U.n @ (r * h) + p.b.n), "r": r, "z": z}


def mgu(p, x, h):
    f = sigma(p.W.f @ x + p.U.f @ h + p.b.f)
    return {"h": (1 - f) * h + f * tanh(p.W.n @ x + p.U.n @ (f * h) + p.b.n), "f": f}


def ugrnn(p, x, h):
    g = sigma(p.W.g @ x + p.U.g @ h + p.b.g)
    return {"h": g * h + (1 - g) * tanh(p.W.n @ x + p.U.n @ h + p.b.n), "g": g}


def ran(p, x, h, c):
    i = sigma(p.U.i @ h + p.W.i @ x + p.b.i)
    f = sigma(p.U.f @ h + p.W.f @ x + p.b.f)
    c = i * (p.W.n @ x + p.bx.n) + f * c
    return {"h": tanh(c), "c": c, "i": i, "f": f}


def janet(p, x, h):
    s = p.U.f @ h + p.W.f @ x + p.b.f
    n = tanh(p.U.n @ h + p.W.n @ x + p.b.n)
    return {"h": sigma(s) * h + (1 - sigma(s - 1)) * n, "f": sigma(s), "n": n}


def minimalrnn(p, x, h):
    z = tanh(p.W.z @ x + p.bx.z)
    u = sigma(p.U.f @ h + p.U.q @ z + p.bu.f + p.bu.q)
    return {"h": u * h + (1 - u) * z, "z": z, "f": u}


def fastrnn(p, x, h):
    alpha, beta = sigma(p.w.alpha), sigma(p.w.beta)
    return {"h": alpha * tanh(p.W.n @ x + p.U.n @ h + p.b.n) + beta * h}


def fastgrnn(p, x, h):
    both = p.weight_ih @ x + p.weight_hh @ h
    z, n = sigma(both + p.b.z), tanh(both + p.b.n)
    return {"h": (sigma(p.w.zeta) * (1 - z) + sigma(p.w.nu)) * n + z * h, "z": z, "n": n}


def scrn(p, x, h, s):
    s = 0.05 * (p.W.b @ x + p.bx.b) + 0.95 * s
    return {"h": sigma(p.U.p @ s + p.W.a @ x + p.U.a @ h + p.bx.a + p.bu.a + p.bu.p), "s": s}


def indrnn(p, x, h):
    return {"h": np.maximum(p.W.a @ x + p.w.a * h + p.bx.a, 0)}


def sru(p, x, h, c):
    f = sigma(p.W.f @ x + p.w.f * c + p.bx.f)
    r = sigma(p.W.r @ x + p.w.r * c + p.bx.r)
    c = f * c + (1 - f) * (p.W.n @ x + p.bx.n)
    return {"h": r * c + (1 - r) * (p.W.k @ x + p.bx.k), "c": c, "f": f, "r": r}


def qrnn(p, x, h, c):
    z = tanh(p.W.z[:, : len(x)] @ p.before + p.W.z[:, len(x) :] @ x + p.bx.z)
    f = sigma(p.W.f[:, : len(x)] @ p.before + p.W.f[:, len(x) :] @ x + p.bx.f)
    o = sigma(p.W.o[:, : len(x)] @ p.before + p.W.o[:, len(x) :] @ x + p.bx.o)
    c = f * c + (1 - f) * z
    return {"h": o * c, "c": c, "z": z, "f": f, "o": o}


def mingru(p, x, h):
    z = sigma(p.W.z @ x + p.bx.z)
    return {"h": (1 - z) * h + z * (p.W.n @ x + p.bx.n), "z": z}


def minlstm(p, x, h):
    f, i = sigma(p.W.f @ x + p.bx.f), sigma(p.W.i @ x + p.bx.i)
    f, i = f / (f + i), i / (f + i)
    return {"h": f * h + i * (p.W.n @ x + p.bx.n), "f": f, "i": i}


def rg_lru(p, x, h):
    r, i = sigma(p.W.r @ x + p.bx.r), sigma(p.W.i @ x + p.bx.i)
    a = sigma(p.w.a) ** (8 * r)
    return {"h": a * h + np.sqrt(1 - a**2) * (i * (p.W.v @ x + p.bx.v)), "r": r, "i": i, "a": a}


def lem(p, x, y, z):
    dt = sigma(p.W.d @ x + p.U.d @ y + p.b.d)
    dt_bar = sigma(p.W.e @ x + p.U.e @ y + p.b.e)
    z = (1 - dt) * z + dt * tanh(p.W.z @ x + p.U.z @ y + p.b.z)
    y = (1 - dt_bar) * y + dt_bar * tanh(p.W.y @ x + p.U.y @ z + p.b.y)
    return {"y1": y, "z1": z, "d": dt, "e": dt_bar}


def skew(m):
    return m - m.T - 0.01 * np.eye(len(m))


def antisymmetric(p, x, h):
    return {"h": h + 0.01 * tanh(skew(p.weight_hh) @ h + p.W.n @ x + p.b.n)}


def gated_antisymmetric(p, x, h):
    z = sigma(skew(p.weight_hh) @ h + p.W.z @ x + p.b.z)
    return {"h": h + 0.01 * z * tanh(skew(p.weight_hh) @ h + p.W.n @ x + p.b.n), "z": z}


def cornn(p, x, y, z):
    a = tanh(p.U.a @ y + p.U.b @ z + p.W.a @ x + p.bx.a + p.bu.a + p.bu.b)
    z = z + 0.042 * a - 0.042 * 2.7 * y - 0.042 * 4.7 * z
    return {"y": y + 0.042 * z, "z": z, "a": a}


def unicornn(p, x, y, z):
    step = 0.19 * (0.5 + 0.5 * tanh(p.w.c / 2))
    z = z - step * (tanh(p.w.a * y + p.W.a @ x + p.bx.a) + 30.65 * y)
    return {"y": y + step * z, "z": z}


# name: the gates that have W, those that have U, in the order of the rows, and the step.
BY_HAND = {
    "scrn": ("a b", "a p", scrn),
    "lstm-1997": ("i g o", "i g o", lstm_1997),
    "peephole": ("i f g o", "i f g o", peephole),
    "coupled-lstm": ("i g o", "i g o", coupled),
    "layernorm-lstm": ("i f g o", "i f g o", layernorm_lstm),
    "multiplicative-lstm": ("m i f g o", "m i f g o", multiplicative_lstm),
    "gru-first": ("r z n", "r z n", gru_first),
    "mgu": ("f n", "f n", mgu),
    "ugrnn": ("g n", "g n", ugrnn),
    "ran": ("n i f", "i f", ran),
    "janet": ("f n", "f n", janet),
    "minimalrnn": ("z", "f q", minimalrnn),
    "fastrnn": ("n", "n", fastrnn),
    "fastgrnn": ("z n", "z n", fastgrnn),
    "indrnn": ("a", "", indrnn),
    "sru": ("n f r k", "", sru),
    "qrnn": ("z f o", "", qrnn),
    "mingru": ("z n", "", mingru),
    "minlstm": ("f i n", "", minlstm),
    "rg-lru": ("r i v", "", rg_lru),
    "lem": ("d e z y", "d e z y", lem),
    "antisymmetric": ("n", "n", antisymmetric),
    "gated-antisymmetric": ("z n", "z n", gated_antisymmetric),
    "cornn": ("a", "a b", cornn),
    "unicornn": ("a", "", unicornn),
}
