"""A call that is like an earlier one is bound as that one was: nothing may differ but the time.

The yardstick is the same layer that remembers nothing. Whatever decides on a call and may change
between two of them must be seen: weights, shapes, switches, who looks on.
"""

import copy
import gc
import pickle
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from held import compiled_with, poison
from near import assert_same_bits
from unrolled import Recurrent
from unrolled.engine import backends, bound
from unrolled.engine.again import MOST, Again, Known
from unrolled.inspect.running import trace
from unrolled.layers import GRU, LSTM

CELLS = ("lstm", "gru", "peephole", "gru-first", "scrn", "sru", "lem", "mingru", "cornn")


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled():
    with compiled_with("-O0"):
        yield


@pytest.fixture
def times(monkeypatch):
    """How often a call was answered as an earlier one."""
    bind, found = Again.bind, []

    def counted(self, *arguments):
        found.append(self)
        return bind(self, *arguments)

    monkeypatch.setattr(Again, "bind", counted)
    return lambda: len(found)


def layer_of(name="lstm", layers=2, *, dtype=torch.float32, **options):
    torch.manual_seed(0)
    return Recurrent(name, 5, 17, layers, backend="c", **options).to(dtype)


def forget(layer):
    layer._known = Known()


def every(layer, x, *, dx=True, keep=True):
    """Every result of a call and every gradient, from buffers that held NaN."""
    x = x.detach().requires_grad_(dx and keep)
    poison()
    with torch.set_grad_enabled(keep):
        output, final = layer(x)
    final = list(final.values()) if isinstance(final, dict) else [*final]
    if not keep:
        return [output, *final]
    loss = output.sin().sum() + sum(v.square().sum() for v in final)
    poison()
    wanted = [x] if dx else []
    wanted += [p for p in layer.parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [output, *final, *(g for g in grads if g is not None)]


def hold(layer, x, **how):
    """Fail unless the layer gives what it gives when it remembers nothing."""
    got = every(layer, x, **how)
    known, layer._known = layer._known, Known()
    expected = every(layer, x, **how)
    layer._known = known
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(a, b)
        assert a.stride() == b.stride() or a.numel() == 0


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", CELLS)
def test_the_second_call_has_the_bits_of_the_first(name, layers, times):
    for dtype in (torch.float32, torch.float64):
        for batch_first in (True, False):
            layer = layer_of(name, layers, dtype=dtype, batch_first=batch_first)
            for how in ({}, {"dx": False}, {"keep": False}):
                every(layer, torch.randn(6, 7, 5, dtype=dtype), **how)
                before = times()
                hold(layer, torch.randn(6, 7, 5, dtype=dtype), **how)
                assert times() == before + 1


@pytest.mark.parametrize(
    "shape", [(0, 7, 5), (1, 7, 5), (6, 1, 5), (1, 1, 5), (64, 2, 5), (100, 3, 5)]
)
def test_any_number_of_rows_and_steps(shape, times):
    layer = layer_of()
    every(layer, torch.randn(shape))
    hold(layer, torch.randn(shape))
    assert times() == 1


def test_an_input_that_lies_otherwise_is_another_call(times):
    layer = layer_of()
    whole = torch.randn(7, 6, 10)
    ways = [whole[..., :5], whole[..., ::2], whole.transpose(0, 1)[..., :5].contiguous()]
    ways += [whole[..., :5].contiguous(), whole[..., :5].transpose(0, 1), whole[:, ::2, :5]]
    ways += [whole[:1, :, :5].expand(4, 6, 5)]
    for _ in range(2):
        for x in ways:
            hold(layer, x, dx=False)
    assert times() > len(ways) // 2


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_the_drop_ins_remember_too(kind, times):
    torch.manual_seed(0)
    for batch_first in (True, False):
        ours = kind(5, 17, 2, batch_first=batch_first, backend="c")
        theirs = getattr(nn, kind.__name__)(5, 17, 2, batch_first=batch_first)
        theirs.load_state_dict(ours.state_dict())
        for n in range(3):
            x = torch.randn(6, 7, 5)
            (a, b), (c, d) = ours(x), theirs(x)
            for got, expected in zip((a, *b), (c, *d), strict=True):
                assert torch.allclose(got, expected, atol=1e-5)
            assert (b[0] if isinstance(b, tuple) else b).shape == (2, 6 if batch_first else 7, 17)
            assert times() == n + 2 * (not batch_first)
        x = nn.utils.rnn.pack_sequence([torch.randn(3, 5), torch.randn(2, 5)])
        assert torch.allclose(ours(x)[0].data, theirs(x)[0].data, atol=1e-5)
        assert torch.allclose(ours(x.data)[0], theirs(x.data)[0], atol=1e-5)  # (T, I)


def _by_a_step(layer):
    torch.optim.SGD(layer.parameters(), 0.5).step()


def _data(layer):
    layer.weight_hh_l1.data = torch.randn_like(layer.weight_hh_l1)


def _turned(layer):
    layer.weight_hh_l0.data = layer.weight_hh_l0.data[:17].t().repeat(4, 1)[: 4 * 17]


def _same_place_turned(layer):
    square = torch.randn(68, 68)
    layer.weight_hh_l0.data = square[:, :17]  # rows that lie apart


def _another_parameter(layer):
    layer.bias_ih_l0 = nn.Parameter(torch.randn(4 * 17))


def _frozen(layer):
    layer.weight_ih_l0.requires_grad_(False)


def _all_below_frozen(layer):
    for name, p in layer.named_parameters():
        p.requires_grad_(name.endswith("_l1"))


def _dropout(layer):
    layer.dropout = 0.5


def _weight_drop(layer):
    layer.weight_drop = 0.5


def _evaluating(layer):
    layer.eval()


def _other_backend(layer):
    layer.backend = "reference"


def _parametrized(layer):
    nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")


CHANGES = (
    _by_a_step, _data, _turned, _same_place_turned, _another_parameter, _frozen, _all_below_frozen,
    _dropout, _weight_drop, _evaluating, _other_backend, _parametrized,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_decides_on_a_call_may_change_before_the_next(change):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    for _ in range(2):
        every(layer, x)[0].sum()
    layer(x)[0].sum().backward()
    change(layer)
    for _ in range(2):
        torch.manual_seed(3)
        got = every(layer, x)
        known, layer._known = layer._known, Known()
        torch.manual_seed(3)
        expected = every(layer, x)
        layer._known = known
        for a, b in zip(got, expected, strict=True):
            assert_same_bits(a, b)


def test_a_layer_of_another_dtype_is_another(times):
    layer = layer_of()
    for dtype in (torch.float32, torch.float64, torch.float32, torch.bfloat16, torch.float32):
        layer = layer.to(dtype)
        for _ in range(2):
            hold(layer, torch.randn(6, 7, 5).to(dtype))
    assert times() >= 4


def test_weights_lent_for_one_call_are_used_and_forgotten():
    layer, x = layer_of(), torch.randn(6, 7, 5)
    own = layer(x)[0]
    other = {name: torch.randn_like(p) for name, p in layer.named_parameters()}
    lent = torch.func.functional_call(layer, other, (x,))[0]
    assert not torch.equal(lent, own)
    assert_same_bits(layer(x)[0], own)
    layer.load_state_dict(other)
    assert_same_bits(layer(x)[0], lent)


def test_what_is_no_plain_call_is_not_answered_so(times):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    full = {s: torch.ones(2, 6, 17) for s in layer.cell.states}
    layer(x), layer(x)
    assert times() == 1
    with torch.autocast("cpu"):
        assert layer(x)[0].dtype == torch.bfloat16
    assert not torch.equal(layer(x, full)[0], layer(x)[0])
    assert (layer(x, lengths=[1] * 6)[0][:, 1:] == 0).all()
    assert "c" in layer(x, observe=("c",))[2]
    before = times()
    trace(layer, x)  # it looks at each step
    traced = torch.vmap(lambda one: layer(one)[0])(torch.stack([x, x]))
    assert torch.allclose(traced[1], layer(x)[0])
    assert times() == before + 1


@pytest.mark.parametrize("wrong", [(6, 7, 4), (6, 5), (6, 0, 5), None, "text"])
def test_what_does_not_fit_is_still_refused(wrong):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    layer(x), layer(x)
    with pytest.raises(Exception, match="the input"):
        layer(wrong if wrong is None or isinstance(wrong, str) else torch.randn(wrong))
    with pytest.raises(Exception, match="the input"):
        layer(x.double())


def test_copies_and_pickles_remember_nothing(times):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    expected = every(layer, x)
    every(layer, x)
    unpickled = pickle.loads(pickle.dumps(layer))  # noqa: S301  what was just written here
    for other in (copy.deepcopy(layer), unpickled):
        assert not other._known._known
        with torch.no_grad():
            for p in layer.parameters():
                p.zero_()
        for _ in range(2):
            for a, b in zip(every(other, x), expected, strict=True):
                assert_same_bits(a, b)
        layer.load_state_dict(other.state_dict())


def test_what_a_gradient_was_computed_from_may_not_change_before_it():
    layer, x = layer_of(), torch.randn(6, 7, 5)
    layer(x)
    for spoil in (lambda out: layer.weight_hh_l0.zero_(), lambda out: out.zero_()):
        output = layer(x)[0]
        loss = output.square().sum()
        with torch.no_grad():
            spoil(output)
        with pytest.raises(RuntimeError, match=r"modified (by an )?inplace"):
            loss.backward()


def test_a_graph_is_derived_twice_where_it_is_retained_and_never_a_second_time():
    layer, x = layer_of(), torch.randn(6, 7, 5, requires_grad=True)
    layer(x)
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
    first = every(layer, x)
    every(layer, y)
    a, b = layer(x), layer(y)  # both graphs live
    a[0].sin().sum().backward()
    got = [p.grad.clone() for p in layer.parameters()]
    forget(layer)
    layer.zero_grad()
    layer(x)[0].sin().sum().backward()
    for grad, expected in zip(got, (p.grad for p in layer.parameters()), strict=True):
        assert_same_bits(grad, expected)
    assert_same_bits(a[0], first[0])
    del a, b, first
    gc.collect()
    held = bound.POOL._held.values()
    layer(x)  # no graph is left in a cycle that only the collector would find
    gc.disable()
    try:
        for _ in range(3):
            layer(x)[0].sum().backward()
        assert all(buffer.free() for some in held for buffer in some)
    finally:
        gc.enable()


def test_the_input_is_let_go():
    layer = layer_of()
    x = torch.randn(6, 7, 5)
    for _ in range(2):
        layer(x)
    known = list(layer._known._known.values())
    assert known
    assert not any(obj is x for entry in known for obj in gc.get_referents(entry[0].__dict__))
    assert not any(obj is x for obj in gc.get_referrers(x) if isinstance(obj, Again))


def test_so_many_sizes_are_remembered_and_no_more():
    layer = layer_of()
    for steps in range(1, 2 * MOST + 3):
        layer(torch.randn(2, steps, 5))
        assert len(layer._known._known) <= MOST


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
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            results.append(every(layer, x))
    finally:
        torch.set_num_threads(before)
    assert times() == 1
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_same_bits(a, b)


def test_the_backend_that_ran_is_said(monkeypatch):
    layer, x = Recurrent("lstm", 5, 17, backend="auto"), torch.randn(6, 7, 5)
    layer(x), layer(x)
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
