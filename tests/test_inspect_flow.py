"""Gradients through time: held against closed forms, and against autograd through a loop."""

import math

import numpy as np
import pytest
import torch

from near import assert_near
from oracle_loop import DOUBLE, a_layer, singles
from unrolled import Recurrent
from unrolled.cells import Cell, names
from unrolled.inspect import flow, gains, jacobians, lyapunov, shares, trace
from unrolled.inspect.flows import carry
from unrolled.inspect.sharing import together
from unrolled.layers.parameters import effective


class Linear(Cell):
    """A linear recurrence: what a gradient does is the powers of U."""

    gates, states = "a", "h"

    def step(self, x, u, h):
        return dict(h=u.a(h) + x.a)


def orthogonal(rho, units=6, backend="reference"):
    """A linear layer whose U is an orthogonal matrix times rho."""
    layer = Recurrent(Linear, 2, units, dtype=DOUBLE, backend=backend)
    with torch.no_grad():
        torch.nn.init.orthogonal_(layer.weight_hh_l0)
        layer.weight_hh_l0 *= rho
    return layer


@pytest.mark.parametrize("rho", [0.8, 0.95, 1.0, 1.05, 1.2])
def test_gradients_of_a_linear_network_follow_the_powers_of_rho(rho):
    steps = 60
    seen = trace(orthogonal(rho), torch.randn(2, steps, 2, dtype=DOUBLE))
    found = flow(seen["l0"])
    for b in range(2):
        ratio = found.norms["h"][b] / found.norms["h"][b, -1]
        expected = rho ** np.arange(steps - 1, -1, -1.0)
        assert np.abs(ratio / expected - 1).max() < 1e-6
    assert found.rate == pytest.approx(rho, rel=1e-6)
    assert found.ratio == pytest.approx(rho ** (steps - 1), rel=1e-6)
    assert lyapunov(seen["l0"], 3) == pytest.approx([math.log(rho)] * 3, abs=1e-6)
    assert gains(seen["l0"]) == pytest.approx(rho ** np.arange(steps, -1, -1.0), rel=1e-6)


@pytest.mark.parametrize(
    ("rho", "verdict", "horizon"),
    [(0.8, "vanishing", 21), (0.99, "healthy", None), (1.0, "healthy", None),
     (1.02, "healthy", None), (1.2, "exploding", None)],
)  # fmt: skip
def test_the_verdict_says_how_far_credit_reaches(rho, verdict, horizon):
    seen = trace(orthogonal(rho), torch.randn(1, 60, 2, dtype=DOUBLE))
    found = flow(seen["l0"])
    assert (found.verdict, found.horizon) == (verdict, horizon)  # 0.8 ** 21 < 0.01 < 0.8 ** 20
    assert f"{rho:.4g}" in found.said()
    assert bool(found.advice()) == (verdict != "healthy")
    assert not any("pooling" in line for line in found.advice(once=False))
    assert not found.keeps


def test_what_arrives_at_the_end_is_told_from_what_arrives_before():
    """A loss that reads all steps hides that nothing of its last part comes back."""
    layer = orthogonal(0.5)
    x = torch.randn(2, 20, 2, dtype=DOUBLE)
    seen = trace(layer, x, lengths=[20, 12], loss=lambda result: result[0].sum())
    assert flow(seen["l0"]).rate == pytest.approx(0.5, rel=1e-6)
    assert carry(seen["l0"])[5] / carry(seen["l0"])[0] == pytest.approx(0.5**5, rel=1e-6)


def test_a_sequence_at_whose_end_nothing_arrives_hides_no_other():
    """A sure and right answer has no gradient; the rest explodes all the same."""
    x = torch.randn(2, 60, 2, dtype=DOUBLE)
    seen = trace(orthogonal(1.2), x, loss=lambda result: result[0][0, -1].sum())
    assert flow(seen["l0"]).verdict == "exploding"
    assert flow(seen["l0"]).rate == pytest.approx(1.2, rel=1e-6)
    shorter = trace(
        orthogonal(0.9), x, lengths=[40, 60], loss=lambda result: result[0][0, 39].sum()
    )
    assert len(carry(shorter["l0"])) == 40
    nothing = trace(orthogonal(1.2), x, loss=lambda result: 0 * result[0].sum())
    assert not carry(nothing["l0"]).any()


def test_a_gradient_is_followed_down_to_the_smallest_numbers():
    x = torch.randn(1, 500, 2, dtype=DOUBLE)
    found = flow(trace(orthogonal(0.3), x)["l0"])
    assert found.ratio == pytest.approx(0.3**499, rel=1e-6)  # 1e-261: its square is no number
    assert found.rate == pytest.approx(0.3, rel=1e-6)


def test_a_gradient_that_overflows_explodes():
    layer = Recurrent(Linear, 1, 3, backend="reference")
    with torch.no_grad():
        layer.weight_hh_l0.copy_(4 * torch.eye(3))
    seen = trace(layer, torch.randn(1, 90, 1) * 1e-30, loss=lambda r: r[0][:, -1].sum())
    assert flow(seen["l0"]).verdict == "exploding"


