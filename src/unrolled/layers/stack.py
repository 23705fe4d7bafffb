"""Depth and direction: a time-major batch and named states come in, the same go out.

The recurrent layers share this: it owns the parameters and makes one call of the engine a layer and
direction. PyTorch draws all randomness.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..engine import backends
from ..engine.call import Answer, Call, Initial
from ..engine.call_cache import CallCache
from ..engine.options import with_options
from ..engine.reference import turned
from ..engine.traced import Traced
from ..errors import ShapeError, UsageError
from .checks import States, checked_states
from .parameters import Sizes, effective, initialise, shapes

WINDOW = "inputs"  # the state in which a cell with a window keeps its last inputs
MOST_UNITS, MOST_LAYERS = 10_000_000, 1000  # a configuration that asks for more is broken


class Stack(nn.Module):
    """The abstract base of the recurrent layers."""

    # What runs a call in place of the engine while an inspector looks on.
    _recorder: "Callable[[Stack, int, int, Call], tuple[Answer, str]] | None" = None
    _one_run: Tensor | None = None  # lengths of sequences that run a step at a time: `one_run`

    def __init__(
        self,
        traced: Traced,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        bidirectional: bool = False,
        dropout: float = 0.0,
        variational: float = 0.0,
        zoneout: float | Mapping[str, float] = 0.0,
        weight_drop: float = 0.0,
        layer_norm: bool = False,
        proj_size: int = 0,
        learn_initial: bool = False,
        backend: str = "auto",
        device=None,
        dtype=None,
    ):
        super().__init__()
        for name, value, least, most in (
            ("input_size", input_size, 0, MOST_UNITS),
            ("hidden_size", hidden_size, 1, MOST_UNITS),
            ("num_layers", num_layers, 1, MOST_LAYERS),
            ("proj_size", proj_size, 0, MOST_UNITS),
        ):
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not least <= value <= most:
                limit = f" to {most}" if whole and value > most else ""
                expected = f"a whole number from {least}{limit}"
                raise UsageError(name, expected=expected, got=repr(value))
        for name, value in (
            ("bias", bias),
            ("bidirectional", bidirectional),
            ("layer_norm", layer_norm),
            ("learn_initial", learn_initial),
        ):
            if not isinstance(value, bool):
                raise UsageError(name, expected="True or False", got=repr(value))
        for name, rate in (
            ("dropout", dropout),
            ("variational", variational),
            ("weight_drop", weight_drop),
        ):
            _probability(name, rate)
        rates = zoneout if isinstance(zoneout, Mapping) else dict.fromkeys(traced.states, zoneout)
        rates = {s: _probability("zoneout", r) for s, r in rates.items() if r}
        if proj_size and not traced.projs:
            raise UsageError(
                f"proj_size={proj_size} for the cell {traced.name}",
                expected="a cell whose step calls proj",
                got="none in it",
                fix='Take cell="lstmp", or proj_size=0.',
            )
        if traced.projs and proj_size > hidden_size:
            raise UsageError(
                "proj_size",
                expected=f"at most {hidden_size}",
                got=proj_size,
                fix="A projection makes its values fewer.",
            )
        self.cell = traced.settled()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.bidirectional, self.dropout = bool(bias), bool(bidirectional), dropout
        self.variational, self.zoneout, self.weight_drop = variational, zoneout, weight_drop
        self.layer_norm, self.proj_size = bool(layer_norm), proj_size
        self.learn_initial = bool(learn_initial)
        self._asked, self._ran = backends.known(backend), ""
        self._call_cache = CallCache()
        self._training_cell, self._evaluation_cell = (
            with_options(
                traced,
                layer_norm=layer_norm,
                variational=variational > 0,
                zoneout=rates,
                training=training,
            ).settled()
            for training in (True, False)
        )
        self._zoneout_rates = rates
        finite = tuple(s for s in traced.states if abs(traced.init[s]) != float("inf"))
        self._learned = finite if learn_initial else traced.learned
        # Without the suffix, with it, and of what shape it is.
        self._names: list[tuple[tuple[str, str, tuple[int, ...]], ...]] = []
        self._known_sizes: list[Sizes] = []
        self._known_sizes = [self._sizes(layer) for layer in range(num_layers)]
        self._widths = {s: self._sizes(0).width(traced.widths[s]) for s in traced.states}
        # Where nobody gives a state, the cell alone says it.
        self._has_initial = not self._learned and traced.window == 1
        for layer in range(num_layers):
            for direction in range(self.directions):
                self._add(layer, direction, {"device": device, "dtype": dtype})
        self.reset_parameters()

    @property
    def directions(self) -> int:
        """1, or 2 where bidirectional."""
        return 2 if self.bidirectional else 1

    @property
    def width(self) -> int:
        """Features of one direction's output: H, or P where projected."""
        return self._sizes(0).width(self.cell.output_width)

    @property
    def output_size(self) -> int:
        """Features of the output: D·H, or D·P where projected."""
        return self.directions * self.width

    @property
    def like(self) -> Tensor | None:
        """A parameter: it has the dtype and the device of all; `None` where there is none."""
        own = next(iter(self._parameters.values()), None)  # found faster there
        return next(self.parameters(), None) if own is None else own

    @property
    def backend(self) -> str:
        """What ran the last call, or what was asked for where nothing ran yet."""
        return self._ran or self._asked

    @backend.setter
    def backend(self, name: str) -> None:
        self._asked, self._ran = backends.known(name), ""

    def _sizes(self, layer: int) -> Sizes:
        if layer < len(self._known_sizes):  # asked for at every call
            return self._known_sizes[layer]
        projected = self.proj_size or self.hidden_size
        width = projected if self.cell.output_width == "P" else self.hidden_size
        inputs = self.input_size if layer == 0 else self.directions * width
        return Sizes(inputs, self.hidden_size, projected)

    def _add(self, layer: int, direction: int, factory: dict) -> None:
        found = shapes(
            self._training_cell, self._sizes(layer), bias=self.bias, learned=self._learned
        )
        suffix = self._suffix(layer, direction)
        for name, shape in found.items():
            self.register_parameter(name + suffix, nn.Parameter(torch.empty(shape, **factory)))
        self._names.append(tuple((name, name + suffix, shape) for name, shape in found.items()))

    def _suffix(self, layer: int, direction: int) -> str:
        return f"_l{layer}" + ("_reverse" if direction else "")

    def _named(self, layer: int, direction: int) -> dict[str, Tensor]:
        found = {}
        for name, full, shape in self._names[layer * self.directions + direction]:
            own = self._parameters.get(full)  # found faster there than as an attribute
            value = found[name] = getattr(self, full) if own is None else own
            if value is not None and value.shape != shape:  # C would read beyond it
                raise ShapeError(
                    f"the parameter {full}",
                    expected=f"shape {shape}",
                    got=tuple(value.shape),
                    fix="Give it the shape that the layer made it with.",
                )
        return found

    def reset_parameters(self) -> None:
        """Draw all parameters anew: PyTorch's way, then what the cell's `start` says."""
        for layer in range(self.num_layers):
            for direction in range(self.directions):
                initialise(self._training_cell, self._sizes(layer), self._named(layer, direction))

    def extra_repr(self) -> str:
        options = {
            "num_layers": (self.num_layers, 1),
            "bias": (self.bias, True),
            "bidirectional": (self.bidirectional, False),
            "dropout": (self.dropout, 0.0),
            "proj_size": (self.proj_size, 0),
        }
        said = [f"{k}={v}" for k, (v, default) in options.items() if v != default]
        return ", ".join([self.cell.name, str(self.input_size), str(self.hidden_size), *said])

    def _first_states(
        self, given: Mapping[str, Tensor] | None, batch: int, like: Tensor
    ) -> Mapping[str, Tensor]:
        """What a call starts from, checked, where not all states are given as the cell says."""
        if given is None and self._has_initial and not torch.compiler.is_compiling():
            rows = self.num_layers * self.directions
            shapes = {s: (rows, batch, width) for s, width in self._widths.items()}
            return Initial(like, shapes, self.cell.init)
        return checked_states(given, self.initial_states(batch, like))

    def initial_states(self, batch: int, like: Tensor) -> States:
        """The states before the first step, name → (L·D, B, width), of the cell or learnt."""
        found: States = {}
        rows = self.num_layers * self.directions
        for state in self.cell.states:
            width = self._widths[state]
            if state in self._learned:
                firsts = [
                    self._named(layer, direction)[f"init_{state}"]
                    for layer in range(self.num_layers)
                    for direction in range(self.directions)
                ]
                found[state] = torch.stack(firsts).unsqueeze(1).expand(rows, batch, width)
            else:
                found[state] = like.new_full((rows, batch, width), self.cell.init[state])
        if self.cell.window > 1:
            found[WINDOW] = like.new_zeros(rows, batch, self._window_width)
        return found

    @property
    def _window_width(self) -> int:
        widest = max(self._sizes(layer).inputs for layer in range(self.num_layers))
        return (self.cell.window - 1) * widest

    def run(
        self,
        x: Tensor,
        states: Mapping[str, Tensor],
        lengths: Tensor | None,
        observe: Sequence[str],
    ) -> Answer:
        """All layers and directions.

        Args:
            x: (T, B, I).
            states: name → (L·D, B, width).
            lengths: (B) of int64 on the CPU, or `None`.
            observe: names to record.

        Returns:
            Output (T, B, D·width), final states, and name → (L·D, T, B, width).
        """
        if self._is_plain():
            return self._together(x, states, lengths, tuple(observe))
        final: dict[str, list[Tensor]] = {s: [] for s in states}
        recorded: dict[str, list[Tensor]] = {name: [] for name in observe}
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = F.dropout(x, self.dropout)
            outputs = []
            for direction in range(self.directions):
                row = layer * self.directions + direction
                before = _of_row(states, row)
                answer = self._one(layer, direction, x, before, lengths, tuple(observe))
                outputs.append(answer.output)
                for s, v in answer.states.items():
                    final[s].append(v)
                for name, v in answer.observed.items():
                    recorded[name].append(v)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        return Answer(
            x,
            {s: torch.stack(v) for s, v in final.items()},
            {name: torch.stack(v) for name, v in recorded.items()},
        )

    def _repeated(self, given: Sequence[Any], batch_first: bool) -> Answer | None:
        """The answer to a call that repeats an earlier one.

        Args:
            given: all that the call gives: x, and all first states in their order or none.
            batch_first: whether x is (B, T, I).
        """
        if self._recorder is not None:
            return None
        options = self._call_options(batch_first)
        cached = self._call_cache.find(given, self._parameters, options)
        if cached is None:
            return None
        answer, ran = backends.run_cached(cached, given)
        self._says(ran)
        return answer

    def _remember(self, answer: Answer, given: Sequence[Tensor], batch_first: bool) -> None:
        """Have `_repeated` answer calls like this one."""
        known, options = self._call_cache, self._call_options(batch_first)
        if (
            answer.cached is None
            or (len(given) == 1 and not self._has_initial)
            or not known.is_expected(given, self._parameters, options)
        ):
            return
        known.add(answer.cached(batch_first), given, options)

    def _call_options(self, batch_first: bool) -> tuple:
        """What decides on how a call is run, beside x and the parameters."""
        return self.training, self._asked, self.dropout, self.weight_drop, batch_first

    def _is_plain(self) -> bool:
        """Whether layers hand on what they compute as it is, and nobody looks at each by itself."""
        return (
            not self.bidirectional
            and self.cell.window == 1
            and not (self.dropout and self.training)
            and self._recorder is None
        )

    def _together(self, x, states, lengths, observe) -> Answer:
        calls = [
            self._engine_call(k, 0, x, _of_row(states, k), lengths, observe)
            for k in range(self.num_layers)
        ]
        answer, ran = backends.run_all(self._asked, calls)
        self._says(ran)
        return answer

    def _says(self, ran: str) -> None:
        if ran != self._ran:  # a module sets its attributes slowly
            self._ran = ran

    def _engine_call(self, layer, direction, x, states, lengths, observe) -> Call:
        cell = self._training_cell if self.training else self._evaluation_cell
        sizes, named = self._sizes(layer), self._named(layer, direction)
        drop = self.weight_drop if self.training else 0.0
        params = effective(cell, sizes, named, weight_drop=drop)
        self._draw(cell, sizes, params, x)
        return Call(
            cell,
            x,
            states,
            params,
            lengths=lengths,
            reverse=bool(direction),
            observe=observe,
            training=torch.is_grad_enabled(),
        )

    def _one(self, layer, direction, x, states, lengths, observe):
        window = states.get(WINDOW)
        states = states if window is None else {s: v for s, v in states.items() if s != WINDOW}
        turn = bool(direction) and window is not None
        if window is not None:
            x = turned(x, lengths) if turn else x
            before = window
            x, window = _windows(x, before, self.cell.window, lengths)
        call = self._engine_call(layer, direction, x, states, lengths, observe)
        call.reverse = bool(direction) and not turn
        if self._recorder is None:
            answer, self._ran = backends.run(self._asked, call)
        else:
            answer, self._ran = self._recorder(self, layer, direction, call)
        if window is not None:
            answer.states[WINDOW] = torch.cat([window, before[:, window.shape[-1] :]], -1)
        if turn:
            answer.output = turned(answer.output, lengths)
            answer.observed = {k: turned(v, lengths) for k, v in answer.observed.items()}
        return answer

    def _draw(self, cell: Traced, sizes: Sizes, params, x: Tensor) -> None:
        steps, batch = x.shape[:2]
        keep = 1.0 - self.variational
        params.masks = {
            name: x.new_empty(batch, sizes.width(name[0])).bernoulli_(keep) / keep
            for name in cell.masks
        }
        params.noises = {
            s: x.new_empty(steps, batch, sizes.width(cell.widths[s])).bernoulli_(
                self._zoneout_rates[s]
            )
            for s in cell.noises
        }


