"""A step's graph comes in; the same graph with its reverse-mode derivative goes out.

The backward nodes are typed with the same primitives, so what runs forward runs backward too. Each
cut has a mirror: `u_back` is the sum of U_k^T d(u.k(v)) over all gates that multiply v, `norm_back`
and `proj_back` are those of a normalisation and a projection. `grad` is what arrives from outside:
the derivative of the loss by a named result.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .graph import Builder, Graph, Node, Symbol
from .primitives import PRIMITIVES
from .traced import Traced

BACK = {"u": "u_back", "norm": "norm_back", "proj": "proj_back"}


@dataclass(frozen=True)
class Derived:
    """A step and its derivative in one list of nodes.

    Args:
        nodes: the forward nodes, then the backward ones.
        forward: how many of them are forward.
        outputs: named result → node.
        by_state: state → node of ∂L/∂(state before the step).
        by_x: gate → node of ∂L/∂(x.gate); by_u: node of u.k(v) → node of ∂L/∂ of it.
        by_weight: weight → node of this step's and row's share of ∂L/∂w.
        by_norm: norm → node of ∂L/∂ of its result; by_proj likewise.
    """

    nodes: tuple[Node, ...]
    forward: int
    outputs: Mapping[str, int]
    by_state: Mapping[str, int]
    by_x: Mapping[str, int]
    by_u: Mapping[int, int]
    by_weight: Mapping[str, int]
    by_norm: Mapping[str, int]
    by_proj: Mapping[str, int]

    @property
    def graph(self) -> Graph:
        """All nodes as one graph whose results are the derivatives by the states."""
        return Graph(self.nodes, {f"d_{s}": k for s, k in self.by_state.items()})


def derive(traced: Traced, observed: tuple[str, ...] = ()) -> Derived:
    """Differentiate one step.

    Args:
        traced: the cell, options of the layer included.
        observed: results beside the states whose derivative may arrive from outside too.

    Example:
        >>> from unrolled.cells import find
        >>> derived = derive(find("gru").trace())
        >>> sorted(derived.by_x), derived.nodes[derived.forward].op
        (['n', 'r', 'z'], 'grad')
    """
    nodes = traced.graph.nodes
    builder = Builder(nodes)
    arriving: dict[int, Symbol] = {}
    for name, k in traced.graph.outputs.items():
        if name in traced.states or name in observed:
            _add(arriving, k, builder.add("grad", attr=name))
    by_u: dict[int, int] = {}
    found: dict[str, dict[str, int]] = {op: {} for op in ("state", "x", "weight", "norm", "proj")}
    multiplied: dict[int, list[int]] = {}
    for k, node in enumerate(nodes):
        if node.op == "u":
            multiplied.setdefault(node.args[0], []).append(k)
    for k in reversed(range(len(nodes))):
        node = nodes[k]
        gates = [n for n in multiplied.get(k, ()) if n in by_u]
        if gates:
            # The name tells which value was multiplied; the operands follow the order of its gates.
            back = builder.add("u_back", *(Symbol(builder, by_u[n]) for n in gates), attr=f"v{k}")
            _add(arriving, k, back)
        if k not in arriving:
            continue
        d = arriving[k]
        if node.op == "u":
            by_u[k] = d.index
        elif node.op in ("norm", "proj"):
            found[node.op][str(node.attr)] = d.index
            _add(arriving, node.args[0], builder.add(BACK[node.op], d, attr=node.attr))
        elif node.op in found:
            found[node.op][str(node.attr)] = d.index
        elif node.op in PRIMITIVES:
            _pass_on(builder, arriving, node, k, d)
    return Derived(
        nodes=tuple(builder.nodes),
        forward=len(nodes),
        outputs=dict(traced.graph.outputs),
        by_state=found["state"],
        by_x=found["x"],
        by_u=by_u,
        by_weight=found["weight"],
        by_norm=found["norm"],
        by_proj=found["proj"],
    )


def _pass_on(builder: Builder, arriving, node: Node, k: int, d: Symbol) -> None:
    operands = [Symbol(builder, a) for a in node.args]
    partials = PRIMITIVES[node.op].derivative(Symbol(builder, k), *operands)
    for a, partial in zip(node.args, partials, strict=True):
        if partial is None or builder.nodes[a].op in ("const", "mask", "noise"):
            continue
        if isinstance(partial, Symbol):
            _add(arriving, a, d * partial)
        elif partial == 1.0:
            _add(arriving, a, d)
        else:
            _add(arriving, a, -d if partial == -1.0 else d * partial)


def _add(arriving: dict[int, Symbol], k: int, term: Symbol) -> None:
    arriving[k] = arriving[k] + term if k in arriving else term
