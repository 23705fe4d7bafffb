"""The backend `c`: a call of a compiled cell comes in, the answer with its gradients goes out."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..errors import BackendError
from .bound import MATRICES
from .call import Answer, Call
from .gradients import TWICE, gradients
from .native import Kernel, kernel, loaded
from .plan import GRADIENT
from .precision import precision
from .sequence import flat, forward, results
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
            _FAILED[key] = (traced, error)
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
    traced, params = call.traced, call.params
    real, kept, answer = precision(call)
    first = traced.states[0]
    observed = _observed(call)
    x, lengths = call.x, call.lengths
    if lengths is not None:
        times = torch.arange(x.shape[0]).unsqueeze(1)
        x = x.masked_fill((times >= lengths).unsqueeze(-1), 0)
    tensors = flat(traced, params, [call.states[s] for s in traced.states], x)
    tensors = [
        v if v is None or n in MATRICES or v.dtype is real else v.to(real)
        for n, v in enumerate(tensors)
    ]  # matrices are given as they are: their gradients have all bits of the sums
    if _is_traced(x):
        found = _operator(call, observed, lengths, tensors, kept)
    elif torch.is_grad_enabled():
        found = _Run.apply(kernel(traced, _asked(call), kept), traced, call, lengths, *tensors)
    else:
        made = kernel(traced, _asked(call), kept)
        found = results(forward(made, traced, call, lengths, tensors, keep=False), traced, call)
    output, *rest = found if real is answer else (v.to(answer) for v in found)
    count = len(traced.states)
    final = dict(zip(traced.states, rest[:count], strict=True))
    if lengths is not None:
        gone = (torch.arange(x.shape[0]).unsqueeze(1) >= lengths).unsqueeze(-1)
        output = output.masked_fill(gone, 0)
    seen = {first: output, **dict(zip(observed, rest[count:], strict=True))}
    return Answer(output, final, {name: seen[name] for name in call.observe})


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


class _Run(torch.autograd.Function):
    """One layer and direction. Results: the output, each final state, each record."""

    @staticmethod
    def forward(ctx, found: Kernel, traced, call: Call, lengths, *tensors):
        keep = any(ctx.needs_input_grad)
        bound = forward(found, traced, call, lengths, tensors, keep=keep)
        made = results(bound, traced, call)
        if keep:
            ctx.set_materialize_grads(False)  # nothing arrives at most results: no zeros for them
            ctx.save_for_backward(made[0], *tensors)
            ctx.bound, ctx.found, ctx.traced, ctx.watch = bound, found, traced, call.watch
            ctx.wants = ctx.needs_input_grad[4:]
            ctx.shapes = [None if v is None else v.shape for v in tensors]
        return tuple(made)

    @staticmethod
    def backward(ctx, *grads):
        _ = ctx.saved_tensors  # raises where one of them was changed in place since
        with torch.no_grad():
            found = (None,) * 4 + gradients(ctx, grads)
        if not torch.is_grad_enabled():
            return found
        return _Once.apply(torch.empty(0, requires_grad=True), *found)


class _Once(torch.autograd.Function):
    """Gradients that cannot be derived again: who tries learns why."""

    @staticmethod
    def forward(ctx, anchor, *gradients):
        return gradients

    @staticmethod
    def backward(ctx, *grads):
        raise TWICE
