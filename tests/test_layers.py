"""Recurrent and RecurrentCell, for every cell: steps, states, observation, configuration."""

import copy
import io
import json
import math

import pytest
import torch
from torch import nn

from near import assert_near, assert_same_bits
from unrolled.cells import Cell, find, names, sigmoid, tanh
from unrolled.engine.reference import Products, step_on_tensors
from unrolled.errors import CellError, ModelError, ShapeError, UsageError
from unrolled.layers import Recurrent, RecurrentCell
from unrolled.layers.parameters import Sizes, effective

DOUBLE = {"dtype": torch.float64}


class Windowed(Cell):
    """Reads three inputs at each step."""

    gates, states, window = "z n", "h", 3

    def step(self, x, u, h):
        z = sigmoid(x.z + u.z(h))
        return {"h": (1 - z) * tanh(x.n + u.n(h)) + z * h, "z": z}


def make(cell, *sizes, **options):
    torch.manual_seed(2)
    return Recurrent(cell, *sizes, **{"backend": "reference", **DOUBLE, **options})


def by_hand(cell, layer, x, state=None):
    """One layer and direction as a loop over the cell's own step, all results at every step."""
    traced = cell.trace()
    sizes = Sizes(layer.input_size, layer.hidden_size, layer.proj_size or layer.hidden_size)
    params = effective(traced, sizes, {k[:-3]: v for k, v in layer.named_parameters()})
    products = Products(traced, params, layer.hidden_size)
    states = {s: v[0] for s, v in (state or layer.initial_states(len(x), x)).items()}
    before = [torch.zeros_like(x[:, 0]) for _ in range(traced.window - 1)]
    rows = []
    for t in range(x.shape[1]):
        wide = torch.cat([*before, x[:, t]], -1)
        before = [*before, x[:, t]][1:]
        results = step_on_tensors(cell, products, products.of_x(wide), states)
        states = {s: results[s] for s in traced.states}
        rows.append(results)
    return {k: torch.stack([r[k] for r in rows], 1) for k in rows[0]}


def reads(layer):
    """The states that the step reads."""
    graph = layer.cell.graph
    used = zip(graph.nodes, graph.users(), strict=True)
    return {node.attr for node, users in used if node.op == "state" and users}


CELLS = [*names(), "Windowed"]
PLAIN = [n for n in CELLS if n == "Windowed" or not find(n).layer_norm]


def cell_of(name):
    return Windowed() if name == "Windowed" else find(name)


@pytest.mark.parametrize("name", PLAIN)
def test_a_layer_is_a_loop_over_the_step_and_records_what_it_returns(name):
    cell = cell_of(name)
    layer = make(cell, 3, 4)
    x = torch.randn(2, 6, 3, **DOUBLE)
    expected = by_hand(cell, layer, x)
    output, final, seen = layer(x, observe=tuple(expected))
    assert_near(output, expected[layer.cell.states[0]], 6)
    for k, v in expected.items():
        assert seen[k].shape == (1, 2, 6, 4)
        assert_near(seen[k][0], v, 6)
    for s in layer.cell.states:
        assert_near(final[s][0], expected[s][:, -1], 6)


@pytest.mark.parametrize("name", CELLS)
def test_a_stream_of_steps_is_the_whole_sequence(name):
    layer = make(cell_of(name), 3, 4, 2)
    x = torch.randn(2, 7, 3, **DOUBLE)
    whole, last = layer(x)
    state, outputs = None, []
    for t in range(7):
        output, state = layer.step(x[:, t], state)
        outputs.append(output)
    assert_near(torch.stack(outputs, 1), whole, 14)
    first, state = layer(x[:, :3])
    second, state = layer(x[:, 3:], state)
    assert_near(torch.cat([first, second], 1), whole, 14)
    assert state.keys() == last.keys()
    for s, v in last.items():
        assert_near(state[s], v, 14)


