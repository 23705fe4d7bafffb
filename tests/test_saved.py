"""What a compiled cell keeps for its backward pass is autograd's: it goes when the gradient was
taken, hooks may move it, a checkpoint does without it, and nobody keeps himself alive by it.

The yardstick of every number is the same call that nobody looks at.
"""

import gc
import weakref

import pytest
import torch
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from held import compiled_with, poison, results
from near import assert_same_bits
from unrolled import Recurrent
from unrolled.cells import names
from unrolled.engine import bound
from unrolled.engine.pool import MOST_OF_A_SIZE
from unrolled.errors import BackendError, ShapeError
from unrolled.layers import GRU, LSTM

PREFIX = (4, 6, 2, 1, 3)  # lengths


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled():
    with compiled_with("-O0"):
        yield


@pytest.fixture
def no_collector():
    """Nothing waits for the collector of circles."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def layer_of(name="lstm", layers=2, **options):
    torch.manual_seed(0)
    return Recurrent(name, 5, 17, layers, backend="c", **options)


def busy():
    """Bytes of the pool's memory that somebody holds."""
    held = bound.POOL._held.values()
    return sum(b.tensor.nbytes for some in held for b in some if not b.free())


def moved():
    """Hooks that leave nothing where it was."""
    return saved_tensors_hooks(lambda v: v.detach().clone(), lambda v: v.clone())


def same(layer, x, hooks, **call):
    expected = results(layer, x, **call)
    with hooks:
        got = results(layer, x, **call)
    for name, value in expected.items():
        assert_same_bits(got[name], value)


@pytest.mark.parametrize("name", names())
def test_what_hooks_gave_back_is_what_is_derived(name):
    layer = layer_of(name)
    x = torch.randn(5, 6, 5)
    first = {s: torch.rand_like(v) + 0.5 for s, v in layer.initial_states(5, x).items()}
    for _ in range(3):  # also where the layer remembers its like
        same(layer, x, moved())
    same(layer, x, save_on_cpu(), state=first)
    same(layer, x, moved(), lengths=PREFIX, observe=layer.cell.states)


@pytest.mark.parametrize(
    "options",
    [
        {"bidirectional": True},
        {"batch_first": False},
        {"layer_norm": True},
        {"dropout": 0.3},
        {"variational": 0.3, "zoneout": 0.2},
        {"weight_drop": 0.3},
        {"learn_initial": True},
        {"bias": False},
    ],
)
def test_hooks_may_move_whatever_an_option_adds(options):
    layer = layer_of(**options)
    for shape in ((5, 6, 5), (1, 6, 5), (5, 1, 5)):
        x = torch.randn(shape)
        same(layer, x, moved())
        rows = torch.randn(*shape[:2], 7)[..., :5]  # C copies those that lie apart
        same(layer, rows, moved())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_hooks_may_move_other_precisions(dtype):
    for name in ("lstm", "gru-first", "layernorm-lstm", "sru"):
        same(layer_of(name).to(dtype), torch.randn(5, 6, 5, dtype=dtype), moved())


