"""How long the first call of each cell takes: with an empty cache, and in a later process.

A first call derives, emits, compiles and loads, or only loads; what the second call takes is left
out. Every cell of the catalogue (or those named), a table in Markdown.

    python benchmarks/first_use.py [CELL ...]
"""

import json
import os
import subprocess
import sys
import tempfile
import time

WANTED_COLD, WANTED_WARM = 2.0, 5.0  # seconds, milliseconds


def first_calls(cells):
    """Seconds that each cell's first call takes beyond its second, in this process."""
    import torch

    from unrolled.layers import Recurrent

    x = torch.zeros(2, 3, 8)
    torch.nn.LSTM(8, 8)(x)  # what PyTorch itself does only once
    for cell in cells:
        layer = Recurrent(cell, 8, 8, backend="c")
        times = [time.perf_counter()]
        for _ in range(2):
            layer(x)
            times.append(time.perf_counter())
        yield cell, (times[1] - times[0]) - (times[2] - times[1])


def in_a_process(cells, cache):
    """The same, in a process of its own with this folder for its cache."""
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    environment.pop("UNROLLED_KERNELS", None)
    words = [sys.executable, __file__, "--inside", *cells]
    ran = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(ran.stdout)


def main(arguments):
    if arguments[:1] == ["--inside"]:
        print(json.dumps(dict(first_calls(arguments[1:]))))
        return
    from unrolled.cells import names

    cells = arguments or list(names())
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = in_a_process(cells, cache), in_a_process(cells, cache)
    print("| cell | first call ever, s | first of a later process, ms |\n|---|---:|---:|")
    for cell in cells:
        print(f"| {cell} | {cold[cell]:.2f} | {1e3 * warm[cell]:.1f} |")
    slow = (
        [c for c in cells if cold[c] > WANTED_COLD],
        [c for c in cells if 1e3 * warm[c] > WANTED_WARM],
    )
    print(f"\nabove {WANTED_COLD:g} s: {' '.join(slow[0]) or 'none'}")
    print(f"above {WANTED_WARM:g} ms: {' '.join(slow[1]) or 'none'}")


if __name__ == "__main__":
    main(sys.argv[1:])
