"""A cell as data: all that layers, backends, pictures and the model directory ever see of one.

`trace` makes it from a step, `Traced.from_json` from a file; both are checked here in the same way.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import CellError
from . import declared
from .graph import Graph
from .primitives import NAME


@dataclass(frozen=True)
class Traced:
    """A cell as data: its graph, and what the graph alone does not say.

    Args:
        name: what it is called.
        gates: all gates in the order declared; `x_gates`, those with rows in `weight_ih`;
            `u_gates`, those with rows in `weight_hh`.
        states: names of the states, the first of which is the layer's output.
        widths: a state's width: `H` units, or `P` where a projection made it.
        init: the value a state starts from.
        learned: the states whose first value is a parameter.
        observed: names of the other results of the step.
        weights, norms, projs: names of the weights a unit, normalisations and projections.
        structure: of `x`, `u` and `w`: which named parametrizations make the effective matrix or
            weight.
        heads: the number of blocks of a block-diagonal U.
        window: how many inputs, ending at this one, a step reads.
        hyper: scalar hyper-parameters, already inside the graph as numbers.
        start: how parameters are initialised, by name (`u`, `x.f`, `b.f`, `w.p`, …).
        layer_norm: whether W x and U v are normalised, per gate, before the bias.
        kernel: the PyTorch kernel that computes the same, if there is one.
        labels: words for gates and states: name → (English, Korean).
        paper: BibTeX.
    """

    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    graph: Graph
    widths: Mapping[str, str]
    init: Mapping[str, float]
    learned: tuple[str, ...] = ()
    structure: Mapping[str, str] = field(default_factory=dict)
    heads: int = 1
    window: int = 1
    hyper: Mapping[str, float] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)
    layer_norm: bool = False
    kernel: str = ""
    labels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    paper: str = ""

    def _named(self, op: str) -> tuple[str, ...]:
        found = {n.attr: None for n in self.graph.nodes if n.op == op}
        return tuple(str(k) for k in found)

    def settled(self) -> "Traced":
        """The cell, with all that follows from it worked out: what traces a program cannot wait."""
        for name, kind in type(self).__dict__.items():
            if isinstance(kind, cached_property):
                getattr(self, name)
        return self

    @cached_property
    def x_gates(self) -> tuple[str, ...]:
        used = self._named("x")
        return tuple(g for g in self.gates if g in used)

    @cached_property
    def u_gates(self) -> tuple[str, ...]:
        used = self._named("u")
        return tuple(g for g in self.gates if g in used)

    @cached_property
    def weights(self) -> tuple[str, ...]:
        return self._named("weight")

    @cached_property
    def norms(self) -> tuple[str, ...]:
        return self._named("norm")

    @cached_property
    def projs(self) -> tuple[str, ...]:
        return self._named("proj")

    @cached_property
    def masks(self) -> tuple[str, ...]:
        return self._named("mask")

    @cached_property
    def noises(self) -> tuple[str, ...]:
        return self._named("noise")

    @cached_property
    def observed(self) -> tuple[str, ...]:
        return tuple(k for k in self.graph.outputs if k not in self.states)

    @cached_property
    def output_width(self) -> str:
        return self.widths[self.states[0]]

    @cached_property
    def operand_width(self) -> str:
        """`H` or `P`: the width of what U multiplies, the same for all gates."""
        widths = node_widths(self.graph, self.widths)
        return next((widths[n.args[0]] for n in self.graph.nodes if n.op == "u"), "H")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: what a model directory carries, and what a foreign cell loads from."""
        others = (k for k in self.__dataclass_fields__ if k not in ("graph", "init", "labels"))
        plain = {k: getattr(self, k) for k in others}
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}
        return {
            **{k: dict(v) if isinstance(v, Mapping) else v for k, v in plain.items()},
            "init": {k: repr(v) for k, v in self.init.items()},
            "labels": {k: list(v) for k, v in self.labels.items()},
            "graph": self.graph.to_json(),
        }

    @classmethod
    def from_json(cls, data: Any) -> "Traced":
        """The cell that `to_json` wrote, checked as a new one is; nothing in it is executed.

        Raises:
            CellError: what stands there is no cell; says which part is wrong.
        """
        try:
            data = declared.table(data, "what stands there", cls.__dataclass_fields__)
            traced = cls(
                **{
                    key: _read(key, data[key])
                    for key in cls.__dataclass_fields__
                    if key in data or key in NEEDED
                }
            )
            check(traced)
        except KeyError as error:
            raise CellError(
                "the cell in the file", expected=f"its {error.args[0]}", got="none"
            ) from None
        except CellError as error:
            raise CellError(
                f"the cell in the file: {error.what}",
                expected=error.expected,
                got=error.got,
                fix=error.fix or "Write the model again.",
            ) from None
        return traced


