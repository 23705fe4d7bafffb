"""A precision comes in; how many operations a second this machine does at most goes out.

The loop does nothing but multiply and add, in registers, on all threads, with the widest vectors or
with tiles; it is compiled as cells are.
"""

import ctypes
import hashlib
from importlib import resources

import torch

from ..engine import build
from ..engine.precision import multiplies_halves

CHAINS = {32: 24, 16: 12}  # registers → independent chains: enough to fill every pipeline
PIECE = 1 << 17  # turns of the loop that are timed at once, some hundred microseconds


def peak(dtype: str = "float32", seconds: float = 0.5) -> float:
    """The most floating point operations a second, on as many threads as PyTorch uses.

    Args:
        dtype: of what is multiplied: `float32`, `float64` or `bfloat16`.
        seconds: how long to look for it.

    Raises:
        BackendError: there is no compiler.

    Example:
        >>> peak(seconds=0.1) > 1e8
        True
    """
    machine = build.compiler()
    chains = CHAINS[machine.registers]
    half = dtype == "bfloat16" and multiplies_halves()
    source = _source(chains, dtype == "float64", half)
    identity = hashlib.sha256(f"{machine.identity}{source}".encode()).hexdigest()[:32]
    key = f"peak-{identity}"
    found = build.cached(key)
    library = build.load(found[0] if found else build.build(key, source, {}))
    library.spin.argtypes = [ctypes.c_double, ctypes.c_long]
    library.spin.restype = ctypes.c_double
    return float(library.spin(seconds, torch.get_num_threads()))


def _source(chains: int, double: bool, half: bool) -> str:
    files = ("vector.h", "half.h") if half else ("vector.h",)
    folder = resources.files("unrolled.engine.c")
    vectors = "\n".join(folder.joinpath(name).read_text("utf-8") for name in files)
    each, multiply = (2, "dot_(x, y, {a})") if half else (1, "fma_({a}, x, y)")
    names = [f"a{k}" for k in range(chains)]
    start = "\n    ".join(f"v {a} = all((real){k}e-3f);" for k, a in enumerate(names))
    turn = " ".join(f"{a} = {multiply.format(a=a)};" for a in names)
    real = "#define REAL64 1\n" if double else ""
    return f"""{real}{vectors}
#include <time.h>
#ifdef MATRIX /* the widest are tiles: 16 rows times 16 columns, of 32 values along k */
static void begin(void) {{
  struct {{
    uint8_t palette, start, none[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  }} how = {{.palette = 1}};
  for (int i = 0; i < 8; i++) how.bytes[i] = 64, how.rows[i] = 16;
  FENCE;
  _tile_loadconfig(&how);
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  _tile_zero(4); _tile_zero(5); _tile_zero(6); _tile_zero(7);
}}
#define END _tile_release()
#define TURN \\
  _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); \\
  _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7)
enum {{ OPERATIONS = 4 * 2 * 16 * 16 * 32 }};
#else
static void begin(void) {{}}
#define END (void)0
#define TURN {turn}
enum {{ OPERATIONS = 2 * {each} * V * {chains} }};
#endif
static double now(void) {{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}}
/* Chains that do not wait for each other; x and y are read, so that nothing is known beforehand.
   Each thread keeps its quickest piece: what else the machine does fits between them. */
double spin(double seconds, long threads) {{
  volatile real one = (real)0.999, little = (real)1e-3;
  double rate = 0;
  #ifdef _OPENMP
  #pragma omp parallel num_threads(threads) reduction(+ : rate)
  #endif
  {{
    v x = all(one), y = all(little);
    double begun = now(), until = begun + seconds, best = 1e9;
    {start}
    begin();
    while (begun < until) {{
      for (long i = 0; i < {PIECE}; i++) {{
        TURN;
      }}
      v seen = {" + ".join(names)};
      __asm__ volatile("" : : "m"(seen)); /* somebody may look: it has to be computed */
      double ended = now();
      if (ended - begun < best) best = ended - begun;
      begun = ended;
    }}
    END;
    rate += (double)OPERATIONS * {PIECE} / best;
  }}
  return rate;
}}
"""
