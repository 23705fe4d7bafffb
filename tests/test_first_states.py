"""First states that nobody gives are known: the compiled cell makes no tensors of them, and does
not multiply those that are zeros.

The yardstick is the same states, given: not a bit may differ while U is finite, nor may it matter
how the input lies.
"""

import copy
import gc

import pytest
import torch
from torch import nn

from held import compiled_with, poison
from near import assert_same_bits
from unrolled import Recurrent
from unrolled.cells import Cell, sigmoid, tanh
from unrolled.engine.bound import Bound
from unrolled.engine.call import Initial
from unrolled.inspect.running import trace
from unrolled.layers import LSTM

CELLS = (
    "lstm",
    "gru",
    "ran",
    "gru-first",
    "lstmp",
    "layernorm-lstm",
    "scrn",
    "qrnn",
    "lem",
    "slstm",
)
LENGTHS = [6, 1, 3, 0, 2, 6, 5]


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled():
    with compiled_with("-O0"):
        yield


def layer_of(name, dtype=torch.float32, **options):
    torch.manual_seed(0)
    return Recurrent(name, 5, 17, 2, backend="c", **options).to(dtype)


def derived(layer, x, state=None, lengths=None):
    """Every result and every gradient, from buffers that held NaN."""
    x = x.detach().requires_grad_()
    poison()
    output, final = layer(x, state, lengths=lengths)
    loss = output.sin().sum() + sum(v.square().sum() for v in final.values())
    poison()
    grads = torch.autograd.grad(loss, [x, *layer.parameters()], allow_unused=True)
    return [output, *final.values(), *(g for g in grads if g is not None)]


def same(got, expected):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_states_that_nobody_gives_have_the_bits_of_the_same_given(name, both_ways, dtype):
    layer = layer_of(name, dtype, bidirectional=both_ways)
    for steps, lengths in ((1, None), (6, None), (6, LENGTHS)):
        x = torch.randn(7, steps, 5, dtype=dtype)
        given = layer.initial_states(7, x)
        assert all(v.eq(layer.cell.init.get(s, 0)).all() for s, v in given.items())
        same(derived(layer, x, None, lengths), derived(layer, x, given, lengths))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_product_of_states_that_are_not_zeros_is_not_left_out(dtype):
    class Begun(Cell):
        gates, states, init = "f z", "h c", {"h": 0.75, "c": -2.5}

        def step(self, x, u, h, c):
            f = sigmoid(x.f + u.f(h))
            c = f * c + (1 - f) * tanh(x.z + u.z(c))
            return dict(h=tanh(c), c=c)

    torch.manual_seed(0)
    layer = Recurrent(Begun, 5, 17, 2, backend="c").to(dtype)
    for steps in (1, 6):
        x = torch.randn(7, steps, 5, dtype=dtype)
        given = layer.initial_states(7, x)
        assert (given["h"] == 0.75).all()
        same(derived(layer, x), derived(layer, x, given))


def test_more_rows_than_are_summed_at_once():
    layer = layer_of("lstm", bidirectional=True)
    for batch in (127, 128, 300):
        x = torch.randn(batch, 3, 5)
        same(derived(layer, x), derived(layer, x, layer.initial_states(batch, x)))


def test_nobody_makes_them(monkeypatch):
    layer, x = layer_of("lstm"), torch.randn(3, 4, 5)
    expected = derived(layer, x, layer.initial_states(3, x))

    def made(self, name):
        raise AssertionError(f"first states {name!r} were made")

    monkeypatch.setattr(Initial, "__getitem__", made)
    same(derived(layer, x), expected)


def test_what_u_holds_does_not_matter_to_a_first_step_from_zeros():
    layer, x = layer_of("lstm"), torch.randn(3, 2, 5)
    with torch.no_grad():
        layer.weight_hh_l0.fill_(float("inf"))
        first, second = layer(x)[0].unbind(1)
        given = layer(x[:, :1], layer.initial_states(3, x))[0]
    assert first.isfinite().all()
    assert second.isnan().any()
    assert given.isnan().any()


