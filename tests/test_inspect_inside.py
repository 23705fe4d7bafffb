"""Gates, memory, the step and the walk: what is said of a layer is what can be computed by hand."""

import math

import numpy as np
import pytest
import torch

from near import assert_near
from oracle_loop import DOUBLE, a_layer, singles
from unrolled import Recurrent, UnrolledError
from unrolled.cells import names
from unrolled.inspect import statistics, step_walk, trace, truncations, units, walk
from unrolled.inspect.bptt import walk_text
from unrolled.inspect.memory import histogram, keeps
from unrolled.inspect.walking import as_text


def seen_of(cell, steps=6, batch=2, **options):
    layer = a_layer(cell, 3, 4, backend="reference", **options)
    return layer, trace(layer, torch.randn(batch, steps, 3, dtype=DOUBLE))


@pytest.mark.parametrize(
    ("cell", "state", "way"),
    [
        ("lstm", "c", lambda p: p["f"]),
        ("gru", "h", lambda p: p["z"]),
        ("mingru", "h", lambda p: 1 - p["z"]),
        ("coupled-lstm", "c", lambda p: 1 - p["i"]),
        ("scrn", "s", lambda p: np.full_like(p["s"], 0.95)),
    ],
)
def test_what_a_unit_keeps_follows_from_the_graph(cell, state, way):
    _, seen = seen_of(cell)
    part = seen["l0"]
    kept = keeps(part)
    assert list(kept) == [state]
    assert_near(kept[state].transpose(0, 1), torch.from_numpy(way(part)), 2)
    first = units(part)[0]
    mean = np.exp(np.log(way(part)).mean((0, 1)))
    assert first.unit == int(mean.argmax())
    assert first.keep == pytest.approx(float(mean.max()), rel=1e-9)
    assert first.steps == pytest.approx(-1 / math.log(first.keep), rel=1e-9)


@pytest.mark.parametrize("name", names())
def test_every_unit_of_every_cell_has_a_memory(name):
    layer, seen = seen_of(name)
    found = units(seen["l0"])
    assert len(found) % layer.hidden_size == 0
    assert all(u.keep >= 0 for u in found)


def test_a_network_without_a_way_beside_u_is_measured_through_its_diagonal():
    layer, seen = seen_of("rnn", steps=1, batch=1)
    assert not keeps(seen["l0"])
    (one,) = singles(layer)
    x = torch.from_numpy(seen.x[:, 0])
    jacobian = torch.autograd.functional.jacobian(
        lambda h: one.step(x, {"h": h})[1]["h"].flatten(), torch.zeros(1, 1, 4, dtype=DOUBLE)
    ).reshape(4, 4)
    found = {u.unit: u.keep for u in units(seen["l0"])}
    assert [found[j] for j in range(4)] == pytest.approx(jacobian.diagonal().abs().tolist())


def test_saturated_and_dead_units_are_found():
    layer = Recurrent("lstm", 2, 4, backend="reference")
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        layer.bias_ih_l0[4 + 2] = 20.0  # unit 2 keeps all
        layer.bias_ih_l0[0 + 1] = -20.0  # unit 1 lets nothing in
        layer.weight_ih_l0[8:12, 0] = 1.0  # the candidate sees the input
    x = torch.randn(3, 9, 2)
    found = {s.name: s for s in statistics(trace(layer, x)["l0"])}
    assert (found["f"].stuck, found["i"].stuck, found["o"].stuck) == ((2,), (1,), ())
    assert found["f"].high == pytest.approx(1 / 4)
    assert found["f"].low == 0.0
    assert (found["h"].low, found["h"].high) == (None, None)
    ranked = units(trace(layer, x)["l0"])
    assert (ranked[0].unit, ranked[0].keep) == (2, pytest.approx(1, abs=1e-6))
    assert [u.unit for u in ranked if u.dead] == [1]
    counts, edges = histogram(trace(layer, x)["l0"], "f")
    assert counts.sum() == 3 * 9 * 4
    assert (edges[0], edges[-1]) == (0.0, 1.0)


def test_padding_plays_no_part_in_statistics():
    layer = a_layer("gru", 3, 4, backend="reference")
    x = torch.randn(1, 5, 3, dtype=DOUBLE)
    padded = torch.cat([x, torch.full((1, 4, 3), 9.0, dtype=DOUBLE)], 1)
    alone, both = trace(layer, x), trace(layer, padded, lengths=[5])
    for ours, theirs in zip(statistics(both["l0"]), statistics(alone["l0"]), strict=True):
        assert (ours.mean, ours.std) == pytest.approx((theirs.mean, theirs.std), rel=1e-12)
    for ours, theirs in zip(units(both["l0"]), units(alone["l0"]), strict=True):
        assert ours.keep == pytest.approx(theirs.keep, rel=1e-12)


