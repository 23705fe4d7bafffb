"""A plan comes in, one C file goes out, with the list of fields by which it is called.

The file reads from top to bottom: vectors, products, what a call holds, the phases with the cell's
equations, and the two passes over time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

from ..equations import equations
from ..plan import Plan
from .spelling import Spelling, user_primitives
from .step import PhaseWriter, Run
from .tiles import tiles

# What every call holds beside its buffers: sizes, strides and switches.
COUNTS = ("T", "B", "K", "ldx", "H", "P", "Hp", "Pp", "threads", "reverse", "want_dx")
PLAIN = (
    "x", "xw", "x_weight", "x_bias", "u_weight", "u_bias", "proj_weight", "pack", "save", "carry",
    "statistics", "d_output", "dz", "back_carry", "back_statistics", "dx", "gx", "gp", "gb",
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
        first = 0
        for writer in self.forward:
            writer.x_first, first = first, first + writer.x_columns
        for writer in self.forward:
            writer.x_total = first
        self.x_total = first

    def program(self) -> Program:
        names = self._buffers()
        counts = (*COUNTS, *(f"ring_{s}" for s in self.plan.traced.states))
        folder = resources.files(__package__)
        own = [folder.joinpath(f).read_text("utf-8") for f in ("vector.h", "product.h")]
        real = "#define REAL64 1\n" if self.double else ""
        parts = [
            self._title(),
            real + own[0],
            own[1],
            tiles(self.registers),
            user_primitives(self.plan),
            self._structs(counts, names),
            self._packing(),
            *(w.text(self.registers) for w in [*self.forward, *self.backward]),
            self._ahead(),
            self._forward(),
            self._backward(),
            self._sums(),
            self._entries(),
        ]
        return Program("\n".join(parts), counts, names)

    def _title(self) -> str:
        lines = [f"   {line}" for line in equations(self.plan.traced)]
        return "\n".join([f"/* {self.plan.traced.name}, one step:", "", *lines, "*/", ""])

    # -- what a call holds

    def _buffers(self) -> tuple[str, ...]:
        traced, derived = self.plan.traced, self.plan.derived
        names = list(PLAIN)
        names += [f"s_{s}" for s in traced.states] + [f"a_{s}" for s in traced.states]
        names += [f"raw_{name}" for name in traced.weights]
        names += [f"dw_{name}" for name in derived.by_weight]
        for name in traced.norms:
            names += [f"raw_gain_{name}", f"raw_shift_{name}", f"d_gain_{name}", f"d_shift_{name}"]
        names += [f"m_{name}" for name in traced.masks] + [f"z_{name}" for name in traced.noises]
        names += [f"{kind}_{name}" for name in self.plan.observed for kind in ("o", "q")]
        names += [f"gu_{k}" for k in derived.by_u]
        return tuple(names)

    def _structs(self, counts, names) -> str:
        traced = self.plan.traced
        numbers = "\n".join(f"  long {name};" for name in counts)
        pointers = "\n".join(f"  real *{name};" for name in names)
        packed = "\n".join(f"  real *{name};" for name, _ in self._packed_fields())
        states = "\n".join(
            f"  real *{s}_0, *{s}_1, *d_{s}_0, *d_{s}_1;" for s in traced.states
        )  # before and after the step
        return f"""
typedef struct {{
{numbers}
  const int64_t *lengths;
{pointers}
}} call;

/* Weights, packed in the order in which the tiles read them. */
typedef struct {{
{packed}
}} packed;

