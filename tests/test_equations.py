"""Equations as they are printed: the text, typed as a step again, gives the same values."""

import re

import pytest
import torch

from unrolled.cells import Cell, cos, exp, find, maximum, names, sigmoid, sqrt, tanh
from unrolled.cells import __all__ as vocabulary
from unrolled.engine.equations import equations, legend
from unrolled.engine.trace import trace
from unrolled.layers import Recurrent


def typed_again(traced):
    """The cell whose step is the printed text."""
    import unrolled.cells as spoken

    given = ["x", "u"] * bool(traced.u_gates) or ["x"]
    given += [n for n, used in (("w", traced.weights), ("norm", traced.norms)) if used]
    given += ["proj"] if traced.projs else []
    lines = [line.replace("'", "_new") for line in equations(traced)]
    result = ", ".join(
        f"{k}={k}_new" if k in traced.states else f"{k}={k}" for k in traced.graph.outputs
    )
    body = "\n    ".join([*lines, f"return dict({result})"])
    scope = {name: getattr(spoken, name) for name in vocabulary}
    code = f"def step(self, {', '.join([*dict.fromkeys(given), *traced.states])}):\n    {body}"
    exec(code, scope)  # noqa: S102  the text is what is under test
    facts = {k: getattr(traced, k) for k in ("init", "structure", "heads", "window", "layer_norm")}
    facts |= {
        "hyper": traced.hyper,
        "gates": traced.gates,
        "states": traced.states,
        "step": scope["step"],
    }
    return type("Again", (Cell,), facts)


@pytest.mark.parametrize("name", names())
def test_the_text_typed_again_computes_the_same_bits(name):
    first = Recurrent(name, 3, 4, backend="reference")
    again = Recurrent(typed_again(trace(find(name))), 3, 4, backend="reference")
    again.load_state_dict(first.state_dict())
    x = torch.randn(2, 5, 3)
    observe = trace(find(name)).observed
    for one, other in zip(first(x, observe=observe), again(x, observe=observe), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("name", names())
def test_latex_is_balanced_and_says_every_state(name):
    traced = trace(find(name))
    text = " ".join(equations(traced, latex=True))
    assert text.count("{") == text.count("}")
    assert text.count("(") == text.count(")")
    for state in traced.states:
        assert re.search(rf"{state}}}?_t\b", text)


class Odd(Cell):
    """Every form that needs, or does not need, parentheses."""

    gates, states, hyper = "a b", "h c", {"k": -0.5}

    def step(self, x, u, h, c):
        p = x.a - (x.b - u.a(h))
        q = p / (h * c) / (p * c) + -(h + c) * self.k
        r = (p - h) - c + (h + c)
        minus = -p
        s = sqrt(exp(-minus)) + cos(maximum(p, -h))
        return dict(h=sigmoid(q * (r * s)), c=tanh(s - 2.0 / r), d=c)


def test_parentheses_keep_the_meaning():
    traced = trace(Odd())
    first, again = Recurrent(Odd, 3, 4), Recurrent(typed_again(traced), 3, 4)
    again.load_state_dict(first.state_dict())
    start = {"h": torch.full((1, 2, 4), 0.3), "c": torch.full((1, 2, 4), -0.7)}
    x = torch.randn(2, 3, 3)
    observe = ("d",)
    assert torch.isfinite(first(x, start)[0]).all()
    for one, other in zip(
        first(x, start, observe=observe), again(x, start, observe=observe), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_number_is_no_vector_in_latex():
    lines = equations(trace(Odd()), latex=True)
    assert not any(re.search(r"\\odot -?\d", line) for line in lines)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lstm", "x.k: (W x + b)_k, of the input"),
        ("peephole", "w.k: a weight of one value a unit"),
        ("layernorm-lstm", "norm.k(v): v normalised over the units"),
        ("lstmp", "proj.k(v): a projection P v"),
        ("slstm", "m: starts at -inf"),
    ],
)
def test_the_notation_that_is_used_is_explained(name, said):
    assert said in legend(trace(find(name)))


def test_what_is_not_used_is_not_explained():
    assert not any(line.startswith("u.k") for line in legend(trace(find("mingru"))))


def test_a_window_and_tied_matrices_are_explained():
    class Tied(Cell):
        """Reads three inputs; U is antisymmetric."""

        gates, states, window = "a b", "h", 3
        structure, hyper = {"x": "shared", "u": "antisymmetric"}, {"gamma": 0.1}

        def step(self, x, u, h):
            return dict(h=tanh(x.a + u.a(h)) * sigmoid(x.b + u.b(h)))

    said = legend(trace(Tied()))
    assert "x.k: (W x + b)_k, of the last 3 inputs" in said
    assert "W: shared" in said
    assert "U: antisymmetric" in said
    assert "x_{t-2:t}" in equations(trace(Tied()), latex=True)[0]
