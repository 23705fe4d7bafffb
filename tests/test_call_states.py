"""Calls that give first states, as windows of a long text do, and cells whose states do not all
start from zeros, repeat earlier ones like any other.

The yardstick is the same layer that remembers nothing.
"""

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from held import poison
from near import assert_same_bits
from test_call_cache import hold, layer_of, quickly_compiled, repeated, times
from unrolled import Recurrent
from unrolled.engine.call_cache import CallCache
from unrolled.errors import ShapeError
from unrolled.layers import GRU, LSTM, RNN

__all__ = ["quickly_compiled", "times"]  # fixtures

CELLS = ("lstm", "gru", "peephole", "scrn", "lem", "slstm")


def first(layer, batch=6, *, wants=True):
    """States to start from, drawn."""
    shapes = layer.initial_states(batch, layer.like)
    return {s: torch.rand_like(v).requires_grad_(wants) for s, v in shapes.items()}


def every(layer, x, state, *, keep=True):
    """Every result of a call from these states and every gradient, from buffers that held NaN."""
    poison()
    with torch.set_grad_enabled(keep):
        output, final = layer(x, state)
    if not keep:
        return [output, *final.values()]
    poison()
    loss = output.sin().sum() + sum(v.square().sum() for v in final.values())
    wanted = [v for v in (x, *state.values(), *layer.parameters()) if v.requires_grad]
    return [output, *final.values(), *torch.autograd.grad(loss, wanted, allow_unused=True)]


def held(layer, x, state, **how):
    """Fail unless the layer gives what it gives when it remembers nothing."""
    got = every(layer, x, state, **how)
    known, layer._call_cache = layer._call_cache, CallCache()
    expected = every(layer, x, state, **how)
    layer._call_cache = known
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert_same_bits(a, b)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", CELLS)
def test_a_repeated_call_from_given_states_has_the_bits_of_the_first(name, layers, times):
    for dtype in (torch.float32, torch.float64):
        layer = layer_of(name, layers, dtype=dtype)
        for dx, wants, keep in ((True, True, True), (False, False, True), (False, False, False)):
            for n in range(4):
                before = times()
                x = torch.randn(6, 7, 5, dtype=dtype, requires_grad=dx)
                held(layer, x, first(layer, wants=wants), keep=keep)
                assert times() == before + (n > 1)


def test_a_cell_that_does_not_start_from_zeros_repeats(times):
    layer = layer_of("slstm")
    for n in range(4):
        hold(layer, torch.randn(6, 7, 5))
        assert times() == max(0, n - 1)


