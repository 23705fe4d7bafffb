"""A layer's trace comes in; one step of one unit, in its equations with its numbers, goes out.

The order is the cell's own, that of its graph; no cell is a special case.
"""

from dataclasses import dataclass

from ..engine.equations import equations
from ..errors import UsageError
from .adjoint import Values
from .traces import LayerTrace
from .words import said


@dataclass(frozen=True)
class Line:
    """One equation of a step: what it gives, in words, as typed, with numbers, and its value."""

    name: str
    words: str
    equation: str
    numbers: str
    value: float


def step_walk(layer: LayerTrace, step: int, unit: int, b: int = 0) -> list[Line]:
    """What one unit computed at one step, equation by equation.

    Args:
        layer: one layer and direction.
        step: which step of the sequence in the input's time, from 1.
        unit: which unit, from 0.
        b: which sequence of the batch.

    Raises:
        UsageError: there is no such sequence, step or unit.

    Example:
        >>> import torch
        >>> from unrolled.inspect import trace
        >>> from unrolled.layers import Recurrent
        >>> seen = trace(Recurrent("gru", 3, 4), torch.zeros(1, 5, 3))
        >>> [line.name for line in step_walk(seen["l0"], 2, 0)]
        ['r', 'z', 'n', "h'"]
    """
    ends = layer.one.ends().tolist()
    if not 0 <= b < len(ends):
        raise UsageError("sequence", expected=f"0 to {len(ends) - 1}", got=b)
    if not 1 <= step <= ends[b]:
        raise UsageError("step", expected=f"1 to {ends[b]}", got=step)
    ran = ends[b] - step if layer.one.direction else step - 1
    one = layer.one.only(b).span(ran, ran + 1)
    values = Values(one)
    units = one.nodes[one.traced.graph.outputs[one.traced.states[0]]].shape[-1]
    if not 0 <= unit < units:
        raise UsageError("unit", expected=f"0 to {units - 1}", got=unit)

    def number(k: int) -> float:
        row = values.full(k)[0, 0]
        return float(row[unit if unit < len(row) else -1])

    graph = one.traced.graph
    typed = equations(one.traced)
    filled = equations(one.traced, numbers=lambda k: _short(number(k)))
    nodes = {**graph.outputs}
    lines = []
    for equation, numbers in zip(typed, filled, strict=True):
        name, _, form = equation.partition(" = ")
        bare = name.removesuffix("'")
        result, _, right = numbers.partition(" = ")
        value = number(nodes[bare]) if bare in nodes else float(result)
        lines.append(
            Line(name, said(one.traced, bare) if bare in nodes else "", form, right, value)
        )
    return lines


def _short(value: float) -> str:
    return f"{value:.4g}"


def as_text(lines: list[Line]) -> str:
    """The walk as lines of a terminal: the equation, the numbers in it, and what they give.

    Example:
        >>> print(as_text([Line("h'", "hidden state", "(1 - z) * n", "(1 - 0.5) * 3", 1.5)]))
        h' = (1 - z) * n                      hidden state
           = (1 - 0.5) * 3
           = 1.5
    """
    found = []
    for line in lines:
        left = " " * len(line.name)
        head = f"{line.name} = {line.equation}"
        found += [
            f"{head:<38}{line.words}".rstrip(),
            *([f"{left} = {line.numbers}"] if line.numbers != _short(line.value) else []),
            f"{left} = {_short(line.value)}",
        ]
    return "\n".join(found)
