"""Every cell of the catalogue on the compiled backend against the reference in float64."""

import pytest
import torch

from held import compiled_with, hold
from unrolled.cells import find, names
from unrolled.layers import Recurrent

SINGLE = torch.float32
LENGTHS = [6, 1, 3, 0, 2, 6, 5]
# steps, batch, inputs, units, layers: one of everything, no features, tails of every vector width.
SHAPES = [
    (1, 1, 1, 1, 1),
    (3, 2, 0, 7, 1),
    (2, 0, 3, 5, 1),
    (5, 3, 2, 17, 2),
    (3, 13, 9, 33, 1),
    (7, 22, 5, 9, 1),  # more rows than a sum over time takes at once
]
PROJECTED = [n for n in names() if find(n).trace().projs]


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled():
    with compiled_with("-O0"):
        yield


def of(name, units, **options):
    """A cell that fits the units: heads divide them."""
    cell = find(name)
    if cell.trace().heads > 1 and units % cell.trace().heads:
        return type(cell)(heads=1)
    return cell


@pytest.mark.parametrize("name", names())
def test_every_cell_in_odd_shapes(name):
    for steps, batch, inputs, units, layers in SHAPES:
        hold(of(name, units), steps, batch, inputs, units, layers, bidirectional=layers > 1)


@pytest.mark.parametrize("name", names())
def test_every_cell_with_lengths_directions_layers_states_and_everything_observed(name):
    observe = tuple(find(name).trace().graph.outputs)
    for call in ({}, {"lengths": LENGTHS}, {"lengths": LENGTHS, "bidirectional": True}):
        hold(of(name, 17), 6, 7, 5, 17, 2, with_state=True, observe=observe, **call)


@pytest.mark.parametrize("name", names())
def test_every_cell_in_float32_as_it_is_shipped(name):
    with compiled_with():
        hold(of(name, 33), 6, 9, 5, 33, 1, dtype=SINGLE, lengths=[6, 2, 3, 0, 2, 6, 5, 6, 1])
        hold(of(name, 7), 9, 2, 3, 7, 2, dtype=SINGLE, bidirectional=True)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("name", names())
def test_what_no_gradient_is_kept_for_has_the_same_bits(name, steps):
    layer = Recurrent(of(name, 17), 5, 17, 2, backend="c", bidirectional=True)
    x, lengths = torch.randn(4, steps, 5), torch.tensor([steps, 1, 0, steps])
    first = {s: torch.randn_like(v) for s, v in layer(x)[1].items()}
    for call in ({}, {"lengths": lengths}, {"state": first}):
        observe = tuple(layer.cell.graph.outputs)
        expected = layer(x, observe=observe, **call)
        with torch.no_grad():
            got = layer(x, observe=observe, **call)
        assert torch.equal(got[0], expected[0])
        for kind in (1, 2):
            for key, value in expected[kind].items():
                assert torch.equal(got[kind][key], value), key
