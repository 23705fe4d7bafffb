"""A plan comes in, one C file goes out, with the list of fields by which it is called.

The file reads from top to bottom: vectors, products, what a call holds, the phases with the cell's
equations, and the two passes over time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from ..equations import equations
from ..plan import Plan
from .packing import Packing
from .spelling import Spelling, user_primitives
from .states import LAST_ROWS, arrive, begin, finish, step
from .step import PhaseWriter
from .sums import ONE, Sums
from .tiles import MOST, Layout, tiles

# What is kept between steps and what is multiplied; everything else is reals.
KEPT = ("x", "source", "x_weight", "u_weight", "proj_weight", "save", "d_output", "dz", "dx")
KEPT_OF = ("s_", "o_", "q_")  # of each state, of each record
# What every call holds beside its buffers: sizes, strides and switches.
COUNTS = (
    "T", "B", "G", "K", "ldx", "H", "P", "Hp", "Pp", "S", "threads", "reverse", "split", "want_dx",
    "ldt", "ldb", "source_t", "source_b", "blank", "want_first",
)  # fmt: skip
PLAIN = (
    "x", "source", "xw", "x_weight", "x_bias", "u_weight", "u_bias", "proj_weight", "pack", "save",
    "carry", "statistics", "d_output", "dz", "back_carry", "back_statistics", "dx", "gx", "gu", "gp", "gb",
    "gbx", "gbu", "sums",
)  # fmt: skip


@dataclass(frozen=True)
class Program:
    """A cell as C.

    Args:
        source: the file.
        counts: names of the whole-number fields of a call, in order; `lengths` follows them.
        buffers: names of its pointers to reals, in order.
    """

    source: str
    counts: tuple[str, ...]
    buffers: tuple[str, ...]


def emit(plan: Plan, *, registers: int, double: bool) -> Program:
    """Write a plan as C.

    Args:
        plan: what runs in which phase.
        registers: vector registers of the machine: 32 or 16.
        double: whether reals have 64 bits.
    """
    return _Writer(plan, registers, double).program()


class _Writer:
    def __init__(self, plan: Plan, registers: int, double: bool):
        self.plan, self.registers, self.double = plan, registers, double
        self.spelling = Spelling(plan)
        self.forward = [
            PhaseWriter(self.spelling, f"forward{n}", phase, backward=False)
            for n, phase in enumerate(plan.forward)
        ]
        self.backward = [
            PhaseWriter(self.spelling, f"backward{n}", phase, backward=True)
            for n, phase in enumerate(plan.backward)
        ]
        fetched: set[str] = set()
        for writer in self.backward:
            writer.fetched = fetched
        first = 0
        for writer in self.forward:
            writer.x_first, first = first, first + writer.x_columns
        for writer in self.forward:
            writer.x_total = first
        self.packing = Packing(plan, self.spelling, self.forward, self.backward, registers)
        self.sums = Sums(plan, self.spelling)

    def program(self) -> Program:
        names = self._buffers()
        counts = (*COUNTS, *(f"ring_{s}" for s in self.plan.traced.states))
        folder = resources.files(__package__)
        files = ("vector.h", "half.h", "product.h", "matrix.h", "panels.h")
        vector, half, product, matrix, panels = (
            folder.joinpath(f).read_text("utf-8") for f in files
        )
        real = "#define REAL64 1\n" if self.double else ""
        if self.plan.half:
            real, vector = "#define HALF 1\n", f"{vector}\n{half}"
            product += f"\n#ifdef MATRIX\n{matrix}\n#endif\n"
        parts = [
            self._title(),
            real + vector,
            product,
            tiles(self._layouts(), self.registers),
            panels,
            user_primitives(self.plan),
            self._structs(counts, names),
            self.packing.text(),
            *(w.text(self.registers) for w in [*self.forward, *self.backward]),
            self.packing.ahead(),
            begin(self.plan, self.spelling),
            self._forward(),
            self.sums.inputs(),
            self._backward(),
            arrive(self.plan, self.spelling),
            self.sums.outers(),
            self._entries(),
        ]
        return Program("\n".join(parts), counts, names)

    def _layouts(self) -> Iterator[tuple[Layout, int]]:
        for writer in [*self.forward, *self.backward]:
            for group in writer.groups:
                yield group.layout, writer.most
                if group.reads_x and not writer.backward:
                    yield ((0, group.reads_x),), writer.most
        if self.plan.derived.by_x:
            yield ONE, MOST

    def _title(self) -> str:
        lines = [f"   {line}" for line in equations(self.plan.traced)]
        return "\n".join([f"/* {self.plan.traced.name}, one step:", "", *lines, "*/", ""])

    # -- what a call holds

    def _buffers(self) -> tuple[str, ...]:
        traced, derived = self.plan.traced, self.plan.derived
        names = list(PLAIN)
        names += [f"{kind}_{s}" for kind in ("s", "a") for s in traced.states]
        if self.plan.half:  # what is carried from step to step, with all its bits
            names += [f"r_{s}" for s in traced.states]
        names += [f"{kind}_{s}" for kind in ("i", "f", "e") for s in traced.states]
        names += [f"raw_{name}" for name in traced.weights]
        names += [f"dw_{name}" for name in derived.by_weight]
        for name in traced.norms:
            names += [f"raw_gain_{name}", f"raw_shift_{name}", f"d_gain_{name}", f"d_shift_{name}"]
        names += [f"m_{name}" for name in traced.masks] + [f"z_{name}" for name in traced.noises]
        names += [f"{kind}_{name}" for name in self.plan.observed for kind in ("o", "q")]
        return tuple(names)

    def _structs(self, counts, names) -> str:
        traced = self.plan.traced
        numbers = "\n".join(f"  long {name};" for name in counts)
        pointers = "\n".join(
            f"  {'kept' if name in KEPT or name.startswith(KEPT_OF) else 'real'} *{name};"
            for name in names
        )
        packed = "\n".join(f"  real *{name};" for name, _ in self.packing.fields())
        exact = ", *{s}_before, *{s}_after" if self.plan.half else ""
        states = "\n".join(
            f"  kept *{s}_0, *{s}_1;\n  real *d_{s}_0, *d_{s}_1{exact.format(s=s)};"
            for s in traced.states
        )  # before and after the step
        return f"""
