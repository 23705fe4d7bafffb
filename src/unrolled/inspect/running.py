"""A module and an input come in; the trace of what ran goes out.

The module runs as it always does, on its own backend, while its recurrent layers are recorded.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.reference import turned
from ..errors import ShapeError, UsageError
from ..layers import Recurrent
from ..layers.stack import Stack
from .joining import arriving, joined, runs
from .record import Pass, recording, recurrent_layers
from .traces import LayerTrace, Trace


def trace(
    module: nn.Module,
    x: Any,
    *,
    lengths: Any = None,
    loss: Callable[[Any], Tensor] | str | None = "default",
    run: Callable[[Any], Any] | None = None,
    ids: Sequence[str] | None = None,
    tokens: Sequence[Sequence[str]] | None = None,
    about: str = "",
    only: str | None = None,
) -> Trace:
    """Run a module on a batch and look at every step of every recurrent layer inside it.

    Args:
        module: a recurrent layer, or any module that holds some; it is run as in evaluation.
        x: its input, (B, T, I) or whatever it takes.
        lengths: (B) valid steps of each sequence.
        loss: from what the module returned to a number; None looks at values alone; by default
            half the squared length of what was returned (of a layer: of its output at the end of
            each sequence).
        run: how the module is called on x, where `module(x)`, with lengths where there are any, is
            not it.
        ids: a name for each sequence; tokens: what stands at each of its steps, in words.
        about: what the loss is, in words.
        only: the name of the recurrent layer that is looked at; None looks at all.

    Raises:
        UsageError: there is no recurrent layer of unrolled inside, or it never ran.

    Example:
        >>> layer = Recurrent("lstm", 3, 4)
        >>> seen = trace(layer, torch.zeros(2, 5, 3))
        >>> seen["l0"].names
        ('h', 'c', 'i', 'f', 'g', 'o', 'pre_i', 'pre_f', 'pre_g', 'pre_o')
        >>> seen["l0"]["f"].shape, seen["l0"].gradient("c").shape
        ((2, 5, 4), (2, 5, 4))
    """
    real = isinstance(x, Tensor) and x.is_floating_point()
    given = x.detach().clone().requires_grad_() if real else x
    training = module.training
    module.eval()
    try:
        with torch.enable_grad(), recording(module, only) as passes, reading(module, only) as reads:
            result = run(given) if run is not None else _called(module, given, lengths)
            if not passes:
                raise UsageError("the module", expected="a call of its recurrent layer", got="none")
            value = None
            if loss is not None:
                measure = _default_loss(module, lengths) if isinstance(loss, str) else loss
                value = measure(result)
            return _collected(module, passes, reads, value, x, given if real else None, ids, tokens,
                              about, result)  # fmt: skip
    finally:
        module.train(training)


def _called(module: nn.Module, x: Any, lengths: Any) -> Any:
    if lengths is None:
        return module(x)
    return module(x, lengths=lengths) if isinstance(module, Recurrent) else module(x, lengths)


def _default_loss(module: nn.Module, lengths: Any) -> Callable[[Any], Tensor]:
    def half_square(result: Any) -> Tensor:
        output = result[0] if isinstance(result, (tuple, list)) else result
        if isinstance(module, Stack):
            first = getattr(module, "batch_first", True)
            output = output if first else output.transpose(0, 1)
            ends = torch.full((len(output),), output.shape[1]) if lengths is None else lengths
            ends = torch.as_tensor(ends).long().clamp(min=1)
            output = output[torch.arange(len(output)), ends - 1]
        if not isinstance(output, Tensor):
            raise UsageError(
                "the loss",
                expected="`loss=`, from what the module returns to a number",
                got=f"a {type(output).__name__} and no loss",
            )
        return 0.5 * (output**2).sum()

    return half_square


def _collected(
    module, passes: list[Pass], reads, value, x, given, ids, tokens, about, result
) -> Trace:
    parameters = {k: p for k, p in module.named_parameters() if p.requires_grad}
    found: list[LayerTrace] = []
    sums: dict[str, Tensor] = {}
    x_gradient = read_gradient = None
    read = reads[0] if len(reads) == 1 else None
    if value is None:
        found = [LayerTrace(joined(group), None) for group in runs(passes)]
    else:
        if value.dim():
            raise ShapeError("the loss", expected="a number", got=f"shape {tuple(value.shape)}")
        ends = [e for one in passes
                for e in (one.output, *one.finals.values(), *one.observed.values())]  # fmt: skip
        firsts = [v for v in (given, read) if v is not None]
        leaves = [*ends, *parameters.values(), *firsts]
        grads = iter(torch.autograd.grad(value, leaves, allow_unused=True))
        groups = runs(passes)
        lasts = {id(group[-1]) for group in groups}
        direct = {id(one): _direct(one, grads, leaves=id(one) in lasts) for one in passes}
        for group in groups:
            arrives = arriving(group, [direct[id(one)] for one in group])
            found.append(LayerTrace(joined(group), arrives))
        for name, p in parameters.items():
            grad = next(grads)
            sums[name] = torch.zeros_like(p) if grad is None else grad
        if given is not None:
            grad = next(grads)
            x_gradient = (torch.zeros_like(given) if grad is None else grad).numpy()
        if read is not None:
            grad = next(grads)
            read_gradient = (torch.zeros_like(read) if grad is None else grad).numpy()
    for one in [
        layer.one for layer in found
    ]:  # the graph of autograd has done its work: its memory goes
        one.output, one.finals, one.observed = one.output.detach(), {}, {}
        one.call.x = one.call.x.detach()
    first = found[0].one
    steps, batch = first.call.x.shape[:2]
    lengths = np.full(batch, steps) if first.lengths is None else first.lengths.numpy()
    raw = x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)
    return Trace(
        found,
        None if value is None else float(value.detach()),
        lengths,
        raw,
        x_gradient,
        [str(b) for b in range(batch)] if ids is None else [str(i) for i in ids],
        [[""] * int(n) for n in lengths] if tokens is None else [list(map(str, r)) for r in tokens],
        sums,
        about,
        result,
        read=None if read is None else read.detach().numpy(),
        read_gradient=read_gradient,
    )


@contextmanager
def reading(module: nn.Module, only: str | None = None) -> Iterator[list[Tensor]]:
    """Keep what the first recurrent layer that runs in this block reads, (B, T, I), each time.

    Args:
        module: what holds the layers.
        only: the name of the layer that is meant; None takes the first that runs.
    """
    layers = recurrent_layers(module)
    reads: list[Tensor] = []
    first: list[nn.Module] = []

    def keep(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        x = args[0] if args else None
        first.append(layer)
        if not isinstance(x, Tensor) or x.dim() != 3 or layer is not first[0]:
            return None
        batch_first = getattr(layer, "batch_first", True)
        x = x if x.requires_grad else x.detach().requires_grad_()
        x = x if batch_first else x.transpose(0, 1)
        reads.append(x)  # what goes on is a view of it, so that its gradient is known
        return (x if batch_first else x.transpose(0, 1), *args[1:])

    chosen = [layer for name, layer in layers.items() if only in (None, name)]
    hooks = [layer.register_forward_pre_hook(keep) for layer in chosen]
    try:
        yield reads
    finally:
        for hook in hooks:
            hook.remove()


def _direct(one: Pass, grads: Iterator[Tensor | None], *, leaves: bool) -> dict[str, Tensor]:
    """What arrives at each step of a call from outside it, in the order in which the steps ran.

    Args:
        one: the call.
        grads: ∂L/∂ of its output, last states and observed values.
        leaves: whether its last states leave the run; otherwise the next step is inside too.
    """
    direct: dict[str, Tensor] = {}
    first = one.traced.states[0]
    valid = one.valid()

    def add(name: str, grad: Tensor | None) -> None:
        if grad is not None:
            grad = turned(grad, one.lengths) if one.call.reverse else grad
            grad = grad if valid is None else grad.masked_fill(~valid, 0)
            direct[name] = direct[name] + grad if name in direct else grad

    like = one.nodes[one.traced.graph.outputs[first]]
    add(first, next(grads))
    ends = torch.full((like.shape[1],), one.steps) if one.lengths is None else one.lengths
    finals = [(s, next(grads)) for s in one.finals]
    for name in one.observed:
        add(name, next(grads))
    for s, grad in finals:
        if grad is None or not leaves or s not in one.traced.states:
            continue
        held = direct.get(s)
        held = like.new_zeros(one.steps, *grad.shape) if held is None else held.clone()
        some = (ends > 0).nonzero().squeeze(1)
        held[ends[some] - 1, some] += grad[some]
        direct[s] = held
    return direct or {first: torch.zeros_like(like)}
