"""Recorded calls come in; every gate, state and gradient at every step goes out, by name.

What a call computed between its steps is in its record, and the derivative of the loss by each
state comes with it, or follows from it (`adjoint`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from ..engine.traced import Traced
from ..errors import UsageError
from . import spoken, words
from .adjoint import Adjoint, Values
from .record import Pass
from .spoken import Spoken


class LayerTrace:
    """What one layer did in one direction, at every step of every sequence.

    Arrays are (B, T, width), in the order of the input's time, 0 where a sequence has ended.

    Args:
        one: the recorded call.
        direct: state or observed value → what arrives at each step from outside, (T, B, width) in
            the order in which the steps ran; None where there is no loss.
    """

    def __init__(self, one: Pass, direct: dict[str, Tensor] | None):
        self.one, self.direct, self.traced = one, direct, one.traced
        self.title = one.title
        self.tokens: list[list[str]] | None = None  # where they are not those of the trace

    def __repr__(self) -> str:
        return f"<{self.title}: {self.traced.name}, {', '.join(self.names)}>"

    @property
    def cell(self) -> Traced:
        """The cell, options of the layer included."""
        return self.traced

    @property
    def names(self) -> tuple[str, ...]:
        """What can be asked for: states, what the step returns beside them, pre-activations."""
        return (*self.traced.states, *self.traced.observed, *self.one.made.named)

    def kind(self, name: str) -> str:
        """`state`, `gate`, `value` or `pre-activation`."""
        if name in self.traced.states:
            return "state"
        if name in self.one.made.named:
            return "pre-activation"
        return "gate" if name in self.traced.gates else "value"

    @cached_property
    def values(self) -> Values:
        """Every node of the cell, and of its derivative what no loss has a part in."""
        return Values(self.one)

    @cached_property
    def way(self) -> Adjoint:
        """The way of derivatives from step to step."""
        return Adjoint(self.one, self.values)

    @cached_property
    def adjoint(self) -> dict[str, Tensor]:
        """State → ∂L/∂ of it after each step, (T, B, width) in the order in which the steps ran.

        Raises:
            UsageError: there is no loss.
        """
        if self.direct is None:
            raise UsageError("a gradient", expected="a trace with a loss", got="one without")
        if not self.one.told:
            return {s: v[1:] for s, v in self.way.run(self.direct).items()}
        valid, told = self.one.valid(), self.one.told
        return told if valid is None else {s: v.masked_fill(~valid, 0) for s, v in told.items()}

    @cached_property
    def derivatives(self) -> Values:
        """Every node of the cell's derivative, at all steps."""
        values = Values(self.one, {**(self.direct or {}), **self.adjoint})
        values.values |= self.values.values
        return values

    def __getitem__(self, name: str) -> np.ndarray:
        """A value by name, (B, T, width).

        Raises:
            UsageError: there is none of this name.
        """
        if name not in self.names:
            raise UsageError(
                f"{self.title}: {name!r}", expected=f"one of {', '.join(self.names)}", got=name
            )
        node = {**self.traced.graph.outputs, **self.one.made.named}[name]
        return self.in_time(self.values.full(node))

    def gradient(self, name: str) -> np.ndarray:
        """∂L/∂(state after each step), or ∂L/∂(x.k) for a gate `x.k`, (B, T, width).

        Raises:
            UsageError: there is no loss, or no such state or gate.
        """
        if name in self.traced.states:
            return self.in_time(self.adjoint[name])
        gate = name.removeprefix("x.")
        if gate not in self.traced.x_gates:
            known = [*self.traced.states, *(f"x.{g}" for g in self.traced.x_gates)]
            raise UsageError(f"∂L/∂{name}", expected=f"one of {', '.join(known)}", got=name)
        by_x = self.derivatives.derived.by_x
        if gate not in by_x:  # nothing that is returned depends on it
            return np.zeros_like(self[self.traced.states[0]])
        return self.in_time(self.derivatives.full(by_x[gate]))

    def in_time(self, value: Tensor) -> np.ndarray:
        """(T, B, width) as the steps ran to (B, T, width) in the input's time."""
        return np.ascontiguousarray(self.one.in_time(value).transpose(0, 1).numpy())


