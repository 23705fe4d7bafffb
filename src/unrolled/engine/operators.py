"""A call of a compiled cell comes in as an operator of `torch.library`, its answer goes out.

What traces a program (torch.compile, torch.export, fake tensors, functorch) sees one operator
forward and one backward, with shapes and a derivative; its cell is text, so that an exported
program holds all that it needs. The plain eager call does not pass here: dispatch has its price.
"""

import functools
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ShapeError
from . import bound as binding
from . import sequence as sequences
from .call import Call, Params
from .gradients import Ran, gradients, second_derivative_error
from .native import Kernel, kernel
from .precision import WIDER
from .traced import Traced


@torch.compiler.assume_constant_result
def text(traced: Traced) -> str:
    """The cell as the operators take it."""
    return _texts(id(traced), traced)


_TEXTS: dict[int, tuple[Traced, str]] = {}


def _texts(key: int, traced: Traced) -> str:
    if key not in _TEXTS:  # the cell is kept, so that its id stays its own
        _TEXTS[key] = (traced, json.dumps(traced.to_json(), sort_keys=True))
    return _TEXTS[key][1]


@functools.cache
def _cell(text: str) -> Traced:
    return Traced.from_json(json.loads(text))


class _Work:
    """What the operators' arguments say: the cell, its kernel, and one call's tensors."""

    def __init__(self, given, places, lengths, cell: str, observed, reverse: bool, kept):
        self.traced, self.lengths = _cell(cell), lengths
        self.tensors: list[Tensor | None] = [None] * sequences.count(self.traced)
        for place, value in zip(places, given, strict=True):
            self.tensors[place] = value
        # A backward pass is bound anew, and only the forward pass copies rows that lie apart.
        self.tensors[0] = given[0].resolve_neg().contiguous()
        states: Any = dict(zip(self.traced.states, self.tensors[binding.STATES :], strict=False))
        self.x, self.kept = given[0], kept
        self.call = Call(self.traced, self.x, states, Params(), lengths, reverse)
        self.observed = tuple(observed.split())
        self.units, self.projected = binding.sizes(self.traced, self.call, self.tensors)

    def kernel(self) -> Kernel:
        return kernel(self.traced, self.observed, self.kept)

    def width(self, letter: str) -> int:
        return self.projected if letter == "P" else self.units

    def forward(self, keep: bool) -> tuple[binding.Bound, list[Tensor]]:
        """The pass over time; lengths are looked at here, where they have values."""
        steps, batch = self.x.shape[:2]
        if self.lengths is not None and batch:
            least, most = int(self.lengths.min()), int(self.lengths.max())
            if least < 0 or most > steps:
                raise ShapeError(
                    "lengths", expected=f"numbers from 0 to T={steps}", got=f"{least} to {most}"
                )
        layers, finals = sequences.bind_all(
            self.kernel(), [self.call], self.lengths, self.tensors, [keep], apart=keep
        )
        sequences.over_time(self.kernel(), layers, [keep])
        return layers[0], finals

    def saved(self, bound: binding.Bound) -> list[Tensor]:
        return [*bound.sequences.values(), *bound.saved.values()]


@torch.library.custom_op("unrolled::sequence", mutates_args=(), device_types="cpu")
def sequence(
    given: Sequence[Tensor],
    places: Sequence[int],
    lengths: Tensor | None,
    cell: str,
    observed: str,
    reverse: bool,
    kept: torch.dtype,
    keep: bool,
) -> list[Tensor]:
    """One layer, one direction.

    Args:
        given: the tensors of a call that there are, as `sequence.flat` orders them.
        places: where in that order each stands.
        lengths: (B) of int64, or `None`.
        cell: as `text` says it.
        observed: names of values to record beside the output, with spaces between.
        reverse: whether to run backwards.
        kept: dtype of what is multiplied and saved.
        keep: whether what the backward pass reads is among the results.

    Returns:
        Output (T, B, H or P), last states (B, H or P), records (T, B, H or P); with `keep` also the
        sequences of all states and what was saved, in the kernel's own layout.
    """
    work = _Work(given, places, lengths, cell, observed, reverse, kept)
    bound, finals = work.forward(keep)
    # No result may be a view of another.
    results = [v.clone() for v in sequences.results(bound, finals)]
    return [*results, *(work.saved(bound) if keep else ())]


@sequence.register_fake
def _(given, places, lengths, cell, observed, reverse, kept, keep):
    work = _Work(given, places, lengths, cell, observed, reverse, kept)
    traced, x = work.traced, work.x
    steps, batch = x.shape[:2]
    widths = {s: work.width(traced.widths[s]) for s in traced.states}
    real = WIDER.get(kept, kept)
    results = [x.new_empty(steps, batch, widths[traced.states[0]], dtype=kept)]
    results += [x.new_empty(batch, width, dtype=real) for width in widths.values()]
    graph_widths = _observed_widths(cell)
    for name in work.observed:
        results.append(x.new_empty(steps, batch, work.width(graph_widths[name]), dtype=kept))
    if keep:
        found = work.kernel()
        wide, layout = found.padded(work.units), found.layout
        for width in widths.values():
            results.append(x.new_empty(steps + 1, batch, found.padded(width), dtype=kept))
        results.append(x.new_empty(steps, batch, layout["saved"], wide, dtype=kept))
        results.append(x.new_empty(steps, batch, len(layout["norms"]), 2, dtype=real))
    return results


