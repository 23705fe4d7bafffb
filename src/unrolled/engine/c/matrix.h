/* Tiles of a machine that multiplies matrices of bfloat16 by itself (AMX): sixteen rows of an
   operand, sixteen words of each, times sixteen words of sixteen units, added in float32.
   Both ways to place the accumulators, and all numbers of rows, add in the same order. */
enum { SIDE = 16, SPACE = 2 * SIDE * 4 };

/* How the tiles of this thread are shaped, by the rows of an operand; 0: not yet. Up to SIDE rows:
   accumulators 0 to 3 of four columns, operand 4, weights 5 to 7. More rows: accumulators 0 and 1 of
   the first SIDE rows and two columns, 2 and 3 of those below, operands 4 and 5, weights 6 and 7. */
static __thread long shaped;
static inline void tiles_begin(void) { shaped = 0; }
static inline void tiles_end(void) { if (shaped) _tile_release(), shaped = 0; }
static void shape(long rows) {
  if (shaped == rows) return;
  const int two = rows > SIDE;
  const uint8_t top = two ? SIDE : rows, below = two ? rows - SIDE : top;
  struct { uint8_t palette, start, none[14]; uint16_t bytes[16]; uint8_t rows[16]; } how = {
    .palette = 1, .rows = {top, top, below, below, top, two ? below : SIDE, SIDE, SIDE}};
  FOR(i, 8) how.bytes[i] = SIDE * sizeof(real);
  FENCE;
  _tile_loadconfig(&how);
  shaped = rows;
}

/* Of four columns from the c-th on, as bits: those that stand in a section. */
static inline int within(long c, long first, long end) {
  int bits = 0;
  FOR(i, 4) bits |= (c + i >= first && c + i < end) << i;
  return bits;
}

/* Add SIDE words along k. Rows of `a` and words along k of `w` lie `across` and `down` bytes apart; the
   rows behind the first SIDE begin at `below`, each column `next` behind the one before it. */
static inline __attribute__((always_inline)) void add_square(
    long rows, int columns, const real *a, const real *below, long across, const real *w, long next, long down) {
  _tile_loadd(4, a, across);
  if (rows > SIDE) {
    _tile_loadd(5, below, across);
    if (columns & 1) { _tile_loadd(6, w, down); _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(2, 5, 6); }
    if (columns & 2) { _tile_loadd(7, w + next, down); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(3, 5, 7); }
  } else {
    if (columns & 1) { _tile_loadd(5, w, down); _tile_dpbf16ps(0, 4, 5); }
    if (columns & 2) { _tile_loadd(6, w + next, down); _tile_dpbf16ps(1, 4, 6); }
    if (columns & 4) { _tile_loadd(7, w + 2 * next, down); _tile_dpbf16ps(2, 4, 7); }
    if (columns & 8) { _tile_loadd(5, w + 3 * next, down); _tile_dpbf16ps(3, 4, 5); }
  }
}

/* Add W words along k: rows of `a`, times columns of `w` whose bits are set; words of neighbouring
   columns lie side by side, those of the next k `ldw` behind. */
static inline void add_words(long rows, const real *a, long lda, const real *w, long ldw, long W, int columns) {
  real operand[2 * SIDE * SIDE] __attribute__((aligned(64)));
  real weights[4 * SIDE * SIDE] __attribute__((aligned(64)));
  for (long k = 0; k < W; k += SIDE, a += SIDE, w += SIDE * ldw) {
    if (W - k < SIDE) { /* what is not there counts as 0, whatever lies behind it */
      FENCE;
      const __mmask16 there = (1u << (W - k)) - 1;
      FOR(r, rows) _mm512_store_ps(operand + r * SIDE, _mm512_maskz_loadu_ps(there, a + r * lda));
      FOR(l, SIDE) FOR(i, 4) if (columns >> i & 1)
        _mm512_store_ps(weights + (l * 4 + i) * SIDE, l < W - k ? _mm512_loadu_ps(w + l * ldw + i * V) : _mm512_setzero_ps());
      a = operand, lda = SIDE, w = weights, ldw = 4 * SIDE;
      FENCE;
    }
    add_square(rows, columns, a, a + SIDE * lda, lda * sizeof(real), w, V, ldw * sizeof(real));
  }
}

