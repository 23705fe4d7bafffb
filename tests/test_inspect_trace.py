"""A trace is what ran: values to the bit, gradients as autograd's through a loop of steps."""

import csv
import gc
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from held import compiled_with
from near import assert_near, assert_same_bits
from oracle_loop import DOUBLE, a_layer, gradients, stepped
from unrolled import GRU, LSTM, Recurrent, UnrolledError
from unrolled.cells import Cell, names, sigmoid, tanh
from unrolled.engine.bound import POOL
from unrolled.inspect import save_arrays, save_table, trace
from unrolled.inspect.record import recording
from unrolled.inspect.tables import save_rows
from unrolled.inspect.traces import LayerTrace


def weighted(weight, states=()):
    """A loss that reads every output and every last state, each in its own way."""

    def loss(result):
        output, final = result
        last = sum((final[s].nan_to_num(0, 0, 0) ** 2).sum() for s in states)
        return (output * weight).sum() + last

    return loss


def assert_traced(layer, steps, batch=2):
    x = torch.randn(batch, steps, layer.input_size, dtype=DOUBLE)
    weight = torch.randn(batch, steps, layer.output_size, dtype=DOUBLE)
    loss = weighted(weight, layer.cell.states)
    seen = trace(layer, x, loss=loss)
    layer.eval()
    output, history = stepped(layer, x)
    value = loss((output, {s: torch.stack([h[-1][s] for h in history]) for s in layer.cell.states}))
    assert seen.loss == pytest.approx(float(value.detach()), rel=1e-12, abs=1e-12)
    wanted = gradients(value, history, layer.cell.states)
    for k, part in enumerate(seen.layers):
        assert part.title == f"l{k}"
        for s in layer.cell.states:
            ours = torch.from_numpy(part[s]).transpose(0, 1)
            assert_near(ours, torch.stack([h[s][0] for h in history[k][1:]]), steps)
            ours = torch.from_numpy(part.gradient(s)).transpose(0, 1)
            assert_near(ours, wanted[k][s][1:], 4 * steps)
            walked = part.way.run(part.direct)[s]  # the way in NumPy, whatever the backend told
            assert_near(walked, wanted[k][s], 4 * steps)
    return seen


@pytest.mark.parametrize("name", names())
def test_gradients_by_each_state_are_those_of_a_loop(name):
    layer = a_layer(name, 3, 4, 2, backend="reference")
    assert_traced(layer, 5)
    assert_traced(layer, 1)


@pytest.mark.parametrize("name", ["lstm", "gru", "mingru", "lstmp"])
def test_the_compiled_backend_tells_the_same(name):
    with compiled_with("-O0"):
        layer = a_layer(name, 3, 4, 2, backend="c")
        seen = assert_traced(layer, 5)
    assert layer.backend == "c"
    # the backend itself tells ∂L/∂state
    assert all(set(part.one.told) == set(layer.cell.states) for part in seen.layers)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_the_compiled_backend_tells_the_same_of_every_cell(name):
    with compiled_with("-O0"):
        assert_traced(a_layer(name, 3, 4, 2, backend="c"), 6)


@pytest.mark.parametrize("backend", ["reference", "c"])
def test_options_of_the_layer_are_in_the_trace(backend):
    with compiled_with("-O0"):
        layer = a_layer("lstm", 3, 4, 1, backend=backend, layer_norm=True, zoneout={"c": 0.2})
        assert_traced(layer, 4)


@pytest.mark.parametrize("backend", ["reference", "c"])
def test_both_directions_and_lengths(backend):
    with compiled_with("-O0"):
        layer = a_layer("gru", 3, 4, 2, bidirectional=True, backend=backend)
        lengths = torch.tensor([5, 2, 4])
        x = torch.randn(3, 5, 3, dtype=DOUBLE)
        weight = torch.randn(3, 5, 8, dtype=DOUBLE)
        seen = trace(layer, x, lengths=lengths, loss=weighted(weight, ["h"]))
    titles = ["l0", "l0_reverse", "l1", "l1_reverse"]
    assert [part.title for part in seen.layers] == titles
    assert seen.lengths.tolist() == [5, 2, 4]
    for b, length in enumerate(lengths.tolist()):  # each sequence alone, without padding
        alone = trace(layer, x[b : b + 1, :length], loss=weighted(weight[b : b + 1, :length], "h"))
        for part, other in zip(seen.layers, alone.layers, strict=True):
            for name in ("h", "z", "pre_n"):
                ours, theirs = (torch.from_numpy(v) for v in (part[name][b], other[name][0]))
                assert_near(ours[:length], theirs, 10)
                assert not ours[length:].any()
            ours = torch.from_numpy(part.gradient("h")[b])
            assert_near(ours[:length], torch.from_numpy(other.gradient("h")[0]), 20)
            assert not ours[length:].any()