@functools.cache
def _observed_widths(cell: str) -> dict[str, str]:
    from .traced import node_widths

    traced = _cell(cell)
    widths = node_widths(traced.graph, traced.widths)
    return {name: widths[node] for name, node in traced.graph.outputs.items()}


@torch.library.custom_op("unrolled::sequence_backward", mutates_args=(), device_types="cpu")
def sequence_backward(
    arriving: Sequence[Tensor],
    arrived: Sequence[int],
    given: Sequence[Tensor],
    places: Sequence[int],
    lengths: Tensor | None,
    saved: Sequence[Tensor],
    cell: str,
    observed: str,
    reverse: bool,
    kept: torch.dtype,
    wants_dx: bool,
) -> list[Tensor]:
    """The gradients of `sequence`.

    Args:
        arriving: gradients of its output, last states and records, those that there are.
        arrived: where in that order each stands.
        given, places, lengths, cell, observed, reverse, kept: as for `sequence`.
        saved: what it saved; where that is nothing, the pass over time is run again.
        wants_dx: whether the input's gradient is wanted; else it is 0.

    Returns:
        The gradient of each tensor of `given`.
    """
    work = _Work(given, places, lengths, cell, observed, reverse, kept)
    found, traced = work.kernel(), work.traced
    if saved:
        bound = binding.bind(found, traced, work.call, lengths, work.tensors, keep=True)
        binding.rebind(bound, traced, list(saved))
    else:
        bound, _ = work.forward(keep=True)
    count = 1 + len(traced.states) + len(work.observed)
    grads: list[Tensor | None] = [None] * count
    for place, value in zip(arrived, arriving, strict=True):
        grads[place] = value
    wants = [wants_dx, *(True for _ in work.tensors[1:])]
    shapes = [None if v is None else v.shape for v in work.tensors]
    own = gradients([Ran(bound, found, traced, wants, shapes)], tuple(grads))
    results = []
    for place, value in zip(places, given, strict=True):
        grad = own[place] if place < len(own) else None
        results.append(torch.zeros_like(value) if grad is None else grad.to(value).contiguous())
    return results


@sequence_backward.register_fake
def _(arriving, arrived, given, places, lengths, saved, cell, observed, reverse, kept, wants_dx):
    return [value.new_empty(value.shape) for value in given]


def _save(ctx, inputs, output) -> None:
    given, places, lengths, cell, observed, reverse, kept, _ = inputs
    results = 1 + len(_cell(cell).states) + len(observed.split())
    saved = output[results:]
    ctx.save_for_backward(*given, *saved, *([lengths] if lengths is not None else []))
    ctx.counts = len(given), len(saved), results
    ctx.rest = list(places), cell, observed, reverse, kept
    ctx.wants_dx = given[0].requires_grad


def _derive(ctx, grads: list[Tensor | None]) -> tuple[Any, ...]:
    of_given, of_saved, results = ctx.counts
    tensors = list(ctx.saved_tensors)
    given, saved = tensors[:of_given], tensors[of_given : of_given + of_saved]
    lengths = tensors[of_given + of_saved] if len(tensors) > of_given + of_saved else None
    places, *rest = ctx.rest
    arrived = [n for n, grad in enumerate(grads[:results]) if grad is not None]
    arriving = [grads[n] for n in arrived]
    own = sequence_backward(arriving, arrived, given, places, lengths, saved, *rest, ctx.wants_dx)
    return own, *(None,) * 7


def _refuse(ctx, grads: list[Tensor | None]) -> tuple[Any, ...]:
    raise second_derivative_error()


sequence.register_autograd(_derive, setup_context=_save)
sequence_backward.register_autograd(_refuse, setup_context=lambda ctx, inputs, output: None)


def _one_by_one(operator):
    """How `vmap` maps an operator: each of its members by itself."""

    def rule(info, in_dims, *arguments):
        members = [
            operator(*(_member(a, d, n) for a, d in zip(arguments, in_dims, strict=True)))
            for n in range(info.batch_size)
        ]
        stacked = [torch.stack(values) for values in zip(*members, strict=True)]
        return stacked, [0] * len(stacked)

    return rule


def _member(argument, dim, n: int):
    if isinstance(argument, (list, tuple)) and isinstance(dim, (list, tuple)):
        return [_member(a, d, n) for a, d in zip(argument, dim, strict=True)]
    return argument if dim is None else argument.select(dim, n)


sequence.register_vmap(_one_by_one(sequence))
sequence_backward.register_vmap(_one_by_one(sequence_backward))