/* Where an accumulator lies: row r of a column. */
typedef struct { real *at; long ld; } place_of;
/* All that are in use, from memory or to it. */
#define ACCUMULATORS(move, rows, columns, place) \
  if (rows > SIDE) { \
    if (columns & 1) { move(0, place(0, 0)); move(2, place(SIDE, 0)); } \
    if (columns & 2) { move(1, place(0, 1)); move(3, place(SIDE, 1)); } \
  } else { \
    if (columns & 1) move(0, place(0, 0)); \
    if (columns & 2) move(1, place(0, 1)); \
    if (columns & 4) move(2, place(0, 2)); \
    if (columns & 8) move(3, place(0, 3)); \
  }
#define TAKE(tile, place) _tile_loadd(tile, (place).at, (place).ld * sizeof(real))
#define GIVE(tile, place) _tile_stored(tile, (place).at, (place).ld * sizeof(real))

/* The sections of a layout: which columns a part of a product adds to. */
typedef struct { int first, count; } section;
/* As a `tile_t` of `all` columns, n vectors each. */
static __attribute__((noinline)) void multiply(
    const section *of, long all, long n, long rows, const part *parts, const real *w,
    const real *const *start, const long *step, v *acc, long wide) {
  shape(rows);
  FENCE;
  const long at_once = rows > SIDE ? 2 : 4, total = all * n;
  for (long c = 0; c < total; c += at_once) {
    const int mine = within(c, c, least(c + at_once, total));
#define START(r, i) ((place_of){(real *)start[(c + i) / n] + r * step[(c + i) / n] + (c + i) % n * V, step[(c + i) / n]})
    ACCUMULATORS(TAKE, rows, mine, START)
    const real *panel = w;
    for (const part *p = parts; p->section >= 0; p++) {
      const long first = of[p->section].first * n, count = of[p->section].count * n;
      const int columns = mine & within(c, first, first + count);
      if (columns) add_words(rows, p->a, p->lda, panel + (c - first) * V, count * V, p->K, columns);
      panel += p->K * count * V;
    }
#define SUM(r, i) ((place_of){(real *)(acc + r * wide + c + i), wide * V})
    ACCUMULATORS(GIVE, rows, mine, SUM)
#undef START
#undef SUM
  }
  FENCE;
}
#define MULTIPLY(layout, n, rows, ...) \
  multiply(layout##_OF, layout##_ALL, n, rows, __VA_ARGS__)

/* Rows of a sum over time that are summed at once: two squares of a sorted operand. */
static inline long outer_rows(long i, long size, long m) {
  (void)m;
  return least(2 * SIDE, size - i);
}
/* out[r][c] += sum over k of a[k][i + r] * z[c][k]. */
static __attribute__((noinline)) void outer(long rows, long m, range k, const real *a, const real *z, long ldz, real *out) {
  shape(rows);
  FENCE;
  const long at_once = rows > SIDE ? 2 : 4, ldo = m * V;
  for (long c = 0; c < m; c += at_once) {
    const int columns = within(c, c, least(c + at_once, m));
#define PART_OF_SUM(r, i) ((place_of){out + r * ldo + (c + i) * V, ldo})
    ACCUMULATORS(TAKE, rows, columns, PART_OF_SUM)
    for (long l = k.from / SIDE * SIDE; l < k.to; l += SIDE) {
      const real *x = a + l * V, *y = z + c * ldz + l * V;
      const long line = SIDE * sizeof(real);
      add_square(rows, columns, x, x + PANEL * V, line, y, ldz, line);
    }
    ACCUMULATORS(GIVE, rows, columns, PART_OF_SUM)
#undef PART_OF_SUM
  }
  FENCE;
}
#define OUTER(rows, m, k, a, i, z, ldz, out) outer(rows, m, k, (a) + (i) * PANEL, z, ldz, out)