@pytest.mark.parametrize("name", CELLS)
def test_a_stream_of_sequences_of_different_lengths_is_the_whole(name):
    layer = make(cell_of(name), 3, 4)
    x = torch.randn(2, 7, 3, **DOUBLE)
    _, state = layer(x[:, :4], lengths=[4, 1])
    rest = torch.stack([x[0, 4:], x[1, 1:4]])
    output, state = layer(rest, state, lengths=[3, 2])
    whole, last = layer(x, lengths=[7, 3])
    assert_near(output[0, :3], whole[0, 4:], 7)
    assert_near(output[1, :2], whole[1, 1:3], 7)
    for s, v in last.items():
        assert_near(state[s], v, 7)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_a_layer_of_one_step(name):
    layer = make(cell_of(name), 3, 4)
    cell = RecurrentCell(cell_of(name), 3, 4, backend="reference", **DOUBLE)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = torch.randn(2, 5, 3, **DOUBLE)
    state = None
    for t in range(5):
        state = cell(x[:, t], state)
    _, final = layer(x)
    for s, v in final.items():
        assert_near(state[s], v[0], 5)
    alone = cell(x[0, 0])
    both = cell(x[:, 0])
    for s, v in alone.items():
        assert_near(v, both[s][0])
    again = cell(x[0, 1], alone)
    for s, v in cell(x[:, 1], both).items():
        assert_near(again[s], v[0], 2)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("lstm", nn.LSTMCell),
        ("gru", nn.GRUCell),
        ("rnn", nn.RNNCell),
        ("rnn-relu", lambda *a, **k: nn.RNNCell(*a, nonlinearity="relu", **k)),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_cells_are_pytorchs(name, theirs, bias):
    torch.manual_seed(4)
    want = theirs(3, 5, bias=bias, **DOUBLE)
    torch.manual_seed(4)
    cell = RecurrentCell(name, 3, 5, bias=bias, backend="reference", **DOUBLE)
    assert list(cell.state_dict()) == list(want.state_dict())
    for k, v in want.state_dict().items():
        assert_same_bits(cell.state_dict()[k], v)
    x = torch.randn(2, 3, **DOUBLE, requires_grad=True)
    first = {s: torch.randn(2, 5, **DOUBLE) for s in cell.cell.states}
    got = cell(x, first)
    given = tuple(first.values()) if len(first) > 1 else first["h"]
    expected = want(x, given)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for one, other in zip(got.values(), expected, strict=True):
        assert_near(one, other)
    parameters = [x, *cell.parameters()]
    ours = torch.autograd.grad(sum(v.sum() for v in got.values()), parameters)
    other = torch.autograd.grad(sum(v.sum() for v in expected), [x, *want.parameters()])
    for one, two in zip(ours, other, strict=True):
        assert_near(one, two, 4)


@pytest.mark.parametrize("name", CELLS)
def test_time_first_is_batch_first_turned(name):
    layer = make(cell_of(name), 3, 4, 2, bidirectional=True)
    x = torch.randn(2, 5, 3, **DOUBLE)
    observed = layer.cell.observed[:1]
    output, final, *seen = layer(x, observe=observed)
    layer.batch_first = False
    turned, last, *turned_seen = layer(x.transpose(0, 1), observe=observed)
    assert_same_bits(turned.transpose(0, 1), output)
    for s, v in final.items():
        assert_same_bits(last[s], v)
    for k in observed:
        assert_same_bits(turned_seen[0][k].transpose(1, 2), seen[0][k])


@pytest.mark.parametrize("name", CELLS)
def test_both_directions_are_two_layers_side_by_side(name):
    both = make(cell_of(name), 3, 4, bidirectional=True)
    there, back = make(cell_of(name), 3, 4), make(cell_of(name), 3, 4)
    state = both.state_dict()
    there.load_state_dict({k: v for k, v in state.items() if not k.endswith("_reverse")})
    reverse = {k.removesuffix("_reverse"): v for k, v in state.items() if k.endswith("_reverse")}
    back.load_state_dict(reverse)
    x = torch.randn(2, 5, 3, **DOUBLE)
    output, final = both(x)
    one, first = there(x)
    other, second = back(x.flip(1))
    assert_near(output, torch.cat([one, other.flip(1)], -1), 5)
    for s in both.cell.states:
        assert_near(final[s], torch.cat([first[s], second[s]]), 5)


