"""How C spells a plan's values: a node comes in, an expression or a place in memory goes out."""

import math

from ...errors import BackendError
from ..plan import Plan
from ..primitives import PRIMITIVES, USER_C
from ..traced import node_widths

SPELLING = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "sigmoid": "sigmoid_({0})",
    "tanh": "tanh_({0})",
    "relu": "relu({0})",
    "exp": "exp_({0})",
    "log": "log_({0})",
    "sqrt": "sqrt_({0})",
    "sin": "sin_({0})",
    "cos": "cos_({0})",
    "softplus": "softplus_({0})",
    "logsigmoid": "logsigmoid_({0})",
    "absolute": "absolute({0})",
    "maximum": "maximum({0}, {1})",
    "minimum": "minimum({0}, {1})",
    "positive": "positive({0})",
    "prefer": "prefer({0}, {1})",
}


def number(value: float) -> str:
    """A constant, to the last bit of a double."""
    if math.isinf(value):
        return f"all((real){'-' if value < 0 else ''}INFINITY)"
    return f"all((real){value!r})"


class Spelling:
    """Names and places of one plan; the forward and the backward pass share them."""

    def __init__(self, plan: Plan):
        self.plan, self.derived, self.half = plan, plan.derived, plan.half
        self.nodes = plan.derived.nodes
        self.made: dict[int, list[str]] = {}
        for s in plan.traced.states:
            self.made.setdefault(plan.derived.outputs[s], []).append(s)
        self.saved = {k: n for n, k in enumerate(plan.saved)}
        self.carried = {k: n for n, k in enumerate(plan.carried)}
        self.slots = {k: n for n, k in enumerate(plan.slots)}
        self.back_carried = {k: n for n, k in enumerate(plan.back_carried)}
        graph = plan.traced.graph
        self.widths = node_widths(graph, plan.traced.widths)
        norms = [k for k, n in enumerate(graph.nodes) if n.op == "norm"]
        self.norm_operand = {str(graph.nodes[k].attr): graph.nodes[k].args[0] for k in norms}
        self.norm_index = {name: n for n, name in enumerate(self.norm_operand)}
        backs = [k for k in range(len(self.nodes)) if self.nodes[k].op == "norm_back"]
        self.back_index = {k: n for n, k in enumerate(backs)}
        operands = {n.args[0] for n in graph.nodes if n.op in ("u", "proj")}
        weights = [str(graph.nodes[k].attr) for k in operands if graph.nodes[k].op == "weight"]
        # Where products take words, a weight that they multiply has a row of its own.
        self.multiplied_weights = tuple(sorted(set(weights))) if self.half else ()
        self._names = self._variables()

    def _variables(self) -> dict[int, str]:
        names: dict[int, str] = {}
        for name, k in self.derived.outputs.items():
            new = "_new" if name in self.plan.traced.states else ""
            names.setdefault(k, f"{name}{new}_")
        for gate, k in self.derived.by_x.items():
            names.setdefault(k, f"d_{gate}_")
        for state, k in self.derived.by_state.items():
            names.setdefault(k, f"d_{state}_before_")
        return names

    def norm_letter(self, name: str) -> str:
        """The width of what a normalisation normalises: `H` or `P`."""
        return self.widths[self.norm_operand[name]]

    def variable(self, k: int) -> str:
        """The C variable of a node: the name it was observed by, or its number."""
        return self._names.get(k, f"t{k}")

    def width(self, state: str) -> str:
        """The field of the padded width of a state."""
        return f"c->{self.plan.traced.widths[state]}p"

    def slot(self, base: str, count: int, n: int) -> str:
        """A row of a buffer with `count` values a unit."""
        return f"{base} + (row * {count} + {n}) * c->Hp + j"

    def place(self, k: int, *, backward: bool) -> str:
        """Where a node lies in memory, or "" where it does not; with all its bits, if it does."""
        node = self.nodes[k]
        name = str(node.attr)
        exact = self.half and not backward
        if node.op == "state":
            return f"at->{name}_{'before' if exact else '0'} + row * {self.width(name)} + j"
        if node.op == "weight":
            return f"p->w_{name} + j"
        if node.op == "mask":
            return f"c->m_{name} + row * c->{name[0]}p + j"
        if node.op == "noise":
            width = self.width(name)
            return f"c->z_{name} + (at->t * c->B + row) * {width} + j"
        if k in self.made and (k < self.derived.forward):
            state = self.made[k][0]
            return f"at->{state}_{'after' if exact else '1'} + row * {self.width(state)} + j"
        if not backward and k in self.carried:
            return self.slot("c->carry", len(self.carried), self.carried[k])
        if k in self.saved:
            return self.saving(k)
        if backward and k in self.back_carried:
            return self.slot("c->back_carry", len(self.back_carried), self.back_carried[k])
        if backward and k in self.slots:
            return self.derivative(k)
        return ""

    def normed(self, norm: str) -> str:
        """Where what is normalised lies: as the backward pass will find it, rounded or not, or their
        difference, which the deviation of few units divides, would be taken for a derivative.
        """
        k = self.norm_operand[norm]
        return self.place(k, backward=True) or self.place(k, backward=False)

    def starts_from_zeros(self, k: int) -> bool:
        """Whether a node is a state before the step that starts from zeros where nobody gives it."""
        node = self.nodes[k]
        return node.op == "state" and self.plan.traced.init[str(node.attr)] == 0

    def saving(self, k: int) -> str:
        """Where a node is saved for the backward pass."""
        return self.slot("at->save", len(self.saved), self.saved[k])

    def derivative(self, k: int) -> str:
        """Where a derivative is kept for the whole sequence.

        Vectors of units lie by themselves, each of all rows of all steps: so sums over time read dz
        as it stands. Halves are sorted into words before they are summed, and lie row by row.
        """
        if self.half:
            return f"at->dz + (row * SLOTS + {self.slots[k]}) * c->Hp + j"
        return f"at->dz + ({self.slots[k]} * c->Hp + j) * c->S + row * V"

    def derivatives(self, slot: int, base: str) -> tuple[str, str, str]:
        """The first of the rows of a slot of dz from row b on, the distance of rows, and of vectors."""
        if self.half:
            return f"{base} + (b * SLOTS + {slot}) * c->Hp", "SLOTS * c->Hp", "V"
        return f"{base} + {slot} * c->Hp * c->S + b * V", "V", "c->S * V"

    def operand(self, k: int, *, backward: bool) -> str:
        """Where a node lies that a product multiplies, in the form that products take."""
        node = self.nodes[k]
        if not self.half:
            return self.place(k, backward=backward)
        if node.op == "state":
            return f"at->{node.attr}_0 + row * {self.width(str(node.attr))} + j"
        if k in self.made and k < self.derived.forward:
            return f"at->{self.made[k][0]}_1 + row * {self.width(self.made[k][0])} + j"
        if k in self.saved:
            return self.saving(k)
        if backward and k in self.slots:
            return self.derivative(k)
        raise AssertionError(f"node {k} {node} of {self.plan.traced.name} is not kept")

    def weight_row(self, name: str, *, whole: str) -> str:
        """Where a weight of a value a unit lies for products; `whole`: where it is in reals."""
        return f"(const kept *)p->row_{name}" if self.half else whole

    def value(self, k: int, computed: set[int], *, backward: bool) -> str:
        """The expression that reads a node inside a phase that has computed some."""
        node = self.nodes[k]
        if node.op == "const":
            return number(float(node.attr or 0.0))
        if k in computed:
            return self.variable(k)
        place = self.place(k, backward=backward)
        if not place:
            raise AssertionError(f"node {k} {node} of {self.plan.traced.name} has no place")
        return f"ld({place})"

    def expression(self, k: int, computed: set[int], *, backward: bool) -> str:
        """The right-hand side of a node's definition."""
        node = self.nodes[k]
        operands = [self.value(a, computed, backward=backward) for a in node.args]
        name = str(node.attr)
        if node.op == "grad":
            return self._arriving(name, k)
        if node.op == "norm":
            seen = self.seen(name, f"ld({self.normed(name)})")
            return f"{seen} * ld(p->gain_{name} + j) + ld(p->shift_{name} + j)"
        if node.op == "norm_back":
            operand = self.value(self.norm_operand[name], computed, backward=True)
            means = (
                f"c->back_statistics + (row * {len(self.back_index)} + {self.back_index[k]}) * 2"
            )
            return (
                f"({operands[0]} * ld(p->gain_{name} + j) - ({means})[0]"
                f" - {self.seen(name, operand)} * ({means})[1]) * {self.taken(name)}[1]"
            )
        if node.op in SPELLING:
            return SPELLING[node.op].format(*operands)
        if node.op in USER_C:
            return f"user_{node.op}({', '.join(operands)})"
        raise BackendError(
            f"the primitive {node.op!r} has no C",
            expected=f"one of {', '.join(SPELLING)}, or one added with `c=`",
            got=node.op,
            fix='Add it with add_primitive(…, c="…"), or use backend="reference".',
        )

    arriving = "c->d_output + at->t * c->ldt + row * c->ldb + j"  # at the output

    def _arriving(self, name: str, k: int) -> str:
        """What reaches a result from later steps, from the output, and from its record."""
        traced, parts = self.plan.traced, []
        width = "c->Pp" if self.widths[self.derived.outputs[name]] == "P" else "c->Hp"
        if name in traced.states:
            parts.append(f"ld(at->d_{name}_0 + row * {width} + j)")
        if name == traced.states[0]:
            parts.append(f"ld({self.arriving})")
        if name in self.plan.observed:
            place = f"c->q_{name} + (at->t * c->B + row) * {width} + j"
            parts.append(f"(c->q_{name} ? ld({place}) : all(0))")
        return " + ".join(parts)

    def taken(self, norm: str) -> str:
        """The statistics of a normalisation of this row."""
        return f"(at->statistics + (row * {len(self.norm_index)} + {self.norm_index[norm]}) * 2)"

    def seen(self, norm: str, operand: str) -> str:
        """The normalised operand, before gain and shift."""
        return f"({operand} - {self.taken(norm)}[0]) * {self.taken(norm)}[1]"


def user_primitives(plan: Plan) -> str:
    """The user's own pointwise functions, lane by lane."""
    used = {n.op for n in plan.derived.nodes if n.op in USER_C}
    text = []
    for name in sorted(used):
        arity = PRIMITIVES[name].arity
        operands = [f"x{n}" for n in range(arity)]
        body = USER_C[name].format(*(f"{x}[l]" for x in operands))
        arguments = ", ".join(f"v {x}" for x in operands)
        text.append(
            f"static inline v user_{name}({arguments}) {{\n"
            f"  v y;\n  for (long l = 0; l < V; l++) y[l] = {body};\n  return y;\n}}\n"
        )
    return "\n".join(text)