def test_only_some_states_may_want_a_gradient(times):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    for n in range(4):
        before = times()
        state = first(layer, wants=False)
        state["c"].requires_grad_()
        held(layer, x, state)
        assert times() == before + (n > 1)


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
def test_the_drop_ins_repeat_from_states_too(kind, times):
    torch.manual_seed(0)
    ours = kind(5, 17, 2, batch_first=True, backend="c")
    theirs = getattr(nn, kind.__name__)(5, 17, 2, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    for n in range(4):
        x = torch.randn(6, 7, 5)
        hx = [torch.randn(2, 6, 17, requires_grad=True) for _ in ours.cell.states]
        given = hx[0] if len(hx) == 1 else tuple(hx)
        grads = []
        for layer in (ours, theirs):
            output, final = layer(x, given)
            final = final if isinstance(final, tuple) else (final,)
            loss = output.sin().sum() + sum(v.square().sum() for v in final)
            grads.append([output, *final, *torch.autograd.grad(loss, hx)])
        for got, expected in zip(*grads, strict=True):
            assert torch.allclose(got, expected, atol=1e-5)
        assert times() == max(0, n - 1)


@pytest.mark.parametrize("kind", [GRU, RNN])
def test_a_tuple_of_one_state_is_refused_however_often_its_like_came(kind):
    layer, x, h = kind(5, 17, backend="c"), torch.randn(7, 6, 5), torch.randn(1, 6, 17)
    for _ in range(4):
        layer(x, h)
        with pytest.raises(ShapeError, match="state 'h'"):
            layer(x, (h,))


def test_windows_of_a_text_go_on_from_each_other(times):
    """Truncated back-propagation: states are handed on, cut off, and changed in between."""
    layer, other = layer_of(), layer_of()
    state, same = None, None
    for _ in range(6):
        x = torch.randn(6, 7, 5)
        other._call_cache = CallCache()
        for one, start in ((layer, state), (other, same)):
            output, final = one(x, start)
            one.zero_grad()
            output.square().sum().backward()
            found = {s: v.detach().mul_(0.5) for s, v in final.items()}
            state, same = (found, same) if one is layer else (state, found)
        for p, q in zip(layer.parameters(), other.parameters(), strict=True):
            assert_same_bits(p.grad, q.grad)
        for s in state:
            assert_same_bits(state[s], same[s])
    assert times() == 3  # the first has no states, its like two more


def test_states_that_lie_otherwise_take_the_long_way(times):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    whole = {s: torch.rand(2, 6, 34) for s in "hc"}
    ways = [{s: v[..., :17] for s, v in whole.items()}]
    ways.append({s: v[:1, :, :17].contiguous().expand(2, 6, 17) for s, v in whole.items()})
    by_rows = {s: v[..., :17].transpose(0, 1).contiguous() for s, v in whole.items()}
    ways.append({s: v.transpose(0, 1) for s, v in by_rows.items()})
    ways.append({"h": whole["h"][..., :17].contiguous()})  # c starts as the cell says
    ways.append({s: nn.Parameter(v[..., :17].contiguous()) for s, v in whole.items()})
    for _ in range(4):
        for state in ways:
            held(layer, x, state)
    assert times() == 0


def test_memory_that_is_read_with_its_sign_turned_is_read_so():
    layer, x = layer_of(), torch.randn(6, 7, 5)
    for _ in range(4):
        state = first(layer, wants=False)
        expected = layer(x, {s: -v for s, v in state.items()})[0]
        assert_same_bits(layer(x, {s: torch._neg_view(v) for s, v in state.items()})[0], expected)


def test_zeros_without_memory_are_zeros():
    layer, x = layer_of(), torch.randn(6, 7, 5)
    zeros, none = (
        {s: make((2, 6, 17)) for s in "hc"} for make in (torch.zeros, torch._efficientzerotensor)
    )
    for _ in range(4):
        poison()
        assert_same_bits(layer(x, none)[0], layer(x, zeros)[0])
        assert_same_bits(layer(torch._efficientzerotensor(6, 7, 5))[0], layer(0 * x)[0])


@pytest.mark.parametrize("units", [16, 17])
def test_gradients_whose_sign_memory_holds_turned_arrive(units):
    layer, x = Recurrent("lstm", 5, units, 2, backend="c"), torch.randn(6, 7, 5)
    turned = (torch._neg_view, torch.neg)
    for _ in range(4):
        for n in range(3):
            output, final = layer(x)
            result = [output, *final.values()][n]
            ones = torch.ones_like(result)
            got, expected = (
                torch.autograd.grad(result, layer.weight_ih_l0, one(ones), retain_graph=True)[0]
                for one in turned
            )
            assert_same_bits(got, expected)


def test_a_state_given_twice_gets_both_gradients(times):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    for _ in range(4):
        one = torch.rand(2, 6, 17, requires_grad=True)
        apart = [one.detach().clone().requires_grad_() for _ in range(2)]
        layer._call_cache, known = CallCache(), layer._call_cache
        loss = layer(x, dict(zip("hc", apart, strict=True)))[0].square().sum()
        expected = sum(torch.autograd.grad(loss, apart))
        layer._call_cache = known
        (got,) = torch.autograd.grad(layer(x, {"h": one, "c": one})[0].square().sum(), one)
        assert_same_bits(got, expected)
    assert times() == 2


@pytest.mark.parametrize("name", ["lstm", "slstm"])
def test_states_may_change_once_they_were_read(name):
    layer, x = layer_of(name), torch.randn(6, 7, 5)
    for _ in range(4):
        state = first(layer, wants=False)
        expected = every(layer, x, {s: v.clone() for s, v in state.items()})
        output, final = layer(x, state)
        for v in state.values():
            v.fill_(float("nan"))
        loss = output.sin().sum() + sum(v.square().sum() for v in final.values())
        grads = torch.autograd.grad(loss, list(layer.parameters()))
        for a, b in zip(grads, expected[-len(grads) :], strict=True):
            assert_same_bits(a, b)


def test_a_checkpoint_computes_again_from_given_states():
    layer, x = layer_of(), torch.randn(6, 7, 5, requires_grad=True)
    state = first(layer)
    wanted = [x, *state.values()]
    expected = torch.autograd.grad(layer(x, state)[0].sin().sum(), wanted)
    layer._call_cache = CallCache()
    for _ in range(4):
        again = checkpoint(lambda v: layer(v, state)[0], x, use_reentrant=False)
        for a, b in zip(torch.autograd.grad(again.sin().sum(), wanted), expected, strict=True):
            assert_same_bits(a, b)


def test_states_are_let_go(times):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    gone = []
    gc.disable()
    try:
        for _ in range(4):
            state = first(layer)
            gone += map(weakref.ref, state.values())
            every(layer, x, state)
            del state
            assert not any(v() is not None for v in gone)
    finally:
        gc.enable()
    assert times() == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"h": torch.zeros(2, 6, 16), "c": torch.zeros(2, 6, 17)},
        {"h": torch.zeros(2, 5, 17), "c": torch.zeros(2, 6, 17)},
        {"h": torch.zeros(2, 6, 17), "c": torch.zeros(2, 6, 17, dtype=torch.float64)},
        {"h": torch.zeros(2, 6, 17), "d": torch.zeros(2, 6, 17)},
        {"h": torch.zeros(2, 6, 17), "c": None},
    ],
)
def test_states_that_do_not_fit_are_still_refused(wrong):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    for _ in range(3):
        every(layer, x, first(layer, wants=False))
    repeated(layer, x)
    with pytest.raises(ShapeError, match="state"):
        layer(x, wrong)


def test_a_learnt_first_state_is_no_constant(times):
    layer = Recurrent("lstm", 5, 17, 2, backend="c", learn_initial=True)
    x = torch.randn(6, 7, 5)
    for _ in range(4):
        with torch.no_grad():
            layer.init_h_l0.add_(1)
        wanted = [layer.init_h_l0, layer.init_c_l1]
        grads = torch.autograd.grad(layer(x)[0].square().sum(), wanted)
        assert all(g.abs().sum() > 0 for g in grads)
    assert times() == 0
