"""A traced cell comes in; its equations go out, as text or as LaTeX, one line for each named value.

Text keeps the notation of a step; LaTeX writes the products out, with the time as an index.
"""

import math
from collections.abc import Callable

from .graph import Node
from .primitives import PRIMITIVES
from .traced import Traced

# How tightly a form binds; what binds less than its place asks for is put in parentheses.
SUM, PRODUCT, SIGN, ATOM = 1, 2, 3, 9
# op: (how tightly it binds, what its operands must bind by). In text `a + (b + c)` keeps its
# parentheses: the order of evaluation is part of a cell. LaTeX is for reading.
BINDING = {
    "add": (SUM, (SUM, PRODUCT)),
    "sub": (SUM, (SUM, PRODUCT)),
    "mul": (PRODUCT, (PRODUCT, SIGN)),
    "div": (PRODUCT, (PRODUCT, SIGN)),
    "neg": (SIGN, (ATOM,)),
}
ENCLOSED = {"div", "sqrt"}  # in LaTeX a fraction and a root enclose their operands


def equations(
    traced: Traced, *, latex: bool = False, numbers: Callable[[int], str] | None = None
) -> list[str]:
    """The step of a cell, one equation a line, in the order in which it is computed.

    Args:
        traced: the cell.
        latex: LaTeX instead of text. In text `c'` is the state after the step, where `c` is the
            one before; in LaTeX they are c_t and c_{t-1}.
        numbers: node → its value in text, written in place of its name on both sides.

    Example:
        >>> from unrolled.cells import find
        >>> from unrolled.engine.trace import trace
        >>> print(*equations(trace(find("gru"))), sep="\\n")
        r = sigmoid(x.r + u.r(h))
        z = sigmoid(x.z + u.z(h))
        n = tanh(x.n + r * u.n(h))
        h' = (1 - z) * n + z * h
        >>> print(equations(trace(find("gru")), latex=True)[3])
        h_t = (1 - z_t) \\odot n_t + z_t \\odot h_{t-1}
    """
    return _Writer(traced, latex, numbers).lines()


def legend(traced: Traced) -> list[str]:
    """What the notation of the text means, for what this cell uses.

    Example:
        >>> from unrolled.cells import find
        >>> from unrolled.engine.trace import trace
        >>> legend(trace(find("mingru")))
        ['x.k: (W x + b)_k, of the input']
    """
    of_input = "the input" if traced.window == 1 else f"the last {traced.window} inputs"
    lines = [f"x.k: (W x + b)_k, of {of_input}"] if traced.x_gates else []
    lines += ["u.k(v): (U v + b)_k, of the value v"] if traced.u_gates else []
    one = "of one value" + ("" if traced.structure.get("w") else " a unit")
    lines += [f"w.k: a weight {one}"] if traced.weights else []
    lines += ["norm.k(v): v normalised over the units"] if traced.norms else []
    lines += ["proj.k(v): a projection P v"] if traced.projs else []
    if traced.structure.get("x"):
        lines.append(f"W: {traced.structure['x']}")
    if traced.structure.get("u"):
        heads = f", {traced.heads} of them" if "blocks" in traced.structure["u"] else ""
        lines.append(f"U: {traced.structure['u']}{heads}")
    lines += [f"{k}: starts at {_number(v)}" for k, v in traced.init.items() if v]
    return lines


