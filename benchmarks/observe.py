"""What looking costs: a trace of all states, gates and gradients beside a plain pass and back.

Both run on the same layer, batch and backend, on one thread, and what is told is the processor's
time, which other work changes little: the shortest of some rounds, and the median. No time is told
of a wrong trace: its outputs and the gradients of all parameters are compared first.

    python benchmarks/observe.py [--cells lstm,gru] [--backend c] [--rounds 7]
"""

import argparse
import statistics
import time

import torch

from unrolled import Recurrent
from unrolled.cells import names
from unrolled.errors import UnrolledError
from unrolled.inspect import trace

BATCH, STEPS, INPUTS, UNITS = 32, 100, 64, 128


def plain(layer, x):
    """One forward and backward pass of a loss on the last output."""
    output, _ = layer(x)
    loss = 0.5 * (output[:, -1] ** 2).sum()
    gradients = torch.autograd.grad(loss, [*layer.parameters()], allow_unused=True)
    return output, gradients


def seen(layer, x):
    """The same, with every state, gate and gradient by a state at every step."""
    found = trace(layer, x)
    for part in found.layers:
        for name in part.traced.graph.outputs:
            part.one.nodes[part.traced.graph.outputs[name]]
        _ = part.adjoint
    return found


def shortest(act, rounds):
    """The shortest and the median of some calls, in milliseconds."""
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        act()
        times.append(1000 * (time.process_time() - begun))
    return min(times), statistics.median(times)


def compare(name, backend, rounds):
    """A line for one cell."""
    torch.manual_seed(0)
    layer = Recurrent(name, INPUTS, UNITS, backend=backend)
    x = torch.randn(BATCH, STEPS, INPUTS)
    output, gradients = plain(layer, x)
    found = seen(layer, x)
    first = found.layers[0][layer.cell.states[0]]
    if not torch.allclose(torch.from_numpy(first), output.detach(), atol=1e-5):
        raise SystemExit(f"{name}: a trace tells other outputs")
    for key, wanted in zip(found.parameters, gradients, strict=True):
        wanted = torch.zeros_like(found.parameters[key]) if wanted is None else wanted
        error = (found.parameters[key] - wanted).abs().max()
        if error > 1e-3 * wanted.abs().max().clamp(min=1e-6):
            raise SystemExit(f"{name}: a trace tells another gradient of {key}")
    base, base_median = shortest(lambda: plain(layer, x), rounds)
    look, look_median = shortest(lambda: seen(layer, x), rounds)
    return base, look, look / base, look_median / base_median


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default="")
    parser.add_argument("--backend", default="c")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"B={BATCH} T={STEPS} I={INPUTS} H={UNITS}, {torch.get_num_threads()} threads")
    print(f"{'cell':<22}{'plain, ms':>11}{'trace, ms':>11}{'ratio':>8}{'of medians':>12}")
    ratios = []
    for name in given.cells.split(",") if given.cells else names():
        try:
            base, look, ratio, median = compare(name, given.backend, given.rounds)
        except UnrolledError as error:
            print(f"{name:<22}{error.what}")
            continue
        ratios.append(ratio)
        print(f"{name:<22}{base:>11.2f}{look:>11.2f}{ratio:>8.2f}{median:>12.2f}", flush=True)
    print(f"largest ratio {max(ratios):.2f}")


if __name__ == "__main__":
    main()