enum {{ SLOTS = {len(self.spelling.slots)} }}; /* derivatives of which each step keeps a row of units */
typedef struct {{
{numbers}
  const int64_t *lengths;
{pointers}
}} call;

/* Weights, packed in the order in which the tiles read them. */
typedef struct {{
{packed}
}} packed;

/* One step: its time, whether the states before it are zeros, the states before (0) and after (1)
   it, and its rows of what is kept. */
typedef struct {{
  long t, blank;
{states}
  kept *save, *dz;
  real *statistics;
}} step;
"""

    # -- the passes

    def _forward(self) -> str:
        phases = self._in_turn(self.forward, ", keep")
        block = max((w.most for w in [*self.forward, *self.backward] if w.columns), default=1)
        return f"""
#ifdef _OPENMP
#define TEAM _Pragma("omp parallel num_threads(c->threads) if (c->threads > 1)")
#define MEET _Pragma("omp barrier")
#define ME const long me = omp_get_thread_num(), n = omp_get_num_threads()
#else
#define TEAM
#define MEET
#define ME const long me = 0, n = 1
#endif
/* What me of n does of each step: all units of some groups of rows, or some units of all rows. */
#define SLICE \\
  const int whole = !c->split; \\
  const long b0 = whole ? c->B * (c->G * me / n) / c->G : 0; \\
  const long b1 = whole ? c->B * (c->G * (me + 1) / n) / c->G : c->B
/* Where thread me's vectors of units begin, and those of the one before it end: in whole blocks, as weights are packed. */
static inline long units(long width, long me, long n) {{
  const long block = {block};
  return least(width / V, (width / V + block - 1) / block * me / n * block);
}}
#define UNITS(width) whole ? 0 : units(width, me, n), whole ? (width) / V : units(width, me + 1, n)

{LAST_ROWS}/* A thread's slice through all of time; `keep` what the backward pass will read. */
static inline __attribute__((always_inline)) void forward_slice(
    const call *given, const packed *p, long me, long n, const int keep) {{
  const call own = *given, *const c = &own; /* which no store can change, as the compiler sees */
  SLICE;
  FOR(s, c->T) {{
    const long t = c->reverse ? c->T - 1 - s : s;
    step at;
    at.t = t;
    at.blank = c->blank && s == 0;
    {step(self.plan, self.spelling, backward=False)}
    {phases}
  }}
  {finish(self.plan, self.spelling)}
}}
"""

    def _backward(self) -> str:
        phases = self._in_turn(self.backward, last=self._of_states())
        idle = "\n    ".join(
            f"untouched(c, &at, at.d_{s}_0, at.d_{s}_1, {self.spelling.width(s)}, b0, b1, "
            f"UNITS({self.spelling.width(s)}));"
            for s in self.plan.traced.states
            if s not in self.plan.derived.by_state
        )
        return f"""
