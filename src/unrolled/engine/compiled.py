"""The backend `c`: a call of a compiled cell comes in, the answer with its gradients goes out."""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from ..errors import BackendError
from . import forks
from .call import Answer, Call, Params
from .native import Kernel, kernel, loaded
from .pool import Pool
from .precision import precision
from .traced import Traced

POOL = Pool()
FEW_ROWS = 6  # a thread with fewer rows of the batch multiplies W x ahead, for all steps at once


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
    return _trouble(call.traced, _observed(call), precision(call).kept)


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
    else:
        found = _Run.apply(kernel(traced, observed, kept), traced, call, lengths, *tensors)
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


MATRICES = (0, 1, 3, 5)  # x, x_weight, u_weight and projections among the tensors of `flat`


def flat(traced, params: Params, states: list[Tensor], x: Tensor) -> list[Tensor | None]:
    """All tensors of a call, in the order in which `_Run` takes them."""
    projs = torch.cat(list(params.projs.values())) if params.projs else None
    norms = [part for name in traced.norms for part in params.norms[name]]
    return [
        x,
        params.x_weight,
        params.x_bias,
        params.u_weight,
        params.u_bias,
        projs,
        *states,
        *(params.weights[name] for name in traced.weights),
        *norms,
        *(params.masks[name] for name in traced.masks),
        *(params.noises[name] for name in traced.noises),
    ]


class Bound:
    """One call's C struct, with the tensors that keep its memory alive."""

    def __init__(self, found: Kernel):
        self.struct = found.structure()
        self.held: list[Tensor] = []
        self.sequences: dict[str, Tensor] = {}
        self.rings: dict[str, Tensor] = {}
        self.recorded: dict[str, Tensor] = {}
        self.saved: dict[str, Tensor] = {}
        self.widths: dict[str, tuple[int, int]] = {}

    def set(self, name: str, value: Tensor | None) -> None:
        if value is not None:
            self.held.append(value)
            setattr(self.struct, name, value.data_ptr())

    def pointer(self):
        return ctypes.byref(self.struct)

    def start(self, name: str, at: int, value: Tensor) -> None:
        """Let a state begin with this value: (B, width), in place `at` of its sequence."""
        for rows in (self.sequences[name][at], *(r[0] for r in self._ring(name))):
            width, full = self.widths[name]
            if full != width:
                rows.zero_()
            rows[:, :width] = value

    def carried(self, name: str, at: int, step: int) -> Tensor:
        """A state as it is carried on, (B, width): in place `at` of its sequence, after a step."""
        ring = self._ring(name)
        rows = ring[0][step & 1] if ring else self.sequences[name][at]
        return rows[:, : self.widths[name][0]]

    def _ring(self, name: str) -> list[Tensor]:
        return [self.rings[name]] if name in self.rings else []


def bind(found: Kernel, traced, call: Call, lengths, tensors, *, keep: bool) -> Bound:
    """Fill the struct of a call.

    Args:
        found: the compiled cell.
        traced: the cell, options of the layer included.
        call: one layer, one direction.
        lengths: (B), or `None`.
        tensors: as `flat` orders them.
        keep: whether a backward pass will follow.
    """
    layout, real, kept = found.layout, found.real, found.kept
    x, x_weight, x_bias, u_weight, u_bias, projs = (
        None if v is None else v.to(kept if n in MATRICES else real).contiguous()
        for n, v in enumerate(tensors[:6])
    )
    assert x is not None  # there is always an input, if of no features
    steps, batch, features = x.shape
    states = tensors[6 : 6 + len(traced.states)]
    units, projected = _sizes(traced, call, tensors)
    bound = Bound(found)
    wide, narrow = found.padded(units), found.padded(projected)
    widths = bound.widths = {s: (projected, narrow) if traced.widths[s] == "P" else (units, wide)
              for s in traced.states}  # fmt: skip
    s = bound.struct
    if found.kept != found.real and features % 2:
        x = F.pad(x, (0, 1))  # two values make a word
    s.T, s.B, s.K, s.ldx, s.H, s.P = steps, batch, features, x.shape[2], units, projected
    s.Hp, s.Pp = wide, narrow
    s.reverse, s.threads = int(call.reverse), _threads(steps * batch * units)
    if lengths is not None:
        bound.held.append(lengths.contiguous())
        s.lengths = bound.held[-1].data_ptr()
    for name, value in (("x", x), ("x_weight", x_weight), ("x_bias", x_bias),
                        ("u_weight", u_weight), ("u_bias", u_bias),
                        ("proj_weight", projs)):  # fmt: skip
        bound.set(name, value)
    _bind_small(bound, found, traced, tensors, widths, (wide, narrow))
    for name, first in zip(traced.states, states, strict=True):
        ring = steps + 1 if keep or name == traced.states[0] else 2
        full = widths[name][1]
        bound.sequences[name] = POOL.take(ring, batch, full, dtype=kept)
        setattr(s, f"ring_{name}", ring)
        bound.set(f"s_{name}", bound.sequences[name])
        if kept != real:
            bound.rings[name] = POOL.take(2, batch, full, dtype=real)
            bound.set(f"r_{name}", bound.rings[name])
        bound.start(name, steps if call.reverse and ring == steps + 1 else 0, first)
    times = steps if keep else 1
    bound.saved["save"] = POOL.take(times, batch, layout["saved"], wide, dtype=kept)
    bound.saved["statistics"] = POOL.take(times, batch, len(layout["norms"]), 2, dtype=real)
    for name, value in bound.saved.items():
        bound.set(name, value)
    bound.set("carry", POOL.take(batch, layout["carried"], wide, dtype=real))
    bound.set("pack", POOL.take(found.library.pack_size(bound.pointer()), dtype=real))
    if layout["x_columns"] and batch < FEW_ROWS * s.threads and steps > 1:
        bound.set("xw", POOL.take(steps, batch, layout["x_columns"], wide, dtype=real))
    for name, letter in layout["observed"].items():
        width, full = (projected, narrow) if letter == "P" else (units, wide)
        buffer = POOL.take(steps, batch, full, dtype=kept)
        if lengths is not None:
            buffer.zero_()
        bound.set(f"o_{name}", buffer)
        bound.recorded[name] = buffer[..., :width]
    return bound


