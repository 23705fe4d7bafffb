"""bfloat16 on the compiled backend, held against the reference in float64 on the same numbers.

bfloat16 keeps 8 bits: rounding moves a value by 1/256 of it at most. What a result loses is
measured in that unit, against its largest value and, in the mean of squares, against all of it.
"""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from held import DOUBLE, a_pair, compiled_with, finite, results
from near import assert_same_bits
from random_cells import random_cells
from unrolled.cells import find, names
from unrolled.engine import precision
from unrolled.layers import GRU, LSTM, RNN, Recurrent

HALF = torch.bfloat16
ROUNDING = 2.0**-8
MOST = 16  # roundings that a result may have lost; a wrong row or a missing sum loses hundreds
MOST_AT_A_KINK = 256  # a rounded value on its other side has another derivative
KINKS = {"relu", "maximum", "minimum", "absolute"}
FAMILIES = ("lstm", "gru-first", "layernorm-lstm", "lstmp", "mingru", "slstm")
LENGTHS = [6, 1, 3, 0, 2, 6, 5]


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled():
    with compiled_with("-O0"):
        yield


def of(name, units):
    """A cell that fits the units: heads divide them."""
    cell = find(name)
    return type(cell)(heads=1) if cell.trace().heads > 1 and units % cell.trace().heads else cell


def roundings(expected, got):
    """Name → how many roundings a result lost, of its largest value or of all of it."""
    found = {}
    assert list(got) == list(expected)
    for name, want in expected.items():
        have = got[name].to(DOUBLE)
        assert have.shape == want.shape, f"{name}: {tuple(have.shape)} is not {tuple(want.shape)}"
        assert torch.equal(have.isfinite(), want.isfinite()), f"{name}: not finite elsewhere"
        if not want.numel():
            continue
        lost, want = finite(have) - finite(want), finite(want)
        # One number, or what is 0 but for float64's roundings (of a norm over one unit), may be a
        # sum of large ones.
        least = 1.0 if want.numel() == 1 or float(want.abs().max()) < 1e-12 else 1e-30
        sizes = ((lost.abs().max(), want.abs().max()), (lost.norm(), want.norm()))
        found[name] = max(float(s) / max(least, float(all_)) / ROUNDING for s, all_ in sizes)
    return found


def assert_near_in_bfloat16(expected, got, most=MOST, loop=None):
    """`loop`: what a loop in bfloat16 gives; twice what it loses may be lost."""
    allowed = {} if loop is None else roundings(expected, loop)
    for name, lost in roundings(expected, got).items():
        assert lost <= max(most, 2 * allowed.get(name, 0)), f"{name}: {lost:.1f} roundings away"


def hold(cell, steps, batch, inputs, units, layers=1, *, training=True, **given):
    """One call in bfloat16 and in float64, from the same numbers; all that comes of it."""
    call = {k: given.pop(k) for k in ("lengths", "observe", "dx") if k in given}
    reference, ours = a_pair(cell, inputs, units, layers, dtype=HALF, **given)
    for layer in (reference, ours):
        layer.train(training)
    x = torch.randn(batch, steps, inputs).to(HALF)
    expected = results(reference, x.to(DOUBLE), rounded=HALF, **call)
    got = results(ours, x, rounded=HALF, **call)
    assert ours.backend == "c"
    assert {v.dtype for v in got.values()} == {HALF}
    ops = {node.op for node in reference._training_cell.graph.nodes}
    # A norm over so few units divides by what may be small, a product of products by a product has
    # as many values that are large: they magnify what was rounded.
    magnifies = "norm" in ops or reference.cell.name == "multiplicative-lstm"
    most = MOST_AT_A_KINK if KINKS & ops else 4 * MOST if magnifies else MOST
    loop = None
    if magnifies:
        ours.backend = "reference"
        loop = results(ours, x, rounded=HALF, **call)
    assert_near_in_bfloat16(expected, got, most, loop)


def hold_everything(name):
    observe = tuple(find(name).trace().graph.outputs)
    hold(of(name, 17), 6, 7, 5, 17, 2, lengths=LENGTHS, bidirectional=True, observe=observe)


@pytest.mark.parametrize("name", FAMILIES)
def test_cells_of_every_kind(name):
    hold_everything(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_cell(name):
    hold_everything(name)
    for shape in [(1, 1, 1, 1), (3, 2, 0, 7), (2, 0, 3, 5), (20, 9, 16, 32), (3, 13, 9, 33)]:
        hold(of(name, shape[-1]), *shape)


def test_a_norm_over_one_unit():
    hold(find("layernorm-lstm"), 1, 1, 1, 1)


OPTIONS = {
    "variational": 0.4,
    "weight_drop": 0.5,
    "layer_norm": True,
    "dropout": 0.5,
    "learn_initial": True,
    "bias": False,
}


@pytest.mark.parametrize("name", ["gru", "lem"])
def test_options(name):
    options = {**OPTIONS, "zoneout": 0.3, "bidirectional": True}
    hold(find(name), 4, 3, 5, 9, 2, lengths=[4, 0, 2], **options)
    hold(find(name), 4, 3, 5, 9, 2, lengths=[4, 0, 2], training=False, **options)


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)
@given(random_cells(), st.integers(1, 5), st.integers(0, 7), st.integers(1, 2))
def test_random_cells(cell, steps, batch, layers):
    reference, ours = a_pair(cell, 3, 6, layers, dtype=HALF, spread=0.1)
    x = torch.randn(batch, steps, 3).to(HALF)
    call = {"observe": tuple(cell.trace().graph.outputs), "rounded": HALF}
    expected, got = results(reference, x.to(DOUBLE), **call), results(ours, x, **call)
    assert_near_in_bfloat16(expected, got, MOST_AT_A_KINK)


