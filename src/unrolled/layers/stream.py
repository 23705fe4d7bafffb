"""A layer as a running process: one step's input comes in, its output goes out, the state stays.

The parameters are those of the moment when the stream was made.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from ..engine.call import Call
from ..engine.compiled import trouble, unfit
from ..engine.stream import BoundStream
from ..errors import ShapeError
from .checks import checked_states
from .parameters import effective
from .stack import Stack, States


class Stream:
    """Runs a layer step by step; made by `Recurrent.stream`.

    Args:
        layer: a recurrent layer in one direction; it is run as in evaluation.
        batch: how many sequences run side by side.

    Raises:
        ShapeError: the layer runs in both directions.

    Example:
        >>> from unrolled.layers import Recurrent
        >>> layer = Recurrent("gru", 4, 8, num_layers=2)
        >>> stream = layer.stream()
        >>> x = torch.randn(1, 3, 4)
        >>> steps = torch.stack([stream(x[:, t]) for t in range(3)], 1)
        >>> torch.allclose(steps, layer.eval()(x)[0], atol=1e-6)
        True
    """

    def __init__(self, layer: Stack, batch: int = 1):
        if layer.bidirectional:
            raise ShapeError("a stream", expected="one direction", got="a bidirectional layer")
        self._layer = copy.deepcopy(layer).eval().requires_grad_(False)
        like = next(self._layer.parameters(), torch.empty(0))
        self._first = self._layer.initial_states(batch, like)
        self._bound: BoundStream | None = None
        calls = [self._call(k, like.new_zeros(1, batch, width)) for k, width in self._widths()]
        fits = layer.backend in ("auto", "c") and self._layer.cell.window == 1
        with torch.autocast(like.device.type, enabled=False):  # a stream has its parameters' dtype
            fits = fits and not unfit(calls[0])
            if fits and (layer.backend == "c" or not trouble(calls[0])):
                self._bound = BoundStream(calls)
        self._state: States = dict(self._first)

    def _widths(self):
        return [(k, self._layer._sizes(k).inputs) for k in range(self._layer.num_layers)]

    def _call(self, k: int, x: Tensor) -> Call:
        layer = self._layer
        cell = layer._evaluation_cell
        params = effective(cell, layer._sizes(k), layer._named(k, 0))
        states = {s: v[k] for s, v in self._first.items() if s in cell.states}
        return Call(cell, x, states, params, training=False)

    @property
    def backend(self) -> str:
        """What runs the steps."""
        return "c" if self._bound is not None else self._layer.backend

    def __call__(self, x: Tensor) -> Tensor:
        """One step: x (B, I) to the last layer's output (B, H).

        Raises:
            ShapeError: x does not fit.
        """
        if self._bound is not None:
            return self._bound.step(x)
        with torch.no_grad():
            output, self._state = self._layer.step(x, self._state)  # type: ignore[operator]  # every layer has it
        return output

    @property
    def state(self) -> States:
        """The states after the last step, name → (L, B, width); assign to go on from others."""
        return self._bound.state() if self._bound is not None else dict(self._state)

    @state.setter
    def state(self, state: Mapping[str, Tensor]) -> None:
        checked = checked_states(state, self.state)
        if self._bound is not None:
            self._bound.set_state(checked)
        else:
            self._state = checked

    def reset(self) -> None:
        """Go back to the states before the first step."""
        self.state = self._first
