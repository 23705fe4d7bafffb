"""Layouts of tiles come in, the product micro-kernels of an instruction set go out, as C.

They know nothing of cells. Accumulators are separate named variables: an array of vectors would lie
on the stack.
"""

from collections.abc import Iterable

# Which columns of a tile the parts of a product add to, in order: (first, count) a section.
Layout = tuple[tuple[int, int], ...]
MOST = 4  # columns times vectors of a tile
MATRIX_ROWS = 32  # of a tile where a machine multiplies matrices: `matrix.h`


def most_rows(columns: int, registers: int) -> int:
    """The rows of the largest tile that fits the registers.

    They hold its accumulators, the fewer of its weights and operands at one k, and one of the
    others.
    """
    fit = (r for r in range(8, 1, -1) if r * columns + min(r, columns) + 1 <= registers)
    return next(fit, 1)


def table(layout: Layout) -> str:
    """The name of the table in which a layout's kernels are looked up by vectors and rows."""
    return "TILE_" + "_".join(f"{first}{count}" for first, count in layout)


def width(layout: Layout) -> int:
    """How many columns a layout has."""
    return max(first + count for first, count in layout)


def tiles(layouts: Iterable[tuple[Layout, int]], registers: int) -> str:
    """Kernels of all layouts, each with the most vectors of a column, and of outer products."""
    most: dict[Layout, int] = {}
    for layout, vectors in layouts:
        most[layout] = max(vectors, most.get(layout, 1))
    text = [_TYPES]
    for layout, vectors in most.items():
        shapes = [
            (rows, n)
            for n in (1, 2, 4)
            if n <= vectors
            for rows in range(1, most_rows(n * width(layout), registers) + 1)
        ]
        text += [_tile(layout, *shape) for shape in shapes]
        text.append(_table(layout, shapes))
    largest = ", ".join(str(most_rows(c, registers)) for c in range(1, MOST + 1))
    text.append(f"static const int MOST_ROWS[{MOST + 1}] = {{0, {largest}}};")
    shapes = [(rows, n) for n in (1, 2, 4) for rows in range(1, most_rows(n, registers) + 1)]
    text += [_OUTER_TYPE, *(_outer(*shape) for shape in shapes), _lookup("OUTERS", "outer", shapes)]
    text.append(_OUTER_CALL)
    return "\n".join([*_either(most, text), f"enum {{ WIDE = {MOST} }};"])


def _either(layouts: Iterable[Layout], kernels: list[str]) -> list[str]:
    """The kernels, where the machine does not multiply matrices; what `matrix.h` needs, where it does."""
    needed = [f"static const int MOST_ROWS[{MOST + 1}] = {{0{f', {MATRIX_ROWS}' * MOST}}};"]
    for layout in layouts:
        sections = ", ".join(f"{{{first}, {count}}}" for first, count in layout)
        needed.append(f"static const section {table(layout)}_OF[] = {{{sections}}};")
        needed.append(f"enum {{ {table(layout)}_ALL = {width(layout)} }};")
    return ["#ifdef MATRIX", *needed, "#else", *kernels, "#endif"]


_TYPES = """
/* acc[r*wide + c] = start[c][r*step[c]] + sum over all parts and k of a[r*lda + k] * w[k][c]. */
typedef void tile_t(const part *p, const real *w, const real *const *start, const long *step, v *acc, long wide);
#define MULTIPLY(layout, n, rows, ...) layout[n][rows](__VA_ARGS__)
enum { SPACE = 8 * 4 }; /* vectors of the largest tile */
"""


def _grid(rows: int, columns: int, text: str) -> str:
    return "\n  ".join(text.format(r=r, c=c) for r in range(rows) for c in range(columns))


