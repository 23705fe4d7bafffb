"""A body of a cell comes in; what it was refused with, when it was defined, goes out."""

import pytest

from unrolled.cells import Cell, tanh
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