def rebind(bound: Bound, traced, kept: list[Tensor]) -> None:
    """Point a call at what an earlier one kept: the sequences of states, what it saved."""
    names = [*(f"s_{name}" for name in traced.states), "save", "statistics"]
    for name, value in zip(names, kept, strict=True):
        bound.set(name, value.contiguous())


def forward(found: Kernel, traced, call: Call, lengths, tensors, *, keep: bool) -> Bound:
    """Bind a call and run it over time."""
    bound = bind(found, traced, call, lengths, tensors, keep=keep)
    found.library.forward(bound.pointer(), int(keep))
    return bound


def results(bound: Bound, traced, call: Call) -> list[Tensor]:
    """The output, a view of the sequence of states; each final state; each record."""
    sequences, widths, steps = bound.sequences, bound.widths, call.x.shape[0]
    rows = sequences[traced.states[0]]
    output = (rows[:-1] if call.reverse else rows[1:])[..., : widths[traced.states[0]][0]]
    finals = []
    for name, sequence in sequences.items():
        whole = sequence.shape[0] == steps + 1
        last = (0 if call.reverse else steps) if whole else steps & 1
        finals.append(bound.carried(name, last, steps).clone())
    return [output, *finals, *bound.recorded.values()]


class _Run(torch.autograd.Function):
    """One layer and direction. Results: the output, each final state, each record."""

    @staticmethod
    def forward(ctx, found: Kernel, traced, call: Call, lengths, *tensors):
        keep = any(ctx.needs_input_grad)
        bound = forward(found, traced, call, lengths, tensors, keep=keep)
        made = results(bound, traced, call)
        if keep:
            ctx.save_for_backward(made[0], *tensors)
            ctx.bound, ctx.found, ctx.traced = bound, found, traced
            ctx.wants_dx = ctx.needs_input_grad[4]
            ctx.shapes = [None if v is None else v.shape for v in tensors]
        return tuple(made)

    @staticmethod
    def backward(ctx, *grads):
        _ = ctx.saved_tensors  # raises where one of them was changed in place since
        from .gradients import gradients

        with torch.no_grad():
            found = (None,) * 4 + gradients(ctx, grads, POOL)
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
        from .operators import TWICE

        raise TWICE


def _sizes(traced, call: Call, tensors) -> tuple[int, int]:
    """H and P."""
    _, x_weight, _, u_weight, _, projs = tensors[:6]
    if x_weight is not None:
        units = x_weight.shape[0] // len(traced.x_gates)
    elif u_weight is not None:
        units = u_weight.shape[0] // len(traced.u_gates)
    else:
        units = call.states[traced.states[0]].shape[-1]
    return units, projs.shape[0] // len(traced.projs) if projs is not None else units


def _threads(work: int) -> int:
    return torch.get_num_threads() if work > 2048 and forks.many_threads() else 1


def _bind_small(bound, found, traced, tensors, widths, full) -> None:
    """Weights, norms, masks and noises; padded where the machine's vectors need it."""
    rest = list(tensors[6 + len(traced.states) :])
    for name in traced.weights:
        bound.set(f"raw_{name}", rest.pop(0).contiguous())
    for name in traced.norms:
        for part in ("gain", "shift"):
            value = rest.pop(0)
            bound.set(f"raw_{part}_{name}", None if value is None else value.contiguous())
    for name in traced.masks:
        bound.set(f"m_{name}", _pad(rest.pop(0), full[name[0] == "P"]))
    for name in traced.noises:
        bound.set(f"z_{name}", _pad(rest.pop(0), widths[name][1]))


def _pad(value: Tensor, full: int) -> Tensor:
    missing = full - value.shape[-1]
    return F.pad(value, (0, missing)).contiguous() if missing else value.contiguous()


def grad_order(traced) -> dict[str, Any]:
    """Where each group of tensors begins in what `_Run` takes."""
    first = 6 + len(traced.states)
    return {
        "states": 6,
        "weights": first,
        "norms": first + len(traced.weights),
        "end": first + len(traced.weights) + 2 * len(traced.norms),
    }
