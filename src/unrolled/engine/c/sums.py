"""A plan comes in; C goes out that sums its derivatives over time: dW, dU, dP, biases, and dx.

Sums run over time and batch in order, and threads share the units: bits do not depend on either.
They are written as PyTorch lays parameters out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Run:
    """Slots of dz that lie side by side and are multiplied with the same operands.

    Args:
        first, count: the slots.
        units: how many units each has, in C.
        operands: numbers of what they are multiplied with.
        outs: for each slot, for each operand, where the sum goes.
    """

    first: int
    count: int
    units: str
    operands: tuple[int, ...]
    outs: tuple[str, ...]


class Sums:
    """What is summed after the backward pass over time."""

    def __init__(self, plan: Plan, spelling: Spelling):
        self.plan, self.spelling = plan, spelling

    def _runs(self) -> list[Run]:
        """All that is summed, slots that can be taken together as one."""
        projected = {self.spelling.slots[k] for k in self.plan.derived.by_proj.values()}
        runs: list[Run] = []
        for slot, products in self._products().items():
            numbers = tuple(number for number, _ in products)
            outs = tuple(out for _, out in products)
            last = runs[-1] if runs else None
            if slot in projected:
                runs.append(Run(slot, 1, "c->P", numbers, outs))
            elif last and last.units == "c->H" and last.operands == numbers:
                runs[-1] = replace(last, count=last.count + 1, outs=last.outs + outs)
            else:
                runs.append(Run(slot, 1, "c->H", numbers, outs))
        return runs

    def _operands(self) -> list[tuple[str, str, str, str]]:
        """What dz is multiplied with, over the whole sequence.

        Base, distance of rows, size, and whether it is a state that starts from zeros.
        """
        traced, derived = self.plan.traced, self.plan.derived
        found = [("c->x", "c->ldx", "c->K", "0")] if derived.by_x else []
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
                found[slots[k]].append((0, f"c->gx + {block} * c->H * c->K"))
        number = {value: n + bool(derived.by_x) for n, value in enumerate(operands(self.plan))}
        width = f"c->{traced.operand_width}"
        for node, block in u_blocks(self.plan).items():
            operand = number[traced.graph.nodes[node].args[0]]
            found[slots[derived.by_u[node]]].append((operand, f"c->gu + {block} * c->H * {width}"))
        for n, (name, k) in enumerate(derived.by_proj.items(), len(number) + bool(derived.by_x)):
            block = traced.projs.index(name)
            found[slots[k]].append((n, f"c->gp + {block} * c->P * c->H"))
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
        runs, operands = self._runs(), self._operands()
        lists: dict[str, list[str]] = {"RUNS": [], "USES": [], "OUTS": []}
        sizes = []
        for run in runs:
            place = f"{len(lists['USES'])}, {len(lists['USES']) + len(run.operands)}"
            lists["RUNS"].append(
                f"{{{run.first}, {run.count}, {run.units}, {place}, {len(lists['OUTS'])}}}"
            )
            lists["USES"] += [str(number) for number in run.operands]
            lists["OUTS"] += run.outs
            sizes += [f"{run.count} * up({run.units}) * {operands[o][2]}" for o in run.operands]
        lists["OPERANDS"] = [f"{{{', '.join(operand)}}}" for operand in operands]
        lists["BIASES"] = [f"{{{slot}, {out}}}" for slot, out in self._biases()]
        text = _OUTERS
        for name, found in lists.items():
            text = text.replace(f"{name}_COUNT", str(len(found)))
            empty = "0" if name in ("USES", "OUTS") else "{0}"
            text = text.replace(name, ", ".join(found) or empty)
        sorted_ = " + ".join(f"up({size})" for _, _, size, _ in operands) or "0"
        return text.replace("SUMMED", " + ".join(sizes) or "0").replace("SORTED", sorted_)

    def _sequence(self, k: int) -> tuple[str, str, str, str]:
        """A product's operand over the whole sequence, as `_operands` says it."""
        traced, spelling = self.plan.traced, self.spelling
        node, letter = traced.graph.nodes[k], spelling.widths[k]
        if node.op == "weight":
            return (
                spelling.weight_row(str(node.attr), whole=f"c->raw_{node.attr}"),
                "0",
                f"c->{letter}",
                "0",
            )
        if node.op == "state" or k in spelling.made:
            s = str(node.attr) if node.op == "state" else spelling.made[k][0]
            width = spelling.width(s)
            shifted = "c->reverse ? 1 : 0" if node.op == "state" else "c->reverse ? 0 : 1"
            zeros = str(int(spelling.starts_from_zeros(k)))
            return f"c->s_{s} + ({shifted}) * c->B * {width}", width, f"c->{letter}", zeros
        count, n = len(spelling.saved), spelling.saved[k]
        return f"c->save + {n} * c->Hp", f"{count} * c->Hp", f"c->{letter}", "0"

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
        places = [self.spelling.derivatives(slots[k], "c->dz") for k in by_x.values()]
        parts = ", ".join(f"PART({base}, {lda}, c->H, 0, {jump})" for base, lda, jump in places)
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
      v acc[SPACE];
      MULTIPLY({table(ONE)}, n, rows, parts, p->dx + q * V * {len(by_x)} * words(c->H), start, step, acc, n);
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
/* For every slot of dz that is summed: out[unit][i] = sum over time and batch of
   dz[.][slot][unit] * a[.][i] with all operands a that it is multiplied with, and its own sum,
   which is a bias's gradient.
   Slots side by side with the same operands are a run, whose vectors are summed in groups of at
   most WIDE; threads share the vectors. A group's sums lie with units side by side, an operand's
   values below each other, until they are complete: then they are turned. */
