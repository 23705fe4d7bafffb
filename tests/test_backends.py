"""Backends: what is asked for by name never falls back, auto says what ran, kernels are honest."""

import pytest
import torch

from near import assert_near
from unrolled.cells import Cell, find, names, relu, sigmoid, tanh
from unrolled.engine import backends, kernels
from unrolled.engine.call import Call, Params
from unrolled.engine.traced import Traced
from unrolled.errors import BackendError
from unrolled.layers import LSTM, Recurrent

WITH_KERNEL = [n for n in names() if find(n).kernel]


def test_the_cells_with_a_kernel_are_pytorchs():
    assert {find(n).kernel for n in WITH_KERNEL} == {"lstm", "gru", "rnn_tanh", "rnn_relu"}


@pytest.mark.parametrize("name", names())
def test_every_cell_runs_on_the_reference_and_says_so(name):
    layer = Recurrent(name, 3, 4, backend="reference")
    assert layer.backend == "reference"
    layer(torch.zeros(2, 3, 3))
    assert layer.backend == "reference"


@pytest.mark.parametrize("name", names())
def test_pytorchs_kernel_runs_what_it_can_and_refuses_the_rest(name):
    projected = 2 if name == "lstmp" else 0
    layer = Recurrent(name, 3, 6, proj_size=projected, backend="torch", dtype=torch.float64)
    x = torch.zeros(2, 3, 3, dtype=torch.float64)
    if name in WITH_KERNEL:
        layer(x)
        assert layer.backend == "torch"
    else:
        with pytest.raises(BackendError, match=f"no kernel for the cell {name}") as error:
            layer(x)
        assert 'Take backend="auto"' in str(error.value)


@pytest.mark.parametrize(
    ("options", "call", "reason"),
    [
        ({}, {"observe": ("f",)}, "does not record f"),
        ({}, {"observe": ("h", "c")}, "does not record c"),
        ({"layer_norm": True}, {}, "no layer norm"),
        ({"variational": 0.5}, {}, "no layer norm, variational dropout or zoneout"),
        ({"zoneout": 0.5}, {}, "zoneout"),
    ],
)
def test_what_pytorchs_kernel_cannot_do_it_says(options, call, reason):
    x = torch.zeros(2, 3, 3)
    with pytest.raises(BackendError, match=reason):
        Recurrent("lstm", 3, 4, backend="torch", **options)(x, **call)
    layer = Recurrent("lstm", 3, 4, **options)
    layer(x, **call)
    assert layer.backend != "torch"


def test_zoneout_in_evaluation_is_refused_too():
    layer = Recurrent("gru", 3, 4, backend="torch", zoneout=0.5).eval()
    with pytest.raises(BackendError, match="computes something else"):
        layer(torch.zeros(2, 3, 3))


@pytest.mark.parametrize("make", [lambda: Recurrent("lstm", 3, 4, backend="fast"), None])
def test_an_unknown_backend_is_refused(make):
    with pytest.raises(BackendError, match="expected one of auto, "):
        make() if make else setattr(LSTM(3, 4), "backend", "fast")


def test_a_backend_can_be_changed_later():
    layer = LSTM(3, 4)
    layer(torch.zeros(2, 1, 3))
    layer.backend = "reference"
    layer(torch.zeros(2, 1, 3))
    assert layer.backend == "reference"


def different(name):
    """A cell that claims PyTorch's kernel, and computes something else."""
    kind = type(find("lstm"))

    class Swapped(kind):
        gates = "f i g o"

        def step(self, x, u, h, c):
            return kind.step(self, x, u, h, c)

    class Relu(kind):
        def step(self, x, u, h, c):
            i, f = sigmoid(x.i + u.i(h)), sigmoid(x.f + u.f(h))
            g, o = tanh(x.g + u.g(h)), sigmoid(x.o + u.o(h))
            c = f * c + i * g
            return {"h": o * relu(c), "c": c}

    class Exchanged(kind):
        states = "c h"

    class Less(Cell):
        gates, states, kernel = "i f g o", "h c", "lstm"

        def step(self, x, u, h, c):
            i, f = sigmoid(x.i + u.i(h)), sigmoid(x.f)
            g, o = tanh(x.g + u.g(h)), sigmoid(x.o + u.o(h))
            c = f * c + i * g
            return {"h": o * tanh(c), "c": c}

    class Same(kind):
        def step(self, x, u, h, c):
            o, g = sigmoid(u.o(h) + x.o), tanh(u.g(h) + x.g)
            new = sigmoid(x.i + u.i(h)) * g + c * sigmoid(x.f + u.f(h))
            return {"c": new, "h": tanh(new) * o}

    class Structured(kind):
        structure = {"u": "shared"}

    return {k.__name__: k for k in (Swapped, Relu, Exchanged, Less, Same, Structured)}[name]()


