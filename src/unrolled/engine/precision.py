"""A call comes in; the dtype in which it is computed and the dtype of what it answers go out.

bfloat16 and float16 have too few bits to add in: their sums, their pointwise equations and the
states inside a sequence are float32, and what leaves the sequence is rounded once.
"""

from typing import NamedTuple

import torch

from .call import Call
from .compiler import instructions

WIDER = {torch.bfloat16: torch.float32, torch.float16: torch.float32}


class Precision(NamedTuple):
    """In what a call is computed.

    Args:
        real: of sums, of pointwise equations and of what is carried from step to step.
        kept: of what is multiplied and of what is saved for the backward pass.
        answer: of output, last states and records, as the caller expects them.
    """

    real: torch.dtype
    kept: torch.dtype
    answer: torch.dtype


def precision(call: Call) -> Precision:
    """The precision of a call: its parameters', or autocast's where it is on.

    As in `torch.nn.LSTM`, autocast leaves float64 alone.
    """
    if call.precision is None:  # asked for by each who looks at a call
        call.precision = _found(call)
    return call.precision


def _found(call: Call) -> Precision:
    answer = given(call)
    if answer != torch.float64 and is_autocast(call.x.device.type):
        answer = torch.get_autocast_dtype(call.x.device.type)
    real = WIDER.get(answer, answer)
    half = answer == torch.bfloat16 and multiplies_halves()
    return Precision(real, answer if half else real, answer)


@torch.compiler.assume_constant_result
def multiplies_halves() -> bool:
    """Whether this processor multiplies bfloat16; where it does not, such calls are widened."""
    return "avx512bf16" in (instructions() or ())


def given(call: Call) -> torch.dtype:
    """The dtype of a call's parameters."""
    p = call.params
    for value in (p.x_weight, p.u_weight, *p.weights.values()):
        if value is not None:
            return value.dtype
    return call.x.dtype


def is_autocast(device: str) -> bool:
    """Whether autocast is on for this kind of device."""
    if device == "cpu":  # the check below costs more than all the rest
        return torch.is_autocast_enabled("cpu")
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
