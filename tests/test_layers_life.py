"""A layer in the life of a program: copies, processes, mixed precision, compiling, derivatives."""

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from near import assert_near, assert_same_bits
from unrolled.cells import Cell, find, names, sigmoid, tanh
from unrolled.engine import bound, gradients, room
from unrolled.engine.pool import Pool
from unrolled.errors import ShapeError
from unrolled.layers import GRU, LSTM, Recurrent, RecurrentCell

DOUBLE = {"dtype": torch.float64}


def local_cell():
    """A cell of a class that no other process can import."""

    class Local(Cell):
        gates, states = "z n", "h"

        def step(self, x, u, h):
            z = sigmoid(x.z + u.z(h))
            return {"h": (1 - z) * tanh(x.n + u.n(h)) + z * h, "z": z}

    return Local


def made(name, **options):
    cell = local_cell() if name == "local" else name
    return Recurrent(cell, 3, 4, 2, **{"backend": "reference", **DOUBLE, **options})


@pytest.mark.parametrize("name", [*names(), "local"])
def test_copies_and_pickles_compute_the_same_and_are_apart(name):
    layer = made(name, learn_initial=True)
    x = torch.randn(2, 5, 3, **DOUBLE)
    expected = layer(x)[0]
    pickled = pickle.loads(pickle.dumps(layer))  # noqa: S301  what was just written here
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for other in (copy.deepcopy(layer), pickled, loaded):
        assert_same_bits(other(x)[0], expected)
        with torch.no_grad():
            other.weight_ih_l0.zero_()
    assert_same_bits(layer(x)[0], expected)


def test_a_cell_object_goes_into_several_layers():
    cell = find("lem")
    first, second = (Recurrent(cell, 3, 4, backend="reference") for _ in range(2))
    assert first.cell == second.cell
    assert first.weight_ih_l0 is not second.weight_ih_l0


class Encoded(Dataset):
    """A data set that runs a layer in the worker, as a frozen encoder is."""

    def __init__(self, layer):
        self.layer = layer

    def __len__(self):
        return 6

    def __getitem__(self, k):
        with torch.no_grad():
            return self.layer(torch.full((1, 4, 3), float(k), **DOUBLE))[0][0]


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("name", ["lstm", "lem"])
def test_forked_workers_compute_the_same(name, backend):
    layer = made(name, backend=backend).eval()
    expected = torch.stack([Encoded(layer)[k] for k in range(6)])
    loader = DataLoader(
        Encoded(layer), batch_size=2, num_workers=2, multiprocessing_context="fork", timeout=60
    )
    with warnings.catch_warnings():  # Python warns of any fork of a process with threads
        warnings.filterwarnings("ignore", message=".*fork.*")
        got = torch.cat(list(loader))
    assert_same_bits(got, expected)


