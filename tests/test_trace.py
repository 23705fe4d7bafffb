"""What a cell may not say: every refusal comes when it is defined, and names the fix."""

import math
import pickle
import warnings

import numpy as np
import pytest
import torch

from unrolled.cells import (
    Cell,
    exp,
    find,
    maximum,
    sigmoid,
    tanh,
)
from unrolled.engine.trace import trace
from unrolled.errors import CellError


def define(step=None, **body):
    """Define a cell as a class statement would."""
    body = {"gates": "a", "states": "h", **body}
    if step is not None:
        body["step"] = step
    return type("Mine", (Cell,), body)


def good(self, x, u, h):
    return {"h": tanh(x.a + u.a(h))}


def refused(step, expected, fix, **body):
    with pytest.raises(CellError, match=expected) as error:
        define(step, **body)
    said = str(error.value)
    assert said.startswith("cell mine: "), said
    assert fix in said, said
    assert "\n" not in said
    return said


def test_the_cell_that_the_refused_ones_are_made_of_is_good():
    assert define(good)().trace().u_gates == ("a",)


# ---- looking at a value


def _if(self, x, u, h):
    return {"h": h if h > 0 else tanh(x.a + u.a(h))}


def _while(self, x, u, h):
    while h:
        h = h - 1
    return {"h": h + x.a}


def _equal(self, x, u, h):
    return {"h": x.a if h == 0 else h}


def _and(self, x, u, h):
    return {"h": x.a and h}


def _index(self, x, u, h):
    return {"h": h[0] + x.a}


def _loop(self, x, u, h):
    return {"h": sum(v for v in h) + x.a}


def _math(self, x, u, h):
    return {"h": math.tanh(x.a + u.a(h))}


def _round(self, x, u, h):
    return {"h": x.a * int(h)}


def _max(self, x, u, h):
    return {"h": max(x.a, h)}


def _in(self, x, u, h):
    return {"h": x.a if h in (1, 2) else h}


@pytest.mark.parametrize(
    "step", [_if, _while, _equal, _and, _index, _loop, _math, _round, _max, _in]
)
def test_a_step_that_looks_at_a_value_is_refused(step):
    said = refused(step, "decides by a value", "Write `maximum`, `minimum`")
    assert "expected the same equations at every step" in said


# ---- functions that are not ours


