"""Graphs as data: what is shared and kept, what a file may say, and the facts of primitives."""

import copy
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from near import assert_near, assert_same_bits
from random_cells import random_cells
from unrolled.cells import Cell, add_primitive, exp, find, maximum, names, sigmoid, tanh
from unrolled.engine.call import Params
from unrolled.engine.graph import Builder, Graph, Symbol
from unrolled.engine.primitives import LEAVES, PRIMITIVES, USER_C, apply
from unrolled.engine.reference import Products, evaluate
from unrolled.engine.traced import Traced
from unrolled.engine.values import VALUES
from unrolled.errors import CellError
from unrolled.layers import Recurrent

DIFFERENTIABLE = [n for n in PRIMITIVES if n not in ("positive", "prefer")]


# ---- how a graph is made


def test_equal_operations_are_one_node_and_others_are_not_merged():
    builder = Builder()
    a, b = builder.add("state", attr="a"), builder.add("state", attr="b")
    assert (a + b).index == (a + b).index
    assert (a + b).index != (b + a).index
    assert exp(a).index == exp(a).index
    assert (exp(a) * exp(b)).index != exp(a + b).index
    assert (a / a).index not in (a.index, b.index)
    assert builder.nodes[(a / a).index].op == "div"
    assert (a + 0).index != a.index


def test_numbers_are_kept_to_the_last_bit_and_signs_of_zero_apart():
    builder = Builder()
    a = builder.add("state", attr="a")
    assert (a * 0.0).index != (a * -0.0).index
    assert (a * 1).index == (a * 1.0).index
    third = a * (1 / 3)
    graph = Graph(tuple(builder.nodes), {"a": third.index})
    again = Graph.from_json(json.loads(json.dumps(graph.to_json())))
    assert again == graph
    assert [n.attr for n in again.nodes if n.op == "const"][-1] == 1 / 3
    signs = [math.copysign(1, n.attr) for n in again.nodes if n.op == "const" and n.attr == 0]
    assert sorted(signs) == [-1.0, 1.0]


def test_users_are_found():
    graph = find("rnn").trace().graph
    for k, users in enumerate(graph.users()):
        assert users == [j for j, node in enumerate(graph.nodes) if k in node.args]


@pytest.mark.parametrize("name", names())
def test_a_cell_goes_through_json_unchanged(name):
    traced = find(name).trace()
    text = json.dumps(traced.to_json(), allow_nan=False)
    again = Traced.from_json(json.loads(text))
    assert again == traced
    assert json.dumps(again.to_json()) == text


@settings(max_examples=40)
@given(cell=random_cells())
def test_random_cells_go_through_json_unchanged(cell):
    traced = cell.trace()
    assert Traced.from_json(json.loads(json.dumps(traced.to_json()))) == traced


# ---- what a file may not say


def good():
    return json.loads(json.dumps(find("gru").trace().to_json()))


def put(*path, value):
    def change(data):
        for step in path[:-1]:
            data = data[step]
        data[path[-1]] = value

    return change


def drop(*path):
    def change(data):
        for step in path[:-1]:
            data = data[step]
        del data[path[-1]]

    return change