@pytest.mark.parametrize("name", CELLS)
def test_depth_is_layers_one_after_another(name):
    deep = make(cell_of(name), 3, 4, 2)
    first, second = make(cell_of(name), 3, 4), make(cell_of(name), 4, 4)
    state = deep.state_dict()
    first.load_state_dict({k: v for k, v in state.items() if k.endswith("_l0")})
    second.load_state_dict({k[:-1] + "0": v for k, v in state.items() if k.endswith("_l1")})
    x = torch.randn(2, 5, 3, **DOUBLE)
    expected, _ = second(first(x)[0])
    assert_near(deep(x)[0], expected, 10)


# ---- configuration


@pytest.mark.parametrize("name", CELLS)
def test_a_configuration_rebuilds_the_layer_without_its_class(name):
    layer = make(cell_of(name), 3, 4, 2, bidirectional=True, dropout=0.1, learn_initial=True)
    config = json.loads(json.dumps(layer.config()))
    again = Recurrent.from_config(config).to(torch.float64)
    again.load_state_dict(layer.state_dict())
    again.backend = "reference"
    x = torch.randn(2, 5, 3, **DOUBLE)
    assert_same_bits(again.eval()(x)[0], layer.eval()(x)[0])
    assert again.config() == layer.config()


@pytest.mark.parametrize("zoneout", [0.25, {"c": 0.5}])
def test_options_are_in_the_configuration(zoneout):
    options = {
        "bias": False,
        "dropout": 0.1,
        "variational": 0.2,
        "zoneout": zoneout,
        "weight_drop": 0.3,
        "layer_norm": True,
        "learn_initial": True,
        "batch_first": False,
    }  # fmt: skip  two lines of options
    layer = Recurrent("lstm", 3, 4, 2, **options)
    again = Recurrent.from_config(json.loads(json.dumps(layer.config())))
    for key, value in options.items():
        assert getattr(again, key) == value
    assert [*again.state_dict()] == [*layer.state_dict()]


@pytest.mark.parametrize(
    "config",
    [
        {},
        None,
        [],
        {**Recurrent("gru", 3, 4).config(), "extra": 1},
        {k: v for k, v in Recurrent("gru", 3, 4).config().items() if k != "bias"},
    ],
)
def test_a_configuration_that_is_not_one_is_refused(config):
    with pytest.raises(ModelError, match="layer's configuration: expected the fields"):
        Recurrent.from_config(config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", "4"),
        ("hidden_size", 10**12),
        ("num_layers", 2.0),
        ("num_layers", 10**9),
        ("bias", "yes"),
        ("bidirectional", 1),
        ("dropout", "0.5"),
        ("dropout", math.nan),
        ("zoneout", "0.1"),
        ("zoneout", {"q": 0.1}),
        ("zoneout", [0.1]),
        ("layer_norm", None),
        ("cell", {}),
        ("cell", "os:system"),
        ("proj_size", -1),
        ("batch_first", "no"),
        ("learn_initial", []),
        ("variational", 1),
        ("weight_drop", 2),
    ],
)  # fmt: skip  a table of values
def test_a_configuration_with_wrong_values_is_refused(key, value):
    config = {**Recurrent("gru", 3, 4).config(), key: value}
    with pytest.raises((ModelError, CellError, UsageError)) as error:
        Recurrent.from_config(config)
    assert "\n" not in str(error.value)


# ---- initial states


