"""A call that repeats an earlier one is bound as that one was: nothing may differ but the time.

The yardstick is the same layer that remembers nothing. Whatever decides on a call and may change
between two of them must be seen: weights, shapes, switches, who looks on.
"""

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from held import compiled_with, poison
from near import assert_same_bits
from unrolled import Recurrent
from unrolled.engine.call_cache import CachedCall, CallCache
from unrolled.errors import ShapeError
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
    bind, found = CachedCall.bind, []

    def counted(self, *arguments):
        found.append(self)
        return bind(self, *arguments)

    monkeypatch.setattr(CachedCall, "bind", counted)
    return lambda: len(found)


def layer_of(name="lstm", layers=2, *, dtype=torch.float32, **options):
    torch.manual_seed(0)
    return Recurrent(name, 5, 17, layers, backend="c", **options).to(dtype)


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


def repeated(layer, x, **how):
    """Every result of a call whose like came twice before."""
    every(layer, x, **how)
    every(layer, x, **how)
    return every(layer, x, **how)


def hold(layer, x, **how):
    """Fail unless the layer gives what it gives when it remembers nothing."""
    got = every(layer, x, **how)
    known, layer._call_cache = layer._call_cache, CallCache()
    expected = every(layer, x, **how)
    layer._call_cache = known
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(a, b)
        assert a.stride() == b.stride() or a.numel() == 0


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", CELLS)
def test_a_repeated_call_has_the_bits_of_the_first(name, layers, times):
    for dtype in (torch.float32, torch.float64):
        for batch_first in (True, False):
            layer = layer_of(name, layers, dtype=dtype, batch_first=batch_first)
            for how in ({}, {"dx": False}, {"keep": False}):
                for _ in range(2):
                    every(layer, torch.randn(6, 7, 5, dtype=dtype), **how)
                before = times()
                hold(layer, torch.randn(6, 7, 5, dtype=dtype), **how)
                assert times() == before + 1


@pytest.mark.parametrize(
    "shape", [(0, 7, 5), (1, 7, 5), (6, 1, 5), (1, 1, 5), (64, 2, 5), (100, 3, 5)]
)
def test_any_number_of_rows_and_steps(shape, times):
    layer = layer_of()
    for _ in range(3):
        hold(layer, torch.randn(shape))
    assert times() == 1


def test_an_input_that_lies_otherwise_is_another_call(times):
    layer = layer_of()
    whole = torch.randn(7, 6, 10)
    ways = [whole[..., :5], whole[..., ::2], whole.transpose(0, 1)[..., :5].contiguous()]
    ways += [whole[..., :5].contiguous(), whole[..., :5].transpose(0, 1), whole[:, ::2, :5]]
    ways += [whole[:1, :, :5].expand(4, 6, 5)]
    for _ in range(3):
        for x in ways:
            hold(layer, x, dx=False)
    assert times() == len(ways) - 1  # one's features lie apart: it is copied before


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_the_drop_ins_remember_too(kind, times):
    torch.manual_seed(0)
    for batch_first in (True, False):
        ours = kind(5, 17, 2, batch_first=batch_first, backend="c")
        theirs = getattr(nn, kind.__name__)(5, 17, 2, batch_first=batch_first)
        theirs.load_state_dict(ours.state_dict())
        for n in range(4):
            x = torch.randn(6, 7, 5)
            (a, b), (c, d) = ours(x), theirs(x)
            for got, expected in zip((a, *b), (c, *d), strict=True):
                assert torch.allclose(got, expected, atol=1e-5)
            assert (b[0] if isinstance(b, tuple) else b).shape == (2, 6 if batch_first else 7, 17)
            assert times() == max(0, n - 1) + 2 * (not batch_first)
        x = nn.utils.rnn.pack_sequence([torch.randn(3, 5), torch.randn(2, 5)])
        assert torch.allclose(ours(x)[0].data, theirs(x)[0].data, atol=1e-5)
        assert torch.allclose(ours(x.data)[0], theirs(x.data)[0], atol=1e-5)  # (T, I)


def _by_a_step(layer):
    torch.optim.SGD(layer.parameters(), 0.5).step()


def _data(layer):
    layer.weight_hh_l1.data = torch.randn_like(layer.weight_hh_l1)