def test_a_step_is_walked_in_the_cells_own_order_with_its_numbers():
    _, seen = seen_of("lstm")
    lines = step_walk(seen["l0"], 3, 1, b=1)
    assert [line.name for line in lines] == ["i", "f", "g", "o", "c'", "h'"]
    part = seen["l0"]
    for line in lines:
        assert line.value == pytest.approx(part[line.name.removesuffix("'")][1, 2, 1], rel=1e-12)
    cell = lines[4]
    i, f, g = (part[k][1, 2, 1] for k in "ifg")
    before = part["c"][1, 1, 1]
    numbers = [f"({v:.4g})" if v < 0 else f"{v:.4g}" for v in (before, g)]
    left = f"{f:.4g} * {numbers[0]} + {i:.4g} * {numbers[1]}"
    assert (cell.equation, cell.words) == ("f * c + i * g", "cell state")
    assert cell.numbers == left
    assert as_text(lines).count("\n") == 17  # an equation, its numbers, its value


@pytest.mark.parametrize("name", names())
def test_every_step_of_every_cell_can_be_walked(name):
    _, seen = seen_of(name, bidirectional=True)
    for title in ("l0", "l0_reverse"):
        for line in step_walk(seen[title], 5, 2):
            bare = line.name.removesuffix("'")
            if bare in seen[title].names:
                row = seen[title][bare][0, 4]
                assert line.value == pytest.approx(row[2], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("step", "unit", "b", "said"),
    [(0, 0, 0, "1 to 6"), (7, 0, 0, "1 to 6"), (1, 4, 0, "0 to 3"), (1, 0, 2, "0 to 1")],
)
def test_a_step_that_is_not_there_is_said(step, unit, b, said):
    _, seen = seen_of("gru")
    with pytest.raises(UnrolledError, match=said):
        step_walk(seen["l0"], step, unit, b)


def chunked(layer, x, weight, k):
    """Gradients by autograd through a loop whose states are cut every k steps from the end."""
    output, state = [], None
    steps = x.shape[1]
    for t in range(steps):
        if state is not None and (steps - t) % k == 0:
            state = {s: v.detach() for s, v in state.items()}
        value, state = layer.step(x[:, t], state)
        output.append(value)
    loss = (torch.stack(output, 1) * weight).sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(layer.parameters()))])


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_truncation_loses_what_cut_loops_lose(cell):
    layer = a_layer(cell, 3, 4, backend="reference")
    x, weight = torch.randn(1, 7, 3, dtype=DOUBLE), torch.randn(1, 7, 4, dtype=DOUBLE)
    seen = trace(layer, x, loss=lambda result: (result[0] * weight).sum())
    full = chunked(layer, x, weight, 7)
    for found in truncations(seen["l0"]):
        cut = chunked(layer, x, weight, found.k)
        angle = math.degrees(math.acos(min(1, float(cut @ full / cut.norm() / full.norm()))))
        assert found.length == pytest.approx(float(cut.norm() / full.norm()), rel=1e-9)
        assert found.angle == pytest.approx(angle, abs=1e-4)
    assert (found.k, found.angle) == (7, pytest.approx(0, abs=1e-5))


def test_long_sequences_are_truncated_at_some_ks():
    _, seen = seen_of("rnn", steps=100)
    found = truncations(seen["l0"])
    assert (found[0].k, found[-1].k) == (1, 100)
    assert len(found) <= 24
    with pytest.raises(UnrolledError, match="1 to T=100"):
        truncations(seen["l0"], [101])


def test_the_walk_has_the_numbers_of_the_trace():
    _, seen = seen_of("gru", steps=4)
    rows = walk(seen["l0"], b=1)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 4, 3, 2, 1]
    part = seen["l0"]
    assert np.allclose(rows[1]["z"], part["z"][1, 1])
    assert np.allclose(rows[5]["d_h"], part.gradient("h")[1, 2])
    assert np.allclose(rows[5]["d_x.n"], part.gradient("x.n")[1, 2])
    assert not rows[5]["direct h"].any()
    assert rows[4]["direct h"] == pytest.approx(part["h"][1, 3])  # of half the square of h
    assert sum(row["share"] for row in rows if row["way"] == "backward") == pytest.approx(1)
    text = walk_text(rows)
    assert text.splitlines()[0] == "forward"
    assert "d_x.n" in text
    assert "… 2 steps …" in walk_text(rows, most=2)
