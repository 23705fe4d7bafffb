"""A plan comes in; C goes out that sums its derivatives over time: dW, dU, dP, biases, and dx.

Sums run over time and batch in order, and threads share the units: bits do not depend on either.
"""

from ..plan import Plan
from .spelling import Spelling
from .step import PhaseWriter
from .tiles import Layout, table

ONE: Layout = ((0, 1),)


def operands(plan: Plan) -> list[tuple[int, list[int]]]:
    """What U multiplies, each once, with the nodes of its products; `gu_0`, … follow this order."""
    found: dict[int, list[int]] = {}
    for node in plan.derived.by_u:
        found.setdefault(plan.traced.graph.nodes[node].args[0], []).append(node)
    return list(found.items())


class Sums:
    """What is summed after the backward pass over time."""

    def __init__(self, plan: Plan, spelling: Spelling, backward: list[PhaseWriter]):
        self.plan, self.spelling, self.backward = plan, spelling, backward
        self._summed: set[int] = set()

    def text(self) -> str:
        """`outers` and `inputs`."""
        return (
            f"{_OUTER.replace('SLOTS', str(len(self.plan.slots)))}{self._outers()}{self._inputs()}"
        )

    def _outers(self) -> str:
        traced, derived, slots = self.plan.traced, self.plan.derived, self.spelling.slots
        self._summed, lines = set(), []
        if derived.by_x:
            order = [traced.x_gates.index(gate) for gate in derived.by_x]
            lines.append(
                self._outer("c->x", "c->ldx", "c->K", [slots[k] for k in derived.by_x.values()],
                            order, "c->gx", f"{len(traced.x_gates)} * c->Hp", "c->Hp")
            )  # fmt: skip
        for n, (operand, nodes) in enumerate(operands(self.plan)):
            base, stride, size = self._sequence(operand)
            found = [slots[derived.by_u[node]] for node in nodes]
            lines.append(
                self._outer(base, stride, size, found, list(range(len(nodes))), f"c->gu_{n}",
                            f"{len(nodes)} * c->Hp", "c->Hp")
            )  # fmt: skip
        for name, k in derived.by_proj.items():
            cuts = [m for m in traced.graph.nodes if m.op == "proj" and m.attr == name]
            base, stride, size = self._sequence(cuts[0].args[0])
            lines.append(
                self._outer(base, stride, size, [slots[k]], [traced.projs.index(name)], "c->gp",
                            f"{len(traced.projs)} * c->Pp", "c->Pp")
            )  # fmt: skip
        body = "\n  ".join(lines)
        return f"""
static void outers(const call *c, const packed *p, long me, long n) {{
  (void)c, (void)p, (void)me, (void)n;
  {body}
}}
"""

    def _outer(self, base, stride, size, slots, order, out, ldo, width) -> str:
        """One operand with all that it is multiplied with; a slot's own sum goes with its first."""
        rows = [f"{{{slot}, {n}, {int(slot not in self._summed)}}}"
                for slot, n in zip(slots, order, strict=True)]  # fmt: skip
        self._summed |= set(slots)
        return (
            f"{{ const target to[] = {{{', '.join(rows)}}}; outer(c, {base}, {stride}, {size}, "
            f"to, {len(rows)}, {width}, {out}, {ldo}, p->panels + me * panel_reals(c), me, n); }}"
        )

    def _sequence(self, k: int) -> tuple[str, str, str]:
        """A product's operand over the whole sequence: base, distance of rows, how many units."""
        traced, spelling = self.plan.traced, self.spelling
        node, letter = traced.graph.nodes[k], spelling.widths[k]
        if node.op == "weight":
            return f"c->raw_{node.attr}", "0", f"c->{letter}"
        if node.op == "state" or k in spelling.made:
            s = str(node.attr) if node.op == "state" else spelling.made[k][0]
            width = spelling.width(s)
            shifted = "c->reverse ? 1 : 0" if node.op == "state" else "c->reverse ? 0 : 1"
            return f"c->s_{s} + ({shifted}) * c->B * {width}", width, f"c->{letter}"
        count, n = len(spelling.saved), spelling.saved[k]
        return f"c->save + {n} * c->Hp", f"{count} * c->Hp", f"c->{letter}"

    def _inputs(self) -> str:
        by_x, slots = self.plan.derived.by_x, self.spelling.slots
        if not by_x:
            return """
static void inputs(const call *c, const packed *p, long b0, long b1) {
  (void)p;
  memset(c->dx + b0 * up(c->K), 0, (b1 - b0) * up(c->K) * sizeof(real));
}
"""
        count = len(self.plan.slots)
        parts = ", ".join(
            f"{{c->dz + (b * {count} + {slots[k]}) * c->Hp, {count} * c->Hp, c->H, 0}}"
            for k in by_x.values()
        )
        return f"""
/* dx = W^T dz, for all steps at once. */
static void inputs(const call *c, const packed *p, long b0, long b1) {{
  const long Kp = up(c->K);
  for (long q = 0; q < Kp / V;) {{
    const long n = block(Kp / V - q, 4);
    for (long b = b0; b < b1;) {{
      const long rows = share(b1 - b, MOST_ROWS[n]);
      const part parts[] = {{{parts}, {{0, 0, 0, -1}}}};
      const real *const start[] = {{ZEROS}};
      const long step[] = {{0}};
      v acc[8 * 4];
      {table(ONE)}[n][rows](parts, p->dx + q * V * {len(by_x)} * c->H, start, step, acc, n);
      FOR(r, rows) FOR(i, n) st(c->dx + (b + r) * Kp + (q + i) * V, acc[r * n + i]);
      b += rows;
    }}
    q += n;
  }}
}}
"""