HOSTILE = {
    "an operand too many": (put("graph", "nodes", 2, 1, value=[0, 1]), "node 2, .* has operands"),
    "an operand too few": (put("graph", "nodes", -1, 1, value=[0]), "has operands"),
    "an operand that comes later": (put("graph", "nodes", -1, 1, value=[0, 999]), "has operands"),
    "an operand that is itself": (put("graph", "nodes", 3, 1, value=[3, 3]), "has operands"),
    "a negative operand": (put("graph", "nodes", -1, 1, value=[-1, 0]), "has operands"),
    "an operand of text": (put("graph", "nodes", -1, 1, value=["0", "1"]), "whole number"),
    "an operand with a fraction": (put("graph", "nodes", -1, 1, value=[0.5, 1]), "whole number"),
    "an infinite operand": (put("graph", "nodes", -1, 1, value=[math.inf, 1]), "whole number"),
    "an operand of truth": (put("graph", "nodes", -1, 1, value=[True, 1]), "whole number"),
    "operands in a text": (put("graph", "nodes", -1, 1, value="01"), "list of operands"),
    "an unknown operation": (put("graph", "nodes", 3, 0, value="system"), "'system'"),
    "an operation of no name": (put("graph", "nodes", 3, 0, value=None), "operation"),
    "an operation that is a list": (put("graph", "nodes", 3, 0, value=["add"]), "operation"),
    "a dunder as a gate": (put("graph", "nodes", 0, 2, value="__class__"), "__class__"),
    "a number that is text": (put("graph", "nodes", 0, value=["const", [], "one"]), "number"),
    "a number that is NaN": (put("graph", "nodes", 0, value=["const", [], "nan"]), "NaN"),
    "a number that is a list": (put("graph", "nodes", 0, value=["const", [], []]), "number"),
    "a row too short": (put("graph", "nodes", 0, value=["add"]), "node 0"),
    "a row that is no list": (put("graph", "nodes", 0, value=7), "node 0"),
    "a row that is a text": (put("graph", "nodes", 0, value="abc"), "node 0"),
    "nodes that are no list": (put("graph", "nodes", value={"0": []}), "nodes"),
    "no nodes": (put("graph", "nodes", value=[]), "node"),
    "a million nodes": (put("graph", "nodes", value=[["const", [], "1.0"]] * 10**6), "nodes"),
    "nodes missing": (drop("graph", "nodes"), "nodes"),
    "outputs missing": (drop("graph", "outputs"), "outputs"),
    "an output that is no node": (put("graph", "outputs", "h", value=10**6), "'h'"),
    "an output before the first": (put("graph", "outputs", "h", value=-1), "'h'"),
    "an output that is text": (put("graph", "outputs", "h", value="last"), "'h'"),
    "an output with a fraction": (put("graph", "outputs", "h", value=1.5), "'h'"),
    "outputs that are a list": (put("graph", "outputs", value=[1, 2]), "outputs"),
    "an output of no name": (put("graph", "outputs", "../../x", value=1), "../../x"),
    "no state made": (drop("graph", "outputs", "h"), "'h'"),
    "a graph that is a text": (put("graph", value="graph"), "graph"),
    "no graph": (drop("graph"), "graph"),
    "no gates": (drop("gates"), "gates"),
    "gates in a text": (put("gates", value="rzn"), "gates"),
    "a gate of no name": (put("gates", 0, value="../x"), "../x"),
    "a gate that is a number": (put("gates", 0, value=3), "3"),
    "a gate twice": (put("gates", value=["r", "z", "n", "n"]), "once"),
    "a gate that is never read": (put("gates", value=["r", "z", "n", "q"]), "'q'"),
    "a gate that is read and not there": (put("gates", value=["r", "z"]), "'n'"),
    "no states": (put("states", value=[]), "state"),
    "a state that is not made": (put("states", value=["h", "c"]), "'c'"),
    "a name that is a number": (put("name", value=5), "name"),
    "a name of ten thousand letters": (put("name", value="x" * 10_000), "name"),
    "a name with an escape": (put("name", value="\x1b[2J"), "name"),
    "a name missing": (drop("name"), "name"),
    "init of text": (put("init", "h", value="much"), "init"),
    "init that is NaN": (put("init", "h", value="nan"), "init"),
    "init of another state": (put("init", value={"q": "0.0"}), "init"),
    "init that is a list": (put("init", value=[0]), "init"),
    "widths of another state": (put("widths", value={"q": "H"}), "widths"),
    "a width of no meaning": (put("widths", "h", value="Q"), "widths"),
    "a width that the graph contradicts": (put("widths", "h", value="P"), "width"),
    "heads of text": (put("heads", value="2"), "heads"),
    "half a head": (put("heads", value=1.5), "heads"),
    "no heads": (put("heads", value=0), "heads"),
    "a window of a billion": (put("window", value=10**9), "window"),
    "a window of no width": (put("window", value=0), "window"),
    "a window that is true": (put("window", value=True), "window"),
    "a structure of no name": (put("structure", value={"u": "os.system"}), "structure"),
    "a structure of no side": (put("structure", value={"v": "shared"}), "structure"),
    "a structure that is a list": (put("structure", value={"u": ["shared"]}), "structure"),
    "structures in a list": (put("structure", value=["shared"]), "structure"),
    "hyper of text": (put("hyper", value={"dt": "x"}), "hyper"),
    "hyper in a list": (put("hyper", value=[1]), "hyper"),
    "start of nothing": (put("start", value={"q.q": "zeros"}), "start"),
    "start in a way that is not known": (put("start", value={"u": "eval"}), "start"),
    "start with text for a number": (put("start", value={"u": ["normal", "x"]}), "start"),
    "start in a list": (put("start", value=["u"]), "start"),
    "learned of no state": (put("learned", value=["q"]), "learned"),
    "labels of one word": (put("labels", value={"h": ["hidden"]}), "labels"),
    "labels in a text": (put("labels", value={"h": "ab"}), "labels"),
    "labels in a list": (put("labels", value=["h"]), "labels"),
    "a paper that is a list": (put("paper", value=["x"]), "paper"),
    "a kernel that is a list": (put("kernel", value=["lstm"]), "kernel"),
    "a layer norm of text": (put("layer_norm", value="no"), "layer_norm"),
    "something unknown": (put("step", value="import os"), "step"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_corrupt_or_hostile_cell_is_one_clear_error(case):
    change, expected = HOSTILE[case]
    data = good()
    change(data)
    with pytest.raises(CellError, match=expected) as error:
        Traced.from_json(data)
    said = str(error.value)
    assert "\n" not in said
    assert len(said) < 600


@pytest.mark.parametrize("data", [None, [], "gru", 5, {}, {"graph": {}}, float("nan")])
def test_what_is_no_cell_at_all_is_one_clear_error(data):
    with pytest.raises(CellError, match="cell in the file"):
        Traced.from_json(data)


def test_the_cell_that_the_hostile_ones_are_made_of_is_good():
    assert Traced.from_json(good()) == find("gru").trace()


@settings(max_examples=150)
@given(data=st.data())
def test_a_cell_with_a_part_replaced_by_anything_is_read_or_refused(data):
    """Whatever stands in the file: a cell that a layer can be made of, or a CellError."""
    cell = copy.deepcopy(good())
    anything = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 40),
        st.floats(),
        st.text(max_size=4),
        st.lists(st.integers(-1, 3), max_size=3),
        st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    )
    for _ in range(data.draw(st.integers(1, 2))):
        at = cell
        while True:
            keys = list(at) if isinstance(at, dict) else range(len(at))
            key = data.draw(st.sampled_from(list(keys)))
            deeper = isinstance(at[key], (dict, list)) and len(at[key])
            if not deeper or data.draw(st.booleans()):
                break
            at = at[key]
        at[key] = data.draw(anything)
    try:
        traced = Traced.from_json(cell)
    except CellError:
        return
    layer = Recurrent(traced, 2, 4, backend="reference")
    output, _ = layer(torch.zeros(1, 2, 2))
    assert output.shape == (1, 2, 4)


