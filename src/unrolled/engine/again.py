"""A call comes in that is like one before; it is bound as that one was, and its answer goes out.

What Python and PyTorch do around a small network's arithmetic takes as long as a tenth of it, and
more after C has filled the caches. Calls in a loop differ in nothing but what x holds: sizes, where
the weights lie and where each buffer lies in a call's memory are looked up once.
"""

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from . import forks
from .bound import Bound
from .call import Call, Zeros
from .gradients import Ran
from .native import Kernel
from .precision import is_autocast, precision
from .room import POOL

MOST = 64  # calls of different sizes that a layer remembers; a few KB each
_SEEN = attrgetter("shape", "dtype", "requires_grad")


class Again:
    """Layers on top of each other, bound but for the memory of a call.

    Args:
        found: the compiled cell.
        calls: one a layer, of which `repeats` holds.
        layers: those calls, bound.
        keep: for each, whether a backward pass follows.
        wants: of which tensors the gradient is wanted, for each layer as `sequence.flat` says.
        tensors: of all layers, in that order; x is not held.
    """

    watch = None

    def __init__(
        self,
        found: Kernel,
        calls: Sequence[Call],
        layers: Sequence[Bound],
        keep: Sequence[bool],
        wants: Sequence[Sequence[bool]],
        tensors: Sequence[Tensor | None],
    ):
        self.found, self.keep, self._traced = found, keep, calls[0].traced
        self.states = self._traced.states
        self.tensors = [None, *tensors[1:]]
        self.turns = False
        each = len(tensors) // len(calls)
        last, self._first = layers[-1], layers[-1].first
        self._of = [(wants[k], [None if v is None else v.shape for v in own])
                    for k, own in enumerate(_parts(tensors, each))]  # fmt: skip
        self._layers = [bound.alike() for bound in layers]
        self._input = "source" if layers[0].struct.source else "x"
        self._moves: list[list[tuple[str, int]]] = []
        at, below = 0, 0  # elements of the memory; bytes to the output of the layer below
        for k, bound in enumerate(layers):
            places = bound.form.places
            start = at * places.dtype.itemsize
            moves = [(name, start + place) for name, (place, _) in places.bytes.items()]
            self._moves.append([*moves, ("x", below)] if k else moves)
            if bound is not last:
                before = 0 if bound.struct.reverse else bound.struct.B * bound.of_output[1]
                below = start + places.bytes[f"s_{bound.first}"][0] + before * found.kept.itemsize
            at += places.size
        self._size = at
        steps, batch, width = last.struct.T, last.struct.B, last.of_output[1]
        self._rows = math.prod(last.form.alone[f"s_{last.first}"][0])
        self._skipped = 0 if last.struct.reverse else batch * width
        self._output = (steps, batch, last.of_output[0]), (batch * width, width, 1)
        self._finals = [(s, (len(layers), batch, w), batch * w * found.real.itemsize)
                        for s, (w, _) in last.widths.items()]  # fmt: skip

    def turned(self) -> "Again":
        """For who has the batch as the first axis: of x, of the output, and of their gradients."""
        (steps, batch, width), (by_step, by_row, one) = self._output
        self._output = (batch, steps, width), (by_row, by_step, one)
        self.turns = True
        return self

    def bind(
        self, tensors: Sequence[Tensor | None], wants: Sequence[bool] = ()
    ) -> tuple[list[Bound], list[Ran | None], list[Tensor]]:
        """As `compiled._First.bind`; of one layer too last states are (1, B, width).

        Args:
            tensors: x, and others that are known.
            wants: known as well.
        """
        x = tensors[0]
        assert x is not None  # layers have an input
        found, layers = self.found, [bound.alike() for bound in self._layers]
        memory = POOL.piece(self._size, found.real)
        rows = POOL.piece(self._rows, found.kept)
        base = memory.data_ptr()
        for bound, moves in zip(layers, self._moves, strict=True):
            struct = bound.struct
            bound.held.append(memory)
            for name, place in moves:
                setattr(struct, name, base + place)
        setattr(layers[0].struct, self._input, x.data_ptr())
        layers[0].held.append(x)
        setattr(layers[-1].struct, f"s_{self._first}", rows.data_ptr())
        layers[-1].held.append(rows)
        results = [rows.as_strided(*self._output, self._skipped)]
        for name, shape, size in self._finals:
            value = torch.empty(shape, dtype=found.real)
            place, field = value.data_ptr(), f"f_{name}"
            for bound in layers:
                setattr(bound.struct, field, place)
                place += size
            results.append(value)
        each = zip(layers, self.keep, self._of, strict=True)
        derived = [Ran(b, found, self._traced, *of) if keep else None for b, keep, of in each]
        return layers, derived, results