NEEDED = ("name", "gates", "states", "graph", "widths", "init")


def _read(key: str, value: Any) -> Any:
    """One field of a cell, from plain JSON."""
    if key in ("gates", "states", "learned"):
        if not isinstance(value, list):
            raise CellError(key, expected="a list of names", got=declared.kind(value))
        return declared.names(value, key)
    if key in ("init", "hyper"):
        pairs = declared.table(value, key).items()
        return {k: declared.written(v, f"{key} of {k!r}") for k, v in pairs}
    if key in ("heads", "window"):
        return declared.whole(value, key, declared.WIDEST)
    if key in ("kernel", "paper"):
        return declared.text(value, key)
    reader: dict[str, Any] = {
        "name": declared.cell_name,
        "graph": Graph.from_json,
        "structure": declared.structure,
        "start": declared.start,
        "labels": declared.labels,
        "widths": lambda v: declared.table(v, "widths"),
        "layer_norm": lambda v: declared.truth(v, "layer_norm"),
    }
    return reader[key](value)


def node_widths(graph: Graph, states: Mapping[str, str]) -> list[str]:
    """Each node's width: `H`, `P` (after a projection), or `1` (a number)."""
    widths: list[str] = []
    for node in graph.nodes:
        if node.op == "const":
            width = "1"
        elif node.op == "state":
            width = states[str(node.attr)]
        elif node.op == "mask":
            width = str(node.attr)[0]  # options name a mask by the width of what it multiplies
        elif node.op == "noise":
            width = states[str(node.attr)]
        elif node.op in ("x", "weight", "u"):
            width = "H"
        elif node.op == "norm":
            width = widths[node.args[0]]
        elif node.op == "proj":
            width = "P"
        else:
            found = {widths[a] for a in node.args} - {"1"}
            if len(found) > 1:
                raise CellError(
                    f"{node.op} of a projected and an unprojected value",
                    expected="operands of one width",
                    got="H and P",
                    fix="Project both, or neither.",
                )
            width = found.pop() if found else "1"
        widths.append(width)
    return widths


def state_widths(graph: Graph, states: tuple[str, ...]) -> dict[str, str]:
    """A state is as wide as what the step returns for it; found by going round until it holds."""
    widths = dict.fromkeys(states, "1")  # not known yet: fits everything, as a number does
    for _ in states:
        found = node_widths(graph, widths)
        widths = {s: found[graph.outputs[s]] if widths[s] == "1" else widths[s] for s in states}
    widths = {s: "P" if w == "P" else "H" for s, w in widths.items()}
    found = node_widths(graph, widths)
    wrong = [s for s in states if found[graph.outputs[s]] not in ("1", widths[s])]
    if wrong:
        raise CellError(
            f"the width of the state {wrong[0]!r}",
            expected="a state that is projected at every step, or at none",
            got="both",
            fix="Project each or none.",
        )
    return widths


