"""What a GPU's own kernels take: the bar for kernels of ours, and what runs there until then.

`nn.LSTM` and `nn.GRU` (cuDNN on a GPU of NVIDIA's), a peephole LSTM as a loop of PyTorch's
operations, and the same loop recorded once as a CUDA graph and replayed; forward alone, and forward
and backward. All take turns; medians are said. `--device cpu` tries the script, without graphs.

    python benchmarks/gpu_bar.py [--device cuda] [--rounds 30] [--shape 16,1024,768]
"""

import argparse
import statistics
import time

import torch
from torch import nn

from unrolled import Recurrent

SHAPES = ("16,1024,768", "64,256,256", "1,4096,512")  # B, T, H; as many inputs as units
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
WARM = 3  # calls before a graph is recorded, as PyTorch's manual asks for


def work(layer, x, *, training):
    """One call, as a function without arguments."""

    def call():
        if not training:
            with torch.no_grad():
                layer(x)
            return
        layer.zero_grad(set_to_none=False)
        layer(x)[0].sum().backward()

    return call


def replayed(call):
    """The same call, recorded as a CUDA graph."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def seconds(call, device):
    """How long one call takes, until the device has done it."""
    begun = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def contenders(shape, dtype, device, *, training):
    """Name → call."""
    batch, steps, units = shape
    torch.manual_seed(0)
    x = torch.randn(batch, steps, units, device=device, dtype=dtype)
    peephole = Recurrent("peephole", units, units, backend="reference")
    layers = {
        "nn.LSTM": nn.LSTM(units, units, batch_first=True),
        "nn.GRU": nn.GRU(units, units, batch_first=True),
        "peephole, loop": peephole,
    }
    calls = {
        name: work(layer.to(device, dtype), x, training=training) for name, layer in layers.items()
    }
    if device.type == "cuda":
        calls["peephole, graph"] = replayed(work(peephole, x, training=training))
    return calls


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--shape", action="append", help="B,T,H; may be said more than once")
    parser.add_argument("--dtype", choices=DTYPES, action="append")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here: say --device cpu to try the script")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}, {options.rounds} rounds\n")
    print("| B, T, H | dtype | work | who | ms | of nn.LSTM |\n|---|---|---|---|---:|---:|")
    for text in options.shape or SHAPES:
        shape = tuple(map(int, text.split(",")))
        for dtype in options.dtype or DTYPES:
            for training in (False, True):
                calls = contenders(shape, DTYPES[dtype], device, training=training)
                times = {who: [] for who in calls}
                for n in range(1 + options.rounds):
                    for who, call in calls.items():
                        took = seconds(call, device)
                        if n:  # the first call of each warms up
                            times[who].append(took)
                medians = {who: 1e3 * statistics.median(took) for who, took in times.items()}
                doing = "forward and backward" if training else "forward"
                for who, took in medians.items():
                    ratio = took / medians["nn.LSTM"]
                    print(f"| {text} | {dtype} | {doing} | {who} | {took:.3f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
