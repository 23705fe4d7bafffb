"""The compiled backend under stress: options, random cells, threads, extremes, long sequences."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from held import a_pair, assert_held, compiled_with, hold, results
from random_cells import random_cells
from unrolled.cells import find, names
from unrolled.engine import bound
from unrolled.engine.native import kernel
from unrolled.layers import Recurrent

SINGLE, DOUBLE = torch.float32, torch.float64
OPTIONS = {
    "variational": 0.4,
    "zoneout": 0.3,
    "weight_drop": 0.5,
    "layer_norm": True,
    "dropout": 0.5,
    "learn_initial": True,
    "bidirectional": True,
    "bias": False,
}
FAMILIES = ("rnn", "lstm", "gru", "gru-first", "mingru", "lem", "slstm")


def fitting(name):
    """Options that this cell takes: zoneout wants states that start finite, a mask wants a U."""
    traced = find(name).trace()
    options = dict(OPTIONS)
    finite = {s: 0.3 for s in traced.states if abs(traced.init[s]) != float("inf")}
    options["zoneout"] = finite
    return options


@pytest.mark.parametrize("name", names())
def test_all_options_together(name):
    with compiled_with("-O0"):
        units = 2 * max(2, find(name).trace().heads)
        # A norm over so few units divides by what may be small: it magnifies what was rounded.
        call = {"lengths": [4, 0, 2], "slack": 16}
        hold(find(name), 4, 3, 5, units, 2, **call, **fitting(name))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", FAMILIES)
def test_each_option_alone(name, option):
    with compiled_with("-O0"):
        hold(find(name), 5, 4, 3, 12, 2, **{option: fitting(name)[option]})


@settings(max_examples=50, suppress_health_check=list(HealthCheck), deadline=None)
@given(random_cells(), st.integers(1, 5), st.integers(0, 7), st.integers(1, 3))
def test_random_cells(cell, steps, batch, layers):
    with compiled_with("-O0"):
        hold(cell, steps, batch, 3, 6, layers, slack=64, observe=tuple(cell.trace().graph.outputs))


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_many_random_cells(request):
    """1,000, or as many as are asked for: `pytest --cells 5000 tests/test_engine_campaign.py`."""

    @settings(
        max_examples=request.config.getoption("cells"),
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(random_cells(), st.integers(1, 5), st.integers(0, 7), st.integers(1, 3))
    def held(cell, steps, batch, layers):
        hold(cell, steps, batch, 3, 6, layers, slack=64)

    with compiled_with("-O0"):
        held()


def test_a_wrong_gradient_would_be_seen():
    reference, ours = a_pair(find("lstm"), 3, 6)
    x = torch.randn(2, 4, 3, dtype=DOUBLE)
    expected, got = results(reference, x), results(ours, x)
    assert_held(expected, got, 4, 9)
    got["d weight_hh_l0"][0, 0] += 1e-9
    with pytest.raises(AssertionError, match="d weight_hh_l0"):
        assert_held(expected, got, 4, 9)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "shape",
    # 31 and 47 rows: 2 and 3 threads whose slices are 15 and 16 rows
    [(9, 100, 5, 40), (300, 3, 2, 96), (40, 1, 7, 33), (9, 31, 5, 40), (9, 47, 5, 40)],
)
@pytest.mark.parametrize("name", ["lstm", "gru-first", "mingru", "layernorm-lstm"])
def test_bits_do_not_depend_on_threads_nor_change_from_run_to_run(name, shape, threads):
    steps, batch, inputs, units = shape
    layer = Recurrent(name, inputs, units, 2, backend="c")
    x = torch.randn(batch, steps, inputs)
    found = []
    for count in (1, 2, 1, 3):
        threads(count)
        found.append(results(layer, x))
    for other in found[1:]:
        for key, value in found[0].items():
            assert torch.equal(value, other[key]), key


@pytest.fixture
def shared(monkeypatch):
    """Threads share the units of each step, however small it is."""
    monkeypatch.setattr(bound, "LARGE", 0)
    monkeypatch.setattr(bound, "LARGE_ROWS", 1000)
    monkeypatch.setattr(bound, "_threads", lambda work: torch.get_num_threads())


@pytest.mark.parametrize(
    ("name", "options", "dtype"),
    [
        *((name, {}, SINGLE) for name in ("lstm", "gru", "gru-first", "sru", "mingru", "qrnn")),
        ("lstmp", {"proj_size": 16}, SINGLE),
        ("lem", {}, DOUBLE),
        ("lstm", {}, torch.bfloat16),
        ("gru-first", {}, torch.bfloat16),
    ],
)
@pytest.mark.parametrize(
    ("steps", "batch", "units"), [(1, 1, 260), (5, 1, 17), (4, 3, 130), (3, 2, 70)]
)
def test_units_shared_by_threads_give_the_same_bits(
    name, options, dtype, steps, batch, units, threads, shared, monkeypatch
):
    layer = Recurrent(name, 5, units, 2, backend="c", bidirectional=True, **options).to(dtype)
    x, lengths = torch.randn(batch, steps, 5), torch.tensor([steps, 1, 0][:batch])
    call = {"lengths": lengths, "observe": tuple(layer.cell.graph.outputs)}
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(results(layer, x, **call))
    monkeypatch.undo()
    threads(2)
    found.append(results(layer, x, **call))  # the batch is shared, or nothing
    for other in found[1:]:
        for key, value in found[0].items():
            assert torch.equal(value, other[key]), key


@pytest.mark.parametrize(
    ("name", "batch", "units", "count", "shared"),
    [
        ("lstm", 24, 512, 2, True),
        ("lstm", 25, 512, 2, False),
        ("lstm", 1, 512, 1, False),
        ("lstm", 1, 256, 2, True),
        ("lstm", 2, 256, 2, False),
        ("lstm", 1, 128, 2, False),
        ("layernorm-lstm", 1, 512, 2, False),
        ("mingru", 1, 16, 2, True),
        ("mingru", 2, 16, 2, False),
    ],
)
def test_large_steps_of_few_rows_are_shared_by_units(name, batch, units, count, shared):
    traced = find(name).trace()
    found = kernel(traced, (), SINGLE)
    assert bound._shares_units(traced, found, batch, units, units, count) is shared


@pytest.mark.parametrize("name", ["lstm", "gru", "mingru"])
def test_a_row_gives_the_same_bits_in_any_batch(name):
    layer = Recurrent(name, 5, 40, backend="c")
    x = torch.randn(31, 7, 5)
    with torch.no_grad():
        whole = layer(x)[0]
        for rows in (slice(0, 1), slice(3, 5), slice(9, 22)):
            assert torch.equal(layer(x[rows])[0], whole[rows])


@pytest.mark.parametrize("size", [1e4, -1e4, 1e-40, 0.0])
@pytest.mark.parametrize("name", names())
def test_extreme_inputs_stay_finite(name, size):
    with compiled_with("-O0"):
        cell = find(name)
        layer = Recurrent(cell, 4, 2 * max(2, cell.trace().heads), backend="c")
        x = torch.full((3, 6, 4), size, requires_grad=True)
        output = layer(x)[0]
        # Without squashing a value may grow as it is multiplied on: that is the cell's own doing.
        expected = Recurrent.from_config(layer.config(), backend="reference")
        expected.load_state_dict(layer.state_dict())
        wanted = expected(x)[0]
        assert torch.equal(output.isfinite(), wanted.isfinite())
        output.sum().backward()
        if wanted.isfinite().all():
            assert x.grad.isfinite().all()


def test_not_a_number_comes_through():
    for name in ("lstm", "gru", "mingru", "rnn-relu"):
        layer = Recurrent(name, 3, 17, backend="c")
        x = torch.randn(2, 5, 3)
        x[1, 2, 0] = float("nan")
        output = layer(x)[0]
        assert output[0].isfinite().all(), name
        assert output[1, :2].isfinite().all(), name
        assert output[1, 2:].isnan().any(-1).all(), name


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "mingru"])
def test_gradients_of_a_thousand_steps(name):
    hold(find(name), 1000, 2, 3, 16, 1, dtype=SINGLE, spread=0.05)
