"""The backend `c`: a call of a compiled cell comes in, the answer with its gradients goes out."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..errors import BackendError
from .bound import MATRICES, Bound, without_firsts
from .call import Answer, Call, Initial
from .call_cache import CachedCall, Ready, can_repeat
from .gradients import Ran, gradients, second_derivative_error
from .mapped import is_mapped, one_by_one
from .native import Kernel, kernel, loaded
from .plan import GRADIENT
from .precision import given, precision
from .room import lying
from .saved import Saved
from .sequence import bind_all, flat, over_time, results
from .traced import Traced


def unfit(call: Call) -> str:
    """Why the compiled cell cannot run this call; empty where it can."""
    if call.x.device.type != "cpu":
        return f"it runs on the CPU, and the input is on {call.x.device}"
    real = precision(call).real
    if real not in (torch.float32, torch.float64):
        return f"it computes in floating point, and the parameters are {real}"
    return _underived()


def _underived() -> str:
    """Which derivative of PyTorch's a compiled cell lacks, if that is what is going on."""
    if torch.compiler.is_compiling():
        return ""
    if forward_ad._current_level >= 0:
        return "a compiled cell has no forward-mode derivative (jvp)"
    if torch._C._are_functorch_transforms_active():
        levels = torch._C._functorch.get_interpreter_stack() or ()
        if any(level.key() != torch._C._functorch.TransformType.Vmap for level in levels):
            return "a compiled cell has no derivative in torch.func, only in autograd"
    return ""


# What could not be made in this process, so that `auto` does not try at every call.
_FAILED: dict[tuple[int, tuple[str, ...], torch.dtype], tuple[Traced, BackendError]] = {}


def trouble(call: Call) -> BackendError | None:
    """Why the cell of this call cannot be compiled here, tried once; `None` where it can."""
    return _trouble(call.traced, _asked(call), precision(call).kept)


@torch.compiler.assume_constant_result
def _trouble(traced: Traced, observed: tuple[str, ...], kept: torch.dtype) -> BackendError | None:
    key = (id(traced), observed, kept)
    if loaded(*key):
        return None
    if key not in _FAILED:
        try:
            kernel(traced, observed, kept)
        except BackendError as error:
            # Its frames hold what was called.
            _FAILED[key] = (traced, error.with_traceback(None))
    return _FAILED[key][1] if key in _FAILED else None


def _observed(call: Call) -> tuple[str, ...]:
    """What is recorded beside the output, which is there anyway."""
    return tuple(name for name in call.observe if name != call.traced.states[0])


def _asked(call: Call) -> tuple[str, ...]:
    """The same, and what the backward pass is to tell: the cell is compiled for both."""
    told = call.traced.states if call.watch is not None else ()
    return *_observed(call), *(GRADIENT + state for state in told)


def run(call: Call) -> Answer:
    """The whole sequence in one call of the compiled cell; an operator where it is traced."""
    return _answer([call])


def joins(calls: Sequence[Call]) -> bool:
    """Whether `run_joined` can run these layers: nothing is done to what they hand on."""
    first = calls[0]
    answer = precision(first)
    return (
        first.lengths is None
        and not first.observe
        and first.watch is None
        and bool(first.traced.x_gates)  # else a layer does not read what is below it
        and answer.kept is answer.answer  # else it would be rounded between them
        and all(given(call) is given(first) for call in calls)
        and not _is_traced(first.x)
    )


def run_joined(calls: Sequence[Call]) -> Answer:
    """Layers on top of each other as one step of autograd, and C's calls without a pause.

    Args:
        calls: of one cell; all but the first read the output of the one before, not their x.

    Returns:
        The last one's output; states as name → (L, B, width).
    """
    answer = _answer(calls)
    if len(calls) == 1:
        answer.states = {name: value.unsqueeze(0) for name, value in answer.states.items()}
    return answer


