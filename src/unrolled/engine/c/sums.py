"""A plan comes in; C goes out that sums its derivatives over time: dW, dU, dP, biases, and dx.

Sums run over time and batch in order, and threads share the units: bits do not depend on either.
"""

from ..plan import Plan
from .spelling import Spelling
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

    def __init__(self, plan: Plan, spelling: Spelling):
        self.plan, self.spelling = plan, spelling

    def text(self) -> str:
        """`panel_reals`, `outers` and `inputs`."""
        return f"{self._outers()}{self._inputs()}"

    def panels(self) -> str:
        """How many reals a thread sorts at once."""
        sizes = " + ".join(f"strips({size})" for _, _, size in self._operands()) or "0"
        return f"""
static inline long strips(long size) {{ return (size + STRIP - 1) / STRIP; }}
static long panel_reals(const call *c) {{
  (void)c;
  return (({sizes}) * STRIP + WIDE * V) * BLOCK;
}}
"""

    def _operands(self) -> list[tuple[str, str, str]]:
        """What dz is multiplied with, over the whole sequence: base, distance of rows, size."""
        traced, derived = self.plan.traced, self.plan.derived
        found = [("c->x", "c->ldx", "c->K")] if derived.by_x else []
        found += [self._sequence(operand) for operand, _ in operands(self.plan)]
        found += [self._sequence(_projected(traced, name)) for name in derived.by_proj]
        return found

    def _products(self) -> dict[int, list[tuple[int, str, str]]]:
        """For each slot of dz: the operands it is multiplied with, where that goes, row distance."""
        traced, derived, slots = self.plan.traced, self.plan.derived, self.spelling.slots
        found: dict[int, list[tuple[int, str, str]]] = {slot: [] for slot in slots.values()}
        number = 0
        if derived.by_x:
            total = len(traced.x_gates)
            for gate, k in derived.by_x.items():
                out = f"c->gx + {traced.x_gates.index(gate)} * c->Hp"
                found[slots[k]].append((number, out, f"{total} * c->Hp"))
            number += 1
        for n, (_, nodes) in enumerate(operands(self.plan)):
            for place, node in enumerate(nodes):
                out = f"c->gu_{n} + {place} * c->Hp"
                slot = slots[derived.by_u[node]]
                found[slot].append((number, out, f"{len(nodes)} * c->Hp"))
            number += 1
        for name, k in derived.by_proj.items():
            out = f"c->gp + {traced.projs.index(name)} * c->Pp"
            found[slots[k]].append((number, out, f"{len(traced.projs)} * c->Pp"))
            number += 1
        return found

    def _outers(self) -> str:
        projected = {self.spelling.slots[k] for k in self.plan.derived.by_proj.values()}
        multiplied = [f"{{{a}, {lda}, {size}}}" for a, lda, size in self._operands()]
        products, first = [], [0]
        for found in self._products().values():
            products += [f"{{{number}, {out}, {ldo}}}" for number, out, ldo in found]
            first.append(len(products))
        widths = ["c->Pp / V" if slot in projected else "c->Hp / V" for slot in self._products()]
        return (
            _OUTERS.replace("OPERANDS", ", ".join(multiplied) or "{0, 0, 0}")
            .replace("PRODUCTS", ", ".join(products) or "{0, 0, 0}")
            .replace("FIRST", ", ".join(map(str, first)))
            .replace("WIDTHS", ", ".join(widths) or "0")
            .replace("COUNT", str(len(multiplied)))
            .replace("SLOTS", str(len(self.plan.slots)))
        )

    def _sequence(self, k: int) -> tuple[str, str, str]:
        """A product's operand over the whole sequence: base, distance of rows, how many units."""
        traced, spelling = self.plan.traced, self.spelling
        node, letter = traced.graph.nodes[k], spelling.widths[k]
        if node.op == "weight":
            return (
                spelling.weight_row(str(node.attr), whole=f"c->raw_{node.attr}"),
                "0",
                f"c->{letter}",
            )
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
  memset(c->dx + b0 * up(c->K), 0, (b1 - b0) * up(c->K) * sizeof(kept));
}
"""
        count = len(self.plan.slots)
        parts = ", ".join(
            f"PART(c->dz + (b * {count} + {slots[k]}) * c->Hp, {count} * c->Hp, c->H, 0)"
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
      {table(ONE)}[n][rows](parts, p->dx + q * V * {len(by_x)} * words(c->H), start, step, acc, n);
      FOR(r, rows) FOR(i, n) st(c->dx + (b + r) * Kp + (q + i) * V, acc[r * n + i]);
      b += rows;
    }}
    q += n;
  }}
}}
"""


