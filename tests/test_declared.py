"""What a cell may not declare: every refusal comes when it is defined, and names the fix."""

import math
import warnings

import numpy as np
import pytest

from refusals import define, good, refused
from unrolled.cells import (
    Cell,
    find,
    maximum,
    sigmoid,
    tanh,
)
from unrolled.engine.trace import trace
from unrolled.errors import CellError


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
