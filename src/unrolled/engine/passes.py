"""The passes in order, each printable: a cell comes in, what a pass made of it goes out as text.

For `unrolled cells show --stage`; nothing runs through here.
"""

from collections.abc import Callable

from ..errors import UsageError
from .derive import Derived, derive
from .graph import Node
from .options import with_options
from .plan import Phase, Plan, plan
from .trace import trace
from .traced import Traced


def _trace(cell) -> Traced:
    return with_options(trace(cell))


def _show_trace(cell) -> str:
    traced = _trace(cell)
    results = [f"{name} = n{k}" for name, k in traced.graph.outputs.items()]
    return "\n".join([*_lines(traced.graph.nodes, 0), *results])


def _show_derive(cell) -> str:
    derived = derive(_trace(cell))
    lines = _lines(derived.nodes, derived.forward)
    return "\n".join([*lines, *_sums(derived)])


def _show_plan(cell) -> str:
    planned = plan(_trace(cell))
    nodes = planned.derived.nodes
    lines = ["saved for the backward pass:"]
    lines += [f"  {_line(k, nodes[k])}" for k in planned.saved] or ["  nothing but the states"]
    for title, phases in (("forward", planned.forward), ("backward", planned.backward)):
        for n, phase in enumerate(phases):
            lines += [f"{title}, phase {n}:", *_phase(phase, planned)]
    return "\n".join(lines)


def _show_c(cell) -> str:
    from .build import compiler
    from .c import emit

    return emit(plan(_trace(cell)), registers=compiler().registers, double=False).source


STAGES: dict[str, Callable[..., str]] = {
    "trace": _show_trace,
    "derive": _show_derive,
    "plan": _show_plan,
    "c": _show_c,
}


def show(cell, stage: str) -> str:
    """What one pass makes of a cell, as text.

    Args:
        cell: a cell.
        stage: `trace` (the graph), `derive` (with its derivative), `plan` (what is saved, and the
            phases), or `c` (the file that is compiled).

    Raises:
        UsageError: there is no such pass.
        BackendError: `c`, and there is no compiler to say which machine it is for.

    Example:
        >>> from unrolled.cells import find
        >>> print(show(find("rnn"), "plan").splitlines()[2])
        forward, phase 0:
    """
    if stage not in STAGES:
        raise UsageError(f"stage {stage!r}", expected=f"one of {', '.join(STAGES)}", got=stage)
    return STAGES[stage](cell)


def _line(k: int, node: Node) -> str:
    operands = ", ".join(f"n{a}" for a in node.args)
    of = "" if node.attr is None else f" {node.attr}"
    return f"n{k} = {node.op}{of}({operands})" if operands else f"n{k} = {node.op}{of}"


def _lines(nodes: tuple[Node, ...], forward: int) -> list[str]:
    lines = [_line(k, node) for k, node in enumerate(nodes)]
    if forward:
        lines.insert(forward, "backward:")
    return lines


def _sums(derived: Derived) -> list[str]:
    groups = {
        "state": derived.by_state,
        "x": derived.by_x,
        "w": derived.by_weight,
        "norm": derived.by_norm,
        "proj": derived.by_proj,
    }
    lines = [f"dL/d{kind}.{name} = n{k}" for kind, of in groups.items() for name, k in of.items()]
    return lines + [f"dL/dn{n} = n{k}" for n, k in derived.by_u.items()]


def _phase(phase: Phase, planned: Plan) -> list[str]:
    nodes = planned.derived.nodes
    lines = []
    for column in phase.columns:
        parts = [f"x.{column.x}"] if column.x else []
        if column.product >= 0:
            parts.append(_line(column.product, nodes[column.product]).partition(" = ")[2])
        lines.append(f"  n{column.node} = {' + '.join(parts)}   (accumulated)")
    lines += [f"  {_line(k, nodes[k])}" for k in phase.nodes]
    lines.append(f"  to memory: {', '.join(f'n{k}' for k in phase.stores) or 'nothing'}")
    if phase.norms:
        lines.append(f"  statistics of: {', '.join(f'n{k}' for k in phase.norms.values())}")
    return lines
