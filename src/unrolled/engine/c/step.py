"""A phase of a plan comes in; C that sweeps a slice of the batch over the units goes out.

A phase is a tile of products whose accumulators lie in L1, and the cell's equations on them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..plan import Column, Phase, reads
from .spelling import Spelling
from .tiles import MOST, Layout, most_rows, table


@dataclass(frozen=True)
class Part:
    """One operand that some neighbouring columns of a group multiply.

    Args:
        first, count: the columns, counted within the group.
        operand, stride, size: rows of the operand in C, their distance, and how many k.
        source: the matrix; blocks: which block of its rows each column (or, backward, the term)
            takes.
        back: whether the matrix is transposed: U^T d.
    """

    first: int
    count: int
    operand: str
    stride: str
    size: str
    source: str
    blocks: tuple[int, ...]
    back: bool = False


@dataclass(frozen=True)
class Group:
    """Neighbouring columns of a phase whose accumulators fit the registers: one tile.

    Args:
        name: of its packed weights.
        first, count: its columns.
        parts: what they sum, in order; the input's first.
    """

    name: str
    first: int
    count: int
    parts: tuple[Part, ...]

    @property
    def layout(self) -> Layout:
        """Its sections; an empty product still starts its columns."""
        found: list[tuple[int, int]] = []
        for part in self.parts:
            if not found or found[-1] != (part.first, part.count):
                found.append((part.first, part.count))
        return tuple(found) or ((0, self.count),)

    @property
    def sections(self) -> list[int]:
        """The section of each part."""
        numbers: list[int] = []
        for n, part in enumerate(self.parts):
            last = self.parts[n - 1]
            same = n > 0 and (part.first, part.count) == (last.first, last.count)
            numbers.append(numbers[-1] + (not same) if numbers else 0)
        return numbers

    def before(self, n: int) -> str:
        """Words of weights a unit in front of those of the n-th part, in C; of all parts with n = -1."""
        parts = self.parts if n < 0 else self.parts[:n]
        return " + ".join(f"{part.count} * words({part.size})" for part in parts) or "0"

    @property
    def reads_x(self) -> int:
        """How many of its columns read x; they stand first."""
        first = self.parts[0] if self.parts else None
        return first.count if first is not None and first.source == "x_weight" else 0


class PhaseWriter:
    """Writes one phase of the forward (`forward0`, …) or backward pass."""

    def __init__(self, spelling: Spelling, name: str, phase: Phase, *, backward: bool):
        self.spelling, self.name, self.phase, self.backward = spelling, name, phase, backward
        self.columns = phase.columns
        self.x_first = self.x_total = 0  # where its columns lie among those of a product ahead
        self.groups = self._groups()
        widest = max((group.count for group in self.groups), default=1)
        self.most = {1: 4, 2: 2}.get(widest, 1)
        self.width = f"c->{phase.width}p"
        self.units = f"c->{phase.width}"

    # -- products

    def _groups(self) -> list[Group]:
        groups, total = [], len(self.columns)
        tiles = -(-total // MOST)
        for n in range(tiles):
            first, end = total * n // tiles, total * (n + 1) // tiles
            parts = self._back_parts(first, end) if self.backward else self._parts(first, end)
            groups.append(Group(f"{self.name}_{first}", first, end - first, tuple(parts)))
        return groups

    def _parts(self, first: int, end: int) -> list[Part]:
        traced, parts = self.spelling.plan.traced, []
        reading = [n for n in range(first, end) if self.columns[n].x]
        if reading:
            blocks = tuple(traced.x_gates.index(self.columns[n].x) for n in reading)
            rows = "c->x + (at->t * c->B + b) * c->ldx"
            parts.append(Part(0, len(reading), rows, "c->ldx", "c->K", "x_weight", blocks))
        by_operand: dict[tuple[str, int], list[int]] = {}
        for n in range(first, end):
            if self.columns[n].product >= 0:
                node = self.spelling.nodes[self.columns[n].product]
                by_operand.setdefault((node.op, node.args[0]), []).append(n)
        for (op, operand), columns in by_operand.items():
            parts += [self._product(op, operand, some, first) for some in _neighbours(columns)]
        return parts

    def _product(self, op: str, operand: int, columns: list[int], first: int) -> Part:
        traced, spelling = self.spelling.plan.traced, self.spelling
        order = traced.u_gates if op == "u" else traced.projs
        names = [str(spelling.nodes[self.columns[n].product].attr) for n in columns]
        base, stride = self.rows_of(operand)
        size = f"c->{traced.operand_width}" if op == "u" else "c->H"
        source = "u_weight" if op == "u" else "proj_weight"
        blocks = tuple(order.index(name) for name in names)
        return Part(columns[0] - first, len(columns), base, stride, size, source, blocks)

    def _back_parts(self, first: int, end: int) -> list[Part]:
        traced, spelling = self.spelling.plan.traced, self.spelling
        parts = []
        for n in range(first, end):
            node = spelling.nodes[self.columns[n].product]
            for term, operand in enumerate(node.args):
                base, stride = self.rows_of(operand)
                if node.op == "u_back":
                    # The operands of u_back follow the nodes of its gates.
                    value = int(str(node.attr)[1:])
                    gates = [
                        str(m.attr)
                        for k, m in enumerate(traced.graph.nodes)
                        if m.op == "u" and m.args[0] == value and k in spelling.derived.by_u
                    ]
                    block, source, size = traced.u_gates.index(gates[term]), "u_weight", "c->H"
                else:
                    block, source = traced.projs.index(str(node.attr)), "proj_weight"
                    size = "c->P"
                parts.append(Part(n - first, 1, base, stride, size, source, (block,), back=True))
        return parts

    def rows_of(self, k: int) -> tuple[str, str]:
        """The first row of an operand that lies in memory, and the distance of rows."""
        node = self.spelling.nodes[k]
        if node.op == "weight":  # every row multiplies the same
            return self.spelling.weight_row(str(node.attr), whole=f"p->w_{node.attr}"), "0"
        place = self.spelling.operand(k, backward=self.backward).replace(" + j", "")
        base, _, rest = place.partition(" + ")
        if rest.startswith("(row * "):
            count, slot = rest.removeprefix("(row * ").split(" + ")
            number = slot.split(")")[0]
            return f"{base} + (b * {count} + {number}) * c->Hp", f"{count} * c->Hp"
        if "row" not in rest:
            raise AssertionError(f"{place} has no rows")
        stride = rest.split("row * ")[1]
        return f"{base} + b * {stride}", stride

    def biases(self) -> list[tuple[int, int]]:
        """For each column, the blocks of the input's and of U's bias that it starts from; or -1."""
        traced, found = self.spelling.plan.traced, []
        for column in self.columns:
            x = traced.x_gates.index(column.x) if column.x else -1
            node = self.spelling.nodes[column.product] if column.product >= 0 else None
            u = traced.u_gates.index(str(node.attr)) if node and node.op == "u" else -1
            found.append((x, u))
        return found

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
        body = "\n      ".join(lines)
        unused = ", (void)keep" if keep else ""
        return f"""
