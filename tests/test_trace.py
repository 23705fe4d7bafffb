"""What a step may not say: every refusal comes when it is defined, and names the fix."""

import math
import pickle

import numpy as np
import pytest
import torch

from refusals import define, good, refused
from unrolled.cells import (
    exp,
    sigmoid,
    tanh,
)
from unrolled.errors import CellError


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


def test_an_error_travels_between_processes():
    with pytest.raises(CellError) as error:
        define(_typo_x)
    again = pickle.loads(pickle.dumps(error.value))  # noqa: S301  what was just written here
    assert str(again) == str(error.value)