# ---- primitives


def test_every_primitive_has_a_value_and_nothing_else_has():
    assert set(VALUES) == set(PRIMITIVES)
    assert not set(PRIMITIVES) & {*LEAVES, "u", "norm", "proj"}


def partials(name, operands):
    """The derivative of a primitive, typed as a graph and evaluated by the reference."""
    builder = Builder()
    letters = "abc"[: PRIMITIVES[name].arity]
    symbols = [builder.add("state", attr=k) for k in letters]
    result = builder.add(name, *symbols)
    outputs = {"y": result.index} | {k: s.index for k, s in zip(letters, symbols, strict=True)}
    for letter, partial in zip(letters, PRIMITIVES[name].derivative(result, *symbols), strict=True):
        if partial is not None:
            outputs[f"d{letter}"] = builder._operand(partial, "a derivative")
    states = dict(zip(letters, operands, strict=True))
    traced = Traced(
        name="derivative",
        gates=(),
        states=tuple(letters),
        graph=Graph(tuple(builder.nodes), outputs),
        widths=dict.fromkeys(letters, "H"),
        init=dict.fromkeys(letters, 0.0),
    )
    values = evaluate(Products(traced, Params(), operands[0].shape[-1]), None, states, {})
    return values["y"], [values.get(f"d{k}") for k in letters]