def _parts(tensors, each: int) -> list[Any]:
    return [tensors[k : k + each] for k in range(0, len(tensors), each)]


def repeats(calls: Sequence[Call], tensors: Sequence[Tensor | None]) -> bool:
    """Whether calls like these can be answered again: what they are bound to is what was given."""
    call = calls[0]
    real, kept, answer = precision(call)
    return (
        call.lengths is None
        and not call.observe
        and call.watch is None
        and real is kept is answer
        and all(isinstance(one.states, Zeros) for one in calls)
        and tensors[0] is call.x
        and call.x.dtype is real
        and (call.x.stride(-1) == 1 or call.x.is_contiguous())
        and all(v is None or _is_as_given(v, real) for v in tensors[1:])
    )


def _is_as_given(value: Tensor, real: torch.dtype) -> bool:
    return type(value) is torch.nn.Parameter and value.dtype is real and value.is_contiguous()


class Known:
    """The calls that a layer has answered, by what the next one is known by.

    A copy of it, or what is unpickled, begins anew: it points into memory.
    """

    def __init__(self) -> None:
        self._known: dict[Any, tuple[Again, list[str], list[Tensor], list[int], list[Any]]] = {}

    def __reduce__(self):
        return Known, ()

    def find(self, x: Tensor, own: Mapping[str, Any], more: tuple[Any, ...]) -> Again | None:
        """What answers this call.

        Args:
            x: of any kind.
            own: the layer's parameters.
            more: what else decides what is run, whatever the layer says.
        """
        if (
            type(x) is not Tensor
            or not x.is_cpu
            or torch._C._len_torch_dispatch_stack()
            or torch._C._are_functorch_transforms_active()
            or torch._C._get_tracing_state() is not None
            or forward_ad._current_level >= 0
            or is_autocast("cpu")
        ):
            return None
        known = self._known.get(_key(x, more))
        if known is None:
            return None
        again, names, given, places, seen = known
        now = list(map(own.get, names))
        if (
            all(map(is_, now, given))
            and list(map(Tensor.data_ptr, given)) == places
            and list(map(_SEEN, given)) == seen
            and all(map(Tensor.is_contiguous, given))
        ):
            return again
        return None

    def add(self, again: Again, x: Tensor, own: Mapping[str, Any], more: tuple[Any, ...]) -> None:
        """Remember a call, where its tensors are nothing but the layer's parameters."""
        named = {id(value): name for name, value in own.items()}
        given = [v for v in again.tensors if v is not None]
        if not all(id(v) in named for v in given):
            return
        if len(self._known) >= MOST:
            self._known.clear()
        places, seen = list(map(Tensor.data_ptr, given)), list(map(_SEEN, given))
        names = [named[id(v)] for v in given]
        self._known[_key(x, more)] = again, names, given, places, seen


def _key(x: Tensor, more: tuple[Any, ...]) -> Any:
    threads = torch.get_num_threads() if forks.many_threads() else 1
    return x.shape, x.stride(), x.dtype, x.requires_grad, torch.is_grad_enabled(), threads, more