@pytest.mark.parametrize("name", CELLS)
def test_learnt_initial_states_start_as_the_cell_says_and_learn(name):
    layer = make(cell_of(name), 3, 4, 2, bidirectional=True, learn_initial=True)
    plain = make(cell_of(name), 3, 4, 2, bidirectional=True)
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if "init_" not in k})
    x = torch.randn(2, 5, 3, **DOUBLE)
    assert_near(layer(x)[0], plain(x)[0], 10)
    learnt = {k: p for k, p in layer.named_parameters() if k.startswith("init_")}
    finite = [s for s in layer.cell.states if math.isfinite(layer.cell.init[s])]
    assert len(learnt) == 4 * len(finite)
    with torch.no_grad():
        for p in learnt.values():
            p.uniform_(0.1, 0.9)
    given = {
        s: torch.stack(
            [learnt[f"init_{s}{suffix}"] for suffix in ("_l0", "_l0_reverse", "_l1", "_l1_reverse")]
        )
        .unsqueeze(1)
        .expand(-1, 2, -1)
        for s in finite
    }  # fmt: skip  a table
    assert_near(layer(x)[0], plain(x, given)[0], 10)
    sum(v.sin().sum() for v in layer(x)[1].values()).backward()
    for k, p in learnt.items():  # SRU and QRNN write h and never read it
        assert (p.grad is not None) == (k.split("_")[1] in reads(layer))


def test_a_cell_may_say_which_first_states_are_learnt():
    class Learns(Cell):
        gates, states, init, learned = "a", "h s", {"s": 0.5}, "s"

        def step(self, x, u, h, s):
            return {"h": tanh(x.a + u.a(h) + s), "s": 0.5 * s}

    layer = Recurrent(Learns, 2, 3, backend="reference")
    assert [k for k, _ in layer.named_parameters() if k.startswith("init")] == ["init_s_l0"]
    assert layer.init_s_l0.tolist() == [0.5] * 3


@pytest.mark.parametrize("name", CELLS)
def test_gradients_flow_into_given_states(name):
    layer = make(cell_of(name), 3, 4)
    x = torch.randn(2, 3, 3, **DOUBLE)
    first = {s: v.nan_to_num(neginf=0.0) + 0.3 for s, v in layer.initial_states(2, x).items()}
    first = {s: v.requires_grad_() for s, v in first.items()}
    output, final = layer(x, first)
    (output.sum() + sum(v.sum() for v in final.values())).backward()
    for s in reads(layer):
        assert torch.isfinite(first[s].grad).all()
        assert first[s].grad.any()


def test_a_cell_that_starts_elsewhere_starts_there():
    assert make("slstm", 3, 4).initial_states(2, torch.zeros(2, 3))["m"].eq(-math.inf).all()


