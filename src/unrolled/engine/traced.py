"""A cell as data: all that layers, backends, pictures and the model directory ever see of one.

`trace` makes it from a step, `Traced.from_json` from a file; both are checked here in the same way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import CellError
from .graph import Graph

STRUCTURES = ("shared", "antisymmetric", "blocks")


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
        structure: of `x` and `u`: which named parametrizations make the effective matrix.
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

    @property
    def x_gates(self) -> tuple[str, ...]:
        used = self._named("x")
        return tuple(g for g in self.gates if g in used)

    @property
    def u_gates(self) -> tuple[str, ...]:
        used = self._named("u")
        return tuple(g for g in self.gates if g in used)

    @property
    def weights(self) -> tuple[str, ...]:
        return self._named("weight")

    @property
    def norms(self) -> tuple[str, ...]:
        return self._named("norm")

    @property
    def projs(self) -> tuple[str, ...]:
        return self._named("proj")

    @property
    def masks(self) -> tuple[str, ...]:
        return self._named("mask")

    @property
    def noises(self) -> tuple[str, ...]:
        return self._named("noise")

    @property
    def observed(self) -> tuple[str, ...]:
        return tuple(k for k in self.graph.outputs if k not in self.states)

    @property
    def output_width(self) -> str:
        return self.widths[self.states[0]]

    @property
    def operand_width(self) -> str:
        """`H` or `P`: the width of what U multiplies, the same for all gates."""
        widths = node_widths(self.graph, self.widths)
        return next((widths[n.args[0]] for n in self.graph.nodes if n.op == "u"), "H")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: what a model directory carries, and what a foreign cell loads from."""
        plain = {k: v for k, v in self.__dict__.items() if k not in ("graph", "init", "labels")}
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}
        return {
            **{k: dict(v) if isinstance(v, Mapping) else v for k, v in plain.items()},
            "init": {k: repr(v) for k, v in self.init.items()},
            "labels": {k: list(v) for k, v in self.labels.items()},
            "graph": self.graph.to_json(),
        }

    @classmethod
    def from_json(cls, data: Any) -> "Traced":
        """The cell that `to_json` wrote, checked as a new one is; nothing in it is executed."""
        try:
            known = {k: data[k] for k in cls.__dataclass_fields__ if k in data}
            for key in ("gates", "states", "learned"):
                known[key] = tuple(str(v) for v in known.get(key, ()))
            known["init"] = {str(k): float(v) for k, v in data["init"].items()}
            known["labels"] = {k: (str(a), str(b)) for k, (a, b) in data["labels"].items()}
            known["graph"] = Graph.from_json(data["graph"])
            known["hyper"] = {str(k): float(v) for k, v in known.get("hyper", {}).items()}
            traced = cls(**known)
            check(traced)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise CellError(
                "the cell in the file cannot be read",
                expected="a cell as `Traced.to_json` writes it",
                got=f"{type(error).__name__}: {error}",
                fix="Write the model again.",
            ) from None
        return traced


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
    widths = dict.fromkeys(states, "H")
    for state in states:  # a state that a projection makes directly
        if graph.nodes[graph.outputs[state]].op == "proj":
            widths[state] = "P"
    for _ in range(len(states) + 1):
        found = node_widths(graph, widths)
        new = {s: "P" if found[graph.outputs[s]] == "P" else "H" for s in states}
        if new == widths:
            return widths
        widths = new
    raise CellError("states whose widths contradict each other", fix="Project each or none.")


def check(traced: Traced) -> None:
    """Raise where the declaration and the graph do not fit together."""
    ops = {n.op for n in traced.graph.nodes}
    used = {*traced.x_gates, *traced.u_gates}
    idle = [g for g in traced.gates if g not in used]
    if idle:
        raise CellError(
            f"gate {idle[0]!r} is declared and never read",
            expected=f"`x.{idle[0]}` or `u.{idle[0]}(…)` in the step",
            got="neither",
            fix="Use it, or take it out of `gates`.",
        )
    leaf = {"x": traced.gates, "u": traced.gates, "state": traced.states}
    for node in traced.graph.nodes:
        if node.op in leaf and node.attr not in leaf[node.op]:
            raise CellError(f"the graph reads {node.op} {node.attr!r}, which is not declared")
    for op in ("norm", "proj"):
        used_as = [n.attr for n in traced.graph.nodes if n.op == op]
        if len(used_as) != len(set(used_as)):
            raise CellError(
                f"{op}.{used_as[-1]} is used on two values",
                fix="Give each value a name of its own.",
            )
    if missing := [s for s in traced.states if s not in traced.graph.outputs]:
        raise CellError(f"the graph does not make the state {missing[0]!r}")
    if set(traced.widths) != set(traced.states) or set(traced.init) != set(traced.states):
        raise CellError("widths and initial values do not name the states")
    widths = node_widths(traced.graph, traced.widths)
    operands = {widths[n.args[0]] for n in traced.graph.nodes if n.op == "u"}
    if len(operands) > 1 or "1" in operands:
        raise CellError("U multiplies values of different widths", fix="Project all, or none.")
    for side, names in traced.structure.items():
        unknown = [n for n in names.split() if n not in STRUCTURES]
        if side not in ("x", "u") or unknown or (side == "x" and names not in ("", "shared")):
            raise CellError(
                f"structure of {side!r}",
                expected=f"for u any of {', '.join(STRUCTURES)}; for x shared",
                got=names,
            )
    if traced.window < 1 or traced.heads < 1:
        raise CellError("window and heads", expected="1 or more", got="less")
    if traced.window > 1 and "x" not in ops:
        raise CellError("a window over inputs that the step never reads")