def _of_row(states: Mapping[str, Tensor], row: int) -> Mapping[str, Tensor]:
    """The states of one layer and direction."""
    return states.row() if isinstance(states, Initial) else {s: v[row] for s, v in states.items()}


def _windows(x: Tensor, before: Tensor, size: int, lengths: Tensor | None):
    """Each step's input with the ones before it, (T, B, k·I), and the last k-1 inputs, (B, …)."""
    steps, batch, features = x.shape
    if lengths is not None:
        times = torch.arange(steps, device=x.device).unsqueeze(1)
        x = x.masked_fill((times >= lengths.to(x.device)).unsqueeze(-1), 0)
    kept = before[:, : (size - 1) * features].reshape(batch, size - 1, features)
    longer = torch.cat([kept.transpose(0, 1), x])
    wide = torch.cat([longer[k : k + steps] for k in range(size)], -1)
    ends = torch.full((batch,), steps) if lengths is None else lengths
    rows = torch.stack([ends + k for k in range(size - 1)]).to(x.device)
    index = rows.unsqueeze(-1).expand(-1, -1, features)
    return wide, longer.gather(0, index).transpose(0, 1).flatten(1)


def _probability(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise UsageError(name, expected="a probability from 0 to below 1", got=repr(value))
    return float(value)