def run_cached(cached: CachedCall, given: Sequence[Tensor]) -> Answer:
    """What `run_joined` gives, of a call like the one that is cached.

    Args:
        cached: that call.
        given: x, as the output (B, T, width) or (T, B, width), and first states where that call
            gave them, each (L, B, width).
    """
    x, *firsts = given
    if cached.keep[-1]:
        # What `Function.apply` does before it is for functorch, which does not come here.
        apply = super(torch.autograd.Function, _Run).apply
        output, *finals = apply(cached, x, *cached.tensors[1:], *firsts)
    else:
        ready = cached.bind([x, *cached.tensors[1:], *firsts])
        over_time(cached.found, ready.layers, cached.keep)
        output, *finals = ready.results
    return Answer(output, dict(zip(cached.states, finals, strict=True)), {})


def _answer(calls: Sequence[Call]) -> Answer:
    call = calls[0]
    traced, lengths, x = call.traced, call.lengths, call.x
    real, kept, answer = precision(call)
    observed = _observed(call)
    is_traced = _is_traced(x)
    if not is_traced and (x.is_neg() or x._is_zerotensor()):
        x = lying(x)
    if lengths is not None:
        times = torch.arange(x.shape[0], device="cpu").unsqueeze(1)
        x = x.masked_fill((times >= lengths).unsqueeze(-1), 0)
    tensors: list[Tensor | None] = []
    for one in calls:
        blank = isinstance(one.states, Initial) and not is_traced
        states = [None if blank else one.states[s] for s in traced.states]
        tensors += [
            v if v is None or n in MATRICES or v.dtype is real else v.to(real)
            for n, v in enumerate(flat(traced, one.params, states, x if one is call else None))
        ]  # matrices are given as they are: their gradients have all bits of the sums
    cached = None
    if is_traced:
        found = _operator(call, observed, lengths, tensors, kept)
    else:
        new = _NewCall(kernel(traced, _asked(call), kept), calls, lengths)
        if torch.is_grad_enabled():
            found = _Run.apply(new, *tensors)
        else:
            ready = new.bind(tensors)
            over_time(new.found, ready.layers, new.keep)
            found = ready.results
        cached = functools.partial(_cached, new, tensors)
    output, *rest = found if real is answer else (v.to(answer) for v in found)
    count = len(traced.states)
    final = dict(zip(traced.states, rest[:count], strict=True))
    if lengths is not None:
        gone = (torch.arange(x.shape[0], device="cpu").unsqueeze(1) >= lengths).unsqueeze(-1)
        output = output.masked_fill(gone, 0)
    seen = {traced.states[0]: output, **dict(zip(observed, rest[count:], strict=True))}
    return Answer(output, final, {name: seen[name] for name in call.observe}, cached)


def _is_traced(x: Tensor) -> bool:
    """Whether somebody writes down what is called, or maps it: then it has to be an operator."""
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or type(x) not in (Tensor, torch.nn.Parameter)
    )


def _operator(call: Call, observed, lengths, tensors, kept: torch.dtype) -> list[Tensor]:
    from . import operators

    places = [n for n, value in enumerate(tensors) if value is not None]
    given = [tensors[n] for n in places]
    keep = torch.is_grad_enabled() and any(value.requires_grad for value in given)
    keep = keep and not torch.compiler.is_exporting()
    cell = operators.text(call.traced)
    results = operators.sequence(
        given, places, lengths, cell, " ".join(observed), call.reverse, kept, keep
    )
    return results[: 1 + len(call.traced.states) + len(observed)]


