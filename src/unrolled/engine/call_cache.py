"""A layer's call that repeats an earlier one comes in; that one's C structs go out, pointed at new
memory.

What Python and PyTorch do around a small network's arithmetic takes as long as a tenth of it, and
C evicts their code and data from the caches. Calls in a loop differ in what x and states hold:
sizes, where the weights lie and where each buffer lies in a call's memory are looked up once.
"""

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter, is_
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from . import forks
from .bound import STATES, Bound, place, without_firsts
from .call import Call
from .gradients import Ran
from .native import Kernel
from .precision import is_autocast, precision
from .room import POOL, row
from .saved import is_hooked
from .sequence import finals

MOST_CALLS = 64  # that a layer remembers; a few KB each
_LOOKS = attrgetter("shape", "dtype", "requires_grad")


class Ready(NamedTuple):
    """Layers that are ready to be run.

    Args:
        layers: bound.
        derived: the same for who derives them, `None` where nobody does; they keep no memory.
        results: not computed yet.
        kept: what a backward pass reads, and first states whose gradient is wanted: C has copied
            them, but a derivative of that gradient, which is an error, shall find its way.
    """

    layers: list[Bound]
    derived: list[Ran | None]
    results: list[Tensor]
    kept: list[Tensor]


class CachedCall:
    """Layers on top of each other, bound but for the memory of a call.

    Args:
        found: the compiled cell.
        layers: the layers as they were bound once, first states given or not.
        keep: for each, whether a backward pass follows.
        derived: the same layers for who derives them, `None` where nobody does.
        tensors: of all layers, as `sequence.flat` says; neither x, the first, nor first states are
            held.
        states: their names.
        batch_first: whether x, the output and their gradients are (B, T, width), not (T, B, width).
    """

    backend, watch = "c", None

    def __init__(
        self,
        found: Kernel,
        layers: Sequence[Bound],
        keep: Sequence[bool],
        derived: Sequence[Ran | None],
        tensors: Sequence[Tensor | None],
        states: Sequence[str],
        *,
        batch_first: bool,
    ):
        self.found, self.keep, self.states, self.batch_first = found, keep, states, batch_first
        self.firsts = 0 if layers[0].struct.blank else len(states)
        self.tensors = [None, *without_firsts(tensors, len(layers), len(states))[1:]]
        self._layers = [bound.alike() for bound in layers]
        self._derived = [ran and ran[1:] for ran in derived]
        self._input = "source" if layers[0].struct.source else "x"
        last, self._bytes = layers[-1], 0
        self._places: list[list[tuple[str, int]]] = []  # fields, and bytes from the memory's begin
        below = 0
        for bound in layers:
            own = bound.form.places
            places = [(name, self._bytes + at) for name, (at, _) in own.bytes.items()]
            self._places.append([*places, ("x", below)] if self._places else places)
            if bound is not last:
                first = self._bytes + own.bytes[f"s_{bound.first}"][0]
                below = first + bound.before_output * found.real.itemsize
            self._bytes += own.size * found.real.itemsize
        self._rows, self._first = math.prod(last.form.alone[f"s_{last.first}"][0]), last.first
        width, padded = last.of_output
        by_time, by_row = (last.struct.T, last.struct.B * padded), (last.struct.B, padded)
        axes = (by_row, by_time) if batch_first else (by_time, by_row)
        shape, strides = zip(*axes, (width, 1), strict=True)
        self._output = shape, strides, last.before_output

    def bind(self, tensors: Sequence[Tensor | None], wants: Sequence[bool] = ()) -> Ready:
        """What is ready to be run, while the caller holds the tensors.

        Results: the output, (B, T, width) or (T, B, width), and the last states, (L, B, width).

        Args:
            tensors: x, (B, T, I) or (T, B, I), those that are known, and first states where the
                call gives them, each (L, B, width).
            wants: of which of them the gradient is wanted; asked of first states alone.
        """
        x, found = tensors[0], self.found
        firsts = [v for v in tensors[len(self.tensors) :] if v is not None]
        layers = [bound.alike() for bound in self._layers]
        memory = POOL.piece(self._bytes // found.real.itemsize, found.real)
        rows = POOL.piece(self._rows, found.real)
        base = memory.data_ptr()
        for bound, places in zip(layers, self._places, strict=True):
            struct = bound.struct
            for name, at in places:
                setattr(struct, name, base + at)
        if x is not None:  # as always
            setattr(layers[0].struct, self._input, place(x))
        for name, first in zip(self.states[: self.firsts], firsts, strict=True):
            at = place(first)
            for bound in layers:
                setattr(bound.struct, f"i_{name}", at)
                at += first.nbytes // len(layers)
        setattr(layers[-1].struct, f"s_{self._first}", rows.data_ptr())
        results = [rows.as_strided(*self._output), *finals(layers, found.real, stacked=True)]
        derived = [
            None if rest is None else Ran(bound, *rest)
            for bound, rest in zip(layers, self._derived, strict=True)
        ]
        kept = [v for v in tensors[: len(self.tensors)] if v is not None]
        kept += [row(v, v.numel()) for v in (memory, rows)]
        wanted = wants[len(self.tensors) :]
        kept += [v for v, w in zip(firsts, wanted, strict=True) if w] if wanted else []
        return Ready(layers, derived, results, kept)


def can_repeat(
    calls: Sequence[Call], layers: Sequence[Bound], tensors: Sequence[Tensor | None]
) -> bool:
    """Whether calls like these can be answered by a `CachedCall`: the layers are bound to x and to
    what else was given, and to nothing that was made of it.
    """
    call = calls[0]
    real, kept, answer = precision(call)
    held = {id(value) for bound in layers for value in bound.held.values()}
    each = len(tensors) // len(calls)
    firsts = [
        first is None or first is one.states[name]
        for k, one in enumerate(calls)
        for name, first in zip(one.traced.states, tensors[k * each + STATES :], strict=False)
    ]
    return (
        call.lengths is None
        and not call.observe
        and call.watch is None
        and real is kept is answer
        and tensors[0] is call.x
        and all(firsts)
        and all(v is None or id(v) in held for v in tensors)
    )


class _Parameters(NamedTuple):
    """A layer's parameters at one moment: all of them, in order, and what may change of them."""

    everything: list[Any]
    given: list[Tensor]
    pointers: list[int]
    looks: list[Any]

    @classmethod
    def of(cls, everything: list[Any]) -> "_Parameters":
        given = [v for v in everything if v is not None]
        pointers, looks = list(map(Tensor.data_ptr, given)), list(map(_LOOKS, given))
        return cls(everything, given, pointers, looks)

    def are(self, now: list[Any]) -> bool:
        """Whether these are the same, where they were and as they were."""
        return (
            len(now) == len(self.everything)
            and all(map(is_, now, self.everything))
            and list(map(Tensor.data_ptr, self.given)) == self.pointers
            and list(map(_LOOKS, self.given)) == self.looks
            and all(map(Tensor.is_contiguous, self.given))
            and not any(map(Tensor.is_neg, self.given))
        )


class CallCache:
    """The calls that a layer has answered, by what the next one is known by.

    A call is prepared when its like comes the second time: not for sizes that come once. The oldest
    go first, and all where a parameter is another. A copy, and what is unpickled, begins anew: the
    structs point into memory.
    """

    def __init__(self) -> None:
        # None: came once; False: nothing answers it sooner.
        self._calls: dict[Any, CachedCall | Literal[False] | None] = {}
        self._parameters = _Parameters([], [], [], [])

    def __reduce__(self):
        return CallCache, ()

    def find(
        self, given: Sequence[Any], parameters: Mapping[str, Any], options: tuple[Any, ...]
    ) -> CachedCall | None:
        """What answers this call; `None` where nothing does, or somebody looks on.

        Args:
            given: whatever the layer was given: x, and first states in their order.
            parameters: the layer's.
            options: what else decides on how it is run.
        """
        if (
            torch.compiler.is_compiling()
            or any(
                type(v) is not Tensor
                or not v.is_cpu
                or v.layout is not torch.strided
                or v.is_nested
                or v.is_neg()
                or v._is_zerotensor()
                for v in given
            )
            or torch._C._len_torch_dispatch_stack()
            or torch._C._are_functorch_transforms_active()
            or torch._C._get_tracing_state() is not None
            or forward_ad._current_level >= 0
            or (torch.is_inference_mode_enabled() and torch.is_grad_enabled())
            or is_autocast("cpu")
            or is_hooked()  # a checkpoint compares what new calls keep
        ):
            return None
        call = self._calls.get(_key(given, options)) or None
        if call is None or self._parameters.are(list(parameters.values())):
            return call
        self._calls.clear()  # they would keep the old parameters
        return None

    def is_expected(
        self, given: Sequence[Tensor], parameters: Mapping[str, Any], options: tuple
    ) -> bool:
        """Whether a call like this one, which was not found, came once before; it is noted if not.

        Never of what `find` does not take, nor of first states whose layers lie apart.
        """
        if not all(type(v) is Tensor for v in given):
            return False
        if not all(map(Tensor.is_contiguous, given[1:])):
            return False
        now = list(parameters.values())
        if not self._parameters.are(now):
            self._calls.clear()
            lent = any(type(v) not in (torch.nn.Parameter, type(None)) for v in now)
            self._parameters = _Parameters.of([] if lent else now)
            if lent:  # for a call
                return False
        key = _key(given, options)
        if key in self._calls:
            return self._calls[key] is None
        if len(self._calls) >= MOST_CALLS:
            self._calls.pop(next(iter(self._calls)), None)
        self._calls[key] = None
        return False

    def add(self, call: CachedCall | None, given: Sequence[Tensor], options: tuple) -> None:
        """Remember an expected call, where there is one and its tensors are nothing but the layer's
        parameters, or that nothing answers it sooner."""
        owned = {*map(id, self._parameters.given)}
        known = call is not None and all(v is None or id(v) in owned for v in call.tensors)
        self._calls[_key(given, options)] = call if known else False


def _key(given: Sequence[Tensor], options: tuple[Any, ...]) -> Any:
    threads = torch.get_num_threads() if forks.many_threads() else 1
    looks = [(v.shape, v.stride(), v.dtype, v.requires_grad) for v in given]
    return *looks, torch.is_grad_enabled(), threads, options
