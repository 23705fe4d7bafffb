"""A cell comes in, its traced graph goes out: `step` is run once on symbols.

`Traced` is all that layers, backends, pictures and the model directory ever see of a cell.
"""

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import CellError, UnrolledError
from .graph import NAME, Builder, Graph, Symbol

STRUCTURES = ("shared", "antisymmetric", "blocks")
RESERVED = {"ih", "hh", "hr", "x", "u", "w", "norm", "proj", "self"}


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


class Namespace:
    """`x`, `u`, `w`, `norm`, `proj` of a step: attributes by name, and nothing else on it."""

    __slots__ = ("_get",)

    def __init__(self, get):
        object.__setattr__(self, "_get", get)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return object.__getattribute__(self, "_get")(name)

    def __setattr__(self, name, value):
        raise CellError("a step assigns to a namespace", fix="Use a local variable.")


class _View:
    """What `self` is in a traced step: the hyper-parameters as symbols, and nothing that varies."""

    def __init__(self, cell, builder):
        self._cell, self._builder = cell, builder

    def __getattr__(self, name):
        if name in self._cell.hyper:
            return self._builder.add("const", attr=float(getattr(self._cell, name)))
        return getattr(self._cell, name)


def trace(cell) -> Traced:
    """Run `step` once on symbols and collect what it did.

    Args:
        cell: an object with the declaration of `unrolled.cells.Cell` and a `step`.

    Returns:
        The cell as data.

    Raises:
        CellError: the declaration or the step is wrong; says what was expected, what was got and
            the fix, with the cell's name.

    Example:
        >>> from unrolled.cells import find
        >>> trace(find("gru")).u_gates
        ('r', 'z', 'n')
    """
    name = cell.name
    try:
        gates, states = _names(cell.gates, "gates"), _names(cell.states, "states")
        if not states:
            raise CellError("no states", expected="at least one", fix='Say `states = "h"`.')
        clash = sorted(set(gates) & set(cell.hyper))
        if clash:
            raise CellError(f"{clash[0]!r} is a gate and a hyper-parameter", fix="Rename one.")
        init = {s: float(cell.init.get(s, 0.0)) for s in states}
        unknown = [k for k in (*cell.init, *cell.learned) if k not in states]
        if unknown:
            raise CellError(
                f"init of {unknown[0]!r}", expected=f"one of the states {states}", got=unknown[0]
            )
        graph = _run(cell, gates, states)
        traced = Traced(
            name=name,
            gates=gates,
            states=states,
            graph=graph,
            widths=state_widths(graph, states),
            init=init,
            learned=tuple(cell.learned),
            structure=dict(cell.structure),
            heads=int(cell.heads),
            window=int(cell.window),
            hyper={k: float(getattr(cell, k)) for k in cell.hyper},
            start=dict(cell.start),
            layer_norm=bool(cell.layer_norm),
            kernel=cell.kernel,
            labels=dict(cell.labels),
            paper=cell.paper.strip(),
        )
        check(traced)
    except UnrolledError as error:
        raise CellError(
            f"cell {name}: {error.what}", expected=error.expected, got=error.got, fix=error.fix
        ) from None
    return traced


def _names(text, what: str) -> tuple[str, ...]:
    names = tuple(text.split()) if isinstance(text, str) else tuple(text)
    for n in names:
        if not NAME.match(n) or keyword.iskeyword(n) or n in RESERVED:
            raise CellError(
                f"{what} {n!r}",
                expected="letters, digits and underscores, beginning with a letter",
                got="a reserved word" if n in RESERVED or keyword.iskeyword(n) else repr(n),
                fix="Choose another name.",
            )
    if len(set(names)) < len(names):
        raise CellError(f"{what} {' '.join(names)!r}", expected="each name once", got="one twice")
    return names


def _run(cell, gates, states) -> Graph:
    builder = Builder()

    def gate(op):
        def get(name):
            if name not in gates:
                raise CellError(
                    f"the step reads {op}.{name}",
                    expected=f"one of its gates {' '.join(gates) or '(none)'}",
                    got=name,
                    fix=f"Correct the name, or add it: `gates = {' '.join((*gates, name))!r}`.",
                )
            if op == "x":
                return builder.add("x", attr=name)
            return lambda v: builder.add("u", v, attr=name)

        return Namespace(get)

    given = {
        "x": gate("x"),
        "u": gate("u"),
        "w": Namespace(lambda name: builder.add("weight", attr=name)),
        "norm": Namespace(lambda name: lambda v: builder.add("norm", v, attr=name)),
        "proj": Namespace(lambda name: lambda v: builder.add("proj", v, attr=name)),
        **{s: builder.add("state", attr=s) for s in states},
    }
    code = type(cell).step.__code__
    wanted = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    for name in wanted:
        if name not in given:
            raise CellError(
                f"step asks for {name!r}",
                expected=f"any of {', '.join(given)}",
                got=name,
                fix=f"Declare it: `states = {' '.join((*states, name))!r}`, or correct the name.",
            )
    try:
        results = type(cell).step(_View(cell, builder), **{k: given[k] for k in wanted})
    except UnrolledError:
        raise
    except Exception as error:
        raise CellError(
            "its step cannot be traced",
            expected="arithmetic (+ - * /) and the functions of `unrolled.cells`",
            got=f"{type(error).__name__}: {error}",
            fix="Matrix products are `u.k(v)`; powers are written as products.",
        ) from None
    return Graph(tuple(builder.nodes), _results(results, states, builder))


def _results(results, states, builder) -> dict[str, int]:
    if not isinstance(results, Mapping):
        raise CellError(
            "what step returns",
            expected="a dict of the new states and of what is to be observed",
            got=f"a {type(results).__name__}",
            fix=f"End with `return dict({', '.join(f'{s}=…' for s in states)})`.",
        )
    missing = [s for s in states if s not in results]
    if missing:
        raise CellError(
            "what step returns",
            expected=f"the states {' '.join(states)}",
            got=f"no {missing[0]}",
            fix=f"Add `{missing[0]}=…` to the dict it returns.",
        )
    _names([k for k in results if k not in states], "the observed value")
    order = {s: results[s] for s in states} | dict(results)
    for k, v in order.items():
        if not isinstance(v, (Symbol, int, float)):
            raise CellError(
                f"the result {k!r}", expected="a value of the step", got=f"a {type(v).__name__}"
            )
    return {k: builder._operand(v, "a result") for k, v in order.items()}


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
        names = [n.attr for n in traced.graph.nodes if n.op == op]
        if len(names) != len(set(names)):
            raise CellError(
                f"{op}.{names[-1]} is used on two values", fix="Give each value a name of its own."
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
