"""Each cell of the catalogue is its paper's: by hand, by PyTorch, by what is known of it."""

import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from near import assert_near
from papers import BY_HAND, mgu, sigma, tanh
from unrolled.cells import CATALOGUE, cite, find, names
from unrolled.cells.paper import family, field
from unrolled.layers import Recurrent

T, B, I, H = 5, 2, 3, 4


BY_TORCH = {"rnn": "RNN", "rnn-relu": "RNN", "lstm": "LSTM", "lstmp": "LSTM", "gru": "GRU"}
SCANS = {"indrnn", "sru", "qrnn", "mingru", "minlstm", "rg-lru", "unicornn"}


def ready(cell, **options):
    """A layer in float64, every parameter drawn anew, and an input."""
    layer = Recurrent(cell, I, H, dtype=torch.float64, backend="reference", **options)
    with torch.no_grad():
        for value in layer.parameters():
            value.normal_(0.0, 0.7)
    return layer, torch.randn(B, T, I, dtype=torch.float64)


def parameters(layer, x_gates, u_gates):
    """The parameters by side and gate, read off the names and shapes that the layer documents."""
    rows = {name.removesuffix("_l0"): v.detach().numpy() for name, v in layer.named_parameters()}

    def split(name, gates):
        blocks = rows.get(name, np.empty(0)).reshape(-1, H, *rows.get(name, np.empty(0)).shape[1:])
        return SimpleNamespace(**dict(zip(gates.split(), blocks, strict=False)))

    bx, bu = split("bias_ih", x_gates), split("bias_hh", u_gates)
    both = {
        k: bx.__dict__.get(k, 0) + bu.__dict__.get(k, 0) for k in f"{x_gates} {u_gates}".split()
    }
    norm = {k[5:].removesuffix("_weight"): v for k, v in rows.items() if k.startswith("norm_")}
    return SimpleNamespace(
        W=split("weight_ih", x_gates),
        U=split("weight_hh", u_gates),
        bx=bx,
        bu=bu,
        b=SimpleNamespace(**both),
        w=SimpleNamespace(**{k[2:]: v for k, v in rows.items() if k.startswith("w_")}),
        norm=norm,
        weight_ih=rows.get("weight_ih"),
        weight_hh=rows.get("weight_hh"),
    )


def by_hand(step, p, x, states):
    """Every value of every step, name → (B, T, H)."""
    seen = []
    for row in range(len(x)):
        state, p.before = {s: v[0, row].numpy() for s, v in states.items()}, np.zeros(I)
        order, steps = list(state), []
        for value in x[row].numpy():
            results = step(p, value, *(state[s] for s in order))
            state, p.before = {s: results[s] for s in order}, value
            steps.append(results)
        seen.append(steps)
    return {k: np.array([[s[k] for s in steps] for steps in seen]) for k in seen[0][0]}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_cell_is_the_one_of_its_paper(name):
    x_gates, u_gates, step = BY_HAND[name]
    layer, x = ready(name)
    states = {s: torch.randn(1, B, H, dtype=torch.float64) for s in layer.cell.states}
    expected = by_hand(step, parameters(layer, x_gates, u_gates), x, states)
    output, final, seen = layer(x, states, observe=tuple(expected))
    first, *_ = layer.cell.states
    np.testing.assert_allclose(output.detach(), expected[first], rtol=0, atol=1e-10)
    for k, value in expected.items():
        np.testing.assert_allclose(seen[k][0].detach(), value, rtol=0, atol=1e-10, err_msg=k)
    for s in layer.cell.states:
        np.testing.assert_allclose(final[s][0].detach(), expected[s][:, -1], rtol=0, atol=1e-10)


def test_a_wrong_sign_would_be_seen(monkeypatch):
    def wrong(p, x, h):
        return {"h": 2 * h - mgu(p, x, h)["h"]}

    monkeypatch.setitem(BY_HAND, "mgu", ("f n", "f n", wrong))
    with pytest.raises(AssertionError, match="Mismatched"):
        test_a_cell_is_the_one_of_its_paper("mgu")


@pytest.mark.parametrize("name", BY_TORCH)
def test_a_cell_is_pytorchs_where_pytorch_has_it(name):
    options = {"nonlinearity": "relu"} if name == "rnn-relu" else {}
    options |= {"proj_size": 2} if name == "lstmp" else {}
    rival = getattr(torch.nn, BY_TORCH[name])(
        I, H, batch_first=True, dtype=torch.float64, **options
    )
    projected = {"proj_size": 2} if name == "lstmp" else {}
    layer, x = ready(name, **projected)
    rival.load_state_dict(layer.state_dict())
    assert_near(layer(x)[0], rival(x)[0], T)