def test_a_backward_layer_is_a_forward_one_on_the_turned_input():
    layer = a_layer("lstm", 3, 4, bidirectional=True, backend="reference")
    x = torch.randn(2, 6, 3, dtype=DOUBLE)
    weight = torch.randn(2, 6, 8, dtype=DOUBLE)
    seen = trace(layer, x, loss=weighted(weight))
    turned = Recurrent("lstm", 3, 4, backend="reference", dtype=DOUBLE)
    parameters = layer.state_dict()
    turned.load_state_dict({k: parameters[f"{k}_reverse"] for k in turned.state_dict()})
    other = trace(turned, x.flip(1), loss=weighted(weight.flip(1)[..., 4:]))
    for name in ("f", "c"):
        assert np.array_equal(seen["l0_reverse"][name], other["l0"][name][:, ::-1])
    ours, theirs = seen["l0_reverse"].gradient("c"), other["l0"].gradient("c")[:, ::-1].copy()
    assert_near(torch.from_numpy(ours), torch.from_numpy(theirs), 6)


@pytest.mark.parametrize("backend", ["reference", "c"])
def test_looking_changes_no_bit_of_what_the_module_returns(backend):
    with compiled_with("-O0"):
        layer = Recurrent("lstm", 3, 5, 2, backend=backend)
        x = torch.randn(4, 7, 3)
        plain = layer(x)[0]
        seen = trace(layer, x)
    assert_same_bits(torch.from_numpy(seen["l1"]["h"]), plain.detach())
    assert_same_bits(seen.result[0], plain)
    assert all(p.grad is None for p in layer.parameters())
    assert layer._recorder is None


def test_gradients_by_x_and_parameters_are_autograds():
    layer = a_layer("gru", 3, 4, backend="reference")
    x = torch.randn(2, 5, 3, dtype=DOUBLE, requires_grad=True)
    seen = trace(layer, x)
    (0.5 * layer(x)[0][:, -1].square().sum()).backward()
    assert_near(torch.from_numpy(seen.x_gradient), x.grad, 5)
    for name, p in layer.named_parameters():
        assert_near(seen.parameters[name], p.grad, 5)


@pytest.mark.parametrize("backend", ["reference", "c"])
def test_the_gradient_by_a_gate_is_that_of_its_bias(backend):
    with compiled_with("-O0"):
        layer = a_layer("lstm", 3, 4, backend=backend)
        seen = trace(layer, torch.randn(2, 5, 3, dtype=DOUBLE))
    sums = [seen["l0"].gradient(f"x.{g}").sum((0, 1)) for g in "ifgo"]
    assert_near(torch.from_numpy(np.concatenate(sums)), seen.parameters["bias_ih_l0"], 5)