def _lies_otherwise(layer):
    weight = layer.weight_hh_l0
    weight.data = weight.data.as_strided((4 * 17, 17), (1, 4 * 17))  # in its place, of its shape


def _another_parameter(layer):
    layer.bias_ih_l0 = nn.Parameter(torch.randn(4 * 17))


def _frozen(layer):
    layer.weight_ih_l0.requires_grad_(False)


def _all_below_frozen(layer):
    for name, p in layer.named_parameters():
        p.requires_grad_(name.endswith("_l1"))


def _thawed(layer):
    layer.bias_hh_l1.requires_grad_(True)


def _swapped(layer):
    layer.weight_hh_l0, layer.weight_hh_l1 = layer.weight_hh_l1, layer.weight_hh_l0


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
    _by_a_step, _data, _lies_otherwise, _another_parameter, _frozen, _thawed, _all_below_frozen,
    _swapped, _dropout, _weight_drop, _evaluating, _other_backend, _parametrized,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_decides_on_a_call_may_change_before_the_next(change):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    layer.bias_hh_l1.requires_grad_(change is not _thawed)
    repeated(layer, x)
    layer(x)[0].sum().backward()
    change(layer)
    for _ in range(3):
        torch.manual_seed(3)
        got = every(layer, x)
        known, layer._call_cache = layer._call_cache, CallCache()
        torch.manual_seed(3)
        expected = every(layer, x)
        layer._call_cache = known
        for a, b in zip(got, expected, strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("name", ["weight_hh_l0", "weight_hh_l1"])
def test_tied_weights_may_be_untied(name, times):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    layer.weight_hh_l0 = layer.weight_hh_l1
    repeated(layer, x)
    assert times() == 1
    setattr(layer, name, nn.Parameter(torch.randn(4 * 17, 17)))
    for _ in range(3):
        hold(layer, x)


def test_a_layer_of_another_dtype_is_another(times):
    layer = layer_of()
    for dtype in (torch.float32, torch.float64, torch.float32, torch.bfloat16, torch.float32):
        layer = layer.to(dtype)
        for _ in range(3):
            hold(layer, torch.randn(6, 7, 5).to(dtype))
    assert times() >= 4


def test_weights_lent_for_one_call_are_used_and_forgotten():
    layer, x = layer_of(), torch.randn(6, 7, 5)
    own = layer(x)[0]
    other = {name: torch.randn_like(p) for name, p in layer.named_parameters()}
    for _ in range(3):
        lent = torch.func.functional_call(layer, other, (x,))[0]
        assert not torch.equal(lent, own)
        for _ in range(3):
            assert_same_bits(layer(x)[0], own)
    layer.load_state_dict(other)
    assert_same_bits(layer(x)[0], lent)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own, in jvp
def test_what_is_no_plain_call_is_not_answered_so(times):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    full = {s: torch.ones(2, 6, 17) for s in layer.cell.states}
    repeated(layer, x)
    plain = every(layer, x, dx=False, keep=False)[0]
    assert times() == 1
    with torch.autocast("cpu"):
        assert layer(x)[0].dtype == torch.bfloat16
    assert not torch.equal(layer(x, full)[0], layer(x)[0])
    assert (layer(x, lengths=[1] * 6)[0][:, 1:] == 0).all()
    assert "c" in layer(x, observe=("c",))[2]
    before = times()
    trace(layer, x)  # it looks at each step
    mapped = torch.vmap(lambda one: layer(one)[0])(torch.stack([x, x]))
    assert torch.allclose(mapped[1], plain, atol=1e-6)
    layer.backend = "auto"
    _, slope = torch.func.jvp(lambda one: layer(one)[0], (x,), (torch.ones_like(x),))
    assert slope.abs().sum() > 0
    layer.backend = "c"
    graph = make_fx(lambda one: layer(one)[0])(x).graph
    assert any("unrolled.sequence" in str(node.target) for node in graph.nodes)
    assert times() == before


@pytest.mark.parametrize("wrong", [(6, 7, 4), (6, 5), (6, 0, 5), None, "text"])
def test_what_does_not_fit_is_still_refused(wrong):
    layer, x = layer_of(), torch.randn(6, 7, 5)
    repeated(layer, x)
    with pytest.raises(ShapeError, match="the input"):
        layer(torch.randn(wrong) if isinstance(wrong, tuple) else wrong)
    with pytest.raises(ShapeError, match="the input"):
        layer(x.double())
