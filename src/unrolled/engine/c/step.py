"""A phase of a plan comes in; C that sweeps a slice of the batch over the units goes out.

A phase is a tile of products whose accumulators lie in L1, and the cell's equations on them.
"""

from collections.abc import Iterator

from ..plan import Column, Phase, reads
from .groups import Group, Products
from .spelling import Spelling
from .tiles import MATRIX_ROWS, most_rows, table

AHEAD = 8  # rows that equations without products before them fetch ahead


class PhaseWriter:
    """Writes one phase of the forward (`forward0`, …) or backward pass."""

    def __init__(self, spelling: Spelling, name: str, phase: Phase, *, backward: bool):
        self.spelling, self.name, self.phase, self.backward = spelling, name, phase, backward
        self.products = Products(spelling, name, phase, backward=backward)
        self.columns, self.groups = self.products.columns, self.products.groups
        self.x_first = self.x_total = 0  # where its columns lie among those of a product ahead
        self.fetched: set[str] = set()  # what phases before it in a step have fetched
        self.most = {1: 4, 2: 2}.get(self.products.widest, 1)
        self.width = f"c->{phase.width}p"
        self.units = f"c->{phase.width}"

    # -- equations

    def text(self, registers: int) -> str:
        """The whole phase: tile, equations, sweep."""
        rows = "" if self._empty() else self._rows()
        return "\n".join([rows, self._sweep(registers)])

    def _empty(self) -> bool:
        phase = self.phase
        return not (phase.columns or phase.nodes or phase.stores)

    def _rows(self) -> str:
        spelling, lines = self.spelling, []
        computed: set[int] = set()
        count = len(self.columns)
        for n, column in enumerate(self.columns):
            name = spelling.variable(column.node)
            lines.append(
                f"const v {name} = acc[(r * {count} + {n}) * n + i]; /* {self._said(column)} */"
            )
            computed.add(column.node)
        for k in self.phase.nodes:
            right = spelling.expression(k, computed, backward=self.backward)
            lines.append(f"const v {spelling.variable(k)} = {right};")
            computed.add(k)
        for k in self.phase.stores:
            value = spelling.value(k, computed, backward=self.backward)
            lines += self._destinations(k, value)
        skipped = self._skipped()
        keep = ", const int keep" if not self.backward else ""
        fetches = self._fetches() if self.backward else self._fetches_to()
        body = "\n      ".join(fetches + lines)
        group = "const long group = ((row + 1) * c->G - 1) / c->B;\n    " if "group" in body else ""
        unused = ", (void)keep" if keep else ""
        return f"""
static inline __attribute__((always_inline)) void {self.name}_rows(
    const call *c, const packed *p, const step *at, long b, long rows, long q, long n, long next,
    long beyond, const v *acc{keep}) {{
  (void)p, (void)next, (void)beyond, (void)acc{unused};
  FOR(r, rows) {{
    const long row = b + r;
    if (c->lengths && at->t >= c->lengths[row]) {{ /* padding: states pass through */
      FOR(i, n) {{
        const long j = (q + i) * V;
        (void)j;
        {skipped}
      }}
      continue;
    }}
    {group}FOR(i, n) {{
      const long j = (q + i) * V;
      {body}
    }}
  }}
}}"""

    def _fetches(self) -> list[str]:
        """Fetch what later rows will read of the forward pass, and the lines of derivatives that
        they will write: both lie far away."""
        spelling, nodes = self.spelling, self.spelling.nodes
        places: dict[str, None] = {}
        for k in self.phase.nodes:
            node = nodes[k]
            if node.op == "grad" and node.attr == spelling.plan.traced.states[0]:
                places[spelling.arriving] = None
            norms = [spelling.norm_operand[str(node.attr)]] if node.op == "norm_back" else []
            for a in (*node.args, *norms):
                if a < spelling.derived.forward and (a in spelling.saved or a in spelling.made
                                                     or nodes[a].op == "state"):  # fmt: skip
                    places[spelling.place(a, backward=True)] = None
        new = [place for place in places if place not in self.fetched]
        self.fetched |= {*new}
        written = [self.spelling.derivative(k) for k in self.phase.stores if k in spelling.slots]
        fetches = [f"fetch({place});" for place in new]
        return self._ahead(fetches + [f"fetch_to({place});" for place in written])

    def _fetches_to(self) -> list[str]:
        """Fetch the lines that later rows will write for the backward pass: they lie far away."""
        spelling, fetches = self.spelling, []
        for k in self.phase.stores:
            made = spelling.made.get(k, ())
            places = [f"at->{s}_1 + row * {spelling.width(s)} + j" for s in made]
            if k in spelling.saved and k not in spelling.made:
                places.append(spelling.saving(k))
            fetches += [f"if (keep) fetch_to({place});" for place in places]
        return self._ahead(fetches)

    def _ahead(self, fetches: list[str]) -> list[str]:
        if not fetches:
            return []
        where = f"row = b + r + {AHEAD}"
        if self.columns:  # of the next tile: below this one, or the first of the next units
            where = "row = next + r, j = (q + i) * V + beyond"
        return [f"{{ const long {where};", *(f"  {f}" for f in fetches), "}"]

    def _said(self, column: Column) -> str:
        node = self.spelling.nodes[column.product] if column.product >= 0 else None
        parts = [f"(W x + b)_{column.x}"] if column.x else []
        if node is not None:
            parts.append({"u": f"(U v + b)_{node.attr}", "proj": f"P_{node.attr} v"}.get(
                node.op, "U^T d" if node.op == "u_back" else "P^T d"))  # fmt: skip
        return " + ".join(parts)

    def _destinations(self, k: int, value: str) -> list[str]:
        spelling, plan = self.spelling, self.spelling.plan
        if not self.backward:
            ends = ("1", "after") if spelling.half else ("1",)
            lines = [
                f"st(at->{s}_{end} + row * {spelling.width(s)} + j, {value});"
                for s in spelling.made.get(k, ())
                for end in ends
            ]
            if k in spelling.saved and k not in spelling.made:
                always = "" if k in self._read_later() else "if (keep) "
                lines.append(f"{always}st({spelling.saving(k)}, {value});")
            if k in spelling.carried:
                lines.append(f"st({spelling.place(k, backward=False)}, {value});")
            for name in plan.observed:
                if plan.derived.outputs[name] == k:
                    where = f"c->o_{name} + (at->t * c->B + row) * {self.width} + j"
                    lines.append(f"st({where}, {value});")
            return lines
        derived, lines = plan.derived, []
        if k in spelling.slots:
            lines.append(f"st({spelling.derivative(k)}, {value});")
        for s, d in derived.by_state.items():
            if d == k:
                lines.append(f"st(at->d_{s}_1 + row * {spelling.width(s)} + j, {value});")
        for name, d in derived.by_weight.items():
            if d == k:
                lines.append(_more(f"c->dw_{name} + group * c->Hp + j", value))
        for name, d in derived.by_norm.items():
            if d == k:
                operand = spelling.value(spelling.norm_operand[name], set(), backward=True)
                lines.append(_more(f"c->d_gain_{name} + group * {self.width} + j",
                                   f"{value} * ({spelling.seen(name, operand)})"))  # fmt: skip
                if plan.shifts[name] == name:
                    lines.append(_more(f"c->d_shift_{name} + group * {self.width} + j", value))
        if k in spelling.back_carried:
            place = spelling.slot(
                "c->back_carry", len(spelling.back_carried), spelling.back_carried[k]
            )
            lines.append(f"st({place}, {value});")
        return lines

    def _read_later(self) -> set[int]:
        """What is read where it is saved in the same step, so that it is written always."""
        multiplied, read = reads(self.spelling.plan.forward, self.spelling.nodes)
        normed = {*self.spelling.norm_operand.values()}
        return multiplied | (normed if self.spelling.half else read)

    def _skipped(self) -> str:
        spelling, plan, lines = self.spelling, self.spelling.plan, []
        for k in self.phase.stores:
            if self.backward:
                if k in spelling.slots:
                    lines.append(f"st({spelling.derivative(k)}, all(0));")
                for s, d in plan.derived.by_state.items():
                    if d == k:
                        lines.append(_through(f"d_{s}", spelling.width(s)))
            else:
                ends = (("0", "1"), ("before", "after")) if spelling.half else (("0", "1"),)
                for s in spelling.made.get(k, ()):
                    lines += [_through(s, spelling.width(s), *end) for end in ends]
                if k in spelling.saved and k not in spelling.made:
                    # What a sum over time multiplies with 0 must be finite.
                    lines.append(f"st({spelling.saving(k)}, all(0));")
        return "\n        ".join(lines)

    # -- the sweep

    def _sweep(self, registers: int) -> str:
        count = len(self.columns)
        widest = self.products.widest
        rows = max(
            n * most_rows(widest * n, registers) for n in (1, 2, 4) if n <= self.most
        )  # times the vectors of a column
        rows = max(rows, MATRIX_ROWS * self.most) if self.spelling.half else rows
        keep = ", const int keep" if not self.backward else ""
        unused = ", (void)keep" if keep else ""
        passed = ", keep" if not self.backward else ""
        tile = self._tile(count) if count else ""
        # Without products, row by row: memory is read in its order.
        block = f"block(q1 - q, {self.most})" if count else "q1 - q"
        advance = f"share(b1 - b, MOST_ROWS[{widest} * n])" if count else "b1 - b"
        norms = "\n  ".join([*self._evened(), *self._statistics()])
        accumulators = f"v acc[{max(1, rows * count)}];" if count else "const v *acc = 0;"
        sweep = "" if self._empty() else f"""
  {accumulators}
  for (long q = q0; q < q1;) {{
    const long n = {block};
    for (long b = b0; b < b1;) {{
      const long rows = {advance};
      {tile}
      const int below = b + rows < b1;
      {self.name}_rows(c, p, at, b, rows, q, n, below ? b + rows : b0, below ? 0 : n * V, acc{passed});
      b += rows;
    }}
    q += n;
  }}"""  # fmt: skip
        return f"""
static inline __attribute__((always_inline)) void {self.name}(
    const call *c, const packed *p, const step *at, long b0, long b1, long q0, long q1{keep}) {{
  (void)p{unused};{sweep}
  {norms}
}}"""

    def _tile(self, count: int) -> str:
        return "\n      ".join(self._call(group, count) for group in self.groups)

    def _call(self, group: Group, count: int) -> str:
        """The call of the micro-kernel for one group of columns."""
        parts = [
            f"PART({part.operand}, {part.stride}, {size}, {section}, {part.jump})"
            for part, size, section in zip(group.parts, group.sizes, group.sections, strict=True)
        ]
        starts, steps = [], []
        for n in range(group.count):
            column = group.first + n
            bias = f"p->{self.name}_bias + {column} * {self.width} + q * V"
            if self.backward:
                starts.append("ZEROS")
                steps.append("0")
            elif n < group.reads_x:
                ahead = (
                    f"c->xw + ((at->t * c->B + b) * {self.x_total} + {self.x_first + column})"
                    " * c->Hp + q * V"
                )
                starts.append(f"c->xw ? {ahead} : {bias}")
                steps.append(f"c->xw ? {self.x_total} * c->Hp : 0")
            else:
                starts.append(bias)
                steps.append("0")
        weights, given = f"p->{group.name} + q * V * ({group.before(-1)})", "parts"
        if group.reads_x:
            given = "c->xw ? parts + 1 : parts"
            weights += f" + (c->xw ? n * V * {group.before(1)} : 0)"
        return f"""{{
        const part parts[] = {{{", ".join(parts)}, {{0, 0, 0, -1}}}};
        const real *const start[] = {{{", ".join(starts)}}};
        const long step[] = {{{", ".join(steps)}}};
        MULTIPLY({table(group.layout)}, n, rows, {given}, {weights}, start, step, acc + {group.first} * n, {count} * n);
      }}"""

    def _evened(self) -> Iterator[str]:
        """What stands beside the last of an odd number of units is multiplied with 0."""
        spelling, plan = self.spelling, self.spelling.plan
        if not spelling.half:
            return
        # The first state is also the input of the layer above.
        multiplied = {
            *reads(plan.forward, spelling.nodes)[0],
            plan.derived.outputs[plan.traced.states[0]],
        }
        size, rows = self.units, []
        for k in self.phase.stores:
            if self.backward and k in spelling.slots:
                rows.append(spelling.derivatives(spelling.slots[k], "at->dz")[0])
            elif not self.backward and k in multiplied and k in spelling.made:
                rows += [f"at->{s}_1 + b * {spelling.width(s)}" for s in spelling.made[k]]
            elif not self.backward and k in multiplied and k in spelling.saved:
                rows.append(self.products.rows_of(k)[0])
        for row in rows:
            yield (
                f"if (({size} & 1) && q1 * V > {size}) "
                f"for (long b = b0; b < b1; b++) ({row})[{size}] = 0;"
            )

    @property
    def x_columns(self) -> int:
        """How many of the columns read x; they stand first."""
        return sum(bool(column.x) for column in self.columns)

    def _statistics(self) -> list[str]:
        spelling, lines = self.spelling, []
        for k, operand in self.phase.norms.items():
            name = str(spelling.nodes[k].attr)
            if not self.backward:
                where = spelling.normed(name).replace(" + j", "")
                lines.append(
                    f"for (long row = b0; row < b1; row++) statistics({where}, {self.units}, {spelling.taken(name)});"
                )
                continue
            where = spelling.place(operand, backward=True).replace(" + j", "")
            seen = spelling.place(spelling.norm_operand[name], backward=True).replace(" + j", "")
            out = f"c->back_statistics + (row * {len(spelling.back_index)} + {spelling.back_index[k]}) * 2"
            lines.append(
                f"for (long row = b0; row < b1; row++) back_statistics("
                f"{where}, p->gain_{name}, {seen}, {spelling.taken(name)}, {self.units}, {out});"
            )
        return lines


def _more(place: str, value: str) -> str:
    return f"st({place}, ld({place}) + {value});"


def _through(state: str, width: str, before: str = "0", after: str = "1") -> str:
    return f"st(at->{state}_{after} + row * {width} + j, ld(at->{state}_{before} + row * {width} + j));"