def test_every_cell_has_an_independent_source():
    assert {*BY_HAND, *BY_TORCH, "slstm"} == set(names())
    assert len(names()) >= 28


def test_slstm_is_the_exponential_gating_that_its_stabiliser_keeps_finite():
    """Without stabiliser: c = exp(f)... is what c exp(m) must be, and the output is the same."""
    layer, x = ready("slstm")
    p = parameters(layer, "i f z o", "i f z o")

    def step(p, x, h, c, n):
        i = np.exp(p.W.i @ x + p.U.i @ h + p.b.i)
        f = sigma(p.W.f @ x + p.U.f @ h + p.b.f)
        c = f * c + i * tanh(p.W.z @ x + p.U.z @ h + p.b.z)
        n = f * n + i
        return {"h": sigma(p.W.o @ x + p.U.o @ h + p.b.o) * c / n, "c": c, "n": n}

    zeros = {s: torch.zeros(1, B, H, dtype=torch.float64) for s in "hcn"}
    expected = by_hand(step, p, x, zeros)
    output, _, seen = layer(x, observe=("c", "n", "m"))
    np.testing.assert_allclose(output.detach(), expected["h"], rtol=0, atol=1e-10)
    scale = seen["m"][0].exp()
    for k in "cn":
        np.testing.assert_allclose(
            (seen[k][0] * scale).detach(), expected[k], rtol=1e-10, atol=1e-10
        )


def test_slstm_stays_finite_where_its_exponentials_do_not():
    layer, x = ready("slstm")
    output, _ = layer(1e4 * x)
    assert torch.isfinite(output).all()
    assert (output.abs() <= 1).all()


