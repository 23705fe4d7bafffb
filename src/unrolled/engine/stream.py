"""Layers of a compiled cell, bound once: one step of all of them is one foreign call.

Weights are packed and buffers made when the stream is made; later changes of the layer's parameters
are not seen. A step gives the bits that the whole sequence gives.
"""

import ctypes

import torch
from torch import Tensor

from ..errors import BackendError, ShapeError
from .call import Call
from .compiled import Bound, bind, flat, unfit
from .native import kernel


class BoundStream:
    """A stack of layers as a running process.

    Args:
        calls: one a layer, in order, of one step (T = 1) in the forward direction.

    Raises:
        BackendError: the compiled cell cannot run them; says why.
    """

    def __init__(self, calls: list[Call]):
        self.traced = calls[0].traced
        dtype = next(iter(calls[0].states.values())).dtype
        self._found = kernel(self.traced, (), dtype)
        self._layers: list[Bound] = []
        for call in calls:
            if reason := unfit(call):
                raise BackendError("a bound stream", got=reason, fix="Step the layer itself.")
            states = [call.states[s] for s in self.traced.states]
            tensors = flat(self.traced, call.params, states, call.x)
            with torch.no_grad():
                bound = bind(self._found, self.traced, call, None, tensors, keep=False)
            self._layers.append(bound)
        first = self.traced.states[0]
        for before, after in zip(self._layers, self._layers[1:], strict=False):
            after.struct.x = before.sequences[first][1].data_ptr()
            after.struct.ldx = before.widths[first][1]
        for bound in self._layers:
            self._found.library.bind(bound.pointer())
        self._input = calls[0].x.new_zeros(calls[0].x.shape[1:])
        self._layers[0].struct.x = self._input.data_ptr()
        pointers = [ctypes.addressof(bound.struct) for bound in self._layers]
        self._pointers = (ctypes.c_void_p * len(pointers))(*pointers)
        self._output = self._layers[-1].sequences[first][1, :, : self._layers[-1].widths[first][0]]
        self._advance, self._count = self._found.library.advance, len(pointers)

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
        with torch.no_grad():
            self._input.copy_(x)
            self._advance(self._pointers, self._count)
            return self._output.clone()

    def state(self) -> dict[str, Tensor]:
        """The states after the last step, name → (L, B, width), copied."""
        return {
            s: torch.stack([b.sequences[s][0, :, : b.widths[s][0]] for b in self._layers])
            for s in self.traced.states
        }

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on from these states, name → (L, B, width)."""
        with torch.no_grad():
            for name, value in state.items():
                for bound, layer in zip(self._layers, value, strict=True):
                    bound.sequences[name][0, :, : bound.widths[name][0]] = layer
