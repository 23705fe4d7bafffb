"""Backward passes that PyTorch maps over: each member gets the gradient that it gets by itself."""

import copy

import pytest
import torch
from torch import _vmap_internals
from torch.autograd.functional import jacobian

from held import compiled_with
from unrolled import LSTM, Recurrent
from unrolled.errors import BackendError

DOUBLE = torch.float64


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled():
    with compiled_with("-O0"):
        yield


@pytest.fixture(params=[1, 2])
def pair(request):
    """A layer on `c`, the same on the reference, and leaves to start from."""
    torch.manual_seed(0)
    ours = Recurrent("lstm", 3, 5, request.param, backend="c", dtype=DOUBLE)
    theirs = copy.deepcopy(ours)
    theirs.backend = "reference"
    leaves = [torch.randn(2, 4, 3, dtype=DOUBLE), torch.randn(request.param, 2, 5, dtype=DOUBLE)]
    return ours, theirs, [v.requires_grad_() for v in leaves]


def call(layer, x, h):
    output, final = layer(x, {"h": h, "c": h})
    return [output, final["h"], final["c"]]


def drawn(results, members=3):
    torch.manual_seed(1)
    return [torch.randn(members, *v.shape, dtype=DOUBLE) for v in results]


def close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("some", [slice(None), slice(1), slice(2, 3)])
def test_batched_gradients(pair, some):
    found = []
    for layer in pair[:2]:
        for _ in range(3):  # also where the layer remembers its like
            results = call(layer, *pair[2])[some]
        wanted = [*pair[2], *layer.parameters()]
        found.append(torch.autograd.grad(results, wanted, drawn(results), is_grads_batched=True))
    close(*found)


@pytest.mark.parametrize("axis", [0, -1])
def test_a_map_around_the_backward_pass(pair, axis):
    found = []
    for layer in pair[:2]:
        output, *_ = call(layer, *pair[2])

        def derive(arrives, layer=layer, output=output):
            wanted = [*pair[2], layer.weight_hh_l0]
            return torch.autograd.grad(output, wanted, arrives, retain_graph=True)

        arriving = drawn([output])[0].movedim(0, axis)
        found.append(torch.vmap(derive, in_dims=axis)(arriving))
    close(*found)


def test_some_gradients_are_mapped_and_some_are_the_same_for_all(pair):
    found = []
    for layer in pair[:2]:
        output, h, _ = call(layer, *pair[2])

        def derive(arrives, output=output, h=h):
            ones = torch.ones_like(h)
            return torch.autograd.grad([output, h], pair[2], [arrives, ones], retain_graph=True)

        found.append(torch.vmap(derive)(drawn([output])[0]))
    close(*found)


def test_a_whole_jacobian_at_once(pair):
    ours, theirs, (x, h) = pair
    one, other = (
        jacobian(lambda *v, layer=layer: call(layer, *v)[0], (x, h), vectorize=True)
        for layer in (ours, theirs)
    )
    close(one, other)


def test_the_layer_of_pytorch_s_name():
    torch.manual_seed(0)
    ours, theirs = LSTM(3, 5, backend="c"), torch.nn.LSTM(3, 5)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 2, 3)
    one, other = (jacobian(lambda v, m=m: m(v)[0], x, vectorize=True) for m in (ours, theirs))
    assert torch.allclose(one, other, atol=1e-6)


def test_what_cannot_be_mapped_says_so(pair):
    layer, _, (x, h) = pair
    output, *_ = call(layer, x, h)

    def derive(arrives, *, keep=False):
        how = {"retain_graph": True, "create_graph": keep}
        return torch.autograd.grad(output, x, arrives, **how)[0]

    arriving = drawn([output])[0]
    for way in (torch.vmap, _vmap_internals._vmap):
        with pytest.raises(BackendError, match="second derivative"):
            way(lambda v: derive(v, keep=True))(arriving)
    with pytest.raises(BackendError, match="a map of maps"):
        _vmap_internals._vmap(_vmap_internals._vmap(derive))(torch.stack([arriving, arriving]))


@pytest.mark.parametrize(("one", "other"), [(2, 3), (3, 2), (3, 3), (0, 2)])
def test_maps_inside_each_other(pair, one, other):
    found = []
    for layer in pair[:2]:
        output, h, _ = call(layer, *pair[2])

        def derive(first, second, output=output, h=h):
            return torch.autograd.grad([output, h], pair[2], [first, second], retain_graph=True)

        outer, inner = drawn([output], one)[0], drawn([h], other)[0]
        both = torch.vmap(lambda p, q=inner, f=derive: torch.vmap(lambda v: f(p, v))(q))
        found.append(both(outer))
        assert found[-1][0].shape[:2] == (one, other)
    close(*found)