@pytest.mark.parametrize("shape", [(64, 9, 5, 17), (2, 9, 5, 400)])  # rows are shared, or units
@pytest.mark.parametrize("both_ways", [False, True])
def test_any_number_of_threads_gives_the_same(shape, both_ways):
    batch, steps, inputs, units = shape
    torch.manual_seed(0)
    layer = Recurrent("lstm", inputs, units, 2, backend="c", bidirectional=both_ways)
    x, before, found = torch.randn(batch, steps, inputs), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            found.append(derived(layer, x))
    finally:
        torch.set_num_threads(before)
    same(found[1], found[0])
    same(found[2], found[0])


def test_the_gradient_of_one_first_state_is_that_of_both():
    layer, x = layer_of("lstm"), torch.randn(3, 4, 5)
    first = {s: torch.randn(2, 3, 17).requires_grad_() for s in ("h", "c")}
    loss = layer(x, first)[0].square().sum()
    both = torch.autograd.grad(loss, list(first.values()))
    for n, name in enumerate(first):
        other = {s: v if s == name else v.detach() for s, v in first.items()}
        alone = torch.autograd.grad(layer(x, other)[0].square().sum(), other[name])
        assert_same_bits(alone[0], both[n])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_does_not_matter_how_the_input_lies(dtype):
    layer = layer_of("lstm", dtype)
    x = torch.randn(7, 6, 5, dtype=dtype)
    wide = torch.randn(7, 12, 11, dtype=dtype)
    wide[:, ::2, 1:6] = x
    apart = torch.randn(7, 6, 10, dtype=dtype)
    apart[..., ::2] = x
    expected = derived(layer, x)
    for other in (
        x.transpose(0, 1).contiguous().transpose(0, 1),
        wide[:, ::2, 1:6],
        apart[..., ::2],
    ):
        assert_same_bits(other, x)
        same(derived(layer, other), expected)
    one = x[:, :1].expand(7, 6, 5)  # the same row at every step, once in memory
    same(derived(layer, one), derived(layer, one.contiguous()))


def test_last_states_hold_no_more_than_themselves():
    layer = layer_of("lstm")
    for state in layer(torch.randn(7, 600, 5))[1].values():
        assert state.untyped_storage().nbytes() == state.numel() * state.element_size()


def test_the_layer_of_pytorch_s_name_starts_from_the_same_zeros():
    torch.manual_seed(0)
    ours = LSTM(5, 17, 2, backend="c")
    x, zeros = torch.randn(6, 7, 5), torch.zeros(2, 7, 17)
    output, (h, c) = ours(x)
    expected, (h_given, c_given) = ours(x, (zeros, zeros))
    same([output, h, c], [expected, h_given, c_given])


def holding():
    """Calls that hold memory; what a layer remembers of one holds none."""
    bounds = [thing for thing in gc.get_objects() if type(thing) is Bound]
    return sum(bool(one.held or one.room) for one in bounds)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_call_that_is_gone_holds_nothing(layers):
    layer = Recurrent("lstm", 5, 17, layers, backend="c")
    x = torch.randn(3, 4, 5)
    gc.collect()
    gc.disable()  # nor does anything wait for the collector of circles
    try:
        before = holding()
        for derive in (False, True, True):
            output, final = layer(x)
            if derive:
                (output.sum() + final["c"].sum()).backward()
        del output, final
        assert holding() == before
    finally:
        gc.enable()


@pytest.mark.parametrize("layers", [1, 2])
def test_last_states_may_be_changed_in_place(layers):
    layer, x = Recurrent("lstm", 5, 17, layers, backend="c"), torch.randn(3, 4, 5)
    grads = []
    for change in (lambda v: v.mul_(0.5), lambda v: v * 0.5):
        final = layer(x)[1]
        grads.append(torch.autograd.grad(change(final["h"]).sum(), list(layer.parameters())))
    same(grads[0], grads[1])


def test_a_trace_keeps_no_graph_below_the_layer():
    class Above(nn.Module):
        def __init__(self):
            super().__init__()
            self.below, self.layer = nn.Linear(5, 5), Recurrent("lstm", 5, 7, backend="c")

        def forward(self, x):
            return self.layer(self.below(x).tanh())

    traced = trace(Above(), torch.randn(2, 3, 5), loss=lambda result: result[0].sum())
    call = traced.layers[0].one.call
    first = copy.deepcopy(call).states["h"]
    assert not first.requires_grad
    assert first.shape == (2, 7)
