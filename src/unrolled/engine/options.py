"""A traced cell and the options of a layer come in; the cell whose graph contains them goes out.

Each option is a rewriting of the graph, so that no backend, picture or export has to know it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..errors import CellError
from .graph import Builder, Graph, Node, Symbol
from .traced import Traced, check


def with_options(
    traced: Traced,
    *,
    layer_norm: bool = False,
    variational: bool = False,
    zoneout: Mapping[str, float] | None = None,
    training: bool = False,
) -> Traced:
    """The cell as a layer with these options runs it.

    Args:
        traced: the cell.
        layer_norm: normalise W x and U v apart, per gate, before the bias (Ba, Kiros and Hinton
            2016, arXiv:1607.06450).
        variational: multiply every operand of U by a mask that is drawn once a sequence (Gal and
            Ghahramani 2016, arXiv:1512.05287).
        zoneout: state → the probability that a unit keeps its old value (Krueger and others 2017,
            arXiv:1606.01305); in evaluation the expectation.
        training: whether masks and noise are read, or their expectation is used.

    Raises:
        CellError: an option does not fit the cell.

    Example:
        >>> from unrolled.cells import find
        >>> from unrolled.engine.trace import trace
        >>> with_options(trace(find("lstm")), zoneout={"c": 0.1}, training=True).noises
        ('c',)
    """
    if layer_norm or traced.layer_norm:
        traced = _rewrite(traced, _normalised)
    if variational and training:
        traced = _rewrite(traced, _masked(traced))
    if zoneout:
        traced = _zoned_out(traced, zoneout, training)
    check(traced)
    return traced


Rule = Callable[[Builder, Node, tuple[Symbol, ...]], Symbol]


def _rewrite(traced: Traced, rule: Rule) -> Traced:
    builder = Builder()
    made: list[Symbol] = []
    for node in traced.graph.nodes:
        made.append(rule(builder, node, tuple(made[a] for a in node.args)))
    outputs = {k: made[v].index for k, v in traced.graph.outputs.items()}
    return replace(traced, graph=Graph(tuple(builder.nodes), outputs))


def _normalised(builder: Builder, node: Node, args: tuple[Symbol, ...]) -> Symbol:
    value = builder.add(node.op, *args, attr=node.attr)
    if node.op in ("x", "u"):
        return builder.add("norm", value, attr=f"{node.op}_{node.attr}")
    return value


def _masked(traced: Traced) -> Rule:
    width = traced.operand_width
    masks: dict[int, str] = {}

    def rule(builder: Builder, node: Node, args: tuple[Symbol, ...]) -> Symbol:
        if node.op == "u":
            name = masks.setdefault(args[0].index, f"{width}_{len(masks)}")
            args = (args[0] * builder.add("mask", attr=name),)
        return builder.add(node.op, *args, attr=node.attr)

    return rule


def _zoned_out(traced: Traced, rates: Mapping[str, float], training: bool) -> Traced:
    builder = Builder(traced.graph.nodes)
    outputs = dict(traced.graph.outputs)
    for state, rate in rates.items():
        if state not in traced.states or traced.init[state] in (float("inf"), float("-inf")):
            raise CellError(
                f"zoneout of {state!r} in {traced.name}",
                expected=f"states that start finite, of {' '.join(traced.states)}",
                got=state,
                fix="Give zoneout as a dict of the states to keep, such as {'h': 0.1}.",
            )
        old, new = builder.add("state", attr=state), Symbol(builder, outputs[state])
        kept = builder.add("noise", attr=state) if training else rate
        outputs[state] = (kept * old + (1.0 - kept) * new).index
    return replace(traced, graph=Graph(tuple(builder.nodes), outputs))