@pytest.mark.parametrize("name", ["Swapped", "Relu", "Exchanged", "Less"])
def test_a_cell_that_inherits_or_claims_a_kernel_is_believed_only_if_it_computes_the_same(name):
    cell = different(name)
    assert cell.kernel == "lstm"
    layer = Recurrent(cell, 3, 4, dtype=torch.float64)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    output, _ = layer(x)
    assert layer.backend != "torch"
    layer.backend = "reference"
    assert_near(output, layer(x)[0], 5)
    layer.backend = "torch"
    with pytest.raises(BackendError, match="kernel lstm computes something else"):
        layer(x)


@pytest.mark.parametrize("name", ["Same", "Structured"])
def test_a_cell_that_is_typed_in_another_order_keeps_the_kernel(name):
    layer = Recurrent(different(name), 3, 4, dtype=torch.float64, backend="torch")
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    output, _ = layer(x)
    layer.backend = "reference"
    assert_near(output, layer(x)[0], 5)


def test_a_cell_from_a_file_cannot_claim_a_kernel_that_is_not_its_own():
    data = find("gru-first").trace().to_json()
    layer = Recurrent(Traced.from_json({**data, "kernel": "gru"}), 3, 4)
    layer(torch.zeros(1, 2, 3))
    assert layer.backend != "torch"


def test_looking_for_a_kernel_draws_no_random_number():
    class Another(type(find("gru"))):
        pass

    layer, x = Recurrent(Another, 3, 4), torch.zeros(1, 2, 3)
    before = torch.get_rng_state()
    layer(x)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", WITH_KERNEL)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [None, [5, 2, 0]])
def test_the_kernels_compute_what_the_reference_computes(name, bias, lengths):
    options = {"bidirectional": True, "bias": bias, "proj_size": 2 if name == "lstmp" else 0}
    layer = Recurrent(name, 3, 6, 2, dtype=torch.float64, **options)
    x = torch.randn(3, 5, 3, dtype=torch.float64)
    found = []
    for backend in ("reference", "torch"):
        layer.backend = backend
        layer.zero_grad()
        leaf = x.clone().requires_grad_()
        output, final = layer(leaf, lengths=lengths)
        (output.square().sum() + sum(v.sin().sum() for v in final.values())).backward()
        grads = [leaf.grad, *(p.grad for p in layer.parameters())]
        found.append([output, *final.values(), *grads])
    for want, got in zip(*found, strict=True):
        assert_near(got, want, 20)


def test_gradients_may_be_asked_for_in_evaluation(monkeypatch):
    """A saliency is asked of a model in evaluation: the call says that gradients may come."""
    said = []
    original = backends.run_all

    def listened(name, calls):
        said.extend(call.training for call in calls)
        return original(name, calls)

    monkeypatch.setattr(backends, "run_all", listened)
    layer, x = Recurrent("lstm", 3, 4).eval(), torch.zeros(1, 2, 3, requires_grad=True)
    layer(x)[0].sum().backward()
    with torch.no_grad():
        layer(x)
    assert said == [True, False]
    assert x.grad.any()


def test_observing_the_output_alone_is_the_output():
    layer = Recurrent("lstm", 3, 4, backend="torch")
    output, _, seen = layer(torch.randn(2, 5, 3), observe=("h",))
    assert torch.equal(seen["h"][0], output)


def test_a_call_can_be_made_without_a_layer():
    layer = Recurrent("rnn", 2, 3)
    traced = layer.cell
    params = Params(layer.weight_ih_l0, layer.bias_ih_l0, layer.weight_hh_l0, layer.bias_hh_l0)
    x = torch.randn(4, 2, 2)
    call = Call(traced, x, {"h": torch.zeros(2, 3)}, params)
    assert not kernels.unfit(call)
    answer, ran = backends.run("auto", call)
    assert ran in backends.NAMES
    assert_near(answer.output, layer(x.transpose(0, 1))[0].transpose(0, 1), 4)
