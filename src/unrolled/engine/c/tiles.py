"""A number of registers comes in, the product micro-kernels of an instruction set go out, as C.

They are the same for all cells. Accumulators are separate named variables: an array of vectors would
lie on the stack.
"""

ROWS = (8, 6, 4, 3, 2, 1)


def most_rows(columns: int, registers: int) -> int:
    """The rows of the largest tile whose accumulators, weights and operand fit the registers."""
    return next(r for r in ROWS if r * columns + columns + 1 <= registers and r <= 8)


def tiles(registers: int) -> str:
    """All tiles, and the tables in which they are looked up by columns and rows."""
    shapes = [
        (rows, columns)
        for columns in (1, 2, 3, 4)
        for rows in ROWS
        if rows <= most_rows(columns, registers)
    ]
    text = [_mac(*shape) for shape in shapes] + [_outer(*shape) for shape in shapes]
    text.append(_table("mac", shapes) + _table("outer", shapes))
    largest = ", ".join(str(most_rows(c, registers)) for c in (1, 2, 3, 4))
    text.append(f"static const int MOST_ROWS[5] = {{0, {largest}}};\n")
    text.append(_ROWS_STEP)
    return "\n".join(text)


_ROWS_STEP = """
/* How many rows the next tile takes: as many as fit, then what tables have. */
static inline int rows_step(int columns, long left) {
  int r = MOST_ROWS[columns];
  while (r > left || !MAC[columns][r]) r--;
  return r;
}
"""


def _grid(rows: int, columns: int, text: str) -> str:
    return "\n  ".join(text.format(r=r, c=c) for r in range(rows) for c in range(columns))


def _k_step(rows: int, columns: int, weights: str, operand: str) -> str:
    loads = " ".join(f"const v w{c} = ld({weights} + {c} * V);" for c in range(columns))
    lines = [loads]
    for r in range(rows):
        adds = " ".join(f"s{r}_{c} = fma_(x, w{c}, s{r}_{c});" for c in range(columns))
        lines.append(f"{{ const v x = every(&{operand.format(r=r)}); {adds} }}")
    return "\n    ".join(lines)


def _mac(rows: int, columns: int) -> str:
    return f"""
static void mac_{rows}_{columns}(long K, const real *a, long lda, const real *w, v *acc, long ld) {{
  {_grid(rows, columns, "v s{r}_{c} = acc[{r} * ld + {c}];")}
  for (long k = 0; k < K; k++, w += {columns} * V) {{
    {_k_step(rows, columns, "w", "a[{r} * lda + k]").replace("ld(w", "*(const vu *)(w")}
  }}
  {_grid(rows, columns, "acc[{r} * ld + {c}] = s{r}_{c};")}
}}"""


def _outer(rows: int, columns: int) -> str:
    return f"""
static void outer_{rows}_{columns}(long K, const real *a, long lda, const real *z, long ldz,
                                   real *out, long ldo) {{
  {_grid(rows, columns, "v s{r}_{c} = ld(out + {r} * ldo + {c} * V);")}
  for (long k = 0; k < K; k++, a += lda, z += ldz) {{
    {_k_step(rows, columns, "z", "a[{r}]")}
  }}
  {_grid(rows, columns, "st(out + {r} * ldo + {c} * V, s{r}_{c});")}
}}"""


def _table(kind: str, shapes: list[tuple[int, int]]) -> str:
    rows = []
    for columns in range(5):
        entries = [f"{kind}_{r}_{columns}" if (r, columns) in shapes else "0" for r in range(9)]
        rows.append("  {" + ", ".join(entries) + "}")
    body = ",\n".join(rows)
    return f"static {kind}_t *const {kind.upper()}[5][9] = {{\n{body}}};\n"