def check(traced: Traced) -> None:
    """Raise where the declaration and the graph do not fit together."""
    used = {*traced.x_gates, *traced.u_gates}
    idle = [g for g in traced.gates if g not in used]
    if idle:
        raise CellError(
            f"gate {idle[0]!r} is declared and never read",
            expected=f"`x.{idle[0]}` or `u.{idle[0]}(…)` in the step",
            got="neither",
            fix="Use it, or take it out of `gates`.",
        )
    leaf = {"x": traced.gates, "u": traced.gates, "state": traced.states, "noise": traced.states}
    for node in traced.graph.nodes:
        if node.op in leaf and node.attr not in leaf[node.op]:
            raise CellError(
                f"the graph reads {node.op} {node.attr!r}",
                expected=f"one of {' '.join(leaf[node.op]) or 'none'}",
                got=f"{node.attr}",
            )
        if isinstance(node.attr, str) and not NAME.match(node.attr):
            raise CellError(
                f"{node.op}.{node.attr}",
                expected="letters, digits and underscores, beginning with a letter",
                got=repr(node.attr),
            )
    for op in ("norm", "proj"):
        used_as = [n.attr for n in traced.graph.nodes if n.op == op]
        twice = [name for k, name in enumerate(used_as) if name in used_as[:k]]
        if twice:
            raise CellError(
                f"{op}.{twice[0]} is used on two values",
                expected=f"one value for each {op}",
                got="two",
                fix="Give each value a name of its own.",
            )
    if missing := [s for s in traced.states if s not in traced.graph.outputs]:
        raise CellError(f"the graph does not make the state {missing[0]!r}")
    if set(traced.init) != set(traced.states):
        raise CellError(
            "init", expected=f"the states {' '.join(traced.states)}", got=" ".join(traced.init)
        )
    for state in traced.learned:
        if state not in traced.states or math.isinf(traced.init[state]):
            raise CellError(
                f"learned {state!r}",
                expected=f"states that start finite, of {' '.join(traced.states)}",
                got=state,
            )
    _check_widths(traced)
    _check_structure(traced)
    _check_start(traced)


def _check_widths(traced: Traced) -> None:
    made = state_widths(traced.graph, traced.states)
    if dict(traced.widths) != made:
        raise CellError("widths of the states", expected=made, got=str(dict(traced.widths))[:60])
    widths = node_widths(traced.graph, made)
    operands = {
        op: {widths[n.args[0]] for n in traced.graph.nodes if n.op == op}
        for op in ("u", "norm", "proj")
    }
    for op, found in operands.items():
        if "1" in found:
            raise CellError(
                f"{op} of a number",
                expected="a value of the step, such as a state or a gate",
                got="a number",
                fix="A number is the same for every unit; multiply the result by it.",
            )
    if len(operands["u"]) > 1:
        raise CellError(
            "U multiplies values of different widths",
            expected="values that are all projected, or none",
            got="H and P",
            fix="Project all, or none.",
        )
    if "P" in operands["proj"]:
        raise CellError(
            "a projection of a projected value",
            expected="a value of H units",
            got="one of P",
            fix="Project once.",
        )


def _check_structure(traced: Traced) -> None:
    kinds = traced.structure.get("u", "").split()
    if "antisymmetric" in kinds and traced.operand_width == "P":
        raise CellError(
            "structure of 'u'",
            expected="a U that is square",
            got="a projected operand and `antisymmetric`",
            fix="Take out `antisymmetric` or the projection.",
        )
    if traced.heads > 1 and "blocks" not in kinds:
        raise CellError(
            f"{traced.heads} heads",
            expected='`structure = {"u": "blocks"}` with them',
            got=traced.structure.get("u") or "no structure",
            fix="Declare it, or take heads out.",
        )
    if traced.window > 1 and not traced.x_gates:
        raise CellError(
            f"a window of {traced.window} inputs",
            expected="a step that reads x",
            got="none",
            fix="Take window out.",
        )
    if traced.window > 1 and "inputs" in traced.states:
        raise CellError(
            "the state 'inputs' of a cell with a window",
            expected="another name",
            got="the name of the state that keeps the last inputs",
            fix="Choose another name.",
        )


def _check_start(traced: Traced) -> None:
    both = tuple(g for g in traced.gates if g in (*traced.x_gates, *traced.u_gates))
    known = {"x": traced.x_gates, "u": traced.u_gates, "b": both, "w": traced.weights}
    for key in traced.start:
        side, dot, of = key.partition(".")
        if side not in known or (dot and of not in known[side]):
            raise CellError(
                f"start of {key!r}",
                expected="x, u, b or w, alone or with a gate or weight, such as "
                f"{side if side in known else 'b'}.{(known.get(side) or both or ('k',))[0]}",
                got=key,
            )