/* One step: its time, the states before (0) and after (1) it, and its rows of what is kept. */
typedef struct {{
  long t;
{states}
  real *save, *statistics, *dz;
}} step;
"""

    @cached_property
    def all_runs(self) -> list[Run]:
        return [run for w in [*self.forward, *self.backward] for run in w.runs]

    def _packed_fields(self) -> Iterator[tuple[str, str]]:
        """Name and size of each part of the packed weights."""
        traced = self.plan.traced
        for writer in [*self.forward, *self.backward]:
            if not writer.backward and writer.columns:
                yield f"{writer.name}_bias", f"{len(writer.columns)} * {writer.width}"
            for run in writer.runs:
                yield run.name, f"up({writer.units}) * {run.count} * {run.size}"
        for gate in self.plan.derived.by_x:
            yield f"dx_{gate}", "up(c->K) * c->H"
        for name in traced.weights:
            yield f"w_{name}", "c->Hp"
        for name in traced.norms:
            width = self._norm_width(name)
            yield f"gain_{name}", width
            yield f"shift_{name}", width

    def _norm_width(self, name: str) -> str:
        from ..traced import node_widths

        graph = self.plan.traced.graph
        widths = node_widths(graph, self.plan.traced.widths)
        letter = next(
            widths[k] for k, n in enumerate(graph.nodes) if n.op == "norm" and n.attr == name
        )
        return f"c->{letter}p"

    def _packing(self) -> str:
        place = "\n  ".join(
            f"p->{name} = base + size; size += {size};" for name, size in self._packed_fields()
        )
        tasks = {False: list(self._pack_tasks(False)), True: list(self._pack_tasks(True))}
        bodies = {
            back: "\n  ".join(f"if (task++ % n == me) {{ {t} }}" for t in tasks[back])
            for back in tasks
        }
        return f"""
/* Where each part lies; returns how many reals that takes. */
static long place(const call *c, packed *p, real *base) {{
  long size = 0;
  {place}
  return size;
}}

static void pack_forward(const call *c, const packed *p, long me, long n) {{
  long task = 0;
  {bodies[False]}
  (void)task;
}}

static void pack_backward(const call *c, const packed *p, long me, long n) {{
  long task = 0;
  {bodies[True]}
  (void)task;
}}
"""

    def _pack_tasks(self, back: bool) -> Iterator[str]:
        traced = self.plan.traced
        for writer in self.backward if back else self.forward:
            if not back:
                for n, (x, u) in enumerate(writer.biases()):
                    yield self._bias(writer, n, x, u)
            for run in writer.runs:
                yield _pack(writer, run, traced)
        if back:
            for gate in self.plan.derived.by_x:
                block = traced.x_gates.index(gate)
                yield (
                    f"const real *src[] = {{c->x_weight + {block} * c->H * c->K}}; "
                    f"if (c->want_dx) pack(p->dx_{gate}, 4, c->K, c->H, 1, src, 1, c->K);"
                )
        for name in traced.weights:
            yield f"spread(p->w_{name}, c->raw_{name}, c->H);"
        for name in traced.norms:
            letter = self._norm_width(name)[3]
            yield f"spread(p->gain_{name}, c->raw_gain_{name}, c->{letter});"
            yield f"spread(p->shift_{name}, c->raw_shift_{name}, c->{letter});"

    def _bias(self, writer: PhaseWriter, n: int, x: int, u: int) -> str:
        target = f"p->{writer.name}_bias + {n} * {writer.width}"
        first = f"c->x_bias ? c->x_bias + {x} * c->H : 0" if x >= 0 else "0"
        lines = f"spread({target}, {first}, c->{writer.phase.width});"
        if u >= 0:
            lines += f" if (c->u_bias) FOR(j, c->H) ({target})[j] += c->u_bias[{u} * c->H + j];"
        return lines

    # -- the passes

    def _step(self, *, backward: bool) -> str:
        """Fill `at` for time t, the s-th step to be run."""
        traced, lines = self.plan.traced, []
        for s in traced.states:
            rows = f"c->B * {self.spelling.width(s)}"
            whole = f"c->ring_{s} > 2 || c->T == 1"
            before = f"({whole} ? (c->reverse ? t + 1 : t) : s & 1)"
            after = f"({whole} ? (c->reverse ? t : t + 1) : (s + 1) & 1)"
            lines.append(f"at.{s}_0 = c->s_{s} + {before} * {rows};")
            lines.append(f"at.{s}_1 = c->s_{s} + {after} * {rows};")
            if backward:
                lines.append(f"at.d_{s}_0 = c->a_{s} + ((s + 1) & 1) * {rows};")
                lines.append(f"at.d_{s}_1 = c->a_{s} + (s & 1) * {rows};")
        kept = "t" if backward else "(keep ? t : 0)"
        saved, norms = len(self.plan.saved), len(self.spelling.norm_index)
        lines.append(f"at.save = c->save + {kept} * c->B * {saved} * c->Hp;")
        lines.append(f"at.statistics = c->statistics + {kept} * c->B * {norms} * 2;")
        if backward:
            lines.append(f"at.dz = c->dz + t * c->B * {len(self.plan.slots)} * c->Hp;")
        return "\n    ".join(lines)

    def _ahead(self) -> str:
        """W x for all steps at once, where a step alone has too few rows for a tile."""
        lines = []
        for writer in self.forward:
            for run in writer.runs:
                if run.source != "x_weight":
                    continue
                lines.append(f"""
  for (long q = 0; q < {writer.width} / V;) {{
    const long n = block({writer.width} / V - q, {writer.most});
    for (long b = b0; b < b1;) {{
      const long rows = rows_step({run.count} * n, b1 - b);
      v acc[8 * 4];
      FOR(r, rows) FOR(k, {run.count}) FOR(i, n)
        acc[(r * {run.count} + k) * n + i] = ld(p->{writer.name}_bias + ({run.first} + k) * {writer.width} + (q + i) * V);
      MAC[{run.count} * n][rows](c->K, c->x + b * c->ldx, c->ldx, p->{run.name} + q * V * {run.count} * c->K, acc, {run.count} * n);
      FOR(r, rows) FOR(k, {run.count}) FOR(i, n)
        st(c->xw + ((b + r) * {self.x_total} + {writer.x_first + run.first} + k) * c->Hp + (q + i) * V,
           acc[(r * {run.count} + k) * n + i]);
      b += rows;
    }}
    q += n;
  }}""")  # fmt: skip
        return f"""
