"""A module that holds recurrent layers comes in; each call of them, as it ran, goes out.

The layers run on their own backend, with every value that a picture or a derivative needs recorded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ..engine import backends
from ..engine.call import Answer, Call
from ..engine.derive import Derived, derive
from ..engine.graph import Graph
from ..engine.primitives import LEAVES
from ..engine.reference import turned
from ..engine.traced import Traced
from ..errors import UsageError
from ..layers.stack import Stack


@dataclass
class Pass:
    """One call of one layer in one direction.

    Tensors are (T, B, width) in the order in which the steps ran, which in a backward direction is
    from each sequence's last valid step to its first.

    Args:
        name: the layer's place in the module that was run, "" where it is the only one.
        layer, direction: counted from 0; direction 1 runs backwards.
        traced: the cell, options of the layer included, as it was declared.
        call: what the engine was given.
        made: the cell's derivative.
        told: state → ∂L/∂ of it after each step, where the backend told it.
        nodes: node → its value at every step.
        output, finals: what the layers above read; gradients arrive at them.
        observed: values that the module itself asked for.
        run: lengths of the run of single steps that this is one of, or None.
    """

    name: str
    layer: int
    direction: int
    traced: Traced
    call: Call
    made: "Derivative"
    nodes: dict[int, Tensor]
    output: Tensor
    finals: dict[str, Tensor]
    observed: dict[str, Tensor] = field(default_factory=dict)
    told: dict[str, Tensor] = field(default_factory=dict)
    run: Tensor | None = None

    @property
    def lengths(self) -> Tensor | None:
        """(B), or None where all sequences are whole."""
        return self.call.lengths

    @property
    def steps(self) -> int:
        """T."""
        return self.call.x.shape[0]

    @property
    def title(self) -> str:
        """The place in the model: `l0`, `l1_reverse`, `encoder.l0`, as parameters are named."""
        place = f"l{self.layer}" + "_reverse" * self.direction
        return f"{self.name}.{place}" if self.name else place

    def in_time(self, value: Tensor) -> Tensor:
        """A value (T, B, …) in the order of the input's time."""
        return turned(value, self.lengths) if self.direction else value

    def valid(self) -> Tensor | None:
        """(T, B, 1), whether a step is inside its sequence; None where all are."""
        if self.lengths is None:
            return None
        times = torch.arange(self.steps).unsqueeze(1)
        return (times < self.lengths).unsqueeze(-1)

    def ends(self) -> Tensor:
        """(B) steps of each sequence."""
        if self.lengths is not None:
            return self.lengths
        return torch.full((self.call.x.shape[1],), self.steps)

    def only(self, b: int) -> "Pass":
        """The same call with one sequence of its batch, without its padding."""
        steps, row = int(self.ends()[b]), slice(b, b + 1)

        def cut(values):
            return {k: v[:steps, row] for k, v in values.items()}

        params = self.call.params
        call = replace(
            self.call,
            x=self.call.x[:steps, row],
            states={s: v[row] for s, v in self.call.states.items()},
            lengths=None,
            params=replace(
                params,
                masks={k: v[row] for k, v in params.masks.items()},
                noises=cut(params.noises),
            ),
        )
        return replace(
            self, call=call, nodes=cut(self.nodes), output=self.output, finals={}, observed={},
            told=cut(self.told),
        )  # fmt: skip

    def span(self, start: int, stop: int) -> "Pass":
        """The steps from `start` to before `stop` as a call by itself; all sequences are whole."""
        assert self.lengths is None  # the caller cut out one sequence

        def cut(values):
            return {k: v[start:stop] for k, v in values.items()}

        x, steps = self.call.x, self.steps
        x = x[steps - stop : steps - start] if self.call.reverse else x[start:stop]
        states = {s: self.before(s)[start] for s in self.call.states if s in self.traced.states}
        params = replace(self.call.params, noises=cut(self.call.params.noises))
        call = replace(self.call, x=x, states=states, params=params)
        return replace(
            self, call=call, nodes=cut(self.nodes), finals={}, observed={}, told=cut(self.told)
        )

    def before(self, state: str) -> Tensor:
        """A state before each step."""
        after = self.nodes[self.traced.graph.outputs[state]]
        return torch.cat(
            [self.call.states[state].detach().to(after.dtype).unsqueeze(0), after[:-1]]
        )


class Derivative:
    """What of a cell is the same at every call: its derivative, and the cell made to tell more.

    What backends record are results by name, so pre-activations become some.
    """

    def __init__(self, traced: Traced, observed: tuple[str, ...] = ()):
        self.traced = traced
        self.derived: Derived = derive(traced, observed)
        self.named = pre_activations(traced)
        outputs = {**traced.graph.outputs, **self.named}
        self.widened = replace(traced, graph=Graph(traced.graph.nodes, outputs))


