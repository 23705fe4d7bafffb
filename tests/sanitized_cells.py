"""The emitted C of cells under AddressSanitizer and UndefinedBehaviorSanitizer, in odd shapes.

A read or write beyond a buffer, and whatever C leaves undefined, ends the run with the line of C.
Buffers are as large as they were asked for: no rounding hides an overrun.

    python tests/sanitized_cells.py [CELL ...]
"""

import os
import subprocess
import sys

FLAGS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
IN_BFLOAT16 = [(6, 7, 5, 17, 2), (8, 34, 40, 33, 1)]
LENGTHS = [6, 1, 3, 0, 2, 6, 5]


def preloaded(path):
    """This environment, with the sanitizer's library before all others."""
    found = subprocess.run(
        [path, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    return {
        **os.environ,
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }


def inside(cells):
    """Hold each cell against the reference, its C sanitized."""
    import torch

    from held import compiled_with, hold
    from test_bfloat16 import hold as hold_in_bfloat16
    from test_engine_cells import SHAPES, of
    from test_matrix import IN_C
    from unrolled.cells import find
    from unrolled.engine import bound, gradients, precision

    class Apart:
        """A room whose buffers lie apart, so that what is read beyond one of them is seen."""

        def __init__(self, places, memory=None, at=0):
            shapes = places.shapes.items()
            self.parts = {n: torch.empty(shape, dtype=kind) for n, (shape, kind) in shapes}

        def point(self, struct):
            for name, part in self.parts.items():
                setattr(struct, name, part.data_ptr())

        def own(self):
            return [part.view(-1) for part in self.parts.values()]

        def tensor(self, name):
            return self.parts[name]

    bound.POOL.take = lambda *shape, dtype: torch.empty(shape, dtype=dtype)
    bound.Room = gradients.Room = Apart
    bound._threads = lambda work: 2
    halves = precision.multiplies_halves()
    with compiled_with(*FLAGS, *(IN_C if halves else ())):
        for name in cells:
            torch.manual_seed(0)
            for steps, batch, inputs, units, layers in SHAPES:
                hold(of(name, units), steps, batch, inputs, units, layers)
            for dtype in (torch.float32, torch.float64):
                call = {"lengths": LENGTHS, "bidirectional": True, "with_state": True}
                hold(of(name, 17), 6, 7, 5, 17, 2, dtype=dtype, **call)
            bound.LARGE, large = 0, bound.LARGE  # now threads share the units of a step
            hold(of(name, 33), 4, 3, 5, 33, 2, lengths=[4, 0, 2], bidirectional=True)
            bound.LARGE = large
            observe = tuple(find(name).trace().graph.outputs)
            hold(of(name, 33), 5, 9, 3, 33, 1, observe=observe, training=False)
            for shape in IN_BFLOAT16 if halves else ():
                hold_in_bfloat16(of(name, shape[3]), *shape)
            print(name, flush=True)


def main(arguments):
    if arguments[:1] == ["--inside"]:
        inside(arguments[1:])
        return 0
    from unrolled.cells import names
    from unrolled.engine.compiler import compiler

    words = [sys.executable, __file__, "--inside", *(arguments or names())]
    return subprocess.run(words, env=preloaded(compiler().path), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
