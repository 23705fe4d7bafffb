"""What a new call and a repeated one hold, lend and let go: graphs, memory, parameters, threads."""

import copy
import gc
import pickle
import threading
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from near import assert_same_bits
from test_call_cache import every, hold, layer_of, quickly_compiled, repeated, times
from unrolled import Recurrent
from unrolled.engine import backends, bound
from unrolled.engine.call_cache import MOST_CALLS, CachedCall, CallCache
from unrolled.errors import BackendError
from unrolled.layers import LSTM

__all__ = ["quickly_compiled", "times"]  # fixtures


def test_copies_and_pickles_remember_nothing(times):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    expected = repeated(layer, x)
    unpickled = pickle.loads(pickle.dumps(layer))  # noqa: S301  what was just written here
    for other in (copy.deepcopy(layer), unpickled):
        assert not other._call_cache._calls
        with torch.no_grad():
            for p in layer.parameters():
                p.zero_()
        for _ in range(3):
            for a, b in zip(every(other, x), expected, strict=True):
                assert_same_bits(a, b)
        layer.load_state_dict(other.state_dict())


def test_what_a_gradient_was_computed_from_may_not_change_before_it():
    layer, x = layer_of(), torch.randn(6, 7, 5)
    layer(x), layer(x)
    for spoil in (lambda out: layer.weight_hh_l0.zero_(), lambda out: out.zero_()):
        output = layer(x)[0]
        loss = output.square().sum()
        with torch.no_grad():
            spoil(output)
        with pytest.raises(RuntimeError, match=r"modified (by an )?inplace"):
            loss.backward()


def test_a_graph_is_derived_twice_where_it_is_retained_and_never_a_second_time():
    layer, x = layer_of(), torch.randn(6, 7, 5, requires_grad=True)
    layer(x), layer(x)
    output = layer(x)[0]
    loss = output.square().sum()
    first = torch.autograd.grad(loss, x, retain_graph=True)[0]
    assert_same_bits(first, torch.autograd.grad(loss, x)[0])
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, x)
    slope = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)[0]
    with pytest.raises(Exception, match="second derivative"):
        slope.sum().backward()


def test_calls_do_not_share_memory_and_let_it_go():
    layer = layer_of()
    x, y = torch.randn(6, 7, 5), torch.randn(6, 7, 5)
    first = repeated(layer, x)
    layer(y), layer(y)
    a, b = layer(x), layer(y)  # both graphs live
    a[0].sin().sum().backward()
    got = [p.grad.clone() for p in layer.parameters()]
    layer._call_cache = CallCache()
    layer.zero_grad()
    layer(x)[0].sin().sum().backward()
    for grad, expected in zip(got, (p.grad for p in layer.parameters()), strict=True):
        assert_same_bits(grad, expected)
    assert_same_bits(a[0], first[0])
    del a, b, first
    gc.collect()
    held = bound.POOL._held.values()
    layer(x), layer(x)  # no graph is left in a cycle that only the collector would find
    gc.disable()
    try:
        for _ in range(3):
            layer(x)[0].sum().backward()
        assert all(buffer.free() for some in held for buffer in some)
    finally:
        gc.enable()


def test_the_input_is_let_go(times):
    layer = layer_of()
    x = torch.randn(6, 7, 5)
    for _ in range(3):
        layer(x)
    assert times() == 1
    watched = weakref.ref(x)
    del x
    assert watched() is None


def test_so_many_sizes_are_remembered_and_no_more(monkeypatch):
    made, make = [], CachedCall.__init__
    monkeypatch.setattr(
        CachedCall, "__init__", lambda self, *a, **k: made.append(self) or make(self, *a, **k)
    )
    layer = layer_of()
    for _ in range(3):  # none comes again before it is forgotten: none is prepared
        for steps in range(1, MOST_CALLS + 2):
            layer(torch.randn(2, steps, 5))
            assert len(layer._call_cache._calls) <= MOST_CALLS
    assert not made
    for steps in (1, 2, 1, 2, 1, 2):
        layer(torch.randn(2, steps, 5))
    assert len(made) == 2


def test_threads_may_call_a_layer_at_once():
    layer = layer_of()
    inputs = [torch.randn(6, 7, 5) for _ in range(4)]
    expected = [every(layer, x) for x in inputs]
    wrong = []

    def work(k):
        for _ in range(50):
            x = inputs[k].detach().requires_grad_()
            output, final = layer(x)
            loss = output.sin().sum() + sum(v.square().sum() for v in final.values())
            grad = torch.autograd.grad(loss, x)[0]
            if not (torch.equal(output, expected[k][0]) and torch.equal(grad, expected[k][3])):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_another_number_of_threads_is_another_call(times):
    layer, x = layer_of(), torch.randn(64, 20, 5)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 1, 1, 2, 1):
            torch.set_num_threads(threads)
            results.append(every(layer, x))
    finally:
        torch.set_num_threads(before)
    assert times() == 2
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("name", ["layernorm-lstm", "antisymmetric"])
def test_what_cannot_repeat_is_tried_once(name, monkeypatch):
    made, begin = [], CachedCall.__init__
    monkeypatch.setattr(CachedCall, "__init__", lambda *a, **k: made.append(1) or begin(*a, **k))
    layer = layer_of(name)
    for _ in range(5):
        every(layer, torch.randn(6, 7, 5))
    assert len(made) <= 1
    layer = layer_of("lstm")
    for _ in range(3):
        repeated(layer, torch.randn(6, 7, 5), dx=False)
        layer.weight_hh_l0.data = layer.weight_hh_l0.data.clone()  # it is tried anew then
    assert len(made) >= 3


