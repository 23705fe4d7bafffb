"""Layers on top of each other that the compiled cell runs as one step of autograd.

The yardstick is the same layers run one by one, and the reference in float64.
"""

import gc
import threading

import pytest
import torch

from near import assert_near
from unrolled import Recurrent
from unrolled.engine import backends, compiled, gradients
from unrolled.errors import BackendError

CELLS = ("lstm", "gru", "lstmp", "layernorm-lstm", "scrn", "indrnn")


def both(name, layers=3, **options):
    torch.manual_seed(0)
    ours = Recurrent(name, 5, 24, layers, backend="c", **options)
    exact = Recurrent(name, 5, 24, layers, backend="reference", dtype=torch.float64, **options)
    exact.load_state_dict(ours.state_dict())
    return ours, exact


def derived(layer, x, state=None):
    x = x.detach().requires_grad_()
    output, final = layer(x, state)
    loss = output.sin().sum() + sum(v.square().sum() for v in final.values())
    loss.backward()
    grads = {n: p.grad for n, p in layer.named_parameters()}
    return {"output": output.detach(), **final, "dx": x.grad, **grads}


@pytest.fixture
def counted(monkeypatch):
    """How many layers each joined run had."""
    counts, c = [], backends.BACKENDS["c"]

    def run(calls):
        counts.append(len(calls))
        return c.run_joined(calls)

    monkeypatch.setitem(backends.BACKENDS, "c", c._replace(run_joined=run))
    return counts


@pytest.mark.parametrize("name", CELLS)
def test_joined_layers_give_what_the_reference_gives(name, counted):
    ours, exact = both(name)
    x = torch.randn(4, 7, 5)
    state = {s: torch.randn_like(v) for s, v in ours.initial_states(4, x).items()}
    for given in (None, state):
        wide = given and {s: v.double() for s, v in given.items()}
        got, want = derived(ours, x, given), derived(exact, x.double(), wide)
        for key in want:
            assert_near(got[key], want[key].float(), 50)
        ours.zero_grad()
        exact.zero_grad()
    assert counted == [3, 3]


@pytest.mark.parametrize("name", CELLS)
def test_joined_layers_give_the_bits_of_layers_one_by_one(name, counted, monkeypatch):
    ours, _ = both(name)
    x = torch.randn(4, 7, 5)
    joined = derived(ours, x)
    assert counted == [3]
    ours.zero_grad()
    alone = backends.BACKENDS["c"]._replace(joins=lambda calls: False)
    monkeypatch.setitem(backends.BACKENDS, "c", alone)
    alone = derived(ours, x)
    assert counted == [3]
    for key, value in alone.items():
        assert torch.equal(joined[key], value), key


def test_gradients_of_first_states_reach_every_layer():
    ours, exact = both("lstm")
    x, found = torch.randn(4, 7, 5), []
    first = {s: torch.randn_like(v) for s, v in ours.initial_states(4, x).items()}
    for layer, dtype in ((ours, torch.float32), (exact, torch.float64)):
        state = {s: v.detach().clone().to(dtype).requires_grad_() for s, v in first.items()}
        layer(x.to(dtype), state)[0].square().sum().backward()
        found.append(state)
    for s in first:
        assert found[0][s].grad.abs().amin((1, 2)).all()
        assert_near(found[0][s].grad, found[1][s].grad.float(), 50)


@pytest.mark.parametrize("frozen", [("l0",), ("l0", "l1"), ("l1",), ("l2",), ("l1", "l2")])
@pytest.mark.parametrize("wants_dx", [False, True])
def test_frozen_layers_are_left_out_and_passed_through(frozen, wants_dx):
    ours, exact = both("gru")
    x, grads = torch.randn(4, 7, 5), []
    for layer in (ours, exact):
        for n, p in layer.named_parameters():
            p.requires_grad_(not n.endswith(frozen))
        own = x.detach().clone().to(layer.like.dtype).requires_grad_(wants_dx)
        layer(own)[0].square().sum().backward()
        grads.append({"x": own.grad, **{n: p.grad for n, p in layer.named_parameters()}})
    for n, want in grads[1].items():
        assert (grads[0][n] is None) == (want is None), n
        if want is not None:
            assert_near(grads[0][n], want.float(), 50)