static void ahead(const call *c, const packed *p, long b0, long b1) {{
  (void)c, (void)p, (void)b0, (void)b1;{"".join(lines)}
}}
"""

    def _forward(self) -> str:
        phases = "\n    ".join(
            f"{w.name}(c, p, &at, b0, b1, whole ? 0 : q0, whole ? {w.width} / V : q1, keep);"
            for w in self.forward
        )
        return f"""
/* A slice of the batch through all of time; `keep` what the backward pass will read. */
static inline __attribute__((always_inline)) void forward_slice(
    const call *c, const packed *p, long b0, long b1, int whole, long q0, long q1, const int keep) {{
  FOR(s, c->T) {{
    const long t = c->reverse ? c->T - 1 - s : s;
    step at;
    at.t = t;
    {self._step(backward=False)}
    {phases}
  }}
}}
"""

    def _backward(self) -> str:
        phases = "\n    ".join(
            f"{w.name}(c, p, &at, b0, b1, whole ? 0 : q0, whole ? {w.width} / V : q1);"
            for w in self.backward
        )
        idle = "\n    ".join(
            f"untouched(c, &at, at.d_{s}_0, at.d_{s}_1, {self.spelling.width(s)}, b0, b1, whole, q0, q1);"
            for s in self.plan.traced.states
            if s not in self.plan.derived.by_state
        )
        return f"""
/* A state that the step never reads: nothing reaches it, but for what passes through padding. */
static inline void untouched(const call *c, const step *at, const real *before, real *after, long width,
                             long b0, long b1, int whole, long q0, long q1) {{
  const long j0 = whole ? 0 : q0 * V, j1 = whole ? width : q1 * V;
  for (long row = b0; row < b1; row++) {{
    const int padding = c->lengths && at->t >= c->lengths[row];
    for (long j = j0; j < j1; j += V) st(after + row * width + j, padding ? ld(before + row * width + j) : all(0));
  }}
}}