@pytest.mark.parametrize("name", names())
def test_products_of_jacobians_are_autograds(name):
    layer = a_layer(name, 3, 4, backend="reference")
    x = torch.randn(1, 6, 3, dtype=DOUBLE)
    seen = trace(layer, x)
    ours = jacobians(seen["l0"])
    (one,), first = singles(layer), layer.cell.states[0]
    _, before = one(x[:, :2])  # from the states after two steps to the output after six
    kept = {s: v for s, v in before.items() if s not in layer.cell.states}

    def rest(*values):
        state = {**dict(zip(layer.cell.states, values, strict=True)), **kept}
        return one(x[:, 2:], state)[1][first].flatten()

    wanted = torch.autograd.functional.jacobian(rest, tuple(before[s] for s in layer.cell.states))
    flat = torch.cat([j.reshape(len(j), -1) for j in wanted], 1)
    assert_near(torch.from_numpy(ours[2]), flat, 20)
    norm = float((flat[:, : layer.width] ** 2).sum() / layer.width) ** 0.5
    assert gains(seen["l0"])[2] == pytest.approx(norm, rel=1e-9)


def test_long_jacobians_go_in_pieces(monkeypatch):
    seen = trace(a_layer("lstm", 3, 4, backend="reference"), torch.randn(1, 30, 3, dtype=DOUBLE))
    whole, exponents = gains(seen["l0"]), lyapunov(seen["l0"], 3)
    monkeypatch.setattr("unrolled.inspect.flows.SEGMENT", 4 * 8 * 7)
    assert np.allclose(gains(seen["l0"]), whole, rtol=1e-12)
    assert np.allclose(lyapunov(seen["l0"], 3), exponents, rtol=1e-9)


def test_exponents_of_a_linear_network_are_the_logarithms_of_its_eigenvalues():
    layer = Recurrent(Linear, 1, 3, dtype=DOUBLE, backend="reference")
    matrix = torch.tensor([[0.9, 0.5, 0.1], [0.0, 0.6, 0.3], [0.0, 0.0, 0.2]], dtype=DOUBLE)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(matrix)
    seen = trace(layer, torch.randn(1, 300, 1, dtype=DOUBLE))
    assert lyapunov(seen["l0"], 3) == pytest.approx(np.log([0.9, 0.6, 0.2]), abs=1e-6)


def parameters_of(layer, grads):
    """Gradients of the parameters, from those of the matrices that are multiplied with."""
    named = layer._named(0, 0)
    params = effective(layer._evaluation_cell, layer._sizes(0), named)
    made = {"x_weight": params.x_weight, "u_weight": params.u_weight}
    made |= {"x_bias": params.x_bias, "u_bias": params.u_bias}
    made |= {f"w.{k}": v for k, v in params.weights.items()}
    made |= {f"proj.{k}": v for k, v in params.projs.items()}
    loss = sum((made[k] * g).sum() for k, g in grads.items() if not k.startswith("norm."))
    for name, (gain, shift) in params.norms.items():
        both = grads[f"norm.{name}"].split(len(gain))
        loss = loss + (gain * both[0]).sum()
        loss = loss + ((shift * both[1]).sum() if shift is not None else 0)
    return torch.autograd.grad(loss, list(named.values()), allow_unused=True)


@pytest.mark.parametrize("name", names())
def test_shares_add_up_to_the_gradient(name):
    layer = a_layer(name, 3, 4, backend="reference")
    seen = trace(layer, torch.randn(3, 7, 3, dtype=DOUBLE), lengths=[7, 2, 5])
    found = shares(seen["l0"])
    for share in found.values():
        parts = torch.stack([share.at(t) for t in range(7)])
        assert_near(parts.sum(0), share.total, 20)
        lengths = parts.flatten(1).norm(dim=1).numpy()
        assert np.allclose(share.norms, lengths, rtol=1e-6, atol=1e-7 * max(1.0, lengths.max()))
        if share.total.any():
            assert share.parts.sum() == pytest.approx(1, abs=1e-6)
    assert together(found).sum() == pytest.approx(1, abs=1e-6)
    ours = parameters_of(layer, {k: s.total for k, s in found.items()})
    for wanted, got in zip(seen.parameters.values(), ours, strict=True):
        assert_near(torch.zeros_like(wanted) if got is None else got, wanted, 20)


def test_options_have_their_shares_too():
    layer = a_layer("gru", 3, 4, backend="reference", layer_norm=True)
    seen = trace(layer, torch.randn(2, 5, 3, dtype=DOUBLE))
    ours = parameters_of(layer, {k: s.total for k, s in shares(seen["l0"]).items()})
    for wanted, got in zip(seen.parameters.values(), ours, strict=True):
        assert_near(got, wanted, 20)