def _projected(traced, name: str) -> int:
    """The node that a projection projects."""
    return next(m.args[0] for m in traced.graph.nodes if m.op == "proj" and m.attr == name)


_OUTERS = """
/* For every slot of dz: out[i][unit] = sum over time and batch of a[.][i] * dz[.][slot][unit] with all
   that it is multiplied with, and its own sum, which is a bias's gradient; me of n does its units.
   Both sides are sorted into panels first: rows of dz lie a power of two apart, which a cache does
   not hold side by side. */
static void outers(const call *c, const packed *p, long me, long n) {
  const struct { const kept *a; long lda, size; } operands[] = {OPERANDS};
  const struct { long operand; real *out; long ldo; } products[] = {PRODUCTS};
  const long first_of[] = {FIRST}, widths[] = {WIDTHS};
  const long rows = c->T * c->B, ldz = SLOTS * c->Hp, count = SLOTS;
  real *const right = p->panels + me * panel_reals(c), *const left = right + WIDE * V * BLOCK;
  long all_vectors = 0, first = 0;
  FOR(s, count) all_vectors += widths[s];
  const long begin = all_vectors * me / n, end = all_vectors * (me + 1) / n;
  for (long k0 = 0; k0 < rows || k0 == 0; k0 += EACH * BLOCK) {
    const long K = least(EACH * BLOCK, rows - k0), W = words(K);
    real *to = left;
    FOR(o, COUNT) {
      const long size = operands[o].size, lda = operands[o].lda;
      for (long i = 0; i < size; i += STRIP, to += STRIP * BLOCK)
        sort_strip(to, operands[o].a + k0 * lda + i, lda, K, size - i);
    }
    first = 0;
    FOR(s, count) {
      const long u0 = first > begin ? 0 : begin - first, u1 = least(widths[s], end - first);
      first += widths[s];
      for (long u = u0; u < u1;) {
        const long wide = least(WIDE, u1 - u);
        sort_vectors(right, c->dz + k0 * ldz + s * c->Hp + u * V, ldz, K, wide);
        FOR(i, wide) {
          real *own = c->gb + s * c->Hp + (u + i) * V;
          v sum = all(0); /* block by block: a long sum of one lane loses bits */
          FOR(k, W) sum = plus(sum, ld(right + (i * BLOCK + k) * V));
          st(own, k0 ? ld(own) + sum : sum);
        }
        for (long i = 0; i < wide;) {
          const long m = block(wide - i, 4);
          const real *here = right + i * BLOCK * V;
          for (long o = first_of[s]; o < first_of[s + 1]; o++) {
            const real *a = left;
            FOR(before, products[o].operand) a += strips(operands[before].size) * STRIP * BLOCK;
            real *out = products[o].out + (u + i) * V;
            const long ldo = products[o].ldo, all_strips = strips(operands[products[o].operand].size);
            FOR(strip, all_strips) {
              if (!k0) FOR(r, STRIP) FOR(l, m) st(out + r * ldo + l * V, all(0));
              if (m == 4) outer_4(W, a, here, out, ldo);
              else if (m == 2) outer_2(W, a, here, out, ldo);
              else outer_1(W, a, here, out, ldo);
              a += STRIP * BLOCK;
              out += STRIP * ldo;
            }
          }
          i += m;
        }
        u += wide;
      }
    }
  }
}
"""