def _k_step(rows: int, columns: range, weights: str, operand: str) -> str:
    """The products of one k: the fewer of its weights and operands stay, the others pass by."""
    load = "near_" if rows > 1 else "ld"  # what is used once may come from memory
    w = [f"const v w{c} = {load}({weights.format(c=n)});" for n, c in enumerate(columns)]
    x = [f"const v x{r} = every(&{operand.format(r=r)});" for r in range(rows)]
    by_row = [[f"s{r}_{c} = dot_(x{r}, w{c}, s{r}_{c});" for c in columns] for r in range(rows)]
    by_column = [list(sums) for sums in zip(*by_row, strict=True)]
    stay, others, sums = (x, w, by_column) if rows < len(columns) else (w, x, by_row)
    passing = [f"{{ {' '.join([one, *its])} }}" for one, its in zip(others, sums, strict=True)]
    return "\n      ".join([" ".join(stay), *passing])


def _tile(layout: Layout, rows: int, n: int) -> str:
    sections = []
    for section, (first, count) in enumerate(layout):
        columns = range(first * n, (first + count) * n)
        sections.append(f"""
  for (; p->section == {section}; p++) {{
    const real *a = p->a;
    const long lda = p->lda;
    for (long left = p->K; left > 0; left -= V / EACH, a += p->jump) {{
      const long K = least(left, V / EACH);
      for (long k = 0; k < K; k++, w += {count * n} * V) {{
      {_k_step(rows, columns, "w + {c} * V", "a[{r} * lda + k]")}
      }}
    }}
  }}""")
    total = width(layout) * n
    start = "\n  ".join(
        f"v s{r}_{c} = ld(start[{c // n}] + {r} * step[{c // n}] + {c % n} * V);"
        for r in range(rows)
        for c in range(total)
    )
    return f"""
static void {table(layout).lower()}_{rows}_{n}(const part *p, const real *w, const real *const *start, const long *step, v *acc, long wide) {{
  {start}{"".join(sections)}
  {_grid(rows, total, "acc[{r} * wide + {c}] = s{r}_{c};")}
}}"""


_OUTER_TYPE = """
/* out[r][c] += sum over k of a[k][r] * z[c][k]: sorted rows of an operand, vectors of dz `ldz`
   apart; out is a tile of rows of `ldo`. */
typedef void outer_t(long K, const real *a, const real *z, long ldz, real *out, long ldo);
"""


_OUTER_CALL = """
/* Rows of a sum that are summed at once: of one sorted vector. */
static inline long outer_rows(long i, long size, long m) { return share(least(V - i % V, size - i), MOST_ROWS[m]); }
#define OUTER(rows, m, k, a, i, z, ldz, out) \\
  OUTERS[m][rows](k.to - k.from, (a) + (i) / V * V * PANEL + (i) % V + k.from * V, (z) + k.from * V, ldz, out, (m) * V)
"""


def _outer(rows: int, columns: int) -> str:
    return f"""
static void outer_{rows}_{columns}(long K, const real *a, const real *z, long ldz, real *out, long ldo) {{
  {_grid(rows, columns, "v s{r}_{c} = ld(out + {r} * ldo + {c} * V);")}
  for (long k = 0; k < K; k++, a += V, z += V) {{
      {_k_step(rows, range(columns), "z + {c} * ldz", "a[{r}]")}
  }}
  {_grid(rows, columns, "st(out + {r} * ldo + {c} * V, s{r}_{c});")}
}}"""


def _table(layout: Layout, shapes: list[tuple[int, int]]) -> str:
    name = table(layout)
    return _lookup(name, name.lower(), shapes, "tile_t")


def _lookup(name: str, prefix: str, shapes: list[tuple[int, int]], kind: str = "outer_t") -> str:
    """The table of the kernels of some shapes, by vectors and rows."""
    rows = []
    for n in range(MOST + 1):
        entries = [f"{prefix}_{r}_{n}" if (r, n) in shapes else "0" for r in range(9)]
        rows.append("  {" + ", ".join(entries) + "}")
    body = ",\n".join(rows)
    return f"static {kind} *const {name}[{MOST + 1}][9] = {{\n{body}}};\n"
