"""A derived step comes in; what is saved, what is recomputed, and in which phases it runs go out.

Each product, normalisation or projection needs all units of its operand, so it begins a new phase;
inside a phase everything is pointwise. Emitters only write down what stands here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .derive import Derived, derive
from .graph import Node
from .primitives import PRIMITIVES
from .traced import Traced, node_widths

GRADIENT = "grad."  # among what is observed, `grad.STATE` is ∂L/∂ of the state after the step
MEMORY = -1  # the level of what is there before a step begins
PRODUCTS = ("u", "proj", "u_back", "proj_back")


@dataclass(frozen=True)
class Column:
    """An accumulator of a phase's tile: the products it sums, and the node whose value it is.

    Args:
        node: the node that it is the value of (the sum, where W x and U v are merged).
        x: the gate of its input product, if it has one.
        product: the node of its other product, if it has one.
    """

    node: int
    x: str = ""
    product: int = -1


@dataclass
class Phase:
    """One sweep over the units of a step.

    Args:
        width: `H` or `P`.
        columns: its accumulators; those that read x first, those that read both in the middle.
        nodes: the pointwise nodes it evaluates, in order.
        stores: the nodes that have to be in memory afterwards.
        norms: normalisations (or their derivatives) whose statistics are taken at its end, node →
            node of the operand.
    """

    width: str = "H"
    columns: list[Column] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    stores: list[int] = field(default_factory=list)
    norms: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How a cell is run.

    Args:
        traced: the cell, options of the layer included.
        derived: its step and the derivative.
        observed: what is recorded at every step beside the states.
        saved: nodes that the forward pass keeps for the backward pass, a slot each.
        forward, backward: the phases.
        carried: forward nodes that a later phase of the same step reads; `back_carried` likewise.
        slots: nodes of the derivatives that are kept for the whole sequence (dz), a slot each:
            first those that products need, `summed` of them, then the rest of `told`.
        told: state → node of ∂L/∂ of it after the step, of those that are to be told.
        half: whether what is kept between steps has fewer bits than what is computed.
    """

    traced: Traced
    derived: Derived
    observed: tuple[str, ...]
    saved: tuple[int, ...]
    forward: tuple[Phase, ...]
    backward: tuple[Phase, ...]
    carried: tuple[int, ...]
    back_carried: tuple[int, ...]
    slots: tuple[int, ...]
    summed: int
    told: Mapping[str, int]
    half: bool = False

    @property
    def shifts(self) -> dict[str, str]:
        """For each normalisation, the first one whose shift has the same derivative."""
        first: dict[int, str] = {}
        return {name: first.setdefault(k, name) for name, k in self.derived.by_norm.items()}

    @property
    def scans(self) -> bool:
        """Whether the units of a step are independent: no product, norm or projection in it."""
        return not any(n.op in ("u", "norm", "proj") for n in self.traced.graph.nodes)


