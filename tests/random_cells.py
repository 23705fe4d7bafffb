"""Random cells: hypothesis draws a step as a short program, and it becomes a cell like any other.

Whatever a step may be made of occurs: gates fed by x, by U or both, products of what the step
computed, weights of a unit, norms, a projected state, hyper-parameters, windows, derived matrices.
Values stay bounded (what enters a state is squashed, no division by less than 1), so that two ways
of computing them can be compared.
"""

from hypothesis import note
from hypothesis import strategies as st

from unrolled.cells import (
    Cell,
    absolute,
    cos,
    exp,
    log,
    logsigmoid,
    maximum,
    minimum,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    tanh,
)
from unrolled.engine.equations import equations

UNARY = {
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "softplus": softplus,
    "logsigmoid": logsigmoid,
    "absolute": absolute,
    "sin": sin,
    "cos": cos,
    "neg": lambda a: -a,
    "exp": lambda a: exp(minimum(a, 1.5)),
    "log": lambda a: log(1 + absolute(a)),
    "sqrt": lambda a: sqrt(1 + absolute(a)),
    "one minus": lambda a: 1 - a,
    "scaled": lambda a: 0.5 * a,
}
BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: tanh(a) * b,
    "div": lambda a, b: a / (1 + absolute(b)),
    "maximum": maximum,
    "minimum": minimum,
}
SQUASHED = {
    "tanh": tanh,
    "sigmoid": sigmoid,
    "sin": sin,
    "cos": cos,
    "soft sign": lambda a: a / (1 + absolute(a)),
}
SMOOTH_UNARY = [name for name in UNARY if name not in ("relu", "absolute", "exp", "log", "sqrt")]
SMOOTH_BINARY = ["add", "sub", "mul"]
STRUCTURES = ["", "", "shared", "antisymmetric", "blocks", "shared antisymmetric"]
HEADS = 2  # of cells whose U is block-diagonal: give them an even number of units


@st.composite
def random_cells(draw, *, smooth=False, projected=None, structured=True, windowed=True):
    """A cell, defined and checked as a user's is.

    Args:
        smooth: leave out what has a kink or a steep slope, where differences are no derivatives.
        projected: whether the first state is a projection (drawn where `None`).
        structured: whether U may be tied or derived.
        windowed: whether x may be several inputs.
    """
    gates = "abcde"[: draw(st.integers(1, 5))]
    states = ["h", "s", "q"][: draw(st.integers(1, 3))]
    projected = draw(st.booleans()) if projected is None else projected
    unary = st.sampled_from(SMOOTH_UNARY if smooth else list(UNARY))
    binary = st.sampled_from(SMOOTH_BINARY if smooth else list(BINARY))
    program, pool = [], len(states)  # a program is typed on a growing list of values
    first = 1 if projected else 0  # a projected state is read by U alone

    def operand():
        return draw(st.integers(first, pool - 1)) if pool > first else None

    for gate in gates:
        sources = draw(st.sampled_from(["x", "u", "x+u", "x+u", "x*u"]))
        inner = 0 if projected or pool == first else operand()
        program.append(("gate", sources, gate, inner))
        pool += 1
    for _ in range(draw(st.integers(1, 7))):
        kinds = ["unary", "unary", "binary", "binary", "weight"] + ["norm"] * (not smooth)
        kind = draw(st.sampled_from(kinds))
        if kind == "unary":
            program.append((kind, draw(unary), operand()))
        elif kind == "binary":
            program.append((kind, draw(binary), operand(), operand()))
        elif kind == "weight":
            program.append((kind, f"k{draw(st.integers(0, 1))}", operand()))
        else:
            program.append((kind, f"n{len(program)}", operand()))
        pool += 1
    squash = st.sampled_from(["tanh", "sigmoid", "sin"] if smooth else list(SQUASHED))
    news = [(draw(squash), operand()) for _ in states]
    seen = operand()
    hyper = {"gain": draw(st.floats(0.25, 1.5)), "gamma": draw(st.floats(0.0, 0.5))}
    structure = draw(st.sampled_from(STRUCTURES)) if structured else ""
    if projected:  # a derived U is square
        structure = "shared" if "shared" in structure else ""

    def step(given, x, u, w, norm, proj, values):
        values = list(values)
        for kind, *what in program:
            values.append(_instruction(kind, what, x, u, w, norm, values))
        results = {}
        for state, (how, k) in zip(states, news, strict=True):
            new = SQUASHED[how](given.gain * values[k])
            results[state] = proj.p(new) if projected and state == "h" else new
        return {**results, "seen": values[seen]}

    uses_u = any(kind == "gate" and "u" in what[0] for kind, *what in program)
    uses_x = any(kind == "gate" and "x" in what[0] for kind, *what in program)
    body = {
        "gates": " ".join(gates),
        "states": " ".join(states),
        "hyper": hyper,
        "init": {s: draw(st.sampled_from([0.0, 0.0, 0.5])) for s in states},
        "structure": {"u": structure} if uses_u and structure else {},
        "heads": HEADS if uses_u and "blocks" in structure else 1,
        "window": draw(st.integers(1, 3)) if windowed and uses_x else 1,
        "step": _with_arguments(step, len(states)),
    }
    kind = type("Drawn", (Cell,), body)
    cell = kind()
    note("\n".join(["the drawn cell:", *equations(cell.trace()), f"{cell.trace().structure}"]))
    return cell


def _instruction(kind, what, x, u, w, norm, values):
    if kind == "gate":
        sources, gate, k = what
        of_x = getattr(x, gate) if "x" in sources else None
        of_u = getattr(u, gate)(values[k]) if "u" in sources else None
        if of_x is None or of_u is None:
            return of_u if of_x is None else of_x
        return tanh(of_x) * of_u if sources == "x*u" else of_x + of_u
    if kind == "unary":
        return UNARY[what[0]](values[what[1]])
    if kind == "binary":
        return BINARY[what[0]](values[what[1]], values[what[2]])
    if kind == "weight":
        return getattr(w, what[0]) * values[what[1]]
    # Units that are all equal would be blown up by 1 / sqrt(epsilon): weights keep them apart.
    return getattr(norm, what[0])(values[what[1]] + getattr(w, what[0]))


def _with_arguments(step, states):
    """A step asks for its operands by name, so each number of states has a signature."""

    def one(self, x, u, w, norm, proj, h):
        return step(self, x, u, w, norm, proj, (h,))

    def two(self, x, u, w, norm, proj, h, s):
        return step(self, x, u, w, norm, proj, (h, s))

    def three(self, x, u, w, norm, proj, h, s, q):
        return step(self, x, u, w, norm, proj, (h, s, q))

    return (one, two, three)[states - 1]
