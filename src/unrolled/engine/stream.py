"""Layers of a compiled cell, bound once: one step of all of them is one foreign call.

Weights are packed and buffers made when the stream is made; later changes of the layer's parameters
are not seen. A step gives the bits that the whole sequence gives.
"""

import ctypes

import torch
from torch import Tensor

from ..errors import BackendError, ShapeError
from .bound import Bound, bind
from .call import Call
from .compiled import unfit
from .native import kernel
from .precision import precision
from .sequence import flat


class BoundStream:
    """A stack of layers as a running process.

    Args:
        calls: one a layer, in order, of one step (T = 1) in the forward direction.

    Raises:
        BackendError: the compiled cell cannot run them; says why.
    """

    def __init__(self, calls: list[Call]):
        self.traced = calls[0].traced
        _, kept, self._answer = precision(calls[0])
        self._found = kernel(self.traced, (), kept)
        self._layers: list[Bound] = []
        for call in calls:
            if reason := unfit(call):
                raise BackendError("a bound stream", got=reason, fix="Step the layer itself.")
            states = [call.states[s] for s in self.traced.states]
            tensors = flat(self.traced, call.params, states, call.x)
            tensors = [v if v is None else v.to(self._found.real) for v in tensors]
            with torch.no_grad():
                bound = bind(self._found, self.traced, call, None, tensors, keep=False)
                for name, value in zip(self.traced.states, states, strict=True):
                    bound.start(name, value)
            self._layers.append(bound)
        first = self.traced.states[0]
        for before, after in zip(self._layers, self._layers[1:], strict=False):
            after.read(before)
        for bound in self._layers:
            self._found.library.bind(bound.pointer())
        batch, features = calls[0].x.shape[1:]
        rows = calls[0].x.new_zeros(batch, self._layers[0].struct.ldx, dtype=kept)
        self._input = rows[:, :features]
        self._layers[0].struct.x = rows.data_ptr()
        self._advance = self._found.library.advance
        # What is rounded between layers is run layer by layer.
        self._rounds = kept != self._answer
        self._count = 1 if self._rounds else len(self._layers)
        array = ctypes.c_void_p * self._count
        self._runs = []
        for k in range(0, len(self._layers), self._count):
            some = self._layers[k : k + self._count]
            last = some[-1].sequences[first][1, :, : some[-1].widths[first][0]]
            self._runs.append((array(*(ctypes.addressof(b.struct) for b in some)), last))

    def step(self, x: Tensor) -> Tensor:
        """One step: x (B, I) to the last layer's output (B, H or P), a tensor of its own.

        Raises:
            ShapeError: x has another shape.
        """
        if x.shape != self._input.shape:
            raise ShapeError(
                "a step of a stream",
                expected=f"x of shape {tuple(self._input.shape)}",
                got=tuple(x.shape),
                fix="Make the stream with the number of sequences it shall carry.",
            )
        if x.requires_grad:  # a stream has no gradients: cheaper than to turn them off
            x = x.detach()
        self._input.copy_(x)
        for pointers, output in self._runs:
            self._advance(pointers, self._count)
            if self._rounds:
                output.copy_(output.to(self._answer))
        return output.to(self._answer) if self._rounds else output.clone()

    def state(self) -> dict[str, Tensor]:
        """The states after the last step, name → (L, B, width), copied."""
        return {
            s: torch.stack([b.carried(s) for b in self._layers]).to(self._answer)
            for s in self.traced.states
        }

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on from these states, name → (L, B, width)."""
        with torch.no_grad():
            for name, value in state.items():
                for bound, layer in zip(self._layers, value, strict=True):
                    bound.start(name, layer)