@pytest.mark.parametrize("lengths", [None, [5, 2, 0]])
@pytest.mark.parametrize("name", names())
def test_autocast_computes_in_bfloat16_and_trains(name, lengths):
    layer = made(name, dtype=torch.float32)
    x = torch.randn(3, 5, 3)
    plain, _ = layer(x, lengths=lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, final = layer(x, lengths=lengths)
        again, _ = layer(x, final, lengths=lengths)
    assert torch.isfinite(again).all()
    assert (output.float() - plain).abs().max() < 0.2
    (output.float().sum() + sum(v.float().sum() for v in final.values())).backward()
    for p in layer.parameters():
        assert p.grad is None or (p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all())


@pytest.mark.parametrize("make", [LSTM, GRU])
def test_autocast_of_the_drop_ins(make):
    layer, x = make(3, 8, 2), torch.randn(5, 2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, _ = layer(x)
    assert (output.float() - layer(x)[0]).abs().max() < 0.2
    output.float().sum().backward()


def test_a_layer_may_be_of_another_precision_altogether():
    layer = made("gru").to(torch.bfloat16)
    output, final = layer(torch.randn(2, 5, 3, dtype=torch.bfloat16))
    assert output.dtype == final["h"].dtype == torch.bfloat16
    assert torch.isfinite(output).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own warnings differ with its version
@pytest.mark.parametrize("name", ["lstm", "lem", "layernorm-lstm"])
@pytest.mark.parametrize("backend", ["reference", "torch", "auto"])
def test_torch_compile_around_a_model(name, backend):
    if backend == "torch" and name != "lstm":
        pytest.skip("PyTorch has no kernel for it")
    layer = made(name, backend=backend, dtype=torch.float32)
    model = torch.nn.Sequential()
    model.layer = layer
    x = torch.randn(2, 4, 3)

    def network(x):
        output, final = layer(x * 2)
        return output.sum(-1) + final[layer.cell.states[0]].mean()

    expected = network(x)
    torch._dynamo.reset()
    compiled = torch.compile(network)
    got = compiled(x)
    assert_near(got, expected, 100)
    got.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("name", names())
def test_the_reference_can_be_derived_twice(name):
    torch.manual_seed(3)
    projected = {"proj_size": 1} if name == "lstmp" else {}
    layer = Recurrent(name, 2, 2, backend="reference", **DOUBLE, **projected)
    x = torch.randn(1, 3, 2, **DOUBLE, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda x: layer(x)[0].sin().sum(), (x,), atol=1e-5, rtol=1e-4
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own, in jvp
@pytest.mark.parametrize("name", ["lstm", "gru-first", "lem"])
def test_functional_derivatives_of_the_reference(name):
    layer = made(name)
    x = torch.randn(3, 2, 4, 3, **DOUBLE)
    direction = torch.randn_like(x[0])
    _, forward = torch.func.jvp(lambda v: layer(v)[0].sum(), (x[0],), (direction,))
    (gradient,) = torch.autograd.grad(layer(leaf := x[0].clone().requires_grad_())[0].sum(), leaf)
    assert_near(forward, (gradient * direction).sum(), 50)
    batched = torch.func.vmap(lambda v: layer(v)[0])(x)
    for k in range(3):
        assert_near(batched[k], layer(x[k])[0], 8)
    per_example = torch.func.vmap(torch.func.grad(lambda v: layer(v)[0].sum()))(x)
    assert_near(per_example[0], gradient, 20)


def test_a_layer_on_the_meta_device_has_shapes_and_no_values():
    layer = Recurrent("lstm", 3, 4, backend="reference", device="meta")
    output, _ = layer(torch.zeros(2, 5, 3, device="meta"))
    assert output.shape == (2, 5, 4)
    assert output.device.type == "meta"


@pytest.mark.parametrize("backend", ["reference", "torch", "c"])
def test_inference_mode_and_no_grad(backend, monkeypatch):
    layer, x = made("lstm", backend=backend), torch.randn(2, 5, 3, **DOUBLE)
    fresh = Pool()  # all that it holds is made in inference mode
    for module in (bound, gradients, room):
        monkeypatch.setattr(module, "POOL", fresh)
    with torch.inference_mode():
        inside = layer(x)[0].clone()
    expected = layer(x)[0]
    expected.sum().backward()
    assert_same_bits(inside, expected)
    with torch.no_grad():
        output, _ = layer(x)
    assert not output.requires_grad
    assert_same_bits(output, expected)


def test_what_is_given_is_not_changed():
    layer = made("lstm")
    x = torch.randn(2, 5, 3, **DOUBLE)
    state = {s: torch.randn(2, 2, 4, **DOUBLE) for s in ("h", "c")}
    kept = copy.deepcopy((x, state))
    layer(x, state, lengths=[5, 2])
    cell = RecurrentCell("lstm", 3, 4, backend="reference", **DOUBLE)
    cell(x[:, 0], {s: v[0] for s, v in state.items()})
    assert_same_bits(x, kept[0])
    for s, v in state.items():
        assert_same_bits(v, kept[1][s])


def test_strided_and_expanded_inputs():
    layer, x = made("lstm", backend="torch"), torch.randn(3, 5, 2, **DOUBLE)
    turned = x.transpose(0, 2)
    expanded = torch.randn(1, 5, 3, **DOUBLE).expand(4, -1, -1)
    for value in (turned, expanded, turned[:, ::2]):
        for backend in ("reference", "torch"):
            layer.backend = backend
            assert_near(layer(value)[0], layer(value.contiguous())[0], 10)


@pytest.mark.parametrize(
    "turn",
    [
        torch.Tensor.to_sparse,
        torch.Tensor.to_mkldnn,
        lambda v: torch.nested.nested_tensor([v[0], v[0, :1]]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
def test_what_is_not_dense_is_refused(turn):
    layer, x, h = GRU(3, 4), torch.randn(5, 2, 3), torch.randn(1, 2, 4)
    for _ in range(3):  # also where the layer remembers its like
        layer(x, h)
        with pytest.raises(ShapeError, match="the input: expected a dense tensor"):
            layer(turn(x), h)
        with pytest.raises(ShapeError, match="state 'h': expected a dense tensor"):
            layer(x, turn(h))


def test_parameters_that_are_frozen_and_weights_of_norms():
    layer = made("lstm", backend="torch")
    for p in layer.parameters():
        p.requires_grad_(False)
    x = torch.randn(2, 5, 3, **DOUBLE, requires_grad=True)
    layer(x)[0].sum().backward()
    assert x.grad.any()


@pytest.mark.parametrize("name", names())
def test_a_step_of_training_makes_the_loss_smaller(name):
    torch.manual_seed(1)
    layer = made(name)
    x, target = torch.randn(4, 6, 3, **DOUBLE), torch.rand(4, 6, 4, **DOUBLE) * 0.5
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = (layer(x)[0] - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
