"""A plan comes in; C goes out that says where states lie: what a call starts from, the states before
and after each step, the last ones, which are handed out, and what comes back to these.
"""

from ..plan import Plan
from .spelling import Spelling, number

LAST_ROWS = """\
/* Units q0 V to q1 V of some rows, each of `width` reals, from rows that are padded. */
static inline void last_rows(real *to, long width, const real *from, long padded, long b0, long b1,
                             long q0, long q1) {
  const long end = least(q1 * V, width);
  for (long row = b0; row < b1 && q0 * V < end; row++)
    memcpy(to + row * width + q0 * V, from + row * padded + q0 * V, (end - q0 * V) * sizeof(real));
}

"""


def _place(state: str, whole: str, ring: str) -> str:
    """Where a state lies, in C: where all steps are kept, and where the last two are, in turn."""
    return f"(c->ring_{state} > 2 || c->T == 1 ? ({whole}) : {ring})"


def begin(plan: Plan, spelling: Spelling) -> str:
    """What every call does first."""
    lines = []
    for s, letter in plan.traced.widths.items():
        rows = spelling.width(s)
        place = f"c->s_{s} + {_place(s, 'c->reverse ? c->T : 0', '0')} * c->B * {rows}"
        exact = f"c->r_{s}" if plan.half else "NULL"
        value = number(plan.traced.init[s])
        lines.append(
            f"if (c->i_{s} || c->blank)\n"
            f"    first_rows({place}, {exact}, {rows}, c->i_{s}, {value}, c->{letter}, b0, b1);"
        )
    starts = "\n  ".join(lines)
    return f"""
/* A first state: rows of `width` reals, or one value in all where nobody gave it (`from`), to rows
   that are padded; with all their bits to `exact` too, where that is another place. */
static inline void first_rows(kept *to, real *exact, long padded, const real *from, v value, long width,
                              long b0, long b1) {{
  for (long row = b0; row < b1; row++)
    for (long j = 0; j < padded; j += V) {{
      const long n = least(width - j, V);
      v x = from && n == V ? ld(from + row * width + j) : value;
      if (n < V) {{
        real some[V] = {{0}};
        for (long l = 0; l < n; l++) some[l] = from ? from[row * width + j + l] : value[l];
        x = ld((const real *)some);
      }}
      st(to + row * padded + j, x);
      if (exact) st(exact + row * padded + j, x);
    }}
}}

/* What me of n does before the first step: rows of x from where they lie (`source`), and first
   states, those that were given or, where none was (`blank`), what the cell starts from. */
static void begin(const call *c, long me, long n) {{
  if (c->source)
    for (long k = c->T * c->B * me / n; k < c->T * c->B * (me + 1) / n; k++)
      memcpy(c->x + k * c->ldx, c->source + k / c->B * c->source_t + k % c->B * c->source_b, c->K * sizeof(kept));
  const long b0 = c->B * me / n, b1 = c->B * (me + 1) / n;
  {starts}
}}
"""


def arrive(plan: Plan, spelling: Spelling) -> str:
    """What every backward pass does first."""
    traced, derived, lines = plan.traced, plan.derived, []
    for s, letter in traced.widths.items():
        rows = spelling.width(s)
        lines.append(
            f"arriving(c->a_{s} + (c->T & 1) * c->B * {rows}, {rows}, c->e_{s}, c->{letter}, b0, b1);"
        )
    widths = {f"dw_{name}": "c->Hp" for name in derived.by_weight}
    for name in traced.norms:
        width = f"c->{spelling.norm_letter(name)}p"
        widths |= {f"d_{part}_{name}": width for part in ("gain", "shift")}
    lines += [
        f"memset(c->{name} + g0 * {width}, 0, (g1 - g0) * {width} * sizeof(real));"
        for name, width in widths.items()
    ]
    inner = "\n  ".join(lines)
    return f"""
/* What reaches a state behind the last step, or zeros: rows of `width` reals, to rows that are padded. */
static inline void arriving(real *to, long padded, const real *from, long width, long b0, long b1) {{
  if (b0 >= b1) return;
  memset(to + b0 * padded, 0, (b1 - b0) * padded * sizeof(real));
  for (long row = b0; from && row < b1; row++) memcpy(to + row * padded, from + row * width, width * sizeof(real));
}}

/* What me of n does before the last step: what arrives at last states, and sums by groups of rows at 0. */
static void arrive(const call *c, long me, long n) {{
  const long g0 = c->G * me / n, g1 = c->G * (me + 1) / n;
  const long b0 = c->B * g0 / c->G, b1 = c->B * g1 / c->G;
  {inner}
}}
"""


def step(plan: Plan, spelling: Spelling, *, backward: bool) -> str:
    """Fill `at` for time t, the s-th step to be run."""
    traced, lines = plan.traced, []
    for s in traced.states:
        rows = f"c->B * {spelling.width(s)}"
        before = _place(s, "c->reverse ? t + 1 : t", "s & 1")
        after = _place(s, "c->reverse ? t : t + 1", "(s + 1) & 1")
        lines.append(f"at.{s}_0 = c->s_{s} + {before} * {rows};")
        lines.append(f"at.{s}_1 = c->s_{s} + {after} * {rows};")
        if plan.half and not backward:
            lines.append(f"at.{s}_before = c->r_{s} + (s & 1) * {rows};")
            lines.append(f"at.{s}_after = c->r_{s} + ((s + 1) & 1) * {rows};")
        if backward:
            lines.append(f"at.d_{s}_0 = c->a_{s} + ((s + 1) & 1) * {rows};")
            lines.append(f"at.d_{s}_1 = c->a_{s} + (s & 1) * {rows};")
    kept = "t" if backward else "(keep ? t : 0)"
    saved, norms = len(plan.saved), len(spelling.norm_index)
    lines.append(f"at.save = c->save + {kept} * c->B * {saved} * c->Hp;")
    lines.append(f"at.statistics = c->statistics + {kept} * c->B * {norms} * 2;")
    if backward:
        lines.append(f"at.dz = c->dz + t * c->B * {'SLOTS * c->Hp' if plan.half else 'V'};")
    return "\n    ".join(lines)


def finish(plan: Plan, spelling: Spelling) -> str:
    """Hand out the last states, without the padding of their rows."""
    lines = []
    for s, letter in plan.traced.widths.items():
        rows = spelling.width(s)
        last = f"c->s_{s} + {_place(s, 'c->reverse ? 0 : c->T', 'c->T & 1')}"
        if plan.half:
            last = f"c->r_{s} + (c->T & 1)"
        lines.append(
            f"if (c->f_{s}) last_rows(c->f_{s}, c->{letter}, {last} * c->B * {rows}, {rows}, "
            f"b0, b1, UNITS({rows}));"
        )
    return "\n  ".join(lines)
