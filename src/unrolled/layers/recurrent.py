"""Any cell as a layer: sequences come in, an output a step and the last states go out."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..cells import find
from ..engine.traced import Traced
from ..errors import ShapeError, UsageError
from ..files import with_fields
from .checks import checked_input, checked_lengths
from .stack import Stack, States
from .stream import Stream

OPTIONS = (
    "input_size",
    "hidden_size",
    "num_layers",
    "bias",
    "bidirectional",
    "dropout",
    "variational",
    "zoneout",
    "weight_drop",
    "layer_norm",
    "proj_size",
    "learn_initial",
)


class Recurrent(Stack):
    """A stack of recurrent layers of any cell, in one or both directions.

    Args:
        cell: a name of the catalogue, `FILE.py:Class`, a `Cell` or a traced cell.
        input_size: I, features of a step.
        hidden_size: H, units of a layer and direction.
        num_layers: L.
        bidirectional: whether as many units again run from the last valid step to the first.
        bias: whether W x and U v have biases.
        batch_first: whether x is (B, T, I), as here by default, or (T, B, I).
        dropout: probability of dropping a feature between two layers.
        variational: probability of dropping a unit of U's operand, one draw a sequence (Gal and
            Ghahramani 2016, arXiv:1512.05287).
        zoneout: probability that a unit keeps its old state, of all states or by name (Krueger and
            others 2017, arXiv:1606.01305).
        weight_drop: probability of dropping a weight of U, one draw a call (Merity and others 2018,
            arXiv:1708.02182).
        layer_norm: normalise W x and U v apart, per gate, before the bias (Ba and others 2016,
            arXiv:1607.06450).
        proj_size: P, width of the projected state, for cells whose step projects.
        learn_initial: whether the states before the first step are parameters.
        backend: `auto`, `c`, `torch` or `reference`; one that is named never falls back.

    Raises:
        UsageError, CellError, ShapeError, BackendError: say what was expected, got, and the fix.

    Example:
        >>> import torch
        >>> layer = Recurrent("peephole", 28, 128, num_layers=2)
        >>> output, state = layer(torch.zeros(3, 5, 28))
        >>> output.shape, state["c"].shape
        (torch.Size([3, 5, 128]), torch.Size([2, 3, 128]))
        >>> output, state, seen = layer(torch.zeros(3, 5, 28), observe=("f",))
        >>> seen["f"].shape
        torch.Size([2, 3, 5, 128])
    """

    def __init__(
        self,
        cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = True,
        **options: Any,
    ):
        traced = cell if isinstance(cell, Traced) else find(cell).trace()
        super().__init__(traced, input_size, hidden_size, num_layers, **options)
        if not isinstance(batch_first, bool):
            raise UsageError("batch_first", expected="True or False", got=repr(batch_first))
        self.batch_first = batch_first

    def forward(
        self,
        x: Tensor,
        state: Mapping[str, Tensor] | None = None,
        *,
        lengths=None,
        observe: Sequence[str] = (),
    ) -> Any:
        """Run whole sequences.

        Args:
            x: (B, T, I), or (T, B, I) where `batch_first=False`.
            state: name → (L·D, B, width) to start from; those not named start as the cell says.
            lengths: (B) valid steps of each sequence; what follows is padding: it changes no state
                and no gradient, and the output there is 0.
            observe: names of states and of values the step returns, to be recorded at every step.

        Returns:
            Output (B, T, D·H) and state name → (L·D, B, width); with `observe` also
            name → (L·D, B, T, width), with T before B where `batch_first=False`.

        Raises:
            ShapeError: x, state, lengths or observe do not fit.
            BackendError: the backend asked for cannot run this.
        """
        given = None if lengths is not None or observe else self._given(x, state)
        if given and (answer := self._repeated(given, self.batch_first)):
            return answer.output, answer.states
        dims = "B, T, I" if self.batch_first else "T, B, I"
        checked_input(x, self.input_size, dims, self.like)
        x = x.transpose(0, 1) if self.batch_first else x
        steps, batch = x.shape[:2]
        if steps == 0:
            raise ShapeError("the input", expected="at least one step", got="T=0")
        known = self.cell.graph.outputs
        if isinstance(observe, str):
            raise ShapeError(
                "observe",
                expected="a tuple of names",
                got=repr(observe),
                fix=f"Write `observe=({', '.join(map(repr, observe.split()))},)`.",
            )
        for name in observe:
            if name not in known:
                raise ShapeError(
                    f"observe {name!r}", expected=f"any of {', '.join(known)}", got=repr(name)
                )
        states = self._first_states(state, batch, x)
        answer = self.run(x, states, checked_lengths(lengths, steps, batch), observe)
        if given:
            self._remember(answer, given, self.batch_first)
        output, final, seen = answer.output, answer.states, answer.observed
        if self.batch_first:
            output = output.transpose(0, 1)
            seen = {k: v.transpose(1, 2) for k, v in seen.items()}
        return (output, final, seen) if observe else (output, final)

    def _given(self, x: Any, state: Any) -> list[Any] | None:
        """What a call gives that may repeat another: x, and all states or none."""
        if state is None:
            return [x]
        if type(state) is not dict or state.keys() != self._widths.keys():
            return None
        return [x, *(state[s] for s in self._widths)]

    def step(self, x: Tensor, state: Mapping[str, Tensor] | None = None) -> tuple[Tensor, States]:
        """One step of all layers: x (B, I) to output (B, H) and state, for one direction.

        Raises:
            ShapeError: x does not fit, or the layer runs in both directions.
        """
        if self.bidirectional:
            raise ShapeError("a single step", expected="one direction", got="a bidirectional layer")
        checked_input(x, self.input_size, "B, I", self.like)
        states = self._first_states(state, len(x), x)
        answer = self.run(x.unsqueeze(0), states, None, ())
        return answer.output[0], answer.states

    def stream(self, batch: int = 1) -> Stream:
        """The layer as a running process with the parameters of this moment; see `Stream`."""
        return Stream(self, batch)

    def config(self) -> dict[str, Any]:
        """What rebuilds this layer without its parameters, as plain JSON, the cell included."""
        plain = {key: getattr(self, key) for key in OPTIONS}
        if isinstance(plain["zoneout"], Mapping):
            plain["zoneout"] = dict(plain["zoneout"])
        return {"cell": self.cell.to_json(), **plain, "batch_first": self.batch_first}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, backend: str = "auto") -> "Recurrent":
        """The layer that `config` describes; nothing in it is imported or evaluated.

        Raises:
            ModelError: a key is missing or unknown.
        """
        expected = {"cell", "batch_first", *OPTIONS}
        with_fields(config, expected, "the layer's configuration")
        options = {key: config[key] for key in (*OPTIONS, "batch_first")}
        return cls(Traced.from_json(config["cell"]), **options, backend=backend)


class RecurrentCell(Stack):
    """One step of one layer of any cell: parameters are named as in `torch.nn.LSTMCell`.

    Args:
        cell: as for `Recurrent`, as are `input_size`, `hidden_size` and the options.

    Example:
        >>> import torch
        >>> cell = RecurrentCell("gru", 4, 8)
        >>> state = cell(torch.zeros(3, 4))
        >>> cell(torch.zeros(3, 4), state)["h"].shape
        torch.Size([3, 8])
    """

    def __init__(self, cell, input_size: int, hidden_size: int, **options: Any):
        traced = cell if isinstance(cell, Traced) else find(cell).trace()
        super().__init__(traced, input_size, hidden_size, 1, **options)

    def _suffix(self, layer: int, direction: int) -> str:
        return ""

    def forward(self, x: Tensor, state: Mapping[str, Tensor] | None = None) -> States:
        """x (B, I) or (I) and state name → (B, width) or (width) to the state after the step.

        Raises:
            ShapeError: x or a state does not fit.
        """
        single = isinstance(x, Tensor) and x.dim() == 1
        x = x.unsqueeze(0) if single else x
        checked_input(x, self.input_size, "B, I", self.like)
        given = {k: v.unsqueeze(0) for k, v in (state or {}).items()}
        given = {k: v.unsqueeze(0) for k, v in given.items()} if single else given
        states = self._first_states(given or None, len(x), x)
        final = self.run(x.unsqueeze(0), states, None, ()).states
        return {k: v[0, 0] if single else v[0] for k, v in final.items()}