def test_what_was_changed_in_place_is_noticed():
    ours, _ = both("gru")
    x = torch.randn(4, 7, 5)
    output, _ = ours(x)
    with torch.no_grad():
        ours.weight_hh_l1.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_a_second_derivative_is_refused():
    ours, _ = both("gru")
    x = torch.randn(4, 7, 5, requires_grad=True)
    (grad,) = torch.autograd.grad(ours(x)[0].sum(), x, create_graph=True)
    with pytest.raises(BackendError, match="derived once"):
        grad.sum().backward()


@pytest.mark.parametrize(
    "why", ["dropout", "bidirectional", "lengths", "observe", "window", "torch"]
)
def test_layers_run_one_by_one_where_something_comes_between(why, counted):
    options = {"dropout": {"dropout": 0.5}, "bidirectional": {"bidirectional": True}}.get(why, {})
    layer = Recurrent("qrnn" if why == "window" else "gru", 5, 8, 2, **options)
    if why == "torch":
        layer.backend = "torch"
    x, said = torch.randn(4, 7, 5), {}
    if why == "lengths":
        said["lengths"] = [7, 3, 2, 7]
    if why == "observe":
        said["observe"] = ("h",)
    output, final, *seen = layer(x, **said)
    assert not counted
    assert final["h"].shape == (2 * layer.directions, 4, 8)
    assert all(torch.equal(v[-1, ..., -8:], output[..., -8:]) for s in seen for v in s.values())


def test_dropout_between_layers_is_nothing_in_evaluation(counted):
    layer = Recurrent("gru", 5, 8, 2, dropout=0.5).eval()
    layer(torch.randn(4, 7, 5))
    assert counted == [2]


def test_layers_of_two_dtypes_are_not_joined():
    layer = Recurrent("gru", 5, 8, 2, backend="c")
    layer.weight_ih_l1.data = layer.weight_ih_l1.data.double()
    calls = [layer._engine_call(k, 0, torch.zeros(7, 4, 5), {}, None, ()) for k in range(2)]
    assert not compiled.joins(calls)


def test_passes_over_one_graph_leave_nothing_behind():
    """Rows of a Jacobian: nothing of a pass stays with the graph."""
    ours, _ = both("lstm")
    x = torch.randn(4, 7, 5, requires_grad=True)
    output, _ = ours(x)

    def tensors_after(passes):
        for k in range(passes):
            torch.autograd.grad(output[0, 0, k], x, retain_graph=True)
        gc.collect()
        return sum(type(thing) is torch.Tensor for thing in gc.get_objects())

    assert tensors_after(2) == tensors_after(10)


def test_autograd_takes_gradients_without_copying_them(monkeypatch):
    ours, _ = both("gru")
    made, finish = [], gradients.Pass.finish

    def finished(self, **how):
        finish(self, **how)
        made.extend(v.data_ptr() for v in self.result if v is not None)

    monkeypatch.setattr(gradients.Pass, "finish", finished)
    ours(torch.randn(4, 7, 5))[0].sum().backward()
    assert {p.grad.data_ptr() for p in ours.parameters()} <= {*made}


def test_threads_may_derive_one_graph_at_once():
    torch.manual_seed(0)
    layer = Recurrent("lstm", 3, 64, 2, backend="c")
    x = torch.randn(8, 40, 3, requires_grad=True)
    output, _ = layer(x)
    losses = [output.sin().sum(), output.cos().sum(), output.square().sum(), output.sum()]
    want = [torch.autograd.grad(loss, x, retain_graph=True)[0] for loss in losses]
    right = []

    def derive(loss, wanted):
        for _ in range(10):
            (grad,) = torch.autograd.grad(loss, x, retain_graph=True)
            right.append(torch.equal(grad, wanted))

    threads = [
        threading.Thread(target=derive, args=pair) for pair in zip(losses, want, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 40