def operands_of(name):
    positive = name in ("log", "sqrt")
    a = torch.linspace(0.05, 6, 60) if positive else torch.linspace(-6, 6.1, 60)
    b = torch.linspace(4, -4.3, 60)
    return [v.to(torch.float64).unsqueeze(0) for v in (a, b)[: PRIMITIVES[name].arity]]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_the_derivative_of_a_primitive_is_autograds(name):
    operands = [v.requires_grad_() for v in operands_of(name)]
    value = VALUES[name](*operands)
    expected = torch.autograd.grad(value.sum(), operands)
    result, found = partials(name, [v.detach() for v in operands])
    assert_same_bits(result, value)
    for got, want in zip(found, expected, strict=True):
        assert_near(got, want)


@pytest.mark.parametrize("name", ["positive", "prefer"])
def test_steps_have_no_derivative(name):
    operands = operands_of(name)
    _, found = partials(name, operands)
    assert found == [None] * len(operands)
    with_grad = [v.requires_grad_() for v in operands]
    assert not VALUES[name](*with_grad).requires_grad


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_where_two_are_equal_each_gets_half_of_the_gradient(name):
    a, b = (torch.tensor([[1.5, 2.0]], dtype=torch.float64, requires_grad=True) for _ in "ab")
    expected = torch.autograd.grad(VALUES[name](a, b).sum(), (a, b))
    _, found = partials(name, [a.detach(), b.detach()])
    for got, want in zip(found, expected, strict=True):
        assert_same_bits(got, want)
        assert got.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("name", ["relu", "absolute"])
def test_at_a_kink_the_derivative_is_autograds(name):
    a = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(VALUES[name](a).sum(), a)
    _, (found,) = partials(name, [a.detach()])
    assert found.tolist() == expected.tolist() == [[0.0, 0.0]]


def test_the_check_of_derivatives_sees_a_wrong_one(monkeypatch):
    wrong = PRIMITIVES["tanh"].__class__("tanh", 1, lambda y, a: (1.0 - y,), "", "")
    monkeypatch.setitem(PRIMITIVES, "tanh", wrong)
    with pytest.raises(AssertionError, match="differs"):
        test_the_derivative_of_a_primitive_is_autograds("tanh")


def test_extremes_keep_their_values():
    big = torch.tensor([-1e4, -800.0, 0.0, 800.0, 1e4], dtype=torch.float64)
    assert VALUES["sigmoid"](big).tolist() == [0, 0, 0.5, 1, 1]
    assert VALUES["logsigmoid"](big).tolist() == [-1e4, -800, -math.log(2), 0, 0]
    assert_near(VALUES["softplus"](big), torch.nn.functional.softplus(big))
    assert VALUES["maximum"](torch.tensor(-math.inf), 3.0) == 3.0


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_functions_of_numbers_alone_are_numbers(name):
    """`sigmoid(self.dt)` in a step: a hyper-parameter is a number, and stays one."""
    numbers = (0.7, 0.3)[: PRIMITIVES[name].arity]
    exact = VALUES[name](*(torch.tensor(v, dtype=torch.float64) for v in numbers))
    assert float(apply(name, *numbers)) == pytest.approx(float(exact), rel=1e-15)