static inline __attribute__((always_inline)) void {self.name}_rows(
    const call *c, const packed *p, const step *at, long b, long rows, long q, long n, const v *acc{keep}) {{
  (void)p, (void)acc{unused};
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
    FOR(i, n) {{
      const long j = (q + i) * V;
      {body}
    }}
  }}
}}"""

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
            lines.append(
                f"st({spelling.slot('at->dz', len(spelling.slots), spelling.slots[k])}, {value});"
            )
        for s, d in derived.by_state.items():
            if d == k:
                lines.append(f"st(at->d_{s}_1 + row * {spelling.width(s)} + j, {value});")
        for name, d in derived.by_weight.items():
            if d == k:
                lines.append(_more(f"c->dw_{name} + row * c->Hp + j", value))
        for name, d in derived.by_norm.items():
            if d == k:
                operand = spelling.value(spelling.norm_operand[name], set(), backward=True)
                lines.append(_more(f"c->d_gain_{name} + row * {self.width} + j",
                                   f"{value} * ({spelling.seen(name, operand)})"))  # fmt: skip
                lines.append(_more(f"c->d_shift_{name} + row * {self.width} + j", value))
        if k in spelling.back_carried:
            place = spelling.slot(
                "c->back_carry", len(spelling.back_carried), spelling.back_carried[k]
            )
            lines.append(f"st({place}, {value});")
        return lines

    def _read_later(self) -> set[int]:
        """What is read where it is saved in the same step, so that it is written always."""
        multiplied, read = reads(self.spelling.plan.forward, self.spelling.nodes)
        return multiplied if self.spelling.half else multiplied | read

    def _skipped(self) -> str:
        spelling, plan, lines = self.spelling, self.spelling.plan, []
        for k in self.phase.stores:
            if self.backward:
                if k in spelling.slots:
                    lines.append(
                        f"st({spelling.slot('at->dz', len(spelling.slots), spelling.slots[k])}, all(0));"
                    )
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
        widest = max((group.count for group in self.groups), default=1)
        rows = max(
            n * most_rows(widest * n, registers) for n in (1, 2, 4) if n <= self.most
        )  # times the vectors of a column
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
      {self.name}_rows(c, p, at, b, rows, q, n, acc{passed});
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
            f"PART({part.operand}, {part.stride}, {part.size}, {section})"
            for part, section in zip(group.parts, group.sections, strict=True)
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
        {table(group.layout)}[n][rows]({given}, {weights}, start, step, acc + {group.first} * n, {count} * n);
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
                rows.append(self.rows_of(k)[0])
            elif not self.backward and k in multiplied and k in spelling.made:
                rows += [f"at->{s}_1 + b * {spelling.width(s)}" for s in spelling.made[k]]
            elif not self.backward and k in multiplied and k in spelling.saved:
                rows.append(self.rows_of(k)[0])
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
                where = spelling.place(operand, backward=False).replace(" + j", "")
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


def _neighbours(columns: list[int]) -> list[list[int]]:
    parts: list[list[int]] = []
    for n in columns:
        if parts and parts[-1][-1] == n - 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return parts


def _more(place: str, value: str) -> str:
    return f"st({place}, ld({place}) + {value});"


def _through(state: str, width: str, before: str = "0", after: str = "1") -> str:
    return f"st(at->{state}_{after} + row * {width} + j, ld(at->{state}_{before} + row * {width} + j));"