static void backward_slice(const call *c, const packed *p, long b0, long b1, int whole, long q0, long q1) {{
  for (long s = c->T - 1; s >= 0; s--) {{
    const long t = c->reverse ? c->T - 1 - s : s;
    step at;
    at.t = t;
    {self._step(backward=True)}
    {phases}
    {idle}
  }}
}}
"""

    def _sums(self) -> str:
        """dW, dU and dP as outer products over all rows of time and batch; dx = W^T dz."""
        traced, derived, spelling = self.plan.traced, self.plan.derived, self.spelling
        slots, lines = len(self.plan.slots), []
        for gate, k in derived.by_x.items():
            n = traced.x_gates.index(gate)
            lines.append(
                f"outer(c, c->x, c->ldx, c->K, {spelling.slots[k]}, c->Hp, "
                f"c->gx + {n} * c->Hp, {len(traced.x_gates)} * c->Hp, me, n);"
            )
        for node, k in derived.by_u.items():
            base, stride, size = self._sequence(traced.graph.nodes[node].args[0])
            lines.append(
                f"outer(c, {base}, {stride}, {size}, {spelling.slots[k]}, c->Hp, "
                f"c->gu_{node}, c->Hp, me, n);"
            )
        for name, k in derived.by_proj.items():
            cuts = [m for m in traced.graph.nodes if m.op == "proj" and m.attr == name]
            base, stride, size = self._sequence(cuts[0].args[0])
            n = traced.projs.index(name)
            lines.append(
                f"outer(c, {base}, {stride}, {size}, {spelling.slots[k]}, c->Pp, "
                f"c->gp + {n} * c->Pp, {len(traced.projs)} * c->Pp, me, n);"
            )
        inputs = [f"{{p->dx_{gate}, {spelling.slots[k]}}}" for gate, k in derived.by_x.items()] or [
            "{0, 0}"
        ]
        return f"""
/* out[i][unit] = sum over time and batch of a[.][i] * dz[.][slot][unit]; me of n does its own i. */
static void outer(const call *c, const real *a, long lda, long size, long slot, long width,
                  real *out, long ldo, long me, long n) {{
  const long rows = c->T * c->B, ldz = {slots} * c->Hp, strip = 6;
  const long strips = (size + strip - 1) / strip;
  const long i0 = least(size, strips * me / n * strip), i1 = least(size, strips * (me + 1) / n * strip);
  for (long i = i0; i < i1; i++) memset(out + i * ldo, 0, width * sizeof(real));
  for (long k = 0; k < rows; k += 128)
    for (long q = 0; q < width / V;) {{
      const long m = block(width / V - q, 4);
      const real *z = c->dz + k * ldz + slot * c->Hp + q * V;
      for (long i = i0; i < i1;) {{
        const long r = rows_step(m, least(i1 - i, 6));
        OUTER[m][r](least(128, rows - k), a + k * lda + i, lda, z, ldz, out + i * ldo + q * V, ldo);
        i += r;
      }}
      q += m;
    }}
}}

static void outers(const call *c, long me, long n) {{
  {f"{chr(10)}  ".join(lines)}
  /* Biases: sums of dz itself. */
  const long units = {slots} * c->Hp / V;
  for (long q = units * me / n; q < units * (me + 1) / n; q++) {{
    v sum = all(0);
    FOR(k, c->T * c->B) sum += ld(c->dz + (k * {slots} * c->Hp) + q * V);
    st(c->gb + q * V, sum);
  }}
}}