def test_a_step_may_compute_with_its_hyper_parameters_first():
    class Paced(Cell):
        gates, states, hyper = "a", "h", {"pace": 0.3, "other": 2.0}

        def step(self, x, u, h):
            keep = sigmoid(-self.pace) * maximum(self.pace, self.other)
            return {"h": keep * h + tanh(x.a + u.a(h)), "keep": keep}

    layer = Recurrent(Paced, 2, 3, dtype=torch.float64, backend="reference")
    output, _, seen = layer(torch.randn(2, 4, 2, dtype=torch.float64), observe=("keep",))
    expected = 2 / (1 + math.exp(0.3))
    assert output.shape == (2, 4, 3)
    assert_near(seen["keep"], torch.full((1, 2, 4, 3), expected, dtype=torch.float64))


def test_a_primitive_of_ones_own_works_from_step_to_gradient():
    cube = add_primitive(
        "test_cube", value=lambda a: a * a * a, derivative=lambda y, a: (3.0 * a * a,), c="{0}"
    )
    try:

        class Cubic(Cell):
            gates, states = "a", "h"

            def step(self, x, u, h):
                return {"h": tanh(cube(x.a + u.a(h)))}

        layer = Recurrent(Cubic, 2, 3, dtype=torch.float64, backend="reference")
        x = torch.randn(1, 3, 2, dtype=torch.float64)
        w, u, b, c = (p.detach() for p in layer.parameters())
        h = torch.zeros(1, 3, dtype=torch.float64)
        for t in range(3):
            h = torch.tanh((x[:, t] @ w.T + b + (h @ u.T + c)) ** 3)
        assert_near(layer(x)[0][:, -1], h, 3)
        operand = torch.linspace(-2, 2, 9, dtype=torch.float64).unsqueeze(0).requires_grad_()
        (expected,) = torch.autograd.grad(VALUES["test_cube"](operand).sum(), operand)
        _, (found,) = partials("test_cube", [operand.detach()])
        assert_near(found, expected)
        assert USER_C["test_cube"] == "{0}"
        assert Traced.from_json(json.loads(json.dumps(Cubic().trace().to_json())))
        with pytest.raises(CellError, match="taken"):
            add_primitive("test_cube", value=torch.abs, derivative=lambda y, a: (1.0,))
    finally:
        for table in (PRIMITIVES, VALUES, USER_C):
            table.pop("test_cube", None)


@pytest.mark.parametrize("name", ["tanh", "x", "norm", "two words", "1st", "", "a.b", "import"])
def test_a_primitive_needs_a_new_name(name):
    with pytest.raises(CellError, match="expected a new name"):
        add_primitive(name, value=torch.abs, derivative=lambda y, a: (1.0,))
    assert name in ("tanh",) or name not in PRIMITIVES


@pytest.mark.parametrize(
    ("derivative", "expected"),
    [
        (lambda y, a: 2.0 * a, "a tuple"),
        (lambda y, a: (a, a), "1 partial"),
        (lambda y: (y,), "TypeError"),
        (lambda y, a: (torch.tanh(a),), "torch.tanh"),
        (lambda y, a: ("a",), "str"),
    ],
)
def test_a_primitive_with_a_derivative_that_cannot_be_typed_is_refused(derivative, expected):
    with pytest.raises(CellError, match=expected):
        add_primitive("test_bad", value=torch.abs, derivative=derivative)
    assert "test_bad" not in PRIMITIVES


def test_symbols_have_no_value():
    assert isinstance(Builder().add("state", attr="h"), Symbol)
    with pytest.raises(CellError, match="decides by a value"):
        float(Builder().add("state", attr="h"))