def plan(traced: Traced, observed: tuple[str, ...] = (), *, half: bool = False) -> Plan:
    """Decide what is saved, what is recomputed, and which phases a step has.

    Args:
        traced: the cell, options of the layer included.
        observed: results beside the first state that are to be recorded, and `grad.STATE` of states
            whose derivative is.
        half: whether what is kept between steps has fewer bits than what is computed: what a later
            phase of the same step reads is then carried beside it, with all its bits.

    Example:
        >>> from unrolled.cells import find
        >>> [len(plan(find(name).trace()).forward) for name in ("lstm", "gru-first", "mingru")]
        [1, 2, 1]
    """
    asked = [name.removeprefix(GRADIENT) for name in observed if name.startswith(GRADIENT)]
    observed = tuple(name for name in observed if not name.startswith(GRADIENT))
    derived = derive(traced, observed)
    nodes = derived.nodes
    widths = _all_widths(derived, traced)
    made = {derived.outputs[s]: s for s in traced.states}
    # What a sum over time multiplies, and what statistics are taken of, is read from memory.
    operands = {n.args[0] for n in traced.graph.nodes if n.op in ("u", "proj", "norm")}
    saved = _saved(derived, set(made), operands)
    wanted = [*made, *(derived.outputs[k] for k in observed), *saved]
    in_memory = {k for k, n in enumerate(nodes) if n.op in ("state", "weight", "const", "mask")}
    in_memory |= {k for k, n in enumerate(nodes) if n.op == "noise"}
    forward = _phases(nodes[: derived.forward], wanted, in_memory, widths, ("norm",))
    kept = in_memory | set(saved) | set(made)
    slots = tuple(
        dict.fromkeys([*derived.by_x.values(), *derived.by_u.values(), *derived.by_proj.values()])
    )
    summed = len(slots)
    grads = {str(n.attr): k for k, n in enumerate(nodes) if n.op == "grad"}
    told = {state: grads[state] for state in asked}
    slots = tuple(dict.fromkeys([*slots, *told.values()]))
    sums = [*derived.by_weight.values(), *derived.by_norm.values()]
    results = [*slots, *sums, *derived.by_state.values()]
    # Statistics of the forward normalisations are kept: there only the derivative takes new ones.
    backward = _phases(nodes, results, kept, widths, ("norm_back",))
    # Statistics are taken of rows: what is kept as derivatives are lies by vectors.
    normed = {operand for phase in backward for operand in phase.norms.values()}
    return Plan(
        traced=traced,
        derived=derived,
        observed=observed,
        saved=saved,
        forward=tuple(forward),
        backward=tuple(backward),
        carried=_carried(forward, nodes, {*made} if half else {*saved, *made}, half),
        back_carried=_carried(backward, nodes, set() if half else {*slots} - normed, half),
        slots=slots,
        summed=summed,
        told=told,
        half=half,
    )


def _all_widths(derived: Derived, traced: Traced) -> list[str]:
    widths = node_widths(traced.graph, traced.widths)
    operand = traced.operand_width
    for node in derived.nodes[derived.forward :]:
        if node.op == "grad":
            k = derived.outputs[str(node.attr)]
            width = traced.widths.get(str(node.attr), widths[k])
        elif node.op == "u_back":
            width = operand
        elif node.op == "proj_back":
            width = "H"
        elif node.op == "const":
            width = "1"
        else:
            width = next((widths[a] for a in node.args if widths[a] != "1"), "1")
        widths.append(width)
    return widths


def _saved(derived: Derived, made: set[int], operands: set[int]) -> tuple[int, ...]:
    """Forward nodes that the backward pass reads and cannot recompute from memory."""
    nodes, first = derived.nodes, derived.forward
    needed = {a for n in nodes[first:] for a in n.args if a < first}
    needed |= {k for k in [*derived.by_state.values(), *derived.by_x.values()] if k < first}
    # A norm's derivative reads its operand; a product's sum over time reads what it multiplied.
    needed |= {n.args[0] for n in nodes[:first] if n.op == "norm"}
    available = {k for k in range(first) if nodes[k].op in _FREE or k in made}
    saved = []
    for k in range(first):
        if k in available:
            continue
        recomputed = nodes[k].op in PRIMITIVES or nodes[k].op == "norm"
        if recomputed and all(a in available for a in nodes[k].args) and k not in operands:
            available.add(k)
        elif k in needed or k in operands:
            saved.append(k)
            available.add(k)
    return tuple(saved)


_FREE = ("state", "weight", "const", "mask", "noise")


def _phases(
    nodes: tuple[Node, ...],
    wanted: Sequence[int],
    memory: set[int],
    widths: list[str],
    taken: tuple[str, ...],
) -> list[Phase]:
    columns = _columns(nodes, memory, set(wanted))
    inside = {c.product for c in columns.values() if c.product >= 0 and c.node != c.product}
    inside |= {k for k, n in enumerate(nodes) if n.op == "x" and k not in columns}
    level: dict[int, int] = {}
    needed = _closure(nodes, wanted, memory)
    for k in sorted(needed):
        node = nodes[k]
        if k in memory:
            level[k] = MEMORY
        elif node.op == "x" and k in columns:
            level[k] = 0
        elif k in columns and columns[k].product >= 0:
            level[k] = 1 + max(level[a] for a in nodes[columns[k].product].args)
        elif node.op in taken:
            level[k] = 1 + level[node.args[0]]
        elif node.op == "const":
            level[k] = MEMORY
        elif k not in inside:
            level[k] = max([0, *(level[a] for a in node.args)])
        else:
            level[k] = MEMORY
    phases: dict[tuple[int, str], Phase] = {}
    home: dict[int, Phase] = {}

    def phase_of(k: int) -> Phase:
        key = (level[k], widths[k] if widths[k] != "1" else "H")
        return phases.setdefault(key, Phase(key[1]))

    for k in sorted(needed):
        if level[k] == MEMORY:
            continue
        home[k] = phase_of(k)
        if k in columns:
            home[k].columns.append(columns[k])
        else:
            home[k].nodes.append(k)
    for k in sorted(needed - memory):
        if nodes[k].op in taken:
            operand = nodes[k].args[0]
            place = home.get(operand) or phase_of(operand)
            place.norms[k] = operand
    for k in wanted:
        if k not in home:  # it lies in memory already: the first phase of its width copies it
            letter = widths[k] if widths[k] != "1" else "H"
            same = [key for key in sorted(phases) if key[1] == letter]
            home[k] = phases[same[0]] if same else phases.setdefault((0, letter), Phase(letter))
    ordered = [phases[key] for key in sorted(phases)] or [Phase()]
    _stores(ordered, home, nodes, wanted)
    return ordered