@pytest.mark.parametrize("shape", [(9, 100, 5, 40), (40, 1, 7, 33)])
@pytest.mark.parametrize("name", ["lstm", "gru-first", "mingru"])
def test_bits_depend_neither_on_threads_nor_on_the_batch(name, shape):
    steps, batch, inputs, units = shape
    layer = Recurrent(name, inputs, units, 2, backend="c", dtype=HALF)
    x = torch.randn(batch, steps, inputs).to(HALF)
    before, found = torch.get_num_threads(), []
    for count in (1, 2, 1, 3):
        torch.set_num_threads(count)
        found.append(results(layer, x, rounded=HALF))
    torch.set_num_threads(before)
    for other in found[1:]:
        for key, value in found[0].items():
            assert_same_bits(value, other[key])
    for rows in (slice(0, 1), slice(batch // 2, batch)):
        assert_same_bits(layer(x[rows])[0], found[0]["output"][rows])


def test_a_processor_without_bfloat16_computes_in_float32_and_rounds_once(monkeypatch):
    monkeypatch.setattr(precision, "multiplies_halves", lambda: False)
    hold(find("gru"), 6, 7, 5, 17, 2, lengths=LENGTHS, observe=("h", "r"))
    layer = Recurrent("gru", 5, 17, 2, backend="c", dtype=HALF).eval()
    x = torch.randn(1, 6, 5).to(HALF)
    stream, whole = layer.stream(), layer(x)[0]
    assert_same_bits(torch.stack([stream(x[:, t]) for t in range(6)], 1), whole)


def test_a_wrong_result_would_be_seen():
    reference, ours = a_pair(find("lstm"), 3, 6, dtype=HALF)
    x = torch.randn(2, 4, 3).to(HALF)
    expected, got = (results(layer, x, rounded=HALF) for layer in (reference, ours))
    assert_near_in_bfloat16(expected, got)
    got["d weight_hh_l0"][0] = 0
    with pytest.raises(AssertionError, match="d weight_hh_l0"):
        assert_near_in_bfloat16(expected, got)


@pytest.mark.parametrize(("make", "rival"), [(LSTM, nn.LSTM), (GRU, nn.GRU), (RNN, nn.RNN)])
def test_autocast_answers_in_bfloat16_and_keeps_parameters_and_gradients_in_float32(make, rival):
    ours, theirs = make(5, 12, 2, backend="c"), rival(5, 12, 2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(6, 4, 5)
    exact = theirs.double()(x.double())[0]
    exact.sum().backward()
    for value in (x, x.to(HALF)):
        with torch.autocast("cpu", HALF):
            output, final = ours(value)
            again, _ = ours(value, final)  # what came out goes in
        states = final if isinstance(final, tuple) else (final,)
        assert {v.dtype for v in (output, again, *states)} == {HALF}
        ours.zero_grad()
        output.float().sum().backward()
        grads = {n: p.grad for n, p in ours.named_parameters()}
        assert {g.dtype for g in grads.values()} == {torch.float32}
        expected = {"output": exact.detach(), **{n: p.grad for n, p in theirs.named_parameters()}}
        assert_near_in_bfloat16(expected, {"output": output.detach(), **grads})


def test_autocast_leaves_float64_and_streams_alone():
    layer = Recurrent("gru", 3, 8, backend="c", dtype=DOUBLE)
    x = torch.randn(2, 4, 3, dtype=DOUBLE)
    expected = layer(x)[0]
    with torch.autocast("cpu", HALF):
        assert_same_bits(layer(x)[0], expected)
    with torch.autocast("cpu", HALF):
        stream = layer.float().stream()
    assert stream(torch.zeros(1, 3)).dtype == torch.float32


@pytest.mark.parametrize("name", ["lstm", "gru-first", "mingru"])
def test_a_stream_in_bfloat16_gives_the_bits_of_the_whole_sequence(name):
    layer = Recurrent(name, 5, 17, 2, backend="c", dtype=HALF).eval()
    x = torch.randn(1, 6, 5).to(HALF)
    stream = layer.stream()
    with torch.no_grad():
        whole, last = layer(x)
    got = torch.stack([stream(x[:, t]) for t in range(6)], 1)
    assert got.dtype == HALF
    assert_same_bits(got, whole)
    for state, value in stream.state.items():
        assert_same_bits(value, last[state])
    stream.reset()
    assert_same_bits(stream(x[:, 0]), whole[:, 0])