# ---- refusals


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda r, x: r(x[0]), r"the input: expected \(B, T, I\) with I=3, got shape \(5, 3\)"),
        (lambda r, x: r(x[..., :2]), r"with I=3, got shape \(2, 5, 2\)"),
        (lambda r, x: r(x[:, :0]), "at least one step, got T=0"),
        (lambda r, x: r(x.long()), r"floating point, got torch.int64. Use x.float\(\)"),
        (lambda r, x: r(x.double()), "torch.float32 on cpu, as the parameters, got torch.float64"),
        (lambda r, x: r(x.numpy()), "a tensor .* got a ndarray"),
        (lambda r, x: r(x, (x, x)), "state: expected a dict of h, c, .* got a tuple"),
        (lambda r, x: r(x, x), "state: expected a dict .* got a Tensor"),
        (lambda r, x: r(x, {"q": x}), "state 'q': expected one of h, c"),
        (lambda r, x: r(x, {"h": x}), r"state 'h': expected .* \(1, 2, 4\), got \(2, 5, 3\)"),
        (lambda r, x: r(x, {"h": 0}), "state 'h': .* got a int"),
        (lambda r, x: r(x, {"h": torch.zeros(1, 2, 4).double()}), "state 'h': .*got torch.float64"),
        (lambda r, x: r(x, lengths=[5]), "lengths: expected 2 whole numbers"),
        (lambda r, x: r(x, lengths=[5, 6]), r"lengths: expected numbers from 0 to T=5, got 5 to 6"),
        (lambda r, x: r(x, lengths=[-1, 5]), "got -1 to 5"),
        (lambda r, x: r(x, lengths=[1.5, 2]), "whole numbers, .* got torch.float32"),
        (lambda r, x: r(x, lengths=[True, False]), "whole numbers, .* got torch.bool"),
        (lambda r, x: r(x, lengths="54"), "whole numbers"),
        (lambda r, x: r(x, lengths=[[1, 2]]), r"of shape \(1, 2\)"),
        (lambda r, x: r(x, lengths=[None, 2]), "whole numbers"),
        (lambda r, x: r(x, lengths=5), "whole numbers"),
        (lambda r, x: r(x, observe=("q",)), "observe 'q': expected any of h, c, i, f, g, o"),
        (lambda r, x: r(x, observe="if"), "observe: expected a tuple of names, got 'if'"),
        (lambda r, x: r.step(x), r"the input: expected \(B, I\)"),
    ],
)
def test_calls_that_do_not_fit(call, expected):
    layer, x = Recurrent("lstm", 3, 4, backend="reference"), torch.zeros(2, 5, 3)
    with pytest.raises(ShapeError, match=expected) as error:
        call(layer, x)
    assert "\n" not in str(error.value)


def test_a_single_step_has_one_direction():
    layer = Recurrent("lstm", 3, 4, bidirectional=True)
    with pytest.raises(ShapeError, match="one direction, got a bidirectional layer"):
        layer.step(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"hidden_size": 0}, "hidden_size: expected a whole number from 1, got 0"),
        ({"input_size": None}, "input_size: expected a whole number from 0, got None"),
        ({"num_layers": True}, "num_layers: expected a whole number from 1, got True"),
        ({"dropout": 1.0}, "dropout: expected a probability from 0 to below 1, got 1.0"),
        ({"dropout": "0.1"}, "dropout: expected a probability"),
        ({"variational": -0.1}, "variational: expected a probability"),
        ({"weight_drop": 2}, "weight_drop: expected a probability"),
        ({"zoneout": {"h": 1.5}}, "zoneout: expected a probability"),
        ({"zoneout": {"q": 0.5}}, "zoneout of 'q'"),
        ({"zoneout": "h"}, "zoneout: expected a probability"),
        ({"proj_size": 2}, "proj_size=2 for the cell gru: .*lstmp"),
        ({"layer_norm": "no"}, "layer_norm: expected True or False, got 'no'"),
        ({"bidirectional": "no"}, "bidirectional: expected True or False, got 'no'"),
    ],
)
def test_options_that_cannot_be_meant(options, expected):
    with pytest.raises((UsageError, CellError), match=expected):
        Recurrent(**{"cell": "gru", "input_size": 3, "hidden_size": 4, **options})


def test_an_option_that_is_not_there_is_named():
    with pytest.raises(TypeError, match="droput"):
        Recurrent("gru", 3, 4, droput=0.5)


def test_parameters_are_saved_and_loaded_as_any_modules():
    layer, file = make("lem", 3, 4), io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    again = copy.deepcopy(layer)
    again.reset_parameters()
    assert not torch.equal(again.weight_ih_l0, layer.weight_ih_l0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert_same_bits(again.weight_ih_l0, layer.weight_ih_l0)


def test_what_a_layer_says_of_itself():
    layer = Recurrent("peephole", 3, 4, 2, bidirectional=True, dropout=0.1)
    assert repr(layer) == "Recurrent(peephole, 3, 4, num_layers=2, bidirectional=True, dropout=0.1)"
    assert (layer.width, layer.output_size, layer.directions) == (4, 8, 2)
    assert Recurrent("lstmp", 3, 4, proj_size=2, bidirectional=True).output_size == 4