def _stores(phases, home, nodes, wanted) -> None:
    """What each phase leaves in memory: what is wanted, and what another phase reads."""
    read: set[int] = set()
    for phase in phases:
        # Columns that read x alone come first, then the merged ones: each loop finds its own side
        # by side.
        phase.columns.sort(key=lambda c: (not c.x, c.product >= 0, c.product))
        for k in phase.nodes:
            read |= {a for a in nodes[k].args if home.get(a, phase) is not phase}
        for column in phase.columns:
            if column.product >= 0:
                read |= set(nodes[column.product].args)
        read |= set(phase.norms.values())  # a statistic is taken over all units, from memory
    for k in dict.fromkeys([*wanted, *sorted(read)]):
        if k in home and k not in home[k].stores:
            home[k].stores.append(k)


def _closure(nodes, wanted, memory) -> set[int]:
    needed: set[int] = set()
    stack = list(wanted)
    while stack:
        k = stack.pop()
        if k not in needed:
            needed.add(k)
            if k not in memory:
                stack.extend(nodes[k].args)
    return needed


def _columns(nodes: tuple[Node, ...], memory: set[int], wanted: set[int]) -> dict[int, Column]:
    """Products by the node they are the value of; W x and U v are merged where only added."""
    named = memory | wanted  # a value that something else asks for is not swallowed by a sum
    users: dict[int, list[int]] = {}
    for k, node in enumerate(nodes):
        for a in node.args:
            users.setdefault(a, []).append(k)
    found: dict[int, Column] = {}
    merged: set[int] = set()
    for k, node in enumerate(nodes):
        if node.op != "add" or k in memory:
            continue
        kinds = {nodes[a].op: a for a in node.args}
        single = all(users[a] == [k] and a not in named for a in node.args)
        if single and set(kinds) == {"x", "u"}:
            found[k] = Column(k, str(nodes[kinds["x"]].attr), kinds["u"])
            merged |= set(node.args)
    for k, node in enumerate(nodes):
        if k in merged or k in memory:
            continue
        if node.op == "x":
            found[k] = Column(k, str(node.attr))
        elif node.op in PRODUCTS:
            found[k] = Column(k, product=k)
    return found


def reads(phases: Sequence[Phase], nodes: Sequence[Node]) -> tuple[set[int], set[int]]:
    """What products multiply, and what else a phase reads that it did not compute: from memory."""
    multiplied: set[int] = set()
    read: set[int] = set()
    for phase in phases:
        computed = {*phase.nodes, *(c.node for c in phase.columns)}
        for column in phase.columns:
            if column.product >= 0:
                multiplied |= set(nodes[column.product].args)
        read |= {a for k in phase.nodes for a in nodes[k].args if a not in computed}
        read |= set(phase.norms.values())  # a statistic is taken over all units, from memory
    return multiplied, read


def _carried(phases: list[Phase], nodes, placed: set[int], half: bool) -> tuple[int, ...]:
    """Nodes that must be in memory for a later phase and have no place of their own."""
    multiplied, read = reads(phases, nodes)
    wanted = read if half else read | multiplied
    stored = dict.fromkeys(k for phase in phases for k in phase.stores)
    return tuple(k for k in stored if k in wanted and k not in placed and nodes[k].op not in _FREE)
