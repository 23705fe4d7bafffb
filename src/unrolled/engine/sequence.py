"""One layer in one direction comes in; it is run over time, and its results go out: no autograd.

The order in which tensors are handed on is settled here, for all who run or derive a call.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .bound import Bound, bind
from .call import Call, Params
from .native import Kernel


def flat(traced, params: Params, states: list[Tensor], x: Tensor | None) -> list[Tensor | None]:
    """All tensors of a call, in the order in which a call is handed on."""
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


def forward(
    found: Kernel,
    calls: Sequence[Call],
    lengths,
    tensors: Sequence[Tensor | None],
    keep: Sequence[bool],
    *,
    apart: bool = False,
) -> list[Bound]:
    """Bind layers on top of each other, then run them over time, one after the other.

    Nothing stands between the runs: C finds in the caches what C left there.

    Args:
        found: the compiled cell.
        calls: one a layer; all but the first read the output of the one before.
        lengths: (B), or `None`.
        tensors: of all layers, as `flat` orders those of one.
        keep: for each layer, whether a backward pass will follow.
        apart: as for `bind`.
    """
    each = len(tensors) // len(calls)
    layers: list[Bound] = []
    for k, call in enumerate(calls):
        own, inner = tensors[k * each : (k + 1) * each], k < len(calls) - 1
        below = layers[-1] if layers else None
        how = {"keep": keep[k], "apart": apart, "inner": inner}
        layers.append(bind(found, call.traced, call, lengths, own, below=below, **how))
    for bound, kept in zip(layers, keep, strict=True):
        found.library.forward(bound.pointer(), int(kept))
    return layers


def results(bound: Bound, traced, call: Call) -> list[Tensor]:
    """The output, each final state, each record: views of what is bound."""
    sequences, steps = bound.sequences, bound.struct.T
    width, full = bound.of_output
    output = bound.output if width == full else bound.output[..., :width]
    finals = []
    for name, sequence in sequences.items():
        whole = sequence.shape[0] == steps + 1
        last = (0 if call.reverse else steps) if whole else steps & 1
        finals.append(bound.carried(name, last, steps))
    # Records as other tensors than those that are bound: these hold what holds the bound ones.
    return [output, *finals, *(v.view_as(v) for v in bound.recorded.values())]


def grad_order(traced) -> dict[str, Any]:
    """Where each group of tensors begins in what `_Run` takes."""
    first = 6 + len(traced.states)
    return {
        "states": 6,
        "weights": first,
        "norms": first + len(traced.weights),
        "end": first + len(traced.weights) + 2 * len(traced.norms),
    }