def test_heads_of_slstm_do_not_see_each_other():
    layer, x = ready(type(find("slstm"))(heads=2))
    assert layer.weight_hh_l0.shape == (4 * H, H // 2)
    start = layer.initial_states(B, x)["h"].requires_grad_()
    output, _ = layer(x, {"h": start})
    (gradient,) = torch.autograd.grad(output[..., : H // 2].sum(), start)
    assert gradient[..., : H // 2].all()
    assert not gradient[..., H // 2 :].any()


def test_coupled_gates_sum_to_one():
    layer, x = ready("coupled-lstm")
    seen = layer(x, observe=("i", "f"))[2]
    assert_near(seen["i"] + seen["f"], torch.ones_like(seen["i"]))
    layer, x = ready("minlstm")
    seen = layer(x, observe=("i", "f"))[2]
    assert_near(seen["i"] + seen["f"], torch.ones_like(seen["i"]))


def test_without_a_forget_gate_nothing_is_forgotten():
    """The constant error carousel: with h held, the cell state passes gradients unchanged."""
    layer, x = ready("lstm-1997")
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
    start = torch.zeros(1, B, H, dtype=torch.float64, requires_grad=True)
    _, final = layer(x, {"c": start})
    (gradient,) = torch.autograd.grad(final["c"].sum(), start)
    assert_near(gradient, torch.ones_like(gradient))


@pytest.mark.parametrize("name", ["antisymmetric", "gated-antisymmetric"])
def test_an_antisymmetric_cell_neither_grows_nor_fades_but_by_gamma(name):
    from unrolled.layers.parameters import Sizes, effective

    cell = type(find(name))(gamma=0.3)
    layer, _ = ready(cell)
    named = {k.removesuffix("_l0"): v for k, v in layer.named_parameters()}
    u = effective(cell.trace(), Sizes(I, H, H), named).u_weight[:H]
    real = torch.linalg.eigvals(u).real
    assert_near(real, torch.full_like(real, -0.3), H)


def released(cell, steps, **values):
    """An oscillator without forces, let go at y = 1, z = 0: positions and velocities (steps)."""
    layer = Recurrent(cell, 0, 1, dtype=torch.float64, backend="reference", bias=False)
    with torch.no_grad():
        for name, value in layer.named_parameters():
            value.fill_(values.get(name, 0.0))
    one, nothing = torch.ones(1, 1, 1, dtype=torch.float64), torch.zeros(1, steps, 0).double()
    seen = layer(nothing, {"y": one, "z": 0 * one}, observe=("y", "z"))[2]
    return seen["y"].flatten().detach(), seen["z"].flatten().detach()


def test_cornn_without_forces_loses_its_energy_by_damping_alone():
    kind = type(find("cornn"))
    y, z = released(kind(dt=0.05, gamma=2.0, epsilon=0.5), 600)
    energy = 2.0 * y * y + z * z
    assert energy.max() < 2.1
    assert energy[-1] < 1e-5
    y, z = released(kind(dt=0.05, gamma=2.0, epsilon=0.0), 600)
    kept = 2.0 * y * y + z * z - 0.05 * 2.0 * y * z  # what symplectic Euler keeps exactly
    assert_near(kept, torch.full_like(kept, 2.0), 600)


def test_unicornn_preserves_the_volume_of_its_states():
    layer, x = ready("unicornn")
    start = {s: torch.randn(1, 1, H, dtype=torch.float64) for s in "yz"}

    def flow(y, z):
        final = layer(x[:1], {"y": y, "z": z})[1]
        return final["y"], final["z"]

    blocks = torch.autograd.functional.jacobian(flow, (start["y"], start["z"]))
    matrix = torch.cat([torch.cat([b.reshape(H, H) for b in row], 1) for row in blocks])
    assert abs(float(torch.linalg.det(matrix)) - 1) < 1e-9


def test_the_square_of_rg_lrus_norm_is_what_its_decay_leaves():
    layer, x = ready("rg-lru")
    output, _, seen = layer(x, observe=("a", "i"))
    a, i = seen["a"][0], seen["i"][0]
    assert ((a > 0) & (a < 1)).all()
    v = x @ layer.weight_ih_l0[2 * H :].T + layer.bias_ih_l0[2 * H :]
    before = torch.cat([torch.zeros_like(output[:, :1]), output[:, :-1]], 1)
    norm = (output - a * before) / (i * v)
    torch.testing.assert_close(norm**2 + a**2, torch.ones_like(a), rtol=0, atol=1e-9)


@pytest.mark.parametrize("extreme", [1e4, -1e4])
@pytest.mark.parametrize("name", names())
def test_extreme_inputs_give_finite_outputs_and_gradients(name, extreme):
    layer, _ = ready(name)
    x = torch.full((B, T, I), extreme, dtype=torch.float64, requires_grad=True)
    output, _ = layer(x)
    output.sum().backward()
    for value in (output, x.grad, *(p.grad for p in layer.parameters() if p.grad is not None)):
        assert torch.isfinite(value).all()


@pytest.mark.parametrize(
    ("name", "keep", "add"),
    [
        ("mingru", lambda g: 1 - sigma(g["z"]), lambda g: sigma(g["z"]) * g["n"]),
        (
            "minlstm",
            lambda g: sigma(g["f"]) / (sigma(g["f"]) + sigma(g["i"])),
            lambda g: sigma(g["i"]) / (sigma(g["f"]) + sigma(g["i"])) * g["n"],
        ),
    ],
)
def test_a_minimal_cell_is_its_closed_form_in_parallel(name, keep, add):
    """h_t = A_t (h_0 + sum of b_s / A_s), A the running product of what is kept."""
    layer, x = ready(name)
    gates = (x @ layer.weight_ih_l0.T + layer.bias_ih_l0).detach().numpy()
    g = dict(zip(layer.cell.gates, np.split(gates, len(layer.cell.gates), -1), strict=True))
    start = torch.randn(1, B, H, dtype=torch.float64)
    kept = np.cumprod(keep(g), 1)
    expected = kept * (start[0].numpy()[:, None] + np.cumsum(add(g) / kept, 1))
    np.testing.assert_allclose(layer(x, {"h": start})[0].detach(), expected, rtol=0, atol=1e-10)


def test_scrns_context_is_a_moving_average_of_its_input():
    layer, x = ready("scrn")
    inputs = (x @ layer.weight_ih_l0[H:].T + layer.bias_ih_l0[H:]).detach()
    weights = 0.05 * 0.95 ** torch.arange(T - 1, -1, -1, dtype=torch.float64)
    expected = (weights[:, None] * inputs).sum(1)
    assert_near(layer(x)[1]["s"][0], expected, T)


def test_qrnn_looks_one_input_back_and_no_further():
    layer, x = ready("qrnn")
    x.requires_grad_()
    _, _, seen = layer(x, observe=("f",))
    (gradient,) = torch.autograd.grad(seen["f"][0, :, 3].sum(), x)
    reached = gradient.abs().sum((0, 2)) > 0
    assert reached.tolist() == [False, False, True, True, False]


def test_cells_of_a_scan_have_no_matrix_in_the_recurrence():
    without = {name for name in names() if not find(name).trace().u_gates}
    assert without == SCANS
    for name in SCANS:
        assert not any("_hh" in k for k in Recurrent(name, I, H).state_dict())


@pytest.mark.parametrize("name", sorted(SCANS))
def test_units_of_a_scan_do_not_see_each_other(name):
    layer, x = ready(name)
    start = {s: torch.rand(1, B, H, dtype=torch.float64) for s in layer.cell.states}
    start[layer.cell.states[-1]].requires_grad_()
    output, _ = layer(x, start)
    (gradient,) = torch.autograd.grad(output[..., 0].sum(), start[layer.cell.states[-1]])
    assert not gradient[..., 1:].any()


def test_first_values_are_those_of_the_papers():
    janet = Recurrent("janet", I, 500)
    forget, other = janet.bias_ih_l0.detach().split(500)
    assert not other.any()
    assert not janet.bias_hh_l0.any()
    steps = forget.exp()  # the memory that each unit begins with, uniform up to T - 1
    assert 1 <= steps.min() < 5
    assert 94 < steps.max() <= 99.001
    assert abs(float(steps.mean()) - 50) < 5

    decay = torch.sigmoid(Recurrent("rg-lru", I, 500).w_a_l0.detach().double()) ** 8
    assert 0.8999 < decay.min() < 0.902
    assert 0.997 < decay.max() < 0.9991

    ugrnn = Recurrent("ugrnn", I, H)
    assert (ugrnn.bias_ih_l0[:H] + ugrnn.bias_hh_l0[:H]).tolist() == [1.0] * H

    fast = Recurrent("fastrnn", I, H)
    assert (fast.w_alpha_l0.tolist(), fast.w_beta_l0.tolist()) == ([-3.0], [3.0])
    gated = Recurrent("fastgrnn", I, H)
    assert gated.weight_ih_l0.shape == (H, I)
    assert gated.weight_hh_l0.shape == (H, H)
    assert (gated.w_zeta_l0.tolist(), gated.w_nu_l0.tolist()) == ([1.0], [-4.0])

    own = Recurrent("indrnn", I, 500).w_a_l0
    assert 0 <= own.min() < 0.02
    assert 0.98 < own.max() <= 1
    oscillators = Recurrent("unicornn", I, 500)
    assert oscillators.w_c_l0.abs().max() <= 0.1
    assert not oscillators.bias_ih_l0.any()


@pytest.mark.parametrize("name", names())
def test_every_gate_and_state_has_a_word_in_both_languages(name):
    traced = find(name).trace()
    assert set(traced.labels) >= {*traced.gates, *traced.states}
    for english, korean in traced.labels.values():
        assert re.fullmatch(r"[A-Za-z][A-Za-z ,]+", english)
        assert re.search("[가-힣]", korean)
    assert len(set(traced.labels.values())) == len(traced.labels)


def parsed(bibtex):
    """Kind, key and fields of one entry; every brace must find its partner."""
    head = re.match(r"@(article|inproceedings)\{([a-z]+\d{4}[a-z]+),\n", bibtex)
    assert head, bibtex
    assert bibtex.endswith("\n}")
    body, fields = bibtex[head.end() : -2], {}
    while body.strip():
        found = re.match(r"\s*(\w+)\s*=\s*\{", body)
        assert found, body
        depth, end = 1, found.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(body[end], 0)
            end += 1
        assert found[1] not in fields
        fields[found[1]] = body[found.end() : end - 1]
        body = body[end:].removeprefix(",")
    return head[1], head[2], fields


@pytest.mark.parametrize("name", names())
def test_every_cell_has_its_paper(name):
    paper = find(name).trace().paper
    kind, key, fields = parsed(paper)
    venue = "journal" if kind == "article" else "booktitle"
    assert {"title", "author", "year", venue} <= set(fields)
    assert fields["year"] == re.search(r"\d{4}", key)[0] == field(paper, "year")
    about = CATALOGUE[name].__doc__.splitlines()[0]
    authors = [family(a) for a in re.split(r"\s+and\s+", fields["author"])]
    assert authors[0] in about
    assert f"{fields['year']})." in about


def test_a_brace_that_is_not_closed_would_be_seen():
    paper = find("lstm").trace().paper
    assert parsed(paper)[1] == "gers2000learning"
    with pytest.raises((AssertionError, IndexError)):
        parsed(paper.replace("{LSTM}", "{LSTM"))


def test_one_key_is_one_paper():
    papers = {find(name).trace().paper for name in names()}
    keys = [parsed(paper)[1] for paper in papers]
    assert len(set(keys)) == len(keys)
    assert cite(*names()).count("@") == len(keys)


def test_all_cells_are_traced_in_an_instant():
    def once():
        began = time.perf_counter()
        for name in names():
            find(name).trace()
        return time.perf_counter() - began

    assert min(once() for _ in range(5)) < 0.05
