"""One layer in one direction comes in; it is run over time, and its results go out: no autograd.

The order in which tensors are handed on is settled here, for all who run or derive a call.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .bound import STATES, Bound, bind
from .call import Call, Params
from .native import Kernel


def flat(
    traced, params: Params, states: Sequence[Tensor | None], x: Tensor | None
) -> list[Tensor | None]:
    """All tensors of a call, in the order in which a call is handed on.

    States are `None` where nobody gave them.
    """
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


def bind_all(
    found: Kernel,
    calls: Sequence[Call],
    lengths,
    tensors: Sequence[Tensor | None],
    keep: Sequence[bool],
    *,
    apart: bool = False,
) -> tuple[list[Bound], list[Tensor]]:
    """Bind layers on top of each other, to be run by `over_time`.

    Args:
        found: the compiled cell.
        calls: one a layer; all but the first read the output of the one before.
        lengths: (B), or `None`.
        tensors: of all layers, as `flat` orders those of one.
        keep: for each layer, whether a backward pass will follow.
        apart: as for `bind`.

    Returns:
        The layers, and each last state, (B, width), or (L, B, width) of several layers.
    """
    each = len(tensors) // len(calls)
    layers: list[Bound] = []
    for k, call in enumerate(calls):
        own, inner = tensors[k * each : (k + 1) * each], k < len(calls) - 1
        below = layers[-1] if layers else None
        how = {"keep": keep[k], "apart": apart, "inner": inner}
        layers.append(bind(found, call.traced, call, lengths, own, below=below, **how))
    return layers, finals(layers, found.real, stacked=len(layers) > 1)


def over_time(found: Kernel, layers: Sequence[Bound], keep: Sequence[bool]) -> None:
    """Run layers over time, one after the other.

    Nothing stands between the runs: C finds in the caches what C left there. What Python can do
    before, it does before: C leaves it nothing in the caches.
    """
    for bound, kept in zip(layers, keep, strict=True):
        found.library.forward(bound.pointer(), kept)


def finals(layers: Sequence[Bound], real: torch.dtype, *, stacked: bool) -> list[Tensor]:
    """Where C will write the last states, each (L, B, width), or (B, width) of one layer alone."""
    found, batch, count = [], layers[-1].struct.B, len(layers)
    for name, (width, _) in layers[-1].widths.items():
        value = torch.empty(
            (count, batch, width) if stacked else (batch, width), dtype=real, device="cpu"
        )
        place = value.data_ptr()
        for bound in layers:
            setattr(bound.struct, f"f_{name}", place)
            place += batch * width * real.itemsize
        found.append(value)
    return found


def results(last: Bound, finals: list[Tensor]) -> list[Tensor]:
    """The output of the last layer, each last state, each record."""
    width, full = last.of_output
    output = last.output if width == full else last.output[..., :width]
    return [output, *finals, *last.recorded.values()]


def count(traced) -> int:
    """How many tensors `flat` lists."""
    return grad_order(traced)["end"] + len(traced.masks) + len(traced.noises)


def grad_order(traced) -> dict[str, Any]:
    """Where each group of tensors begins in what `_Run` takes."""
    first = STATES + len(traced.states)
    return {
        "states": STATES,
        "weights": first,
        "norms": first + len(traced.weights),
        "end": first + len(traced.weights) + 2 * len(traced.norms),
    }
