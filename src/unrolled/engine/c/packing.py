"""The phases of a plan come in; C goes out that packs weights in the order in which tiles read them.

A group's weights lie block by block of units; in a block part after part, in a part k after k.
"""

from collections.abc import Iterator

from ..plan import Plan
from .groups import Group, Part
from .spelling import Spelling
from .step import PhaseWriter
from .tiles import table


class Packing:
    """Where packed weights lie, how they are made, and W x for all steps at once."""

    def __init__(
        self,
        plan: Plan,
        spelling: Spelling,
        forward: list[PhaseWriter],
        backward: list[PhaseWriter],
        registers: int,
    ):
        self.plan, self.spelling, self.registers = plan, spelling, registers
        self.forward, self.backward = forward, backward

    def fields(self) -> Iterator[tuple[str, str]]:
        """Name and size of each part of the packed weights."""
        traced = self.plan.traced
        for writer in [*self.forward, *self.backward]:
            if not writer.backward and writer.columns:
                yield f"{writer.name}_bias", f"{len(writer.columns)} * {writer.width}"
            for group in writer.groups:
                yield group.name, f"up({writer.units}) * ({group.before(-1)})"
        if by_x := self.plan.derived.by_x:
            yield "dx", f"up(c->K) * {len(by_x)} * words(c->H)"
        for name in traced.weights:
            yield f"w_{name}", "c->Hp"
        for name in self.spelling.multiplied_weights:
            yield f"row_{name}", "words(c->Hp)"
        for name in traced.norms:
            width = f"c->{self.spelling.norm_letter(name)}p"
            yield f"gain_{name}", width
            yield f"shift_{name}", width

    def text(self) -> str:
        """`place`, `pack_forward` and `pack_backward`."""
        place = "\n  ".join(
            f"p->{name} = base + size; size += {size};" for name, size in self.fields()
        )
        bodies = {
            back: "\n  ".join(f"if (task++ % n == me) {{ {t} }}" for t in self._tasks(back))
            for back in (False, True)
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

    def _tasks(self, back: bool) -> Iterator[str]:
        traced = self.plan.traced
        for writer in self.backward if back else self.forward:
            if not back:
                for n, (x, u) in enumerate(writer.products.biases()):
                    yield self._bias(writer, n, x, u)
            for group in writer.groups:
                for n in range(len(group.parts)):
                    yield self._part(writer, group, n)
        if back:
            total = f"{len(self.plan.derived.by_x)} * words(c->H)"
            for n, gate in enumerate(self.plan.derived.by_x):
                block = traced.x_gates.index(gate)
                yield (
                    f"const kept *src[] = {{c->x_weight + {block} * c->H * c->K}}; "
                    f"if (c->want_dx) pack(p->dx, 4, c->K, c->H, 1, src, 1, c->K, {total}, {n} * words(c->H));"
                )
        for name in traced.weights:
            row = f"narrow(p->row_{name}, p->w_{name}, c->Hp);"
            also = f" {row}" if name in self.spelling.multiplied_weights else ""
            yield f"spread(p->w_{name}, c->raw_{name}, c->H);{also}"
        for name in traced.norms:
            letter = self.spelling.norm_letter(name)
            yield f"spread(p->gain_{name}, c->raw_gain_{name}, c->{letter});"
            yield f"spread(p->shift_{name}, c->raw_shift_{name}, c->{letter});"

    def _bias(self, writer: PhaseWriter, n: int, x: int, u: int) -> str:
        target = f"p->{writer.name}_bias + {n} * {writer.width}"
        first = f"c->x_bias ? c->x_bias + {x} * c->H : 0" if x >= 0 else "0"
        lines = f"spread({target}, {first}, c->{writer.phase.width});"
        if u >= 0:
            lines += f" if (c->u_bias) FOR(j, c->H) ({target})[j] += c->u_bias[{u} * c->H + j];"
        return lines

    def _part(self, writer: PhaseWriter, group: Group, n: int) -> str:
        part = group.parts[n]
        src, strides = self._matrix(part)
        return (
            f"const kept *src[] = {{{src}}}; "
            f"pack(p->{group.name}, {writer.most}, {writer.units}, {part.size}, {part.count}, src, "
            f"{strides}, {group.before(-1)}, {group.before(n)});"
        )

    def _matrix(self, part: Part) -> tuple[str, str]:
        """Where a part's blocks begin, and the strides of units and of k."""
        if part.source == "x_weight":
            return _blocks("x_weight", part, "c->H * c->K"), "c->K, 1"
        if part.source == "u_weight":
            width = f"c->{self.plan.traced.operand_width}"
            strides = f"1, {width}" if part.back else f"{width}, 1"
            return _blocks("u_weight", part, f"c->H * {width}"), strides
        return _blocks("proj_weight", part, "c->P * c->H"), "1, c->H" if part.back else "c->H, 1"

    def ahead(self) -> str:
        """W x for all steps at once, where a step alone has too few rows for a tile."""
        lines = []
        for writer in self.forward:
            for group in writer.groups:
                if not group.reads_x:
                    continue
                starts = ", ".join(
                    f"p->{writer.name}_bias + {group.first + k} * {writer.width} + q * V"
                    for k in range(group.reads_x)
                )
                steps = ", ".join(["0"] * group.reads_x)
                lines.append(f"""
  for (long q = 0; q < {writer.width} / V;) {{
    const long n = block({writer.width} / V - q, {writer.most});
    for (long b = b0; b < b1;) {{
      const long rows = share(b1 - b, MOST_ROWS[{group.reads_x} * n]);
      const part parts[] = {{PART(c->x + b * c->ldx, c->ldx, c->K, 0, V), {{0, 0, 0, -1}}}};
      const real *const start[] = {{{starts}}};
      const long step[] = {{{steps}}};
      v acc[SPACE];
      MULTIPLY({table(((0, group.reads_x),))}, n, rows, parts, p->{group.name} + q * V * ({group.before(-1)}), start, step, acc, {group.reads_x} * n);
      FOR(r, rows) FOR(k, {group.reads_x}) FOR(i, n)
        st(c->xw + ((b + r) * {writer.x_total} + {writer.x_first + group.first} + k) * c->Hp + (q + i) * V,
           acc[(r * {group.reads_x} + k) * n + i]);
      b += rows;
    }}
    q += n;
  }}""")  # fmt: skip
        return f"""
static void ahead(const call *c, const packed *p, long b0, long b1) {{
  (void)c, (void)p, (void)b0, (void)b1;{"".join(lines)}
}}
"""


def _blocks(source: str, part: Part, size: str) -> str:
    return ", ".join(f"c->{source} + {block} * {size}" for block in part.blocks)
