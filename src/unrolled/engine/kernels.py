"""PyTorch's own recurrent kernels (oneDNN, cuDNN), for cells that say which one computes the same.

They record nothing between the steps and know no options; what they cannot do is said, not faked.
"""

import math
from collections.abc import Hashable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from . import reference
from .call import Answer, Call, Params
from .reference import turned
from .traced import Traced

STATES = {"lstm": 2, "gru": 1, "rnn_tanh": 1, "rnn_relu": 1}


def unfit(call: Call) -> str:
    """Why PyTorch's kernels cannot run this call; empty where they can."""
    traced, params = call.traced, call.params
    if forward_ad._current_level >= 0 and not torch.compiler.is_compiling():
        return "PyTorch's kernel has no forward-mode derivative (jvp)"
    if traced.kernel not in STATES:
        return f"PyTorch has no kernel for the cell {traced.name}"
    recorded = [name for name in call.observe if name != traced.states[0]]
    if recorded:
        return f"PyTorch's kernel does not record {recorded[0]}"
    if {n.op for n in traced.graph.nodes} & {"norm", "mask", "noise", "weight"}:
        return "PyTorch's kernel has no layer norm, variational dropout or zoneout"
    if params.x_weight is None or params.u_weight is None or traced.window > 1:
        return "PyTorch's kernel needs an input and U"
    if any(p.shape[0] == p.shape[1] for p in params.projs.values()):
        return "PyTorch's kernel cannot project onto as many values as there are units"
    if not _computes_the_same(traced):
        return f"PyTorch's kernel {traced.kernel} computes something else than {traced.name}"
    return ""


_SEEN: dict[Hashable, bool] = {}


@torch.compiler.assume_constant_result
def _computes_the_same(traced: Traced) -> bool:
    """Whether one step of the graph is one step of the kernel that the cell says it has.

    A step that was changed in a subclass, an option of the layer or a file may say otherwise.
    """
    graph = traced.graph
    key = (traced.kernel, traced.gates, traced.states, graph.nodes, tuple(graph.outputs.items()))
    if key not in _SEEN:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            _SEEN[key] = _one_step_agrees(traced)
    return _SEEN[key]


def _one_step_agrees(traced: Traced) -> bool:
    count = {"lstm": 4, "gru": 3}.get(traced.kernel, 1)
    if not len(traced.gates) == len(traced.x_gates) == len(traced.u_gates) == count:
        return False
    if len(traced.states) != STATES[traced.kernel] or len(traced.projs) > 1:
        return False
    batch, inputs, units = 2, 3, 5
    width = {"H": units, "P": 4}

    def some(*shape: int) -> Tensor:  # no random numbers: the generator is the user's
        angles = torch.arange(math.prod(shape), dtype=torch.float64, device="cpu")
        return torch.sin(angles * (1.0 + 0.1 * len(shape)) + shape[0]).reshape(shape)

    call = Call(
        traced,
        some(1, batch, inputs),
        {s: some(batch, width[traced.widths[s]]) for s in traced.states},
        Params(
            some(count * units, inputs),
            some(count * units) * 0.5,
            some(count * units, width[traced.operand_width]),
            some(count * units) * -0.3,
            projs={name: some(4, units) for name in traced.projs},
        ),
        training=False,
    )
    ours, theirs = reference.run(call), run(call)
    pairs = [(ours.output, theirs.output)]
    pairs += [(ours.states[s], theirs.states[s]) for s in traced.states]
    return all(a.shape == b.shape and torch.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in pairs)


# Inductor cannot lower these kernels: compiled models break the graph here, as at torch.nn's.
@torch.compiler.disable
def run(call: Call) -> Answer:
    """The whole sequence in one call of PyTorch's kernel; lengths by packing."""
    traced, params, lengths = call.traced, call.params, call.lengths
    assert params.x_weight is not None  # `unfit` has seen to it
    assert params.u_weight is not None
    x, steps = call.x, call.x.shape[0]
    if lengths is not None:
        x = x.masked_fill(_padding(lengths, steps, x.device), 0)
    if call.reverse:
        x = turned(x, lengths)
    weights = [params.x_weight, params.u_weight]
    if params.x_bias is not None and params.u_bias is not None:
        weights += [params.x_bias, params.u_bias]
    weights += list(params.projs.values())
    function = getattr(torch, traced.kernel)
    initial = tuple(call.states[s].unsqueeze(0) for s in traced.states)
    hidden = initial if len(initial) > 1 else initial[0]
    biased = params.x_bias is not None
    if lengths is None or bool((lengths == steps).all()):
        output, *final = function(x, hidden, weights, biased, 1, 0.0, call.training, False, False)
    else:
        output, final = _packed(function, x, lengths, initial, weights, biased, call.training)
    if call.reverse:
        output = turned(output, lengths)
    states = {s: f.squeeze(0) for s, f in zip(traced.states, final, strict=True)}
    return Answer(output, states, dict.fromkeys(call.observe, output))


def _packed(function, x, lengths, initial, weights, biased, training):
    """Sequences of zero steps are left out of the packing and keep their initial states."""
    order = torch.argsort(lengths, descending=True, stable=True)
    kept = order[: int((lengths > 0).sum())].to(x.device)
    if not len(kept):
        width = initial[0].shape[-1]
        return x.new_zeros(*x.shape[:2], width), list(initial)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x[:, kept], lengths[kept.cpu()])
    hidden = tuple(s[:, kept] for s in initial)
    hidden = hidden if len(hidden) > 1 else hidden[0]
    data, *final = function(
        packed.data, packed.batch_sizes, hidden, weights, biased, 1, 0.0, training, False
    )
    rows = torch.nn.utils.rnn.PackedSequence(data, packed.batch_sizes)
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(rows, total_length=x.shape[0])
    output = padded.new_zeros(x.shape[0], x.shape[1], padded.shape[-1])
    output = output.index_copy(1, kept, padded)
    final = [s.to(f.dtype).index_copy(1, kept, f) for s, f in zip(initial, final, strict=True)]
    return output, final


def _padding(lengths: Tensor, steps: int, device) -> Tensor:
    times = torch.arange(steps, device=device).unsqueeze(1)
    return (times >= lengths.to(device)).unsqueeze(-1)
