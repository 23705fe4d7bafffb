"""The reference is the meaning: graph and typed step agree to the bit, padding is nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from near import assert_near, assert_same_bits
from random_cells import random_cells
from unrolled.cells import Cell, find, log, names, sigmoid, sqrt, tanh
from unrolled.engine.call import Call
from unrolled.engine.reference import Products, evaluate, run, step_on_tensors, turned
from unrolled.layers import Recurrent
from unrolled.layers.parameters import Sizes, effective, shapes

SIZES = [(1, 1, 1), (3, 5, 2), (2, 0, 7), (5, 4, 17), (2, 3, 33)]  # batch, inputs, units


@pytest.fixture(autouse=True)
def one_thread():
    """With more, the last bit of MKL's products depends on where their operands lie."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(traced, inputs, units, dtype=torch.float64, projected=None):
    """Effective parameters at random, norms and biases included."""
    width = units if projected is None else projected
    sizes = Sizes(inputs, units, width if traced.projs else units)
    named = {
        name: torch.randn(shape, dtype=dtype) * 0.5
        for name, shape in shapes(traced, sizes, bias=True, learned=()).items()
    }
    return sizes, effective(traced, sizes, named)


def states_of(traced, sizes, batch, dtype=torch.float64):
    return {
        s: torch.randn(batch, sizes.width(traced.widths[s]), dtype=dtype) for s in traced.states
    }