_DERIVATIVES: dict[tuple[int, tuple[str, ...]], Derivative] = {}


def derivative(traced: Traced, observed: tuple[str, ...] = ()) -> Derivative:
    """The derivative of a cell, made once; the cell is kept beside it, so its id stays its own.

    Args:
        traced: the cell, options of the layer included.
        observed: results beside the states that a loss may read.
    """
    key = (id(traced), observed)
    if key not in _DERIVATIVES:
        _DERIVATIVES[key] = Derivative(traced, observed)
    return _DERIVATIVES[key]


def pre_activations(traced: Traced) -> dict[str, int]:
    """`pre_NAME` → the node that a one-operand function turns into the result NAME.

    Example:
        >>> from unrolled.cells import find
        >>> list(pre_activations(find("gru").trace()))
        ['pre_r', 'pre_z', 'pre_n']
    """
    graph, found = traced.graph, {}
    results = set(graph.outputs.values())
    for name, k in graph.outputs.items():
        node = graph.nodes[k]
        if node.op in ("neg", "u", "norm", "proj", *LEAVES) or len(node.args) != 1:
            continue
        if node.args[0] not in results and graph.nodes[node.args[0]].op not in LEAVES:
            found[f"pre_{name}"] = node.args[0]
    return {k: v for k, v in found.items() if k not in graph.outputs}


def recurrent_layers(module: nn.Module) -> dict[str, Stack]:
    """The recurrent layers inside a module, by name.

    Raises:
        UsageError: there is none.
    """
    found = {name: m for name, m in module.named_modules() if isinstance(m, Stack)}
    if not found:
        raise UsageError(
            f"a {type(module).__name__}",
            expected="a module that holds a recurrent layer of unrolled",
            got="none in it",
            fix="`unrolled.LSTM`, `GRU` and `RNN` take the place of `torch.nn`'s.",
        )
    return found


@contextmanager
def recording(module: nn.Module, only: str | None = None) -> Iterator[list[Pass]]:
    """Record every call of the recurrent layers inside `module` that is made in this block.

    Where gradients are asked for inside the block too, backends tell what they know of those.

    Args:
        module: what holds the layers.
        only: the name of the one that is recorded; None records all.

    Raises:
        UsageError: there is no such layer.

    Example:
        >>> from unrolled.layers import Recurrent
        >>> layer = Recurrent("gru", 3, 4)
        >>> with recording(layer) as passes:
        ...     _ = layer(torch.zeros(2, 5, 3))
        >>> passes[0].title, passes[0].steps
        ('l0', 5)
    """
    layers = recurrent_layers(module)
    if only is not None and only not in layers:
        raise UsageError("only", expected=f"one of {', '.join(layers)}", got=repr(only))
    layers = {name: layer for name, layer in layers.items() if only in (None, name)}
    passes: list[Pass] = []
    alone = len(layers) == 1  # then its place in the module tells nothing
    names = {id(layer): "" if alone else name for name, layer in layers.items()}

    def run(stack: Stack, layer: int, direction: int, call: Call) -> tuple[Answer, str]:
        if call.x.device.type != "cpu":
            raise UsageError("the inspector", expected="a module on the CPU", got=call.x.device)
        made = derivative(call.traced, tuple(n for n in call.observe if n in call.traced.observed))
        graph = call.traced.graph
        asked = [n for n in (*graph.outputs, *made.named) if n not in call.observe]

        told: dict[str, Tensor] = {}

        def in_order(value: Tensor) -> Tensor:
            return turned(value, call.lengths) if call.reverse else value

        x = call.x if call.x.requires_grad else call.x.detach().requires_grad_()
        wide = replace(
            call,
            traced=made.widened,
            observe=(*call.observe, *asked),
            x=x,
            training=True,
            watch=lambda every: told.update({s: in_order(v) for s, v in every.items()}),
        )
        answer, ran = backends.run(stack._asked, wide)
        # Views, so that what arrives at them is what the layers above send, and nothing else.
        output = answer.output.view_as(answer.output)
        finals = {s: v.view_as(v) for s, v in answer.states.items()}
        observed = {k: answer.observed[k].view_as(answer.observed[k]) for k in call.observe}
        nodes = {}
        for name, value in answer.observed.items():
            nodes[{**graph.outputs, **made.named}[name]] = in_order(value.detach())
        one = Pass(
            names[id(stack)], layer, direction, call.traced, replace(call, x=x),
            made, nodes, output, finals, observed, told, run=stack._one_run,
        )  # fmt: skip
        passes.append(one)
        return Answer(output, dict(finals), dict(observed)), ran

    for layer in layers.values():
        layer._recorder = run
    try:
        yield passes
    finally:
        for layer in layers.values():
            layer._recorder = None