static void inputs(const call *c, const packed *p, long b0, long b1) {{
  (void)p;
  const struct {{ const real *w; long slot; }} from[] = {{{", ".join(inputs)}}};
  const long Kp = up(c->K);
  for (long q = 0; q < Kp / V;) {{
    const long n = block(Kp / V - q, 4);
    for (long b = b0; b < b1;) {{
      const long rows = rows_step(n, b1 - b);
      v acc[8 * 4];
      FOR(r, rows * n) acc[r] = all(0);
      FOR(g, {len(derived.by_x)})
        MAC[n][rows](c->H, c->dz + (b * {slots} + from[g].slot) * c->Hp, {slots} * c->Hp, from[g].w + q * V * c->H, acc, n);
      FOR(r, rows) FOR(i, n) st(c->dx + (b + r) * Kp + (q + i) * V, acc[r * n + i]);
      b += rows;
    }}
    q += n;
  }}
}}
"""

    def _sequence(self, k: int) -> tuple[str, str, str]:
        """A product's operand over the whole sequence: base, distance of rows, how many units."""
        traced, spelling = self.plan.traced, self.spelling
        node = traced.graph.nodes[k]
        letter = self._width_of(k)
        if node.op == "weight":
            return f"c->raw_{node.attr}", "0", f"c->{letter}"
        if node.op == "state" or k in spelling.made:
            s = str(node.attr) if node.op == "state" else spelling.made[k][0]
            width = spelling.width(s)
            shifted = "c->reverse ? 1 : 0" if node.op == "state" else "c->reverse ? 0 : 1"
            return f"c->s_{s} + ({shifted}) * c->B * {width}", width, f"c->{letter}"
        count, n = len(spelling.saved), spelling.saved[k]
        return f"c->save + {n} * c->Hp", f"{count} * c->Hp", f"c->{letter}"

    def _width_of(self, k: int) -> str:
        from ..traced import node_widths

        return node_widths(self.plan.traced.graph, self.plan.traced.widths)[k]

    def _entries(self) -> str:
        units = 1 if self.plan.scans else 0
        rows = {s: f"c->B * {self.spelling.width(s)}" for s in self.plan.traced.states}
        shift = "\n    ".join(
            f"memcpy(c->s_{s}, c->s_{s} + {n}, {n} * sizeof(real));" for s, n in rows.items()
        )
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
/* Units of a cell without products are independent: a small batch is split over them. */
#define SLICE \\
  const int whole = !{units} || c->B >= n; \\
  const long b0 = whole ? c->B * me / n : 0, b1 = whole ? c->B * (me + 1) / n : c->B; \\
  const long Q = c->Hp / V, q0 = Q * me / n, q1 = Q * (me + 1) / n

long pack_size(const call *c) {{
  packed p;
  return place(c, &p, 0);
}}
long vector_reals(void) {{ return V; }}

void forward(const call *c, long keep) {{
  packed parts, *p = &parts;
  place(c, p, c->pack);
  TEAM
  {{
    ME;
    const unsigned long zeros = quick_zeros();
    pack_forward(c, p, me, n);
    MEET
    if (c->xw) {{
      ahead(c, p, c->T * c->B * me / n, c->T * c->B * (me + 1) / n);
      MEET
    }}
    SLICE;
    if (keep) forward_slice(c, p, b0, b1, whole, q0, q1, 1);
    else forward_slice(c, p, b0, b1, whole, q0, q1, 0);
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
  FOR(k, count) {{
    const call *c = layers[k];
    packed parts, *p = &parts;
    place(c, p, c->pack);
    forward_slice(c, p, 0, c->B, 1, 0, 0, 0);
    {shift}
  }}
  restore_zeros(zeros);
}}

void backward(const call *c) {{
  packed parts, *p = &parts;
  place(c, p, c->pack);
  TEAM
  {{
    ME;
    const unsigned long zeros = quick_zeros();
    pack_backward(c, p, me, n);
    MEET
    SLICE;
    backward_slice(c, p, b0, b1, whole, q0, q1);
    MEET
    outers(c, me, n);
    if (c->want_dx) inputs(c, p, c->T * c->B * me / n, c->T * c->B * (me + 1) / n);
    restore_zeros(zeros);
  }}
}}
"""


def _pack(writer: PhaseWriter, run: Run, traced) -> str:
    most, size = writer.most, run.size
    if run.source == "x_weight":
        src = ", ".join(f"c->x_weight + {b} * c->H * c->K" for b in run.blocks)
        strides = "c->K, 1"
    elif run.source == "u_weight":
        width = f"c->{traced.operand_width}"
        src = ", ".join(f"c->u_weight + {b} * c->H * {width}" for b in run.blocks)
        strides = f"1, {width}" if run.back else f"{width}, 1"
    else:
        src = ", ".join(f"c->proj_weight + {b} * c->P * c->H" for b in run.blocks)
        strides = "1, c->H" if run.back else "c->H, 1"
    return (
        f"const real *src[] = {{{src}}}; "
        f"pack(p->{run.name}, {most}, {writer.units}, {size}, {run.count}, src, {strides});"
    )