def assert_step_is_graph(cell, batch, inputs, units, dtype, projected=None):
    traced = cell.trace()
    sizes, params = drawn(traced, inputs, units, dtype, projected)
    products = Products(traced, params, units)
    xw = products.of_x(torch.randn(batch, traced.window * inputs, dtype=dtype))
    states = states_of(traced, sizes, batch, dtype)
    by_graph = evaluate(products, xw, states, {})
    by_step = step_on_tensors(cell, products, xw, states)
    assert list(by_graph)[: len(traced.states)] == list(traced.states)
    assert set(by_graph) == set(by_step)
    for name, value in by_step.items():
        assert_same_bits(by_graph[name], torch.as_tensor(value).expand_as(by_graph[name]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("batch", "inputs", "units"), SIZES)
@pytest.mark.parametrize("name", names())
def test_the_graph_computes_what_the_step_computes_to_the_last_bit(
    name, batch, inputs, units, dtype
):
    assert_step_is_graph(find(name), batch, inputs, units, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@settings(max_examples=60)
@given(cell=random_cells(), units=st.sampled_from([2, 6, 34]), batch=st.integers(1, 3))
def test_random_steps_too(cell, units, batch, dtype):
    assert_step_is_graph(cell, batch, 3, units, dtype, projected=max(1, units // 2))


def test_a_difference_in_the_last_bit_would_be_seen():
    one = torch.tensor([1.0])
    with pytest.raises(AssertionError, match="1 values differ"):
        assert_same_bits(one, torch.nextafter(one, torch.tensor([2.0])))
    with pytest.raises(AssertionError, match="differs by"):
        assert_near(one, one + 1e-4)
    with pytest.raises(AssertionError, match="differ"):
        assert_same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))


def test_a_gate_may_multiply_two_values():
    class Twice(Cell):
        gates, states = "a b", "h s"

        def step(self, x, u, h, s):
            new = tanh(x.a + u.a(h) + u.a(s) + u.b(s) + u.b(h * s))
            return {"h": new, "s": sigmoid(u.a(new))}

    for units in (1, 3, 17, 33):
        assert_step_is_graph(Twice(), 4, 3, units, torch.float32)


@settings(max_examples=25)
@given(cell=random_cells(smooth=True), steps=st.integers(1, 4))
def test_gradients_of_random_cells_are_those_of_finite_differences(cell, steps):
    torch.manual_seed(steps)
    traced = cell.trace()
    projected = 1 if traced.projs else 0
    layer = Recurrent(cell, 2, 2, proj_size=projected, dtype=torch.float64, backend="reference")
    x = torch.randn(2, steps, 2, dtype=torch.float64, requires_grad=True)
    parameters = list(layer.parameters())

    def loss(x, *values):
        output, final = torch.func.functional_call(
            layer, dict(zip(dict(layer.named_parameters()), values, strict=True)), (x,)
        )
        return output.sin().sum() + sum(v.sum() for v in final.values())

    assert torch.autograd.gradcheck(loss, (x, *parameters), atol=1e-5, rtol=1e-4)


# ---- lengths and padding


def ready(name, **options):
    torch.manual_seed(3)
    options |= {"backend": "reference", "dtype": torch.float64}
    return Recurrent(name, 3, 6, 2, **options).eval()


def gradients(layer, x, **call):
    x = x.clone().requires_grad_()
    layer.zero_grad()
    output, final = layer(x, **call)
    weights = torch.linspace(-1, 1, output.shape[-1], dtype=output.dtype)
    ((output * weights).sum() + sum(v.cos().sum() for v in final.values())).backward()
    return output, final, x.grad, {k: p.grad.clone() for k, p in layer.named_parameters()}


def padded(lengths, value=0.0):
    x = torch.randn(len(lengths), 6, 3, dtype=torch.float64)
    for row, length in enumerate(lengths):
        x[row, length:] = value
    return x


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", names())
def test_a_padded_batch_is_its_sequences_one_by_one(name, bidirectional):
    layer, lengths = ready(name, bidirectional=bidirectional), [4, 6, 1, 3]
    x = padded(lengths)
    output, final, grad_x, grads = gradients(layer, x, lengths=lengths)
    summed = {k: torch.zeros_like(v) for k, v in grads.items()}
    for row, length in enumerate(lengths):
        one = x[row : row + 1, :length]
        out, last, grad_one, grads_one = gradients(layer, one)
        assert_near(output[row : row + 1, :length], out, length)
        assert_near(grad_x[row : row + 1, :length], grad_one, 2 * length)
        assert not output[row, length:].any()
        assert not grad_x[row, length:].any()
        for s, v in last.items():
            assert_near(final[s][:, row : row + 1], v, length)
        for k, v in grads_one.items():
            summed[k] += v
    for k, v in summed.items():
        assert_near(grads[k], v, 24)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("name", names())
def test_what_stands_in_the_padding_changes_no_bit(name, value):
    layer, lengths = ready(name, bidirectional=True), [4, 6, 0, 3]
    clean = padded(lengths)
    dirty = clean.clone()
    for row, length in enumerate(lengths):
        dirty[row, length:] = value
    first, second = (gradients(layer, x, lengths=lengths) for x in (clean, dirty))
    assert_same_bits(second[0], first[0])
    assert_same_bits(second[2], first[2])
    for kind in (1, 3):
        for k, v in first[kind].items():
            assert torch.isfinite(v).all() or k == "m"
            assert_same_bits(second[kind][k], v)


@pytest.mark.parametrize("name", names())
def test_a_sequence_of_no_steps_keeps_its_states_and_gives_no_gradient(name):
    layer, lengths = ready(name, bidirectional=True), [0, 2]
    x = padded(lengths).requires_grad_()
    first = {s: v + 0.25 for s, v in layer.initial_states(2, x).items()}
    first = {s: v.nan_to_num(neginf=0.5).requires_grad_() for s, v in first.items()}
    output, final = layer(x, first, lengths=lengths)
    assert not output[0].any()
    for s in layer.cell.states:
        assert_same_bits(final[s][:, 0], first[s][:, 0])
    output.sum().backward()
    assert not x.grad[0].any()
    assert torch.isfinite(torch.cat([p.grad.flatten() for p in layer.parameters()])).all()


@pytest.mark.parametrize("name", ["lstm", "gru-first"])
def test_all_sequences_may_have_no_steps(name):
    layer = ready(name)
    output, final = layer(padded([0, 0]), lengths=[0, 0])
    assert not output.any()
    assert not any(v.any() for v in final.values())


def test_a_step_that_is_not_defined_at_padding_gives_no_nan():
    """At x = 0 and h = 0 the root has no derivative; at padded steps nobody asks for one."""

    class Rooted(Cell):
        gates, states = "a", "h"

        def step(self, x, h):
            return {"h": sqrt(x.a * x.a) + log(x.a * x.a) + 0.5 * h}

    layer = Recurrent(Rooted, 3, 2, bias=False, dtype=torch.float64, backend="reference")
    x, lengths = padded([2, 5, 0]), [2, 5, 0]
    output, final, grad_x, grads = gradients(layer, x, lengths=lengths)
    for value in (output, final["h"], grad_x, grads["weight_ih_l0"]):
        assert torch.isfinite(value).all()
    alone = [gradients(layer, x[k : k + 1, :n]) for k, n in ((0, 2), (1, 5))]
    assert_near(grads["weight_ih_l0"], alone[0][3]["weight_ih_l0"] + alone[1][3]["weight_ih_l0"], 9)


@pytest.mark.parametrize("name", names())
def test_the_reverse_direction_is_the_forward_one_on_turned_sequences(name):
    traced = find(name).trace()
    sizes, params = drawn(traced, 3, 4)
    x = torch.randn(6, 3, traced.window * 3, dtype=torch.float64)
    lengths = torch.tensor([2, 6, 4])
    states = states_of(traced, sizes, 3)
    seen = tuple(traced.graph.outputs)
    backward = run(Call(traced, x, states, params, lengths=lengths, reverse=True, observe=seen))
    manual = x.clone()
    for row, length in enumerate(lengths.tolist()):
        manual[:length, row] = x[:length, row].flip(0)
    forward = run(Call(traced, manual, states, params, lengths=lengths, observe=seen))
    for s in traced.states:
        assert_same_bits(backward.states[s], forward.states[s])
    for row, length in enumerate(lengths.tolist()):
        assert_same_bits(
            backward.output[:length, row], forward.output[:length, row].flip(0).contiguous()
        )
        for k in seen:
            assert_same_bits(
                backward.observed[k][:length, row], forward.observed[k][:length, row].flip(0)
            )


def test_turning_twice_changes_nothing():
    x, lengths = torch.randn(5, 4, 2), torch.tensor([5, 0, 1, 3])
    assert_same_bits(turned(turned(x, lengths), lengths), x)
    assert_same_bits(turned(x, None), x.flip(0))
    assert not torch.equal(turned(x, lengths), x)


@settings(max_examples=30)
@given(
    cell=random_cells(),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    bidirectional=st.booleans(),
    layers=st.integers(1, 2),
)
def test_padding_of_random_cells(cell, lengths, bidirectional, layers):
    torch.manual_seed(5)
    projected = 2 if cell.trace().projs else 0
    options = {"bidirectional": bidirectional, "proj_size": projected, "dtype": torch.float64}
    layer = Recurrent(cell, 3, 4, layers, backend="reference", **options)
    x = torch.randn(len(lengths), 5, 3, dtype=torch.float64)
    output, final = layer(x, lengths=lengths)
    for row, length in enumerate(lengths):
        if not length:
            assert not output[row].any()
            continue
        out, last = layer(x[row : row + 1, :length])
        assert_near(output[row : row + 1, :length], out, 4 * length)
        for s, v in last.items():
            assert_near(final[s][:, row : row + 1], v, 4 * length)
