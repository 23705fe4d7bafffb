"""How a compiled cell is held against the reference: the same layer, two backends, every result.

What comes out (output, last states, observed values) and every gradient, those that arrive through
observed values and last states included. Buffers that the engine keeps are NaN before each call.
"""

import contextlib
import dataclasses

import pytest
import torch

from unrolled.engine import bound, build
from unrolled.layers import Recurrent

DOUBLE = torch.float64


@contextlib.contextmanager
def compiled_with(*flags):
    """Cells are compiled with these flags beside their own; `-O0` builds four times as fast."""
    machine = build.compiler()
    level = [
        f for f in machine.flags if not f.startswith("-O") or not any("-O" in g for g in flags)
    ]
    other = dataclasses.replace(
        machine, flags=(*level, *flags), identity=f"{machine.identity} {' '.join(flags)}"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "compiler", lambda *machine: other)
        yield other


def poison():
    """Fill every buffer that nobody holds with NaN: what is read must have been written."""
    for (_, dtype), held in bound.POOL._held.items():
        for buffer in held:
            if dtype.is_floating_point and buffer.free():
                buffer.tensor.fill_(float("nan"))


def a_pair(cell, inputs, units, layers=1, *, dtype=DOUBLE, spread=0.3, **options):
    """A layer on the reference in float64 and one on `c`, with one set of parameters."""
    options = {**options, "num_layers": layers}
    reference = Recurrent(cell, inputs, units, backend="reference", dtype=DOUBLE, **options)
    with torch.no_grad():
        for p in reference.parameters():
            # Rounded to what both can hold, and nothing stays at a value such as 0 or 1.
            p.copy_((p + spread * torch.randn_like(p)).to(dtype))
    ours = Recurrent(cell, inputs, units, backend="c", dtype=dtype, **options)
    ours.load_state_dict(reference.state_dict())
    return reference, ours


def finite(value):
    return torch.where(value.isfinite(), value, 0)


def results(layer, x, *, state=None, lengths=None, observe=(), seed=5, dx=True, rounded=None):
    """Every result of one call and every gradient, by name.

    `rounded` is a dtype in which what arrives at each result is exact: two layers of other
    precisions are then asked the same.
    """
    dtype = next(iter(layer.parameters()), x).dtype
    x = x.to(dtype).clone().requires_grad_(dx)
    state = {s: v.to(dtype).clone().requires_grad_() for s, v in (state or {}).items()}
    torch.manual_seed(seed)
    poison()
    output, final, *seen = layer(x, state or None, lengths=lengths, observe=observe)
    found = {"output": output, **{f"last {s}": v for s, v in final.items()}}
    found |= {f"observed {k}": v for k, v in (seen[0] if seen else {}).items()}
    kind = DOUBLE if rounded else dtype
    loss = output.new_zeros((), dtype=kind)
    for n, value in enumerate(found.values()):
        if value.requires_grad:
            wave = torch.arange(value.numel(), dtype=kind).view(value.shape)
            arrives = torch.sin(wave + n).to(rounded or kind).to(kind)
            loss = loss + (finite(value).to(kind) * arrives).sum()
    wanted = {f"d {name}": p for name, p in layer.named_parameters()}
    wanted |= {f"d first {s}": v for s, v in state.items()} | ({"d x": x} if dx else {})
    grads: tuple = (None,) * len(wanted)
    if loss.requires_grad:  # where nothing depends on anything, all gradients are 0
        poison()
        grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    for (name, leaf), grad in zip(wanted.items(), grads, strict=True):
        found[name] = torch.zeros_like(leaf) if grad is None else grad
    return {name: value.detach() for name, value in found.items()}


def assert_held(expected, got, steps, width, dtype=DOUBLE, slack=1.0):
    """Fail unless all results agree, up to rounding of `dtype`.

    A sum of n products rounds n times at most, a step carries on what the last one lost: the bound
    is the number of values summed and steps gone, times a few units in the last place of the
    largest value.
    """
    assert list(got) == list(expected)
    for name, want in expected.items():
        have = got[name].to(DOUBLE)
        assert have.shape == want.shape, f"{name}: {tuple(have.shape)} is not {tuple(want.shape)}"
        odd = ~want.isfinite()
        assert torch.equal(want[odd].nan_to_num(0), have[odd].nan_to_num(0)), name
        assert torch.equal(odd, ~have.isfinite()), f"{name}: not finite elsewhere"
        if not (~odd).any():
            continue
        want, have = want[~odd], have[~odd]
        scale = max(1.0, float(want.abs().max()))
        bound = slack * 16 * torch.finfo(dtype).eps * (steps + 4) * (width**0.5 + 4) * scale
        worst = float((want - have).abs().max())
        assert worst <= bound, f"{name}: differs by {worst:.3g}, more than {bound:.3g}"


def hold(cell, steps, batch, inputs, units, layers=1, *, dtype=DOUBLE, slack=1.0, **given):
    """Run one call on both backends and compare everything."""
    call = {k: given.pop(k) for k in ("lengths", "observe", "dx") if k in given}
    with_state = given.pop("with_state", False)
    training = given.pop("training", True)
    reference, ours = a_pair(cell, inputs, units, layers, dtype=dtype, **given)
    reference.train(training)
    ours.train(training)
    x = torch.randn(batch, steps, inputs, dtype=DOUBLE).to(dtype).to(DOUBLE)
    if with_state:
        first = reference.initial_states(batch, x)
        call["state"] = {
            # Above 0: what a cell divides by starts where it may.
            s: (finite(v) + 0.5 + torch.rand_like(v)).detach().to(dtype).to(DOUBLE)
            for s, v in first.items()
        }
    expected = results(reference, x, **call)
    got = results(ours, x, **call)
    assert ours.backend == "c"
    assert_held(expected, got, steps * layers, units + inputs, dtype, slack)
    return reference, ours
