"""A plan comes in; C goes out that sums its derivatives over time: dW, dU, dP, biases, and dx.

Sums run over time and batch in order, and threads share the units: bits do not depend on either.
They are written as PyTorch lays parameters out, but for rows of whole vectors.
"""

from collections.abc import Iterator

from ..plan import Plan
from .spelling import Spelling
from .tiles import Layout, table

ONE: Layout = ((0, 1),)


def operands(plan: Plan) -> list[int]:
    """What U multiplies, each once."""
    nodes = plan.traced.graph.nodes
    return list(dict.fromkeys(nodes[node].args[0] for node in plan.derived.by_u))


def u_blocks(plan: Plan) -> dict[int, int]:
    """For each product with U, the block of rows of `gu` where its sum goes.

    A gate's first product has the gate's own place; those that multiply it again follow behind.
    """
    gates = plan.traced.u_gates
    found: dict[int, int] = {}
    behind = len(gates)
    for node in plan.derived.by_u:
        own = gates.index(str(plan.traced.graph.nodes[node].attr))
        if own in found.values():
            own, behind = behind, behind + 1
        found[node] = own
    return found


class Sums:
    """What is summed after the backward pass over time."""

    def __init__(self, plan: Plan, spelling: Spelling):
        self.plan, self.spelling = plan, spelling

    def panels(self) -> str:
        """How many reals a thread sorts at once."""
        sizes = " + ".join(f"up({size})" for _, _, size in self._operands()) or "0"
        return f"""
static long panel_reals(const call *c) {{
  (void)c;
  return (LEFT * V + {sizes}) * BLOCK;
}}
"""

    def _operands(self) -> list[tuple[str, str, str]]:
        """What dz is multiplied with, over the whole sequence: base, distance of rows, size."""
        traced, derived = self.plan.traced, self.plan.derived
        found = [("c->x", "c->ldx", "c->K")] if derived.by_x else []
        found += [self._sequence(operand) for operand in operands(self.plan)]
        found += [self._sequence(_projected(traced, name)) for name in derived.by_proj]
        return found

    def _products(self) -> dict[int, list[tuple[int, str]]]:
        """For each slot of dz: the operands it is multiplied with, and where that goes."""
        traced, derived, slots = self.plan.traced, self.plan.derived, self.spelling.slots
        found: dict[int, list[tuple[int, str]]] = {n: [] for n in range(self.plan.summed)}
        if derived.by_x:
            for gate, k in derived.by_x.items():
                block = traced.x_gates.index(gate)
                found[slots[k]].append((0, f"c->gx + {block} * c->H * up(c->K)"))
        number = {value: n + bool(derived.by_x) for n, value in enumerate(operands(self.plan))}
        width = f"up(c->{traced.operand_width})"
        for node, block in u_blocks(self.plan).items():
            operand = number[traced.graph.nodes[node].args[0]]
            found[slots[derived.by_u[node]]].append((operand, f"c->gu + {block} * c->H * {width}"))
        for n, (name, k) in enumerate(derived.by_proj.items(), len(number) + bool(derived.by_x)):
            block = traced.projs.index(name)
            found[slots[k]].append((n, f"c->gp + {block} * c->P * up(c->H)"))
        return found

    def _biases(self) -> Iterator[tuple[int, str]]:
        """The slots whose own sums are gradients of biases, and where those go."""
        traced, derived, slots = self.plan.traced, self.plan.derived, self.spelling.slots
        for gate, k in derived.by_x.items():
            yield slots[k], f"c->gbx + {traced.x_gates.index(gate)} * c->H"
        for node, block in u_blocks(self.plan).items():
            yield slots[derived.by_u[node]], f"c->gbu + {block} * c->H"

    def outers(self) -> str:
        """Sums over time and batch: gradients of matrices and biases."""
        projected = {self.spelling.slots[k] for k in self.plan.derived.by_proj.values()}
        multiplied = [f"{{{a}, {lda}, {size}}}" for a, lda, size in self._operands()]
        biases = [f"{{{slot}, {out}}}" for slot, out in self._biases()]
        products, first = [], [0]
        for found in self._products().values():
            products += [f"{{{number}, {out}}}" for number, out in found]
            first.append(len(products))
        units = ["c->P" if slot in projected else "c->H" for slot in self._products()]
        return (
            _OUTERS.replace("OPERANDS", ", ".join(multiplied) or "{0, 0, 0}")
            .replace("PRODUCTS", ", ".join(products) or "{0, 0}")
            .replace("ALL_BIASES", str(len(biases)))
            .replace("BIASES", ", ".join(biases) or "{0, 0}")
            .replace("FIRST", ", ".join(map(str, first)))
            .replace("UNITS", ", ".join(units) or "0")
            .replace("COUNT", str(len(multiplied)))
            .replace("SLOTS", str(len(self.plan.slots)))
            .replace("SUMMED", str(self.plan.summed))
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

    def inputs(self) -> str:
        """dx of some rows of the sequence."""
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
/* dx = W^T dz, for rows b0 to b1 of all steps. */
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
/* For every slot of dz that is summed: out[unit][i] = sum over time and batch of dz[.][slot][unit] * a[.][i] with all
   that it is multiplied with, and its own sum, which is a bias's gradient; me of n does its units.
   Both sides are sorted into panels first: rows of dz lie a power of two apart, which a cache does
   not hold side by side. */
static void outers(const call *c, const packed *p, long me, long n) {
  const struct { const kept *a; long lda, size; } operands[] = {OPERANDS};
  const struct { long operand; real *out; } products[] = {PRODUCTS};
  const struct { long slot; real *out; } biases[] = {BIASES};
  const long first_of[] = {FIRST}, units[] = {UNITS};
  const long rows = c->T * c->B, ldz = SLOTS * c->Hp, count = SUMMED;
  real *const left = p->panels + me * panel_reals(c), *const right = left + LEFT * V * BLOCK;
  long all_vectors = 0;
  FOR(s, count) all_vectors += up(units[s]) / V;
  const long begin = all_vectors * me / n, end = all_vectors * (me + 1) / n;
  for (long k0 = 0; k0 < rows || k0 == 0; k0 += EACH * BLOCK) {
    const long K = least(EACH * BLOCK, rows - k0), W = words(K);
    real *to = right;
    FOR(o, COUNT) {
      sort_panel(to, operands[o].a + k0 * operands[o].lda, operands[o].lda, K, operands[o].size);
      to += up(operands[o].size) * BLOCK;
    }
    long first = 0;
    FOR(s, count) {
      const long width = up(units[s]) / V, u0 = (first > begin ? 0 : begin - first) * V;
      const long u1 = least(units[s], (end - first) * V);
      const kept *const z = c->dz + k0 * ldz + s * c->Hp;
      first += width;
      for (long u = u0; u < u1; u += LEFT * V) {
        const long wide = least(LEFT * V, u1 - u);
        sort_panel(left, z + u, ldz, K, wide);
        for (long i = 0; i < wide; i += V) {
          real *own = c->gb + s * c->Hp + u + i;
          const v sum = sum_panel(left + i * BLOCK, W);
          st(own, k0 ? ld(own) + sum : sum);
        }
        for (long o = first_of[s]; o < first_of[s + 1]; o++) {
          const long ldo = up(operands[products[o].operand].size);
          const real *here = right;
          FOR(before, products[o].operand) here += up(operands[before].size) * BLOCK;
          for (long i = 0; i < ldo;) {
            const long m = block((ldo - i) / V, 4);
            for (long r = 0, tall; r < wide; r += tall) { /* a tile's rows lie in one vector of z */
              tall = share(least(V - r % V, wide - r), STRIP);
              real *out = products[o].out + (u + r) * ldo + i;
              if (!k0) FOR(l, tall) memset(out + l * ldo, 0, m * V * sizeof(real));
              OUTER[m][tall](W, left + r / V * V * BLOCK + r % V, here, out, ldo);
            }
            here += m * BLOCK * V;
            i += m * V;
          }
        }
      }
    }
  }
  FOR(b, ALL_BIASES) {
    long before = 0;
    FOR(s, biases[b].slot) before += up(units[s]) / V;
    const long u0 = (before > begin ? 0 : begin - before) * V, u1 = least(c->H, (end - before) * V);
    for (long u = u0; u < u1; u++) biases[b].out[u] = c->gb[biases[b].slot * c->Hp + u];
  }
}
"""