/* A state that the step never reads: nothing reaches it, but for what passes through padding. */
static inline void untouched(const call *c, const step *at, const real *before, real *after, long width,
                             long b0, long b1, long q0, long q1) {{
  for (long row = b0; row < b1; row++) {{
    const int padding = c->lengths && at->t >= c->lengths[row];
    for (long j = q0 * V; j < q1 * V; j += V) st(after + row * width + j, padding ? ld(before + row * width + j) : all(0));
  }}
}}

/* Whether dx is computed step by step, while dz is in cache: where every thread has rows for some tiles. */
static inline int at_once(const call *c, long n) {{ return !c->split && c->B / n >= 16; }}

static void backward_slice(const call *given, const packed *p, long me, long n) {{
  const call own = *given, *const c = &own;
  SLICE;
  for (long s = c->T - 1; s >= 0; s--) {{
    const long t = c->reverse ? c->T - 1 - s : s;
    step at;
    at.t = t;
    {step(self.plan, self.spelling, backward=True)}
    {phases}
    {idle}
    if (c->want_dx && at_once(c, n)) inputs(given, p, t * c->B + b0, t * c->B + b1);
  }}
}}
"""

    def _in_turn(self, writers: list[PhaseWriter], more: str = "", last: int = 0) -> str:
        """The phases of a step; where threads share the units, a product waits for all of them.

        `last`: how many at the end only say what first states receive, where somebody asks.
        """
        meet = "" if self.plan.scans else "\n    if (!whole) { MEET }"
        calls = [f"{w.name}(c, p, &at, b0, b1, UNITS({w.width}){more});{meet}" for w in writers]
        first = len(calls) - last
        if last:
            calls[first:] = ["if (s || c->want_first) {", *calls[first:], "}"]
        return "\n    ".join(calls)

    def _of_states(self) -> int:
        """How many phases at the end of the backward pass derive nothing but states before."""
        derived, count = self.plan.derived, 0
        others = {*self.spelling.slots, *derived.by_weight.values(), *derived.by_norm.values()}
        before = {*derived.by_state.values()} - others
        for phase in reversed(self.plan.backward):
            if phase.norms or not before.issuperset(phase.stores):
                break
            count += 1
        return count

    def _entries(self) -> str:
        rows = {s: f"c->B * {self.spelling.width(s)}" for s in self.plan.traced.states}
        kinds = (("s", "kept"), ("r", "real")) if self.plan.half else (("s", "kept"),)
        shift = "\n    ".join(
            f"memcpy(c->{kind}_{s}, c->{kind}_{s} + {n}, {n} * sizeof({of}));"
            for s, n in rows.items()
            for kind, of in kinds
        )
        return f"""
long pack_size(const call *c) {{
  packed p;
  return place(c, &p, 0);
}}
long vector_reals(void) {{ return V; }}
/* Reals that the sums over time take. */
long sum_size(const call *c) {{ return summed_reals(c) + c->threads * panel_reals(c); }}

void forward(const call *c, long keep) {{
  packed parts, *p = &parts;
  place(c, p, c->pack);
  TEAM
  {{
    ME;
    const unsigned long zeros = quick_zeros();
    tiles_begin();
    pack_forward(c, p, me, n);
    begin(c, me, n);
    MEET
    if (c->xw) {{
      ahead(c, p, c->T * c->B * me / n, c->T * c->B * (me + 1) / n);
      MEET
    }}
    if (keep) forward_slice(c, p, me, n, 1);
    else forward_slice(c, p, me, n, 0);
    tiles_end();
    restore_zeros(zeros);
  }}
}}

/* Streams: weights packed once, then one step of all layers a call. */
void bind(const call *c) {{
  packed parts, *p = &parts;
  place(c, p, c->pack);
  pack_forward(c, p, 0, 1);
}}

void advance(const call *const *layers, long count) {{
  const unsigned long zeros = quick_zeros();
  tiles_begin();
  FOR(k, count) {{
    const call *c = layers[k];
    packed parts, *p = &parts;
    place(c, p, c->pack);
    forward_slice(c, p, 0, 1, 0);
    {shift}
  }}
  tiles_end();
  restore_zeros(zeros);
}}

void backward(const call *c) {{
  packed parts, *p = &parts;
  place(c, p, c->pack);
  TEAM
  {{
    ME;
    const unsigned long zeros = quick_zeros();
    tiles_begin();
    pack_backward(c, p, me, n);
    arrive(c, me, n);
    MEET
    backward_slice(c, p, me, n);
    MEET
    outers(c, me, n);
    if (c->want_dx && !at_once(c, n)) inputs(c, p, c->T * c->B * me / n, c->T * c->B * (me + 1) / n);
    tiles_end();
    restore_zeros(zeros);
  }}
}}
"""