@dataclass
class Trace:
    """What happened inside a module, for one batch.

    Args:
        layers: one for each call of each layer and direction, in the order in which they ran.
        loss: its value, or None where none was asked for.
        lengths: (B) valid steps of each sequence.
        x: the input (B, T, I), or as it was given; `x_gradient` ∂L/∂x where x is real numbers.
        ids: a name for each sequence.
        tokens: for each sequence, what stands at each step in words; "" where nothing is known.
        parameters: name → ∂L/∂ of it.
        about: what the loss is, in words.
        result: what the module returned.
        answers: the same in words, for each sequence, where a task gave them.
        read: what the lowest layer read (B, T, I): x itself, or the vectors of tokens;
            `read_gradient` ∂L/∂ of it. None where it was not one batch of sequences.
        told: what a task says of each step, name → a list of values for each sequence.
        joiner: what stands between two tokens where they are written in a row.
        said: of a network that says things, what it said of each sequence.
        unknown: of texts, the tokens of each that the network read as "<unk>".
    """

    layers: list[LayerTrace]
    loss: float | None
    lengths: np.ndarray
    x: np.ndarray
    x_gradient: np.ndarray | None
    ids: list[str]
    tokens: list[list[str]]
    parameters: dict[str, Tensor] = field(default_factory=dict)
    about: str = ""
    result: Any = None
    answers: list[str] = field(default_factory=list)
    read: np.ndarray | None = None
    read_gradient: np.ndarray | None = None
    told: dict[str, list[list[Any]]] = field(default_factory=dict)
    joiner: str = " "
    said: list[Spoken] = field(default_factory=list)
    unknown: list[list[str]] = field(default_factory=list)

    def __getitem__(self, title: str) -> LayerTrace:
        """A layer by its title, such as `l0` or `l1_reverse`; its first call where there are more.

        Raises:
            UsageError: there is none.
        """
        for layer in self.layers:
            if layer.title == title:
                return layer
        known = dict.fromkeys(layer.title for layer in self.layers)
        raise UsageError(f"layer {title!r}", expected=f"one of {', '.join(known)}", got=title)

    @property
    def once(self) -> bool:
        """Whether each sequence has one answer, not one a step."""
        # what each step had a part in is told beside, of any network
        return all(name.startswith("why_") for name in self.told) and not self.said

    @property
    def steps(self) -> int:
        """T."""
        return self.layers[0].one.steps

    def tokens_of(self, layer: LayerTrace) -> list[list[str]]:
        """What stands at each step of a layer, for each sequence."""
        return self.tokens if layer.tokens is None else layer.tokens

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it by name: `l0.f`, `l0.d_c` (∂L/∂c), `x`, `lengths`, `ids`, `tokens`; what the
        lowest layer read and its gradient, where x is numbers of tokens; and what a task told."""
        found: dict[str, np.ndarray] = {
            "x": self.x,
            "lengths": self.lengths,
            "ids": np.array(self.ids, dtype=str),
            "tokens": np.array([row + [""] * (self.steps - len(row)) for row in self.tokens], str),
            **spoken.arrays(self.said),
        }
        if self.x_gradient is not None:
            found["d_x"] = self.x_gradient
        elif self.read is not None and self.read_gradient is not None:
            found |= {"read": self.read, "d_read": self.read_gradient}
        for name, rows in self.told.items():
            kind = str if any(isinstance(v, str) for row in rows for v in row) else float
            empty = "" if kind is str else np.nan
            found[name] = np.array(
                [list(row) + [empty] * (self.steps - len(row)) for row in rows], kind
            )
        for title, layer in self._titled():
            found |= {f"{title}.{name}": layer[name] for name in layer.names}
            if layer.direct is not None:
                found |= {f"{title}.d_{s}": layer.gradient(s) for s in layer.traced.states}
        return found

    def _titled(self) -> Iterator[tuple[str, LayerTrace]]:
        """Layers with their titles; the second call of a layer is `l0#2`."""
        seen: dict[str, int] = {}
        for layer in self.layers:
            seen[layer.title] = seen.get(layer.title, 0) + 1
            count = seen[layer.title]
            yield layer.title if count == 1 else f"{layer.title}#{count}", layer

    def rows(self, *, units: bool = False) -> Iterator[dict[str, Any]]:
        """A tidy table: a row for each value, sequence and step, with what it belongs to.

        Args:
            units: a row for each unit too; otherwise mean, deviation, extremes and length over the
                units of a layer.
        """
        for title, layer in self._titled():
            kinds = [(name, layer.kind(name), layer[name]) for name in layer.names]
            if layer.direct is not None:
                kinds += [(f"d_{s}", "gradient", layer.gradient(s)) for s in layer.traced.states]
            for name, kind, values in kinds:
                english, korean = words.of(layer.traced, name)
                tokens = self.tokens_of(layer)
                for b, length in enumerate(layer.one.ends()):
                    for t in range(int(length)):
                        row = {
                            "sequence": self.ids[b],
                            "step": t + 1,
                            "token": tokens[b][t] if t < len(tokens[b]) else "",
                            "layer": title,
                            "name": name,
                            "kind": kind,
                            "label": english,
                            "label_ko": korean,
                        }
                        yield from _cells(row, values[b, t], units)


def _cells(row: dict[str, Any], value: np.ndarray, units: bool) -> Iterator[dict[str, Any]]:
    if units:
        for j, one in enumerate(value):
            yield {**row, "unit": j, "value": float(one)}
        return
    wide = value.astype(np.float64)
    yield {
        **row,
        "mean": float(wide.mean()),
        "std": float(wide.std()),
        "min": float(wide.min()),
        "max": float(wide.max()),
        "norm": float(np.sqrt((wide**2).sum())),
    }
