"""Calls of one step each come in, where a module said that they are one run; one call goes out.

A decoder that reads what it looked at a step before makes one call a step. Seen as one call, what
arrives at a step on any way beside the states comes from outside: from what it says, and from what
the next step reads of it.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .record import Pass


def runs(passes: Sequence[Pass]) -> list[list[Pass]]:
    """Calls in their order, those of one run and layer together."""
    found: dict[tuple[object, ...], list[Pass]] = {}
    for place, one in enumerate(passes):
        key = (place,) if one.run is None else (id(one.run), one.title)
        found.setdefault(key, []).append(one)
    return list(found.values())


def joined(steps: Sequence[Pass]) -> Pass:
    """Calls of one run as a single one, its sequences as long as the run said."""
    first, last = steps[0], steps[-1]
    if first.run is None:
        return first
    count = sum(one.steps for one in steps)
    whole = bool((first.run == count).all())
    params = first.call.params
    noises = {k: torch.cat([s.call.params.noises[k] for s in steps]) for k in params.noises}
    call = replace(
        first.call,
        x=torch.cat([one.call.x.detach() for one in steps]),
        lengths=None if whole else first.run,
        params=replace(params, noises=noises),
    )
    found = replace(
        first, call=call, finals=last.finals,
        output=torch.cat([one.output for one in steps]).detach(),
        observed={k: torch.cat([s.observed[k] for s in steps]).detach() for k in first.observed},
        nodes={k: torch.cat([one.nodes[k] for one in steps]) for k in first.nodes},
        told={k: torch.cat([one.told[k] for one in steps]) for k in first.told},
    )  # fmt: skip
    found.nodes = {k: _until(found, v) for k, v in found.nodes.items()}
    return found


def arriving(steps: Sequence[Pass], direct: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """What arrives at each step of a run from outside it, from the same of each step."""
    if len(steps) == 1:
        return direct[0]
    found: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for row in direct for name in row):
        like = next(row[name] for row in direct if name in row)
        found[name] = torch.cat([row.get(name, torch.zeros_like(like)) for row in direct])
    return found


def _until(one: Pass, value: Tensor) -> Tensor:
    """0 where a sequence has ended: the module went on over padding, which means nothing."""
    valid = one.valid()
    return value if valid is None else value.masked_fill(~valid, 0)