#define TABLES \\
  const struct { const kept *a; long lda, size, zeros; } operands[] = {OPERANDS}; \\
  const struct { long slot, count, units, first, end, out; } runs[] = {RUNS}; \\
  const long uses[] = {USES}; /* of each run, from first to end: numbers of operands */ \\
  real *const outs[] = {OUTS}; /* of each run from out on: of each slot, of each use */ \\
  const struct { long slot; real *out; } biases[] = {BIASES}; \\
  (void)operands, (void)runs, (void)uses, (void)outs, (void)biases

static long summed_reals(const call *c) {
  (void)c;
  return SUMMED;
}
/* Reals that a thread sorts at once: all operands, and a group where its words have two rows. */
static long panel_reals(const call *c) {
  (void)c;
  return ((EACH > 1 ? WIDE * V : 0) + SORTED) * PANEL;
}

/* Of K rows from k0 on, in words: those of an operand that are no first state of zeros which nobody gave. */
static range held(const call *c, long zeros, long k0, long K) {
  if (!zeros || !c->blank) return (range){0, words(K)};
  const long first = c->reverse ? 0 : c->B - k0, end = (c->reverse ? c->T - 1 : c->T) * c->B - k0;
  return (range){least(first > 0 ? first : 0, K) / EACH, words(least(end > 0 ? end : 0, K))};
}

/* Add the rows from k0 on of m vectors of run r, from its vector q on. */
static __attribute__((noinline)) void add_group(const call *c, long r, long q, long m, long k0, const real *right, real *left,
                      real *out) {
  TABLES;
  const long K = least(EACH * BLOCK, c->T * c->B - k0), W = words(K);
#ifdef HALF
  const kept *const dz = c->dz + (k0 * SLOTS + runs[r].slot) * c->Hp + q * V;
  const long ldz = PANEL * V;
  const real *const z = left;
  FOR(i, m) sort_panel(left + i * ldz, dz + i * V, SLOTS * c->Hp, K, V);
#else
  const kept *const dz = c->dz + (runs[r].slot * c->Hp + q * V) * c->S + k0 * V;
  const long ldz = V * c->S;
  const real *const z = dz;
  (void)left;
#endif
  real *const own = c->gb + runs[r].slot * c->Hp + q * V;
  FOR(i, m) {
    const v sum = sum_panel(z + i * ldz, W);
    st(own + i * V, k0 ? ld(own + i * V) + sum : sum);
  }
  for (long u = runs[r].first; u < runs[r].end; u++) {
    const real *a = right;
    FOR(o, uses[u]) a += up(operands[o].size) * PANEL;
    const long size = operands[uses[u]].size;
    const range k = held(c, operands[uses[u]].zeros, k0, K);
    for (long i = 0, rows; i < size; i += rows, out += rows * m * V) {
      rows = outer_rows(i, size, m);
      if (!k0) memset(out, 0, rows * m * V * sizeof(real));
      if (k.from < k.to) OUTER(rows, m, k, a, i, z, ldz, out);
    }
  }
}