def test_parameters_of_one_memory_are_told_apart():
    layer = layer_of("gru", 1)
    memory = torch.randn(51 * 17 + 51 * 5)
    # The second begins within the first, both begin where a third does.
    given = {
        "weight_hh_l0": memory[: 51 * 17].view(51, 17),
        "weight_ih_l0": memory[51 : 51 + 51 * 5].view(51, 5),
        "bias_ih_l0": memory[:51],
        "bias_hh_l0": memory[:51],
    }
    found = []
    for hooks in (saved_tensors_hooks(lambda v: v, lambda v: v), moved()):
        x = torch.ones(3, 4, 5, requires_grad=True)
        leaf = memory.clone().requires_grad_()
        own = {k: leaf[v.storage_offset() :][: v.numel()].view_as(v) for k, v in given.items()}
        with hooks:
            output, _ = torch.func.functional_call(layer, own, (x,))
        poison()
        found.append(torch.autograd.grad(output.sin().sum(), [x, leaf]))
    for a, b in zip(*found, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize(
    "wrong", [lambda v: v[..., :0], lambda v: v.double(), lambda v: v.to("meta")]
)
def test_a_hook_that_gives_back_something_else_is_an_error(wrong):
    layer, x = layer_of(), torch.randn(5, 6, 5)
    with saved_tensors_hooks(lambda v: v.detach(), wrong):
        output, _ = layer(x)
    with pytest.raises(BackendError, match="expected what it kept"):
        output.sum().backward()


def doubled(layer, x):
    return 2 * layer(x)[0]


@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_a_checkpoint_does_without_what_was_kept(kind):
    """PyTorch's one that computes again: all but the results goes, and comes again."""
    torch.manual_seed(0)
    layers = [kind(16, 16, backend="c") for _ in range(4)]
    x = torch.randn(50, 8, 16, requires_grad=True)
    wanted = [x, *(p for one in layers for p in one.parameters())]
    sizes, grads = [], []
    for again in (False, True):
        poison()
        before, y = busy(), x
        for one in layers:
            y = checkpoint(doubled, one, y, use_reentrant=False) if again else doubled(one, y)
        sizes.append(busy() - before)
        poison()
        grads.append(torch.autograd.grad(y.sin().sum(), wanted))
        del y
    assert sizes[1] == 0 < sizes[0]
    for a, b in zip(*grads, strict=True):
        assert_same_bits(a, b)


def test_memory_goes_with_the_gradient_though_results_are_kept(no_collector):
    layer, x = layer_of(), torch.randn(5, 60, 5)
    before, total, kept = busy(), 0, []
    for _ in range(5):
        final = layer(x)[1]
        loss = final["h"].square().sum()
        assert busy() > before
        loss.backward()
        total = total + loss
        kept.append(final)
        assert busy() == before
    final = layer(x)[1]
    final["h"].sum().backward(retain_graph=True)
    assert busy() > before
    final["h"].sum().backward()
    assert busy() == before


@pytest.mark.parametrize("backend", ["c", "reference"])
def test_what_a_call_was_given_may_take_its_result(backend, no_collector):
    """In place, then cut off: what was kept held the circle h → copy → call → h."""
    layer = GRU(17, 17, backend=backend)
    x, h, gone = torch.randn(4, 3, 17), torch.zeros(1, 3, 17), []
    for _ in range(4):
        output, last = layer(x, h)
        output.sum().backward()
        gone += [weakref.ref(h), weakref.ref(x)]
        h.copy_(last)
        x[:] = output
        h, x = h.detach(), x.detach()
        del output, last
        assert not any(one() is not None for one in gone)


def test_given_states_may_take_the_last_before_the_gradient(no_collector):
    """C has copied them; other backends refuse."""
    layer, h, gone = GRU(5, 17, backend="c"), torch.zeros(1, 3, 17), []
    for _ in range(4):
        x, start = torch.randn(4, 3, 5), h.clone()
        output, last = layer(x, h)
        gone.append(weakref.ref(h))
        h.copy_(last)
        grad = torch.autograd.grad(output.sum(), layer.weight_hh_l0)[0]
        (expected,) = torch.autograd.grad(layer(x, start)[0].sum(), layer.weight_hh_l0)
        assert_same_bits(grad, expected)
        h = h.detach()
        del output, last
        assert not any(one() is not None for one in gone)


def test_a_state_is_let_go_once_the_gradient_was_taken(no_collector):
    layer, x = layer_of(), torch.randn(5, 6, 5)
    for wants in (False, True):
        for _ in range(4):
            state = {s: torch.randn(2, 5, 17, requires_grad=wants) for s in "hc"}
            watched = [weakref.ref(v) for v in state.values()]
            output = layer(x, state)[0]
            del state
            assert all((one() is not None) == wants for one in watched)
            output.sum().backward()
            del output  # whose graph ends at leaves that want a gradient
            assert all(one() is None for one in watched)


@pytest.mark.parametrize("times", [0, 3])
def test_no_derivative_of_a_gradient_is_missed(times):
    """With respect to whatever: what PyTorch does not find in a graph, it takes for 0."""
    layer = layer_of()
    for _ in range(times + 1):
        x = torch.randn(5, 6, 5, requires_grad=True)
        state = {s: torch.randn(2, 5, 17, requires_grad=True) for s in "hc"}
        output, _ = layer(x, state)
    everything = [x, *state.values(), *layer.parameters()]
    grads = torch.autograd.grad(output.square().sum(), everything, create_graph=True)
    for one in grads:
        for of in everything:
            with pytest.raises(BackendError, match="second derivative"):
                torch.autograd.grad(one.sum(), of, allow_unused=True, retain_graph=True)
    with pytest.raises(BackendError, match="second derivative"):
        torch.autograd.functional.hessian(lambda v: layer(v, state)[0].sum(), x.detach())


def test_memory_that_is_shared_or_freed_is_not_used_again():
    layer, x = layer_of(), torch.randn(5, 6, 5)
    with torch.no_grad():
        for _ in range(3):
            output = layer(x)[0].share_memory_()  # as what is sent to another process
            seen, same = output.numpy(), output.clone()
            del output
            poison()
            layer(torch.randn(5, 6, 5))
            assert (seen == same.numpy()).all()
            layer(x)[0].untyped_storage().resize_(0)
            assert_same_bits(layer(x)[0], same)


def test_kept_outputs_do_not_slow_the_pool_down():
    layer, x, kept = layer_of(), torch.randn(1, 2, 5), []
    with torch.no_grad():
        for _ in range(10 * MOST_OF_A_SIZE):
            kept.append(layer(x)[0])
            assert max(map(len, bound.POOL._held.values())) <= MOST_OF_A_SIZE
    assert all(torch.equal(one, kept[0]) for one in kept)


@pytest.mark.parametrize("kind", [GRU, LSTM])
@pytest.mark.parametrize("times", [0, 3])
def test_parameters_that_do_not_fit_do_not_reach_c(kind, times):
    x = torch.randn(6, 5, 5)
    for name in ("weight_hh_l0", "weight_ih_l1", "bias_ih_l0"):
        layer = kind(5, 17, 2, backend="c")
        for _ in range(times):
            layer(x)
        own = getattr(layer, name)
        for wrong in (own[:-1], own.unsqueeze(0), own[:0], own[..., :1].t()):
            with pytest.raises(ShapeError, match=f"the parameter {name}: expected shape"):
                torch.func.functional_call(layer, {name: wrong}, (x,))
        with pytest.raises(BackendError, match="tensors on the CPU that have memory"):
            torch.func.functional_call(layer, {name: own.to("meta")}, (x,))
        own.data = torch.zeros(3, 3)
        with pytest.raises(ShapeError, match=f"the parameter {name}: expected shape"):
            layer(x)


@pytest.mark.parametrize("times", [0, 3])
def test_an_input_without_memory_is_an_error(times):
    layer = layer_of("gru")
    for _ in range(times):
        layer(torch.randn(5, 6, 5), {"h": torch.randn(2, 5, 17)})
    given = [torch.randn(5, 6, 5), torch.randn(2, 5, 17)]
    for gone in (1, 0):
        given[gone].untyped_storage().resize_(0)
        # Rows of a state are taken by PyTorch, which sees it too.
        said = "tensors on the CPU that have memory|storage of size 0"
        with pytest.raises((BackendError, RuntimeError), match=said):
            layer(given[0], {"h": given[1]})
        given[1] = torch.randn(2, 5, 17)


def test_packed_sequences_are_looked_at():
    layer = GRU(5, 17, backend="c")
    for wrong in (torch.randn(4, 2, 6), torch.randn(4, 2, 5).double(), torch.ones(4, 2, 5).long()):
        with pytest.raises(ShapeError, match="the input"):
            layer(pack_padded_sequence(wrong, [4, 2]))


def test_lengths_may_change_before_the_gradient():
    layer, x = layer_of(), torch.randn(5, 6, 5, requires_grad=True)
    for lengths in (torch.tensor(PREFIX), torch.tensor(PREFIX).numpy()):
        found = []
        for change in (False, True):
            output, _ = layer(x, lengths=lengths)
            if change:
                lengths[:] = 1
            found.append(torch.autograd.grad(output.sin().sum(), x)[0])
        assert_same_bits(*found)
