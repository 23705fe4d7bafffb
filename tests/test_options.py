"""Options of a layer and of a cell: each held against what it means, computed by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from near import assert_near, assert_same_bits
from unrolled.cells import Cell, find, names, sigmoid, tanh
from unrolled.engine.options import with_options
from unrolled.errors import CellError, ShapeError
from unrolled.layers import Recurrent

DOUBLE = {"dtype": torch.float64}


class Simple(Cell):
    """One gate: by hand it is a line."""

    gates, states = "a", "h"

    def step(self, x, u, h):
        return {"h": tanh(x.a + u.a(h))}


def make(cell, *sizes, **options):
    torch.manual_seed(2)
    return Recurrent(cell, *sizes, **{"backend": "reference", **DOUBLE, **options})


def loop(layer, x, u, first=None, between=lambda t, h: h):
    """h = tanh(W x + b + U h + c), with another U, or with something between."""
    h = x.new_zeros(len(x), layer.hidden_size) if first is None else first
    rows = []
    for t in range(x.shape[1]):
        h = between(t, h)
        h = torch.tanh(
            F.linear(x[:, t], layer.weight_ih_l0, layer.bias_ih_l0)
            + F.linear(h, u, layer.bias_hh_l0)
        )  # fmt: skip  as the equation is
        rows.append(h)
    return torch.stack(rows, 1)


# ---- layer norm


def test_layer_norm_normalises_both_products_apart_before_the_bias():
    layer, x = make(Simple, 3, 5, layer_norm=True), torch.randn(2, 4, 3, **DOUBLE)
    with torch.no_grad():
        for p in layer.parameters():
            p.uniform_(-1, 1)
    h = torch.zeros(2, 5, **DOUBLE)
    for t in range(4):
        of_x = F.layer_norm(x[:, t] @ layer.weight_ih_l0.T, (5,), layer.norm_x_a_weight_l0)
        of_u = F.layer_norm(h @ layer.weight_hh_l0.T, (5,), layer.norm_u_a_weight_l0)
        h = torch.tanh(of_x + layer.bias_ih_l0 + of_u + layer.bias_hh_l0)
    assert_near(layer(x)[0][:, -1], h, 4)


def test_layer_norm_without_bias():
    layer, x = make("lstm", 3, 5, layer_norm=True, bias=False), torch.randn(2, 4, 3, **DOUBLE)
    scaled = make("lstm", 3, 5, layer_norm=True, bias=False)
    with torch.no_grad():
        scaled.weight_ih_l0.mul_(1000)
    assert not any(k.startswith("bias") for k, _ in layer.named_parameters())
    difference = (scaled(x)[0] - layer(x)[0]).abs().max()
    assert difference < 1e-3  # what is normalised does not depend on its scale


def test_layer_norm_of_a_cell_and_of_the_layer_are_one():
    cell, option = make("layernorm-lstm", 3, 5), make("layernorm-lstm", 3, 5, layer_norm=True)
    assert [*cell.state_dict()] == [*option.state_dict()]


@pytest.mark.parametrize("name", names())
def test_every_cell_takes_every_option(name):
    finite = {s: 0.1 for s, v in find(name).trace().init.items() if math.isfinite(v)}
    layer = make(
        name,
        3,
        4,
        2,
        bidirectional=True,
        layer_norm=True,
        variational=0.3,
        zoneout=finite,
        weight_drop=0.2,
        dropout=0.2,
        learn_initial=True,
    )  # fmt: skip  a list of options
    x = torch.randn(2, 5, 3, **DOUBLE, requires_grad=True)
    for training in (True, False):
        output, final = layer.train(training)(x, lengths=[5, 3])
        assert torch.isfinite(output).all()
        assert torch.equal(layer(x)[0], layer(x)[0]) != training
    (output.sum() + sum(v.sum() for v in final.values())).backward()
    assert torch.isfinite(x.grad).all()


# ---- variational dropout


def test_variational_dropout_multiplies_u_by_one_mask_a_sequence():
    layer, x = make(Simple, 3, 50, variational=0.4), torch.randn(2, 6, 3, **DOUBLE)
    torch.manual_seed(9)
    output, _ = layer(x)
    torch.manual_seed(9)
    mask = torch.empty(2, 50, **DOUBLE).bernoulli_(0.6) / 0.6
    assert 0 < int((mask == 0).sum()) < 100
    assert not torch.equal(mask[0], mask[1])
    assert_near(output, loop(layer, x, layer.weight_hh_l0, between=lambda t, h: h * mask), 6)
    layer.eval()
    assert_near(layer(x)[0], loop(layer, x, layer.weight_hh_l0), 6)


def test_each_operand_of_u_has_a_mask():
    traced = with_options(find("gru-first").trace(), variational=True, training=True)
    assert len(traced.masks) == 2
    assert with_options(find("gru-first").trace(), variational=True, training=False).masks == ()
    assert with_options(find("lstm").trace(), variational=True, training=True).masks == ("H_0",)


def test_gradients_pass_only_where_the_mask_lets_them():
    layer = make(Simple, 3, 40, variational=0.5)
    torch.manual_seed(9)
    first = torch.randn(1, 1, 40, **DOUBLE, requires_grad=True)
    layer(torch.randn(1, 1, 3, **DOUBLE), {"h": first})[0].sum().backward()
    torch.manual_seed(9)
    torch.randn(1, 1, 40, **DOUBLE)
    torch.randn(1, 1, 3, **DOUBLE)
    mask = torch.empty(1, 40, **DOUBLE).bernoulli_(0.5)
    assert torch.equal(first.grad[0] == 0, mask == 0)


# ---- zoneout


def test_zoneout_keeps_states_in_training():
    layer, x = make("lstm", 3, 30, zoneout={"c": 0.3}), torch.randn(2, 8, 3, **DOUBLE)
    _, _, seen = layer(x, observe=("c", "h"))
    c = seen["c"][0]
    kept = (c[:, 1:] == c[:, :-1]).double().mean()
    assert 0.2 < kept < 0.4
    h = seen["h"][0]
    assert not (h[:, 1:] == h[:, :-1]).any()


def test_zoneout_draws_one_noise_a_step():
    layer, x = make(Simple, 3, 30, zoneout=0.3), torch.randn(2, 5, 3, **DOUBLE)
    torch.manual_seed(9)
    output, _ = layer(x)
    torch.manual_seed(9)
    noise = torch.empty(5, 2, 30, **DOUBLE).bernoulli_(0.3)
    h = torch.zeros(2, 30, **DOUBLE)
    for t in range(5):
        new = loop(layer, x[:, t : t + 1], layer.weight_hh_l0, h)[:, 0]
        h = noise[t] * h + (1 - noise[t]) * new
        assert_near(output[:, t], h, 5)


def test_zoneout_in_evaluation_is_its_expectation():
    layer, x = make(Simple, 3, 5, zoneout=0.3), torch.randn(2, 5, 3, **DOUBLE)
    h = torch.zeros(2, 5, **DOUBLE)
    for t in range(5):
        h = 0.3 * h + 0.7 * loop(layer, x[:, t : t + 1], layer.weight_hh_l0, h)[:, 0]
    assert_near(layer.eval()(x)[0][:, -1], h, 5)


def test_zoneout_of_a_state_that_starts_at_minus_infinity_is_refused():
    with pytest.raises(CellError, match="zoneout of 'm' in slstm: expected states that start fin"):
        Recurrent("slstm", 3, 4, zoneout=0.1)
    assert Recurrent("slstm", 3, 4, zoneout={"h": 0.1}).zoneout == {"h": 0.1}


# ---- weight drop and dropout between layers


def test_weight_drop_drops_weights_of_u_once_a_call():
    layer, x = make(Simple, 3, 20, weight_drop=0.4), torch.randn(2, 6, 3, **DOUBLE)
    torch.manual_seed(9)
    output, _ = layer(x)
    torch.manual_seed(9)
    dropped = F.dropout(layer.weight_hh_l0, 0.4)
    assert 0 < int((dropped == 0).sum()) < 400
    assert_near(output, loop(layer, x, dropped), 6)
    assert_near(layer.eval()(x)[0], loop(layer, x, layer.weight_hh_l0), 6)


def test_dropout_is_between_layers_alone():
    layer, x = make(Simple, 3, 400, 2, dropout=0.5), torch.randn(1, 2, 3, **DOUBLE)
    _, _, seen = layer(x, observe=("h",))
    assert not (seen["h"] == 0).any()
    one = make(Simple, 3, 4, dropout=0.5)
    assert torch.equal(one(x)[0], one(x)[0])


def test_one_seed_gives_one_result():
    layer = make("gru", 3, 4, 2, dropout=0.3, variational=0.3, zoneout=0.3, weight_drop=0.3)
    x, found = torch.randn(2, 5, 3, **DOUBLE), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(layer(x)[0])
    assert_same_bits(found[0], found[1])
    assert not torch.equal(found[0], found[2])


# ---- derived and tied matrices


def test_an_antisymmetric_u():
    class Anti(Simple):
        structure, hyper = {"u": "antisymmetric"}, {"gamma": 0.25}

    layer, x = make(Anti, 3, 5), torch.randn(2, 6, 3, **DOUBLE)
    m = layer.weight_hh_l0
    dense = m - m.T - 0.25 * torch.eye(5, **DOUBLE)
    assert_near(layer(x)[0], loop(layer, x, dense), 6)
    assert_near(dense + dense.T, -0.5 * torch.eye(5, **DOUBLE))
    got = torch.autograd.grad(layer(x)[0].sum(), m)[0]
    assert_near(got, torch.autograd.grad(loop(layer, x, dense).sum(), m)[0], 12)


def test_a_block_diagonal_u():
    class Blocks(Simple):
        structure, heads = {"u": "blocks"}, 3

    layer, x = make(Blocks, 3, 6), torch.randn(2, 6, 3, **DOUBLE)
    assert layer.weight_hh_l0.shape == (6, 2)
    dense = torch.zeros(6, 6, **DOUBLE)
    for head in range(3):
        rows = slice(2 * head, 2 * head + 2)
        dense[rows, rows] = layer.weight_hh_l0[rows]
    assert_near(layer(x)[0], loop(layer, x, dense), 6)
    with pytest.raises(ShapeError, match="a number of units that 3 divides, got 5"):
        Recurrent(Blocks, 3, 5)


def test_heads_of_the_catalogue():
    layer = make(type(find("slstm"))(heads=2), 3, 4)
    assert layer.weight_hh_l0.shape == (16, 2)
    x = torch.randn(1, 5, 3, **DOUBLE)
    first, second = x.new_zeros(1, 1, 4), x.new_zeros(1, 1, 4)
    second[..., 2:] = 1.0  # the second head's h: the first head's gates do not see it
    seen = [layer(x[:, :1], {"h": h}, observe=("i", "h"))[2] for h in (first, second)]
    assert torch.equal(seen[0]["h"][..., :2], seen[1]["h"][..., :2])
    assert not torch.equal(seen[0]["h"][..., 2:], seen[1]["h"][..., 2:])


def test_shared_matrices():
    class Shared(Cell):
        gates, states, structure = "z n", "h", {"x": "shared", "u": "shared"}

        def step(self, x, u, h):
            z = sigmoid(x.z + u.z(h))
            return {"h": (1 - z) * tanh(x.n + u.n(h)) + z * h}

    layer, x = make(Shared, 3, 4), torch.randn(2, 5, 3, **DOUBLE)
    assert layer.weight_ih_l0.shape == (4, 3)
    assert layer.weight_hh_l0.shape == (4, 4)
    h = torch.zeros(2, 4, **DOUBLE)
    for t in range(5):
        both = x[:, t] @ layer.weight_ih_l0.T + h @ layer.weight_hh_l0.T
        bias = (layer.bias_ih_l0 + layer.bias_hh_l0).view(2, 4)
        z, n = torch.sigmoid(both + bias[0]), torch.tanh(both + bias[1])
        h = (1 - z) * n + z * h
    assert_near(layer(x)[0][:, -1], h, 5)


def test_a_weight_shared_by_all_units():
    class One(Cell):
        gates, states, structure = "a", "h", {"w": "shared"}

        def step(self, x, u, w, h):
            return {"h": sigmoid(w.k) * tanh(x.a + u.a(h)) + h}

    layer, x = make(One, 3, 4), torch.randn(2, 1, 3, **DOUBLE)
    expected = torch.sigmoid(layer.w_k_l0) * loop(layer, x, layer.weight_hh_l0)
    assert layer.w_k_l0.numel() == 1
    assert_near(layer(x)[0], expected)


def test_a_projection():
    layer, x = make("lstmp", 3, 6, proj_size=2), torch.randn(2, 4, 3, **DOUBLE)
    output, final = layer(x)
    assert output.shape == (2, 4, 2)
    assert final["c"].shape == (1, 2, 6)
    assert layer.weight_hr_l0.shape == (2, 6)
    assert layer.weight_hh_l0.shape == (24, 2)


def test_a_window_reads_the_last_inputs():
    class Two(Cell):
        gates, states, window = "a", "h", 2

        def step(self, x, h):
            return {"h": x.a}

    layer, x = make(Two, 3, 4, bias=False), torch.randn(1, 4, 3, **DOUBLE)
    before = torch.cat([torch.zeros(1, 1, 3, **DOUBLE), x[:, :-1]], 1)
    expected = torch.cat([before, x], -1) @ layer.weight_ih_l0.T
    assert_near(layer(x)[0], expected)
    _, state = layer(x)
    assert_same_bits(state["inputs"][0], x[:, -1])


def test_hyper_parameters_change_what_is_computed():
    kind = type(find("lem"))
    slow, fast = make(kind(dt=0.0), 3, 4), make(kind(dt=1.0), 3, 4)
    x = torch.randn(1, 5, 3, **DOUBLE)
    assert not slow(x)[0].any()
    assert fast(x)[0].any()


# ---- first values


def started(**start):
    class Started(Cell):
        gates, states = "i f", "h"

        def step(self, x, u, w, h):
            return {"h": sigmoid(x.f + u.f(h)) * h + tanh(x.i + u.i(h)) * w.p}

    kind = type(
        "Started", (Started,), {"start": {k.replace("_", "."): v for k, v in start.items()}}
    )
    return make(kind, 6, 8)


def test_where_nothing_is_said_values_are_pytorchs():
    layer, bound = started(), 1 / math.sqrt(8)
    for p in layer.parameters():
        assert p.abs().max() <= bound
        assert p.std() > bound / 4


def test_the_first_values_are_what_the_cell_says():
    layer = started(u="orthogonal", x_f="xavier", w_p="ones", b_f=1.5)
    first, second = layer.weight_hh_l0.split(8)
    for block in (first, second):
        assert_near(block @ block.T, torch.eye(8, **DOUBLE))
    assert not torch.equal(first, second)
    assert layer.weight_ih_l0[8:].abs().max() <= math.sqrt(6 / 14)
    assert layer.weight_ih_l0[8:].abs().max() > 1 / math.sqrt(8)
    assert layer.weight_ih_l0[:8].abs().max() <= 1 / math.sqrt(8)
    assert layer.w_p_l0.eq(1).all()
    total = layer.bias_ih_l0 + layer.bias_hh_l0
    assert total[8:].eq(1.5).all()  # the two biases add up: together they are what was said
    assert not total[:8].eq(1.5).any()


@pytest.mark.parametrize(
    ("way", "holds"),
    [
        ("zeros", lambda v: v.eq(0).all()),
        ("ones", lambda v: v.eq(1).all()),
        (0.25, lambda v: v.eq(0.25).all()),
        (-3, lambda v: v.eq(-3).all()),
        ("identity", lambda v: torch.equal(v[:8], torch.eye(8, **DOUBLE))),
        (("uniform", 2.0, 3.0), lambda v: v.min() >= 2 and v.max() <= 3 and v.std() > 0.1),
        (["uniform", 2.0, 3.0], lambda v: v.min() >= 2 and v.max() <= 3),
        (("normal", 10.0), lambda v: 5 < v.std() < 15),
        (("logit", 0.25, 0.75), lambda v: v.sigmoid().min() >= 0.25 and v.sigmoid().max() <= 0.75),
        (("chrono", 50.0), lambda v: v.min() >= 0 and v.max() <= math.log(49) and v.std() > 0.1),
    ],
)
def test_ways_of_starting(way, holds):
    assert holds(started(u=way).weight_hh_l0)


def test_biases_all_together():
    layer = started(b=2.0)
    assert (layer.bias_ih_l0 + layer.bias_hh_l0).eq(2).all()


def test_blocks_start_each_by_itself():
    class Blocks(Simple):
        structure, heads, start = {"u": "blocks"}, 2, {"u": "orthogonal"}

    for block in make(Blocks, 3, 8).weight_hh_l0.chunk(2):
        assert_near(block @ block.T, torch.eye(4, **DOUBLE))


def test_first_values_of_no_features():
    class Xavier(Simple):
        start = {"x": "xavier", "u": "orthogonal"}

    assert make(Xavier, 0, 4).weight_ih_l0.shape == (4, 0)
