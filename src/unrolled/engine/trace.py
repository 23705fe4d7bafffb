"""A cell comes in, the cell as data goes out: its step is run once on symbols.

What a step may not do (look at a value, call PyTorch) is refused with what to write instead.
"""

import inspect
from collections.abc import Mapping
from numbers import Real

from ..errors import CellError, UnrolledError
from . import declared
from .graph import Builder, Graph, Symbol
from .traced import Traced, check, state_widths


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
        raise CellError(
            "the step assigns to a namespace",
            expected="values that are read",
            got=f"an assignment to .{name}",
            fix="Use a local variable.",
        )

    def __call__(self, *_):
        raise CellError(
            "one of x, u, w, norm, proj is called",
            expected="the name of a gate or weight first",
            got="a call",
            fix="Write `u.k(v)`, `norm.k(v)` or `proj.k(v)`.",
        )

    def __getitem__(self, key):
        raise CellError(
            "one of x, u, w, norm, proj is indexed",
            expected="an attribute",
            got=f"[{key!r}]",
            fix="Write `x.k`.",
        )


class _View:
    """What `self` is in a traced step: the hyper-parameters as symbols, and nothing that varies."""

    def __init__(self, cell, builder):
        self.__dict__.update(_cell=cell, _builder=builder)

    def __getattr__(self, name):
        if name in self._cell.hyper:
            return self._builder.add("const", attr=float(getattr(self._cell, name)))
        if name.startswith("__") or hasattr(self._cell, name):
            return getattr(self._cell, name)
        raise CellError(
            f"the step reads self.{name}",
            expected=f"a hyper-parameter ({', '.join(self._cell.hyper) or 'none is declared'})",
            got=name,
            fix=f'Declare it: `hyper = {{"{name}": 1.0}}`, or correct the name.',
        )

    def __setattr__(self, name, value):
        raise CellError(
            f"the step assigns to self.{name}",
            expected="a step that keeps nothing but its states",
            got="an assignment",
            fix=f"Declare a state {name}, and return its new value.",
        )


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
        gates = declared.names(cell.gates, "gate")
        states = declared.names(cell.states, "state")
        if not states:
            raise CellError("no states", expected="at least one", fix='Say `states = "h"`.')
        init = declared.table(cell.init, "init", states)
        hyper = declared.table(cell.hyper, "hyper")
        if clash := [g for g in declared.names(list(hyper), "hyper-parameter") if g in gates]:
            raise CellError(
                f"{clash[0]!r} is a gate and a hyper-parameter",
                expected="a name for each",
                got=clash[0],
                fix="Rename one.",
            )
        hyper = {k: declared.number(getattr(cell, k), f"hyper-parameter {k}") for k in hyper}
        graph = _run(cell, gates, states)
        traced = Traced(
            name=declared.cell_name(name),
            gates=gates,
            states=states,
            graph=graph,
            widths=state_widths(graph, states),
            init={s: declared.number(init.get(s, 0.0), f"init of {s!r}") for s in states},
            learned=declared.names(cell.learned, "learned"),
            structure=declared.structure(cell.structure),
            heads=declared.whole(cell.heads, "heads"),
            window=declared.whole(cell.window, "window", declared.WIDEST),
            hyper=hyper,
            start=declared.start(cell.start),
            layer_norm=declared.truth(cell.layer_norm, "layer_norm"),
            kernel=declared.text(cell.kernel, "kernel"),
            labels=declared.labels(cell.labels),
            paper=declared.text(cell.paper, "paper").strip(),
        )
        if own := [n for n in traced.norms if n[:2] in ("x_", "u_") and n[2:] in gates]:
            raise CellError(
                f"norm.{own[0]}",
                expected="another name",
                got="the one that the layer's option layer_norm uses",
                fix="Choose another name.",
            )
        check(traced)
    except UnrolledError as error:
        raise CellError(
            f"cell {name}: {error.what}", expected=error.expected, got=error.got, fix=error.fix
        ) from None
    return traced


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
    wanted = _wanted(type(cell).step, given)
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
    except UnrolledError as error:
        raise CellError(
            f"{error.what}{_line(error, cell)}",
            expected=error.expected,
            got=error.got,
            fix=error.fix,
        ) from None
    except Exception as error:  # noqa: BLE001  # whatever a user's step raises, said in one line
        raise CellError(
            f"its step cannot be traced{_line(error, cell)}",
            expected="arithmetic (+ - * /) and the functions of `unrolled.cells`",
            got=f"{type(error).__name__}: {error}",
            fix="Matrix products are `u.k(v)`; powers are written as products.",
        ) from None
    return Graph(tuple(builder.nodes), _results(results, states, builder))


def _wanted(step, given) -> tuple[str, ...]:
    """The names of a step's operands: they are handed over by name."""
    code = getattr(step, "__code__", None)
    if code is None:
        raise CellError(
            "step",
            expected="a method `step(self, x, u, h, …)`",
            got=declared.kind(step),
            fix="Write it with `def`.",
        )
    count = code.co_argcount + code.co_kwonlyargcount
    if not code.co_argcount or code.co_varnames[0] in given:
        raise CellError(
            "step's first argument",
            expected="self",
            got=code.co_varnames[0] if count else "none",
            fix=f"Write `def step(self, {', '.join(code.co_varnames[:count])}):`.",
        )
    for flag, stars in ((inspect.CO_VARARGS, "*"), (inspect.CO_VARKEYWORDS, "**")):
        if code.co_flags & flag:
            more = code.co_varnames[count + (stars == "**" and bool(code.co_flags & 4))]
            raise CellError(
                f"step asks for {stars}{more}",
                expected="each operand by name",
                got=f"{stars}{more}",
                fix=f"Name what the step reads: any of {', '.join(given)}.",
            )
    return code.co_varnames[1:count]


def _line(error: BaseException, cell) -> str:
    """Where in the step's own file an error came from."""
    file, line = type(cell).step.__code__.co_filename, 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""


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
    declared.names([k for k in results if k not in states], "the observed value")
    order = {s: results[s] for s in states} | dict(results)
    for k, v in order.items():
        if not isinstance(v, (Symbol, Real)):
            raise CellError(
                f"the result {k!r}", expected="a value of the step", got=f"a {type(v).__name__}"
            )
    return {k: builder._operand(v, "a result") for k, v in order.items()}