_OUTER = """
/* Where a slot of dz goes: which rows of the result, and whether its own sum is taken here. */
typedef struct { long slot, row, sum; } target;

/* out[i][row][unit] = sum over time and batch of a[.][i] * dz[.][slot][unit]; me of n its units.
   Both operands are sorted into panels first: rows of dz lie a power of two apart, which a cache
   does not hold side by side. */
static void outer(const call *c, const real *a, long lda, long size, const target *to, long count,
                  long width, real *out, long ldo, real *panels, long me, long n) {
  const long rows = c->T * c->B, ldz = SLOTS * c->Hp, vectors = width / V, all_vectors = count * vectors;
  const long first = all_vectors * me / n, end = all_vectors * (me + 1) / n;
  const long strips = (size + STRIP - 1) / STRIP;
  real *const left = panels, *const right = panels + strips * STRIP * BLOCK;
  for (long u = first; u < end; u++) {
    FOR(i, strips * STRIP) st(out + i * ldo + to[u / vectors].row * width + u % vectors * V, all(0));
    if (to[u / vectors].sum) st(c->gb + to[u / vectors].slot * c->Hp + u % vectors * V, all(0));
  }
  for (long k0 = 0; k0 < rows; k0 += BLOCK) {
    const long K = least(BLOCK, rows - k0);
    FOR(s, strips) {
      real *p = left + s * STRIP * BLOCK;
      const long wide = least(STRIP, size - s * STRIP);
      const real *from = a + k0 * lda + s * STRIP;
      if (wide == STRIP) FOR(k, K) memcpy(p + k * STRIP, from + k * lda, STRIP * sizeof(real));
      else FOR(k, K) FOR(i, STRIP) p[k * STRIP + i] = i < wide ? from[k * lda + i] : 0;
    }
    for (long u0 = first; u0 < end; u0 += WIDE) {
      const long u1 = least(end, u0 + WIDE);
      /* Row after row, as they lie in memory; a vector's panel is K vectors long. */
      FOR(k, K) for (long u = u0; u < u1; u++)
        st(right + ((u - u0) * BLOCK + k) * V, ld(c->dz + (k0 + k) * ldz + to[u / vectors].slot * c->Hp + u % vectors * V));
      for (long u = u0; u < u1;) {
        const target t = to[u / vectors];
        const long q = u % vectors, m = block(least(u1 - u, vectors - q), 4);
        const real *z = right + (u - u0) * BLOCK * V;
        if (t.sum) FOR(i, m) {
          v sum = ld(c->gb + t.slot * c->Hp + (q + i) * V);
          FOR(k, K) sum += ld(z + (i * BLOCK + k) * V);
          st(c->gb + t.slot * c->Hp + (q + i) * V, sum);
        }
        FOR(s, strips) {
          real *o = out + s * STRIP * ldo + t.row * width + q * V;
          const real *p = left + s * STRIP * BLOCK;
          if (m == 4) outer_4(K, p, z, o, ldo);
          else if (m == 2) outer_2(K, p, z, o, ldo);
          else outer_1(K, p, z, o, ldo);
        }
        u += m;
      }
    }
  }
}
"""