def test_the_backend_that_ran_is_said(monkeypatch):
    layer, x = Recurrent("lstm", 5, 17, backend="auto"), torch.randn(6, 7, 5)
    layer(x), layer(x), layer(x)
    assert layer.backend == "c"
    monkeypatch.setitem(
        backends.BACKENDS, "c", backends.BACKENDS["c"]._replace(unfit=lambda call: "not now")
    )
    layer(x, lengths=[7, 1, 2, 3, 4, 5])
    assert layer.backend != "c"
    layer(x)
    assert layer.backend == "c"


def test_hooks_run_as_before():
    layer, x = layer_of(), torch.randn(6, 7, 5)
    seen = []
    layer.register_forward_hook(lambda *given: seen.append("forward"))
    layer.register_full_backward_hook(lambda *given: seen.append("backward"))
    for _ in range(3):
        F.mse_loss(layer(x.requires_grad_())[0], torch.zeros(6, 7, 17)).backward()
    assert seen == ["forward", "backward"] * 3


@pytest.mark.parametrize("kind", [Recurrent, LSTM])
def test_a_checkpoint_computes_again_what_it_saved(kind):
    """PyTorch compares what a new call saved with what the repeated one saves."""
    torch.manual_seed(0)
    cell = ("lstm",) if kind is Recurrent else ()
    layer = kind(*cell, 5, 17, 2, batch_first=True, backend="c")
    x = torch.randn(6, 7, 5, requires_grad=True)
    (expected,) = torch.autograd.grad(layer(x)[0].sin().sum(), x)
    layer._call_cache = CallCache()
    for _ in range(4):
        again = checkpoint(lambda v: layer(v)[0], x, use_reentrant=False)
        assert_same_bits(torch.autograd.grad(again.sin().sum(), x)[0], expected)


def test_replaced_parameters_are_let_go():
    layer = layer_of()
    replaced = []
    for steps in range(1, 12):
        layer.weight_hh_l0 = nn.Parameter(torch.randn(4 * 17, 17))
        replaced.append(weakref.ref(layer.weight_hh_l0))
        for _ in range(3):
            layer(torch.randn(2, steps, 5))
    assert sum(ref() is not None for ref in replaced) == 1


def test_inference_mode_is_another_call():
    layer, x = layer_of(), torch.randn(6, 7, 5)
    repeated(layer, x)
    with torch.inference_mode(), torch.enable_grad():
        said = [layer(x)[0].requires_grad for _ in range(4)]
    assert len({*said}) == 1
    hold(layer, x)


@pytest.mark.parametrize("times_before", [0, 3])
def test_a_weight_that_was_moved_before_its_gradient_is_read_where_it_is(times_before):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    for _ in range(times_before):
        layer(x)
    expected = torch.autograd.grad(layer(x)[0].sum(), layer.weight_ih_l0)[0]
    output, weight = layer(x)[0], layer.weight_hh_l0
    weight.data = weight.data.clone()
    assert_same_bits(torch.autograd.grad(output.sum(), layer.weight_ih_l0)[0], expected)
    output, storage = layer(x)[0], weight.untyped_storage()
    values, size = weight.detach().clone(), storage.nbytes()
    storage.resize_(0)  # as what shards weights does until they are needed
    with pytest.raises(BackendError, match="that have memory"):
        torch.autograd.grad(output.sum(), layer.weight_ih_l0, retain_graph=True)
    storage.resize_(size)
    weight.data.copy_(values)
    assert_same_bits(torch.autograd.grad(output.sum(), layer.weight_ih_l0)[0], expected)
    output = layer(x)[0]
    weight.data = weight.data[:, :-1].clone()
    with pytest.raises(BackendError, match=r"expected what it kept, \(68, 17\)"):
        output.sum().backward()


@pytest.mark.parametrize("times_before", [0, 3])
def test_another_default_device_changes_nothing(times_before):
    layer, x = layer_of(), torch.randn(6, 7, 5, requires_grad=True)
    expected = every(layer, x)
    layer._call_cache = CallCache()
    for _ in range(times_before):
        layer(x)
    with torch.device("meta"):
        got = every(layer, x)
        lengths = layer(x, lengths=[7, 1, 2, 3, 4, 5])[0]
    assert lengths.device.type == "cpu"
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(a, b)


def test_memory_that_is_read_with_its_sign_turned_is_read_so():
    layer, x = layer_of(), torch.randn(6, 7, 5)
    expected = layer(-x)[0]
    for _ in range(4):
        assert_same_bits(layer(torch._neg_view(x))[0], expected)
        assert_same_bits(layer(torch.complex(x, x).conj().imag)[0], expected)


def test_a_norm_without_bias_is_an_operator_too():
    torch.manual_seed(0)
    layer = Recurrent("lstm", 5, 8, layer_norm=True, bias=False, backend="c")
    x = torch.randn(2, 3, 4, 5)
    mapped = torch.vmap(lambda one: layer(one)[0])(x)
    assert_same_bits(mapped[1], layer(x[1])[0])
