"""LSTM, GRU and RNN are torch.nn's: results, gradients, parameters, packing, and the same seed."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

from near import assert_near, assert_same_bits
from unrolled import layers
from unrolled.errors import BackendError, ShapeError, UsageError

BACKENDS = ["torch", "reference"]
KINDS = {
    "LSTM": {},
    "GRU": {},
    "RNN": {},
    "RNN relu": {"nonlinearity": "relu"},
    "LSTM projected": {"proj_size": 3},
}
DOUBLE = {"dtype": torch.float64}


def pair(kind, *sizes, backend="auto", **options):
    """torch.nn's layer, and ours with the same parameters."""
    options = {**KINDS[kind], **DOUBLE, **options}
    name = kind.split()[0]
    theirs = getattr(nn, name)(*sizes, **options)
    ours = getattr(layers, name)(*sizes, **options, backend=backend)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def flat(value):
    """The tensors of an output, whatever it is made of."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, PackedSequence):
        return [value.data]
    return [t for part in value for t in flat(part)]


def assert_agree(theirs, ours, x, hx=None, steps=1, wrap=lambda x: x):
    """Outputs, final states, and the gradients of input, hx and parameters."""
    found = []
    for layer in (theirs, ours):
        layer.zero_grad()
        leaf = x.detach().clone().requires_grad_()
        first = [h.detach().clone().requires_grad_() for h in flat(hx)] if hx is not None else []
        given = () if hx is None else (tuple(first) if isinstance(hx, tuple) else first[0],)
        results = flat(layer(wrap(leaf), *given))
        weights = torch.Generator().manual_seed(7)
        loss = sum(
            (r * torch.randn(r.shape, dtype=r.dtype, generator=weights)).sum() for r in results
        )
        loss.backward()
        grads = {k: p.grad for k, p in layer.named_parameters()}
        found.append((results, [leaf.grad, *(h.grad for h in first)], grads))
    (results, inputs, grads), (our_results, our_inputs, our_grads) = found
    assert len(our_results) == len(results)
    for got, want in zip(our_results + our_inputs, results + inputs, strict=True):
        assert_near(got, want, 2 * steps)
    assert our_grads.keys() == grads.keys()
    for name, want in grads.items():
        assert_near(our_grads[name], want, 4 * steps)


def states_for(layer, kind, batch):
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    h = torch.randn(rows, batch, layer.proj_size or layer.hidden_size, **DOUBLE)
    if not kind.startswith("LSTM"):
        return h
    return h, torch.randn(rows, batch, layer.hidden_size, **DOUBLE)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "units"),
    [(1, 1, 1, 4), (7, 1, 3, 7), (1, 5, 2, 17), (9, 3, 5, 33), (4, 2, 33, 4)],
)
def test_odd_shapes(kind, steps, batch, inputs, units, backend):
    theirs, ours = pair(kind, inputs, units, backend=backend)
    x = torch.randn(steps, batch, inputs, **DOUBLE)
    assert_agree(theirs, ours, x, steps=steps)
    assert_agree(theirs, ours, x, states_for(theirs, kind, batch), steps=steps)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN", "RNN relu"])
def test_one_unit_and_no_features(kind, backend):
    theirs, ours = pair(kind, 1, 1, backend=backend)
    assert_agree(theirs, ours, torch.randn(3, 2, 1, **DOUBLE), steps=3)
    for units in (1, 5):  # no features are what one feature that is always 0 is
        theirs, _ = pair(kind, 1, units)
        ours = getattr(layers, kind.split()[0])(0, units, backend=backend, **KINDS[kind], **DOUBLE)
        state = {k: v for k, v in theirs.state_dict().items() if k != "weight_ih_l0"}
        ours.load_state_dict({**state, "weight_ih_l0": ours.weight_ih_l0.detach()})
        want, got = theirs(torch.zeros(4, 2, 1, **DOUBLE)), ours(torch.zeros(4, 2, 0, **DOUBLE))
        for one, other in zip(flat(got), flat(want), strict=True):
            assert_near(one, other, 4)
        want[0].sum().backward()
        got[0].sum().backward()
        assert_near(ours.weight_hh_l0.grad, theirs.weight_hh_l0.grad, 8)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_an_empty_batch(kind, backend):
    theirs, ours = pair(kind, 3, 4, 2, bidirectional=True, backend=backend)
    x = torch.randn(5, 0, 3, **DOUBLE)
    shapes = [tuple(v.shape) for v in flat(theirs(x))]
    assert [tuple(v.shape) for v in flat(ours(x))] == shapes


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("depth", "bidirectional", "bias", "batch_first"),
    [
        (1, True, True, False),
        (2, False, False, True),
        (3, True, False, False),
        (2, True, True, True),
    ],
)
def test_depth_direction_bias_and_axes(kind, depth, bidirectional, bias, batch_first, backend):
    theirs, ours = pair(
        kind,
        3,
        5,
        depth,
        backend=backend,
        bidirectional=bidirectional,
        bias=bias,
        batch_first=batch_first,
    )  # fmt: skip  one line of options
    x = torch.randn(4, 6, 3, **DOUBLE)
    batch = 4 if batch_first else 6
    assert_agree(theirs, ours, x, steps=18)
    assert_agree(theirs, ours, x, states_for(theirs, kind, batch), steps=18)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_input_without_a_batch(kind, bidirectional, backend):
    theirs, ours = pair(kind, 3, 5, 2, backend=backend, bidirectional=bidirectional)
    hx = states_for(theirs, kind, 1)
    hx = tuple(h[:, 0] for h in hx) if isinstance(hx, tuple) else hx[:, 0]
    for first in (None, hx):
        assert_agree(theirs, ours, torch.randn(6, 3, **DOUBLE), first, steps=12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [[6, 4, 4, 1], [2, 6, 1, 3]], ids=["sorted", "unsorted"])
def test_packed_sequences(kind, bidirectional, lengths, backend):
    theirs, ours = pair(kind, 3, 5, 2, backend=backend, bidirectional=bidirectional)

    def pack(x):
        return pack_padded_sequence(x, lengths, enforce_sorted=lengths == sorted(lengths)[::-1])

    x = torch.randn(6, 4, 3, **DOUBLE)
    for hx in (None, states_for(theirs, kind, 4)):
        assert_agree(theirs, ours, x, hx, steps=12, wrap=pack)
    packed, got, want = pack(x), ours(pack(x))[0], theirs(pack(x))[0]
    assert torch.equal(got.batch_sizes, want.batch_sizes)
    for field in ("sorted_indices", "unsorted_indices"):
        one, other = getattr(got, field), getattr(want, field)
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)
    assert packed.data.shape[0] == got.data.shape[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_packed_sequences_of_sequences(backend):
    theirs, ours = pair("LSTM", 2, 3, backend=backend)
    packed = pack_sequence([torch.randn(n, 2, **DOUBLE) for n in (4, 2, 2)])
    for got, want in zip(flat(ours(packed)), flat(theirs(packed)), strict=True):
        assert_near(got, want, 4)
    padded, lengths = pad_packed_sequence(ours(packed)[0])
    assert padded.shape == (4, 3, 3)
    assert lengths.tolist() == [4, 2, 2]


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "rnn-relu"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lengths_are_packing_without_packing(kind, bidirectional):
    name = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN", "rnn-relu": "RNN relu"}[kind]
    theirs, _ = pair(name, 3, 5, 2, bidirectional=bidirectional)
    lengths, x = [2, 6, 1, 3], torch.randn(6, 4, 3, **DOUBLE)
    packed, final = theirs(pack_padded_sequence(x, lengths, enforce_sorted=False))
    want, _ = pad_packed_sequence(packed)
    for backend in BACKENDS:
        ours = layers.Recurrent(
            kind, 3, 5, 2, bidirectional=bidirectional, backend=backend, **DOUBLE
        )
        ours.load_state_dict(theirs.state_dict())
        output, state = ours(x.transpose(0, 1), lengths=lengths)
        assert ours.backend == backend
        assert_near(output, want.transpose(0, 1), 12)
        for got, last in zip(state.values(), flat(final), strict=True):
            assert_near(got, last, 12)


# ---- parameters


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_parameters_are_named_ordered_and_drawn_as_theirs(kind, bidirectional, bias):
    made = []
    for module in (nn, layers):
        torch.manual_seed(11)
        options = {**KINDS[kind], "bidirectional": bidirectional, "bias": bias}
        made.append(getattr(module, kind.split()[0])(3, 6, 2, **options))
    theirs, ours = (m.state_dict() for m in made)
    assert list(ours) == list(theirs)
    for name, want in theirs.items():
        assert_same_bits(ours[name], want)
    made[0].load_state_dict(ours)
    made[1].load_state_dict(theirs)
    for got, want in zip(
        itertools.chain(*made[1].all_weights), itertools.chain(*made[0].all_weights), strict=True
    ):
        assert_same_bits(got, want)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_attributes_are_theirs(kind):
    theirs, ours = pair(kind, 3, 4, 2, batch_first=True, dropout=0.25, bidirectional=True)
    for name in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.bidirectional == theirs.bidirectional
    assert ours.proj_size == theirs.proj_size
    assert ours.flatten_parameters() is None
    assert {p.dtype for p in ours.parameters()} == {torch.float64}


# ---- dropout


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_dropout_drops_what_theirs_drops(kind, batch_first):
    theirs, ours = pair(
        kind,
        3,
        16,
        3,
        dropout=0.5,
        bidirectional=True,
        batch_first=batch_first,
        backend="reference",
    )
    x = torch.randn(5, 4, 3, **DOUBLE)
    results = []
    for layer in (theirs, ours):
        torch.manual_seed(5)
        results.append(flat(layer(x)))
    for got, want in zip(*reversed(results), strict=True):
        assert_near(got, want, 30)
    theirs.eval()
    ours.eval()
    for got, want in zip(flat(ours(x)), flat(theirs(x)), strict=True):
        assert_near(got, want, 30)
    ours.train()
    assert not torch.equal(ours(x)[0], ours(x)[0])


def test_one_layer_with_dropout_warns_as_theirs():
    with pytest.warns(UserWarning, match="num_layers"):
        nn.LSTM(3, 4, dropout=0.5)
    with pytest.warns(UserWarning, match="num_layers"):
        layers.LSTM(3, 4, dropout=0.5)


# ---- refusals


@pytest.mark.parametrize(
    ("make", "error", "expected"),
    [
        (lambda: layers.LSTM(3, 0), UsageError, "hidden_size: expected a whole number from 1"),
        (lambda: layers.LSTM(-1, 3), UsageError, "input_size: expected a whole number from 0"),
        (lambda: layers.LSTM(3, 2.5), UsageError, "hidden_size: .* got 2.5"),
        (lambda: layers.LSTM("3", 2), UsageError, "input_size: .* got '3'"),
        (lambda: layers.LSTM(3, 4, 0), UsageError, "num_layers: expected a whole number from 1"),
        (lambda: layers.GRU(3, 4, dropout=1.5), UsageError, "dropout: expected a probability"),
        (lambda: layers.LSTM(3, 4, proj_size=5), UsageError, "proj_size: expected at most 4"),
        (lambda: layers.RNN(3, 4, nonlinearity="elu"), UsageError, "nonlinearity: .* got 'elu'"),
        (lambda: layers.RNN(3, 4, backend="cuda"), BackendError, "backend 'cuda': expected one of"),
    ],
)
def test_arguments_that_cannot_be_meant(make, error, expected):
    with pytest.raises(error, match=expected):
        make()


@pytest.mark.parametrize(
    ("kind", "x", "hx", "expected"),
    [
        ("LSTM", torch.zeros(5, 2, 4), None, r"\(T, B, I\) with I=3, got shape \(5, 2, 4\)"),
        ("LSTM", torch.zeros(2), None, r"expected \(T, B, I\)"),
        ("LSTM", torch.zeros(0, 2, 3), None, "at least one step"),
        ("LSTM", torch.zeros(5, 2, 3, dtype=torch.long), None, "floating point, got torch.int64"),
        ("LSTM", torch.zeros(5, 2, 3, dtype=torch.float64), None, "torch.float32 on cpu"),
        ("LSTM", [[1.0]], None, "a tensor .* got a list"),
        ("LSTM", torch.zeros(5, 2, 3), torch.zeros(1, 2, 4), r"hx: expected \(h, c\)"),
        ("LSTM", torch.zeros(5, 2, 3), (torch.zeros(1, 2, 4),), r"hx: expected \(h, c\)"),
        ("LSTM", torch.zeros(5, 2, 3), (torch.zeros(1, 3, 4),) * 2, r"state 'h'.*\(1, 2, 4\)"),
        ("LSTM", torch.zeros(5, 3), (torch.zeros(1, 2, 4),) * 2, "state 'h'"),
        ("GRU", torch.zeros(5, 2, 3), (torch.zeros(1, 2, 4),), "state 'h'.* got a tuple"),
        (
            "GRU",
            torch.zeros(5, 2, 3),
            torch.zeros(1, 2, 4, dtype=torch.float64),
            "state 'h'.*float64",
        ),
        ("GRU", torch.zeros(5, 3), "zeros", "state 'h'"),
    ],
)
def test_inputs_that_do_not_fit(kind, x, hx, expected):
    layer = getattr(layers, kind)(3, 4)
    with pytest.raises(ShapeError, match=expected):
        layer(x, hx)