@pytest.mark.parametrize(
    ("function", "expected", "fix"),
    [
        (torch.tanh, "calls PyTorch's `tanh`", "from unrolled.cells import tanh"),
        (torch.sigmoid, "calls PyTorch's `sigmoid`", "from unrolled.cells import sigmoid"),
        (torch.erf, "got torch.erf", "Known: sigmoid, tanh"),
        (torch.nn.functional.gelu, "gelu", "Known:"),
        (torch.abs, "calls PyTorch's `abs`", "from unrolled.cells import absolute"),
        (lambda v: v.tanh(), r"calls `\.tanh` on a value", "Write `tanh(v)`"),
        (lambda v: v.abs(), r"calls `\.abs` on a value", "Write `absolute(v)`"),
        (lambda v: v.mean(), r"calls `\.mean` on a value", "Matrix products are `u.k(v)`"),
        (lambda v: v.T, r"`\.T`", "Matrix products"),
        (np.tanh, "NumPy's `tanh`", "from unrolled.cells import tanh"),
        (np.abs, "NumPy's `absolute`", "from unrolled.cells import absolute"),
        (lambda v: np.maximum(v, 0), "NumPy's `maximum`", "from unrolled.cells import maximum"),
        (lambda v: v**2, "a power", "v * v"),
        (lambda v: 2**v, "a power", "exp"),
        (lambda v: v @ v, "`@`", "u.k(v)"),
        (lambda v: v % 2, "`%`", "arithmetic"),
        (lambda v: v // 2, "`//`", "arithmetic"),
        (lambda v: v & v, "`&`", "arithmetic"),
        (lambda v: torch.ones(3) * v, "operand of mul.* got a Tensor", "`w.k`"),
        (lambda v: v + torch.ones(3), "got a Tensor", "`w.k`"),
        (lambda v: v + np.ones(3), "got a ndarray", "`w.k`"),
        (lambda v: np.ones(3) * v, "got a ndarray", "`w.k`"),
        (lambda v: v + "1", "got a str", "Use the functions"),
        (lambda v: v + None, "got a NoneType", "Use the functions"),
        (lambda v: v * True, "got a bool", "Use the functions"),
        (lambda v: v * 1j, "got a complex", "Use the functions"),
        (lambda v: v + float("nan"), "got NaN", ""),
        (lambda v: exp(v, v), "TypeError", "Matrix products"),
        (lambda v: undefined_name(v), "undefined_name", ""),
    ],
)
def test_what_cannot_be_derived_is_refused_with_what_to_write(function, expected, fix):
    def step(self, x, u, h):
        return {"h": function(x.a + u.a(h))}

    refused(step, expected, fix)


def test_an_error_in_a_step_says_its_line():
    def step(self, x, u, h):
        values = {}
        return {"h": x.a + values["missing"]}

    said = refused(step, "KeyError", "")
    assert f"line {step.__code__.co_firstlineno + 2}" in said


# ---- names that are not there


def _typo_x(self, x, u, h):
    return {"h": x.b + u.a(h)}


def _typo_u(self, x, u, h):
    return {"h": x.a + u.b(h)}


def _typo_state(self, x, u, c):
    return {"h": x.a + u.a(c)}


def _asks_for_more(self, x, u, h, attention):
    return {"h": x.a + u.a(h)}


def _any_operands(self, x, u, h, *more):
    return {"h": x.a + u.a(h)}


def _any_keywords(self, x, u, h, **more):
    return {"h": x.a + u.a(h)}


def _no_self(x, u, h):
    return {"h": x.a + u.a(h)}


def _unknown_hyper(self, x, u, h):
    return {"h": x.a + self.dt * u.a(h)}


def _assigns(self, x, u, h):
    x.a = h
    return {"h": x.a}


def _remembers(self, x, u, h):
    self.last = h
    return {"h": x.a + u.a(h)}


@pytest.mark.parametrize(
    ("step", "expected", "fix"),
    [
        (
            _typo_x,
            r"reads x.b \(line \d+\): expected one of its gates a, got b",
            "add it: `gates = 'a b'`",
        ),
        (
            _typo_u,
            r"reads u.b \(line \d+\): expected one of its gates a, got b",
            "add it: `gates = 'a b'`",
        ),
        (_typo_state, "asks for 'c'", "`states = 'h c'`"),
        (_asks_for_more, "asks for 'attention'", "Declare it"),
        (_any_operands, r"\*more", "by name"),
        (_any_keywords, r"\*\*more", "by name"),
        (_no_self, "self", "step(self, "),
        (_unknown_hyper, "self.dt", "hyper"),
        (_assigns, "assigns to a namespace", "local variable"),
        (_remembers, "self.last", "state"),
    ],
)
def test_a_name_that_is_not_declared_is_refused(step, expected, fix):
    refused(step, expected, fix)


# ---- what a step returns


@pytest.mark.parametrize(
    ("result", "expected", "fix"),
    [
        (lambda v: v, "expected a dict .* got a Symbol", "return dict(h=…)"),
        (lambda v: None, "got a NoneType", "return dict(h=…)"),
        (lambda v: (v,), "got a tuple", "return dict(h=…)"),
        (lambda v: {}, "expected the states h, got no h", "Add `h=…`"),
        (lambda v: {"H": v}, "got no h", "Add `h=…`"),
        (lambda v: {"h": torch.ones(2)}, "result 'h'.* got a Tensor", ""),
        (lambda v: {"h": "v"}, "result 'h'.* got a str", ""),
        (lambda v: {"h": None}, "result 'h'.* got a NoneType", ""),
        (lambda v: {"h": math.nan}, "NaN", ""),
        (lambda v: {"h": v, "class": v}, "'class'", "another name"),
        (lambda v: {"h": v, "two words": v}, "'two words'", "another name"),
        (lambda v: {"h": v, 3: v}, "3", "another name"),
        (lambda v: {"h": v, "u": v}, "reserved", "another name"),
        (lambda v: {"h": v, "seen": [v]}, "result 'seen'.* got a list", ""),
        (lambda v: {"h": v, "seen": sigmoid}, "result 'seen'.* got a function", ""),
    ],
)
def test_a_result_that_is_no_state_is_refused(result, expected, fix):
    def step(self, x, u, h):
        return result(x.a + u.a(h))

    refused(step, expected, fix)


def test_a_product_that_is_not_called_is_refused():
    def operand(self, x, u, h):
        return {"h": x.a + u.a}

    def argument(self, x, u, h):
        return {"h": tanh(u.a) + x.a}

    def result(self, x, u, h):
        return {"h": x.a, "seen": u.a}

    def normed(self, x, u, norm, h):
        return {"h": x.a + norm.h * u.a(h)}

    for step in (operand, argument, normed):
        refused(step, "expected a state, a gate", "`u.k(h)`, not `u.k`")
    refused(result, "result 'seen'", "")


def test_a_namespace_that_is_not_asked_for_a_gate_is_refused():
    refused(lambda self, x, u, h: {"h": x + u.a(h)}, "operand", "`x.k`")
    refused(lambda self, x, u, h: {"h": x.a + u(h)}, "is called", "`u.k(v)`")
    refused(lambda self, x, u, h: {"h": x["a"] + u.a(h)}, "is indexed", "`x.k`")


def test_a_symbol_of_an_earlier_trace_is_refused():
    kept = []

    def step(self, x, u, h):
        kept.append(x.a)
        return {"h": kept[0] + u.a(h)}

    kind = define(step)
    with pytest.raises(CellError, match="may not keep symbols of an earlier trace"):
        kind().trace()


def test_constant_operands_of_cuts_are_refused():
    refused(lambda self, x, u, h: {"h": x.a + u.a(1.0) * h}, "u of a number", "multiply")
    refused(lambda self, x, u, norm, h: {"h": x.a + norm.k(2)}, "norm of a number", "multiply")
    refused(lambda self, x, u, proj, h: {"h": proj.k(2) + x.a}, "proj", "")


# ---- declarations


@pytest.mark.parametrize(
    ("body", "expected", "fix"),
    [
        ({"gates": "a b"}, "gate 'b' is declared and never read", "Use it"),
        ({"gates": "a a"}, "expected each name once, got a twice", ""),
        ({"states": "h h"}, "expected each name once, got h twice", ""),
        ({"states": ""}, "no states", 'Say `states = "h"`'),
        ({"gates": "a for"}, "gate 'for'.*reserved", "another name"),
        ({"gates": "a x"}, "gate 'x'.*reserved", "another name"),
        ({"gates": "a hh"}, "gate 'hh'.*reserved", "another name"),
        ({"gates": "a 2b"}, "gate '2b'", "another name"),
        ({"gates": "a,b"}, "gate 'a,b'", "another name"),
        ({"gates": "a 게"}, "gate '게'", "another name"),
        ({"gates": "a _b"}, "gate '_b'", "another name"),
        ({"gates": ["a", 3]}, "gate 3", "another name"),
        ({"gates": 3}, "gates: expected a str, got a int", "Write `gates"),
        ({"states": None}, "states: expected a str, got a NoneType", "Write `states"),
        ({"states": "h u"}, "state 'u'.*reserved", "another name"),
        ({"init": {"q": 1.0}}, "init of 'q'.*one of h", "Correct the name"),
        ({"init": {"h": "1"}}, "init of 'h': expected a number, got '1'", ""),
        ({"init": {"h": math.nan}}, "init of 'h': expected a number, got NaN", ""),
        ({"init": [1]}, "init: expected a ", "Write `init"),
        ({"learned": ("q",)}, "learned 'q'", ""),
        ({"learned": 5}, "learned", ""),
        ({"learned": "h", "init": {"h": -math.inf}}, "states that start finite", ""),
        ({"hyper": {"dt": "x"}}, "hyper-parameter dt: expected a number, got 'x'", ""),
        ({"hyper": {"dt": None}}, "hyper-parameter dt: expected a number, got None", ""),
        ({"hyper": {"dt": math.nan}}, "hyper-parameter dt: expected a number, got NaN", ""),
        ({"hyper": {"a": 1.0}}, "'a' is a gate and a hyper-parameter", "Rename one"),
        ({"hyper": {"step": 1.0}}, "hyper-parameter 'step'", "another name"),
        ({"hyper": {"trace": 1.0}}, "hyper-parameter 'trace'", "another name"),
        ({"hyper": {"lambda": 1.0}}, "hyper-parameter 'lambda'.*reserved", "another name"),
        ({"hyper": {"d t": 1.0}}, "hyper-parameter 'd t'", "another name"),
        ({"hyper": "dt"}, "hyper: expected a", "Write `hyper"),
        ({"structure": {"u": "orthogonal"}}, "structure of 'u': expected any of shared", ""),
        ({"structure": {"x": "blocks"}}, "structure of 'x': expected any of shared", ""),
        ({"structure": {"v": "shared"}}, "structure of 'v': expected one of x, u", ""),
        ({"structure": "shared"}, "structure: expected a", "Write `structure"),
        ({"heads": 2}, "2 heads: expected .structure", "Declare it"),
        ({"heads": 0}, "heads: expected a whole number from 1, got 0", ""),
        ({"heads": "2"}, "heads: expected a int", "Write `heads"),
        ({"window": 0}, "window: expected a whole number from 1 to 1000, got 0", ""),
        ({"window": 2.5}, "window: expected a int", "Write `window"),
        ({"window": True}, "window: expected a whole number", ""),
        ({"start": {"u": "glorot"}}, "start of 'u': expected a number, zeros", ""),
        ({"start": {"u": ("uniform", 1)}}, "start of 'u': expected a number, zeros", ""),
        ({"start": {"u": math.nan}}, "start of 'u': expected a number, zeros", ""),
        ({"start": {"q": "zeros"}}, "start of 'q': expected x, u, b or w", ""),
        ({"start": {"b.f": 1.0}}, "start of 'b.f': expected x, u, b or w.*b.a", ""),
        ({"start": {"w.p": 1.0}}, "start of 'w.p': expected x, u, b or w", ""),
        ({"layer_norm": "yes"}, "layer_norm: expected ", ""),
        ({"labels": {"a": "activation"}}, "labels of 'a': expected a word in English", "Write"),
        ({"labels": ["a"]}, "labels: expected a", "Write `labels"),
        ({"paper": None}, "paper: expected a str", "Write `paper"),
        ({"kernel": 1}, "kernel: expected a str", "Write `kernel"),
        ({"gate": "a"}, "unknown attribute 'gate': expected one of .*gates", "`gates`"),
        ({"dt": 1.0}, "unknown attribute 'dt'", "hyper"),
        ({"forward": good}, "unknown attribute 'forward'", "underscore"),
        ({"window": 2, "states": "inputs"}, "'inputs'", ""),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(body, expected, fix):
    def step(self, x, u, h):
        return {"h": tanh(x.a + u.a(h))}

    def other(self, x, u, inputs):
        return {"inputs": tanh(x.a + u.a(inputs))}

    refused(
        body.pop("step", other if body.get("states") == "inputs" else step), expected, fix, **body
    )


def test_a_cell_without_a_step_is_refused():
    refused(None, "no step: expected a method", "`unrolled cells new NAME`")
    refused(3, "step: expected a method", "step(self, x, u, h")


def test_the_name_of_a_cell_is_refused_where_it_could_not_be_shown():
    for name in ("two words", "", 5, "x" * 200, "a\nb", "../x"):
        with pytest.raises(CellError, match="name") as error:
            define(good, name=name)
        assert "\n" not in str(error.value)


def test_a_norm_or_projection_is_of_one_value():
    def norms(self, x, u, norm, h):
        return {"h": norm.k(x.a) + norm.k(u.a(h))}

    def projections(self, x, u, proj, h):
        return {"h": proj.k(x.a) + proj.k(u.a(h))}

    refused(norms, "norm.k is used on two values", "name of its own")
    refused(projections, "proj.k is used on two values", "name of its own")
    refused(lambda self, x, u, norm, h: {"h": norm.u_a(x.a + u.a(h))}, "norm.u_a", "another name")
    refused(lambda self, x, u, w, h: {"h": w._k * (x.a + u.a(h))}, "_k", "")


def test_projected_and_other_values_do_not_mix():
    def mixed(self, x, u, proj, h):
        return {"h": proj.h(x.a) + u.a(h)}

    def twice(self, x, u, proj, h):
        return {"h": proj.b(proj.a(x.a + u.a(h)))}

    def two_operands(self, x, u, proj, h, c):
        return {"h": proj.h(x.a + u.a(h)), "c": u.a(c)}

    refused(mixed, "projected and an unprojected", "Project both, or neither")
    refused(twice, "projection of a projected value", "Project once")
    refused(two_operands, "U multiplies values of different widths", "Project all", states="h c")


def test_an_antisymmetric_matrix_is_square():
    def step(self, x, u, proj, h):
        return {"h": proj.h(tanh(x.a + u.a(h)))}

    refused(step, "expected a U that is square", "Take out", structure={"u": "antisymmetric"})


# ---- objects of a cell


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dtt": 1.0}, "no hyper-parameter 'dtt': expected any of dt"),
        ({"dt": "1"}, "hyper-parameter dt: expected a number, got '1'"),
        ({"dt": True}, "hyper-parameter dt: expected a number, got True"),
        ({"dt": math.nan}, "hyper-parameter dt: expected a number, got NaN"),
        ({"heads": 1.5}, "heads: expected a whole number from 1, got 1.5"),
        ({"window": 0}, "window: expected a whole number from 1"),
    ],
)
def test_an_option_of_a_cell_that_cannot_be_meant_is_refused(options, expected):
    with pytest.raises(CellError, match=expected):
        type(find("lem"))(**options).trace()


def test_an_option_of_a_cell_changes_that_cell_alone():
    kind = type(find("lem"))
    assert kind(dt=0.5).trace().hyper == {"dt": 0.5}
    assert kind().trace().hyper == {"dt": 1.0}
    constants = [n.attr for n in kind(dt=0.5).trace().graph.nodes if n.op == "const"]
    assert 0.5 in constants


def test_a_cell_may_be_derived_from_another():
    class Slow(type(find("lem"))):
        hyper = {"dt": 0.25}

    class Faster(Slow):
        def step(self, x, u, y1, z1):
            d = self.dt * sigmoid(x.d + u.d(y1) + x.e + u.e(y1))
            new = z1 + d * tanh(x.z + u.z(y1))
            return {"y1": y1 + d * tanh(x.y + u.y(new)), "z1": new}

    assert Slow().trace().hyper == {"dt": 0.25}
    assert Slow().trace().name == "slow"
    assert Faster().trace().hyper == {"dt": 0.25}


def test_a_step_may_use_functions_of_its_own():
    def gate(x, u, h):
        return sigmoid(x.z + u.z(h))

    class Helped(Cell):
        gates, states = "z n", "h"

        def step(self, x, u, h):
            z = gate(x, u, h)
            return {"h": (1 - z) * self._blend(x.n, h) + z * h}

        def _blend(self, n, h):
            return maximum(tanh(n), h)

    assert Helped().trace().x_gates == ("z", "n")


def test_operands_may_be_asked_for_in_any_order_and_by_keyword():
    class Ordered(Cell):
        gates, states = "a", "h"

        def step(self, h, x, *, u):
            return {"h": tanh(x.a + u.a(h))}

    assert Ordered().trace().graph == trace(define(good)()).graph or Ordered().trace().u_gates


def test_numbers_of_numpy_are_numbers():
    def step(self, x, u, h):
        return {"h": np.float64(0.5) * tanh(x.a + u.a(h)) + h * np.float32(0.25) + np.int64(1)}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constants = [n.attr for n in define(step)().trace().graph.nodes if n.op == "const"]
    assert constants == [0.5, 0.25, 1.0]


def test_an_error_travels_between_processes():
    with pytest.raises(CellError) as error:
        define(_typo_x)
    again = pickle.loads(pickle.dumps(error.value))  # noqa: S301  what was just written here
    assert str(again) == str(error.value)