class Mixed(nn.Module):
    """A user's module: tokens, two recurrent parts of different kinds, and a loss on observed."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.first = LSTM(3, 4, batch_first=True)
        self.inner = nn.ModuleDict({"gru": Recurrent("gru", 4, 3)})
        self.head = nn.Linear(3, 2)

    def forward(self, tokens):
        h, _ = self.first(self.embed(tokens))
        h, _, seen = self.inner["gru"](h, observe=("z",))
        return self.head(h[:, -1]) + seen["z"].sum()


def test_layers_inside_a_users_own_module():
    model = Mixed().double()
    tokens = torch.tensor([[0, 3, 1], [2, 2, 4]])
    seen = trace(model, tokens, ids=["a", "b"], tokens=[list("xyz"), list("uvw")])
    assert [part.title for part in seen.layers] == ["first.l0", "inner.gru.l0"]
    loss = 0.5 * model(tokens).square().sum()
    loss.backward()
    assert seen.loss == pytest.approx(float(loss.detach()), rel=1e-12)
    assert_near(seen.parameters["embed.weight"], model.embed.weight.grad, 3)
    # what reached z from the loss itself is in what is told: W of the gates gets all of it
    gate = seen["inner.gru.l0"].gradient("x.z").sum((0, 1))
    bias = model.inner["gru"].bias_ih_l0.grad[3:6]
    assert_near(torch.from_numpy(gate), bias, 3)


def test_a_module_that_steps_by_itself_is_traced_call_by_call():
    layer = a_layer("gru", 3, 4, backend="reference")

    def run(x):
        state, outputs = None, []
        for t in range(x.shape[1]):
            output, state = layer(x[:, t : t + 1], state)
            outputs.append(output)
        return torch.cat(outputs, 1), state

    x = torch.randn(2, 4, 3, dtype=DOUBLE)
    seen, whole = trace(layer, x, run=run), trace(layer, x)
    assert len(seen.layers) == 4
    assert {"l0.z", "l0#4.z"} <= set(seen.arrays())
    for t, part in enumerate(seen.layers):
        ours = torch.from_numpy(part.gradient("h")[:, 0])
        assert_near(ours, torch.from_numpy(whole["l0"].gradient("h")[:, t]), 8)


class Korean(Cell):
    gates, states = "z", "h"
    labels = {"z": ("gate", "문"), "h": ("state", "상태")}

    def step(self, x, u, h):
        z = sigmoid(x.z + u.z(h))
        return dict(h=(1 - z) * h + z * tanh(x.z), z=z)


def test_a_table_is_there_whole_or_not_at_all(tmp_path):
    def rows(count):
        for n in range(count):
            yield {"step": n}
        raise OSError(28, "No space left on device")

    target, link = tmp_path / "table.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    save_rows([{"step": 1}], link)
    with pytest.raises(UnrolledError, match="No space left"):
        save_rows(rows(3), link)
    assert target.read_text("utf-8-sig") == "step\n1\n"
    assert link.is_symlink()
    with pytest.raises(UnrolledError, match="cannot be written"):
        save_rows([{"step": 1}], target / "under.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", "link.csv"}
    if Path("/dev/full").exists():
        with pytest.raises(UnrolledError, match="cannot be written"):
            save_rows([{"step": 1}], "/dev/full")
        assert not Path("/dev/full").is_file()


def test_arrays_and_tables_say_what_their_numbers_belong_to(tmp_path):
    layer = Recurrent(Korean, 2, 3)
    x = torch.randn(2, 4, 2)
    seen = trace(
        layer, x, lengths=[4, 3], ids=["하나", "둘"], tokens=[list("가나다라"), list("abc")]
    )
    with pytest.raises(UnrolledError, match="cannot be written"):
        save_arrays(seen, tmp_path / "none" / "seen.npz")
    with np.load(save_arrays(seen, tmp_path / "seen.npz")) as arrays:
        assert set(arrays) == {
            "x", "d_x", "lengths", "ids", "tokens", "l0.h", "l0.z", "l0.pre_z", "l0.d_h"
        }  # fmt: skip
        assert arrays["tokens"].tolist() == [list("가나다라"), ["a", "b", "c", ""]]
        assert np.array_equal(arrays["l0.z"], seen["l0"]["z"])
    with open(save_table(seen, tmp_path / "seen.csv"), encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * (4 + 3)  # h, z, pre_z, d_h at each valid step
    row = next(r for r in rows if r["name"] == "z" and r["sequence"] == "둘" and r["step"] == "2")
    assert (row["token"], row["kind"], row["label"], row["label_ko"]) == ("b", "gate", "gate", "문")
    assert float(row["mean"]) == pytest.approx(seen["l0"]["z"][1, 1].mean(), rel=1e-6)
    with open(save_table(seen, tmp_path / "units.csv", units=True), encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 4 * (4 + 3)
    assert {r["unit"] for r in rows} == {"0", "1", "2"}
    json.dumps(rows)


def test_a_long_sequence_is_traced():
    seen = trace(Recurrent("rnn", 2, 4, backend="reference"), torch.randn(1, 10000, 2))
    assert seen["l0"].gradient("h").shape == (1, 10000, 4)
    assert seen["l0"].gradient("h")[0, -1].any()
    assert np.isfinite(seen["l0"].gradient("h")).all()


def test_values_alone():
    seen = trace(Recurrent("gru", 2, 3), torch.randn(1, 4, 2), loss=None)
    assert seen.loss is None
    assert seen["l0"]["z"].shape == (1, 4, 3)
    with pytest.raises(UnrolledError, match="a trace with a loss"):
        seen["l0"].gradient("h")


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = GRU(2, 3)

    def forward(self, x):
        self.layer(x)
        return "nothing to differentiate"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: trace(nn.Linear(2, 2), torch.zeros(1, 2)), "holds a recurrent layer"),
        (lambda: trace(LSTM(2, 3, backend="torch"), torch.zeros(1, 2, 2)), "does not record"),
        (lambda: trace(GRU(2, 3), torch.zeros(1, 2, 2), loss=lambda r: r[0]), "a number"),
        (lambda: trace(GRU(2, 3), torch.zeros(1, 2, 2))["l0"]["q"], "one of h, r, z, n, pre_r"),
        (lambda: trace(GRU(2, 3), torch.zeros(1, 2, 2))["l7"], "one of l0"),
        (lambda: trace(GRU(2, 3), torch.zeros(1, 2, 2))["l0"].gradient("c"), "one of h, x.r"),
        (lambda: trace(GRU(2, 3), torch.zeros(1, 2, 2), run=lambda x: x), "a call of its"),
        (lambda: trace(Odd(), torch.zeros(1, 2, 2)), "`loss=`"),
    ],
)
def test_what_cannot_be_traced_is_said(make, said):
    with pytest.raises(UnrolledError, match=said):
        make()


def test_nothing_is_recorded_outside_the_block():
    layer = Recurrent("gru", 2, 3, backend="reference")
    with recording(layer) as passes:
        layer(torch.zeros(1, 2, 2))
    layer(torch.zeros(1, 2, 2))
    assert len(passes) == 1
    assert isinstance(LayerTrace(passes[0], None)["z"], np.ndarray)


@pytest.mark.parametrize("name", ["lstm", "lstmp", "qrnn"])
def test_the_memory_of_a_trace_that_is_gone_is_used_again(name):
    layer = Recurrent(name, 3, 4, backend="c")
    x = torch.randn(2, 5, 3)
    gc.disable()  # nor does anything wait for the collector of circles
    try:
        _ = trace(layer, x)["l0"].gradient("h")
        before = sum(map(len, POOL._held.values()))
        for _ in range(3):
            _ = trace(layer, x)["l0"].gradient("h")
        assert sum(map(len, POOL._held.values())) == before
    finally:
        gc.enable()
