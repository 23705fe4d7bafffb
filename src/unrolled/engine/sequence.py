"""One layer in one direction comes in; it is run over time, and its results go out: no autograd.

The order in which tensors are handed on is settled here, for all who run or derive a call.
"""

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
    found: Kernel, traced, call: Call, lengths, tensors, *, keep: bool, apart: bool = False
) -> Bound:
    """Bind a call and run it over time; arguments as for `bind`."""
    bound = bind(found, traced, call, lengths, tensors, keep=keep, apart=apart)
    found.library.forward(bound.pointer(), int(keep))
    return bound


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