static __attribute__((noinline)) void turn_group(const call *c, long r, long q, long m, const real *sums) {
  TABLES;
  FOR(i, m) {
    const long padded = up(runs[r].units), slot = (q + i) * V / padded, unit = (q + i) * V % padded;
    const long uses_of = runs[r].end - runs[r].first, lanes = least(V, runs[r].units - unit);
    const real *from = sums + i * V;
    FOR(u, uses_of) {
      const long size = operands[uses[runs[r].first + u]].size;
      real *const to = outs[runs[r].out + slot * uses_of + u] + unit * size;
      for (long j = 0; j < size; j += V) {
        const long there = least(V, size - j);
        v rows[V];
        FOR(k, V) rows[k] = k < there ? ld(from + (j + k) * m * V) : all(0);
        turn(rows);
        FOR(l, lanes) {
          if (there == V) st(to + l * size + j, rows[l]);
          else memcpy(to + l * size + j, rows + l, there * sizeof(real));
        }
      }
      from += size * m * V;
    }
    const real *const own = c->gb + runs[r].slot * c->Hp + (q + i) * V;
    FOR(b, BIASES_COUNT) if (biases[b].slot == runs[r].slot + slot)
      memcpy(biases[b].out + unit, own, lanes * sizeof(real));
  }
}

/* How many of so many vectors a share of the cost reaches. */
static long reached(long share, long each, long count) {
  return share < 0 ? 0 : least((share + each / 2) / each, count);
}

/* What me of n does of it. */
static void outers(const call *c, long me, long n) {
  TABLES;
  long sizes[RUNS_COUNT + 1] = {0}, vectors = 0, total = 0, most = WIDE;
  FOR(r, RUNS_COUNT) {
    for (long u = runs[r].first; u < runs[r].end; u++) sizes[r] += operands[uses[u]].size;
    vectors += runs[r].count * up(runs[r].units) / V;
    total += runs[r].count * up(runs[r].units) / V * (sizes[r] + 1);
  }
  while (most > 1 && vectors < most * n) most /= 2;
  real *const right = c->sums + summed_reals(c) + me * panel_reals(c);
  real *const left = right + (SORTED) * PANEL;
  const long rows = c->T * c->B;
  long k0 = 0;
  do { /* without rows once, for zeros */
    real *to = right;
    FOR(o, OPERANDS_COUNT) {
      sort_operand(to, operands[o].a + k0 * operands[o].lda, operands[o].lda,
                 least(EACH * BLOCK, rows - k0), operands[o].size);
      to += up(operands[o].size) * PANEL;
    }
    const int last = k0 + EACH * BLOCK >= rows;
    real *sums = c->sums;
    long cost = 0;
    FOR(r, RUNS_COUNT) {
      const long count = runs[r].count * up(runs[r].units) / V, each = sizes[r] + 1;
      const long end = reached(total * (me + 1) / n - cost, each, count);
      for (long q = reached(total * me / n - cost, each, count), m; q < end; q += m) {
        m = block(end - q, most);
        add_group(c, r, q, m, k0, right, left, sums + q * V * sizes[r]);
        if (last) turn_group(c, r, q, m, sums + q * V * sizes[r]);
      }
      cost += count * each;
      sums += count * V * sizes[r];
    }
    k0 += EACH * BLOCK;
  } while (k0 < rows);
}
"""