class _NewCall:
    """Layers on top of each other, to be bound and run.

    Args:
        found: the compiled cell.
        calls: one a layer.
        lengths: (B), or `None`.
    """

    batch_first, firsts = False, 0

    def __init__(self, found: Kernel, calls: Sequence[Call], lengths: Tensor | None):
        self.found, self.calls, self.lengths = found, calls, lengths
        self.layers: list[Bound] = []
        self.keep: list[bool] = []
        self.derived: list[Ran | None] = []
        self.watch = calls[0].watch

    def bind(self, tensors: Sequence[Tensor | None], wants: Sequence[bool] = ()) -> Ready:
        """What is ready to be run.

        Results: the last output, the final states, the records. Of several layers final states are
        (L, B, width), and there are no records.

        Args:
            tensors: of all layers, as `sequence.flat` orders them.
            wants: of which of them the gradient is wanted; of none where nothing is said.
        """
        each = len(tensors) // len(self.calls)
        wants = wants or [False] * len(tensors)
        self.keep = [any(wants[: (k + 1) * each]) for k in range(len(self.calls))]
        self.layers, finals = bind_all(self.found, self.calls, self.lengths, tensors, self.keep)
        for k, bound in enumerate(self.layers):
            own = slice(k * each, (k + 1) * each)
            wanted = (self.keep[k - 1] if k else wants[0], *wants[own][1:])
            shapes = [None if v is None else v.shape for v in tensors[own]]
            ran = Ran(bound.alike(), self.found, self.calls[k].traced, wanted, shapes)
            self.derived.append(ran if self.keep[k] else None)
        read = without_firsts(tensors, len(self.calls), len(self.calls[0].traced.states))
        kept = [v for v in read if v is not None]
        if self.derived[-1] is not None:
            known = {*map(_memory, kept)}
            for bound in self.layers:
                kept += [v for v in bound.own() if _memory(v) not in known]
            rest = zip(tensors, read, wants, strict=True)
            # C has copied these; a derivative of their gradient shall find its way to them.
            kept += [v for v, r, w in rest if v is not None and r is None and w]
        return Ready(self.layers, self.derived, results(self.layers[-1], finals), kept)


def _memory(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()


def _cached(
    new: _NewCall, tensors: Sequence[Tensor | None], batch_first: bool
) -> CachedCall | None:
    """What answers calls like this one sooner, where there can be such."""
    if not can_repeat(new.calls, new.layers, tensors):
        return None
    states = new.calls[0].traced.states
    return CachedCall(
        new.found, new.layers, new.keep, new.derived, tensors, states, batch_first=batch_first
    )


class _Run(torch.autograd.Function):
    """Layers of one direction; what `_NewCall` or `CachedCall` binds says the results."""

    @staticmethod
    def forward(ctx, how: "_NewCall | CachedCall", *tensors):
        ready = how.bind(tensors, ctx.needs_input_grad[1:])
        if ready.derived[-1] is not None:
            ctx.set_materialize_grads(False)  # nothing arrives at most results: no zeros for them
            kept = ready.results[0], *ready.kept
            ctx.save_for_backward(*kept)
            ctx.saved, ctx.layers, ctx.watch = Saved(kept), ready.derived, how.watch
            ctx.how = {"batch_first": how.batch_first, "firsts": how.firsts}
        over_time(how.found, ready.layers, how.keep)
        return tuple(ready.results)

    @staticmethod
    def backward(ctx, *grads):
        kept = ctx.saved_tensors  # raises where one of them was changed in place since
        layers, held = ctx.saved.found(ctx.layers, kept)
        mapped = any(map(is_mapped, grads))
        if mapped and torch.is_grad_enabled():
            raise second_derivative_error()  # `_Once` would be lost in the map
        with torch.no_grad():
            found = _derived(layers, grads, ctx.watch, mapped=mapped, **ctx.how)
        del held  # C has read it
        if not torch.is_grad_enabled():
            return None, *found
        # Whoever looks for a derivative of the gradient, with respect to whatever, comes by here.
        above = [v for v in (*kept[1:], *grads) if v is not None and v.requires_grad]
        return None, *_Once.apply(len(above), *above, *found)


def _derived(layers, grads, watch, *, mapped: bool, **how) -> list[Tensor | None]:
    if not mapped:
        return gradients(layers, grads, watch, **how)

    def derive(each):
        return _derived(layers, each, watch, mapped=any(map(is_mapped, each)), **how)

    return one_by_one(derive, grads)


class _Once(torch.autograd.Function):
    """Gradients that cannot be derived again: who tries learns why."""

    @staticmethod
    def forward(ctx, above: int, *tensors):
        return tensors[above:]

    @staticmethod
    def backward(ctx, *grads):
        raise second_derivative_error()