class _Writer:
    def __init__(self, traced: Traced, latex: bool, numbers: Callable[[int], str] | None = None):
        self.traced, self.latex, self.numbers = traced, latex, numbers
        self.nodes = traced.graph.nodes
        self.names = self._named()

    def lines(self) -> list[str]:
        """The equations; a result that equals another, or an operand as it is, is said so."""
        sign = " = "
        ordered = sorted(self.names.items())
        lines = [self._left(k, name) + sign + self._form(k, 0, top=True) for k, name in ordered]
        written = set(self.names.values())
        for result, k in self.traced.graph.outputs.items():
            if result not in written:
                lines.append(self._left(k, result) + sign + self._form(k, 0))
        return lines

    def _left(self, k: int, name: str) -> str:
        return self._new(name) if self.numbers is None else self.numbers(k)

    def _named(self) -> dict[int, str]:
        """The nodes that get a line: results, and what is used in more than one place."""
        names: dict[int, str] = {}
        for result, k in self.traced.graph.outputs.items():
            if self.nodes[k].args and k not in names:
                names[k] = result
        taken = {*self.traced.graph.outputs, *self.traced.gates, *self.traced.states}
        users = self.traced.graph.users()
        fresh = (f"a{n}" for n in range(1, len(self.nodes) + len(taken) + 2))
        for k, node in enumerate(self.nodes):
            if k not in names and node.args and len(users[k]) > 1:
                names[k] = next(name for name in fresh if name not in taken)
        return names

    def _new(self, name: str) -> str:
        if self.latex:
            return _subscript(name, "t")
        return f"{name}'" if name in self.traced.states else name

    def _form(self, k: int, needed: int, *, top: bool = False) -> str:
        node = self.nodes[k]
        known = self.numbers is not None and node.op not in PRIMITIVES and node.op != "const"
        if self.numbers is not None and (known or (k in self.names and not top)):
            text = self.numbers(k)
            binds = SUM if text.startswith("-") else ATOM
        elif k in self.names and not top:
            text, binds = self._new(self.names[k]), ATOM
        elif node.op in PRIMITIVES:
            text, binds = self._primitive(node)
        else:
            text, binds = self._leaf(node)
        return f"({text})" if binds < needed else text

    def _primitive(self, node: Node) -> tuple[str, int]:
        primitive = PRIMITIVES[node.op]
        binds, needed = BINDING.get(node.op, (ATOM, (0,) * primitive.arity))
        if self.latex and node.op == "add":
            needed = (SUM, SUM)
        if self.latex and node.op == "mul":
            needed = (PRODUCT, ATOM)
        if self.latex and node.op in ENCLOSED:
            binds, needed = ATOM, (0,) * primitive.arity
        operands = [self._form(a, need) for a, need in zip(node.args, needed, strict=True)]
        template = primitive.latex if self.latex else primitive.text
        numbers = [self.nodes[a].op == "const" for a in node.args]
        if self.latex and node.op == "mul" and any(numbers):
            template = r"{0} \, {1}"  # the circle is for two vectors
        return template.format(*operands), binds

    def _leaf(self, node: Node) -> tuple[str, int]:
        of = str(node.attr)
        inner = "".join(self._form(a, 0) for a in node.args)
        if node.op == "const":
            return self._const(float(node.attr or 0.0))
        if not self.latex:
            name = {"state": of, "weight": f"w.{of}"}.get(node.op, f"{node.op}.{of}")
            return (f"{name}({inner})" if node.args else name), ATOM
        if node.op == "state":
            return _subscript(of, "t-1"), ATOM
        if node.op == "x":
            window = "t" if self.traced.window == 1 else f"t-{self.traced.window - 1}:t"
            return f"W_{{{_upright(of)}}} x_{{{window}}} + b_{{{_upright(of)}}}", SUM
        if node.op == "u":
            operand = self._form(node.args[0], ATOM)
            return f"U_{{{_upright(of)}}} {operand} + b'_{{{_upright(of)}}}", SUM
        if node.op == "proj":
            return f"P_{{{_upright(of)}}} {self._form(node.args[0], ATOM)}", PRODUCT
        letter = {"weight": "w", "norm": r"\mathrm{norm}", "mask": r"\mu", "noise": r"\xi"}
        text = f"{letter[node.op]}_{{{_upright(of)}}}"
        return (f"{text}({inner})" if node.args else text), ATOM

    def _const(self, value: float) -> tuple[str, int]:
        return _number(value, latex=self.latex), SIGN if math.copysign(1.0, value) < 0 else ATOM


def _number(value: float, *, latex: bool = False) -> str:
    if math.isinf(value):
        return ("-" if value < 0 else "") + (r"\infty" if latex else "inf")
    return f"{value:.10g}"


def _upright(name: str) -> str:
    return name if len(name) == 1 else r"\mathrm{" + name.replace("_", r"\_") + "}"


def _subscript(name: str, time: str) -> str:
    time = time if len(time) == 1 else f"{{{time}}}"
    return f"{_upright(name)}_{time}"
