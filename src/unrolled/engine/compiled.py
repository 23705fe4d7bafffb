"""The backend `c`: a call of a compiled cell comes in, the answer with its gradients goes out."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..errors import BackendError
from .bound import MATRICES
from .call import Answer, Call, Zeros
from .gradients import TWICE, Ran, gradients
from .native import Kernel, kernel, loaded
from .plan import GRADIENT
from .precision import given, precision
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
    return _answer(calls)


def _answer(calls: Sequence[Call]) -> Answer:
    call = calls[0]
    traced, lengths, x = call.traced, call.lengths, call.x
    real, kept, answer = precision(call)
    observed = _observed(call)
    if lengths is not None:
        times = torch.arange(x.shape[0]).unsqueeze(1)
        x = x.masked_fill((times >= lengths).unsqueeze(-1), 0)
    tensors: list[Tensor | None] = []
    is_traced = _is_traced(x)
    for one in calls:
        blank = isinstance(one.states, Zeros) and not is_traced
        states = [None if blank else one.states[s] for s in traced.states]
        tensors += [
            v if v is None or n in MATRICES or v.dtype is real else v.to(real)
            for n, v in enumerate(flat(traced, one.params, states, x if one is call else None))
        ]  # matrices are given as they are: their gradients have all bits of the sums
    if is_traced:
        found = _operator(call, observed, lengths, tensors, kept)
    elif torch.is_grad_enabled():
        found = _Run.apply(kernel(traced, _asked(call), kept), calls, lengths, *tensors)
    else:
        made = kernel(traced, _asked(call), kept)
        layers, finals = forward(made, calls, lengths, tensors, [False] * len(calls))
        found = results(layers[-1], finals)
    output, *rest = found if real is answer else (v.to(answer) for v in found)
    count = len(traced.states)
    final = dict(zip(traced.states, rest[:count], strict=True))
    if lengths is not None:
        gone = (torch.arange(x.shape[0]).unsqueeze(1) >= lengths).unsqueeze(-1)
        output = output.masked_fill(gone, 0)
    seen = {traced.states[0]: output, **dict(zip(observed, rest[count:], strict=True))}
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
    """Layers of one direction. Results: the last output, the final states, the records.

    Where there are several, final states are (L, B, width), and there are no records.
    """

    @staticmethod
    def forward(ctx, found: Kernel, calls: Sequence[Call], lengths, *tensors):
        each, wants = len(tensors) // len(calls), ctx.needs_input_grad[3:]
        keep = [any(wants[: (k + 1) * each]) for k in range(len(calls))]
        layers, finals = forward(found, calls, lengths, tensors, keep)
        made = results(layers[-1], finals)
        if keep[-1]:
            ctx.set_materialize_grads(False)  # nothing arrives at most results: no zeros for them
            ctx.save_for_backward(made[0], *tensors)
            ctx.watch, ctx.layers = calls[0].watch, []
            for k, bound in enumerate(layers):
                own = slice(k * each, (k + 1) * each)
                wanted = (keep[k - 1] if k else wants[0], *wants[own][1:])
                shapes = [None if v is None else v.shape for v in tensors[own]]
                ran = Ran(bound, found, calls[k].traced, wanted, shapes)
                ctx.layers.append(ran if keep[k] else None)
        return tuple(made)

    @staticmethod
    def backward(ctx, *grads):
        _ = ctx.saved_tensors  # raises where one of them was changed in place since
        with torch.no_grad():
            found = (None,) * 3 + tuple(gradients(ctx.layers, grads, ctx.watch))
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
