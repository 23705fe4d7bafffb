/* Products, the same for all cells: rows of an operand times packed columns of weights, and outer
   products summed over time. Every sum runs over k in order, whatever the tile: bits do not depend
   on the shape of a batch, nor on the number of threads. */
#define FOR(i, n) for (long i = 0; i < (n); i++)

#ifndef HALF /* what is multiplied is kept in reals, each a word by itself */
typedef real kept;
enum { EACH = 1 };
#define dot_ fma_
static inline void put(real *to, const kept *a, long k, long step, long K) {
  (void)K, *to = a[k * step];
}
#endif
static inline long words(long n) { return (n + EACH - 1) / EACH; }
/* A product's part: rows of an operand, their distance, how many words along k, the distance of
   vectors along k; section -1 ends the list. */
typedef struct {
  const real *a;
  long lda, K;
  int section;
  long jump;
} part;
/* The same, in values. */
#define PART(a, lda, K, section, jump) \
  {(const real *)(a), (lda) / EACH, words(K), section, (jump) / EACH}

/* Units are walked in blocks of `most` (4, 2 or 1) vectors, then of 2 and 1. */
static inline long block(long left, long most) { return left < most ? (left >= 2 ? 2 : 1) : most; }
static inline long up(long n) { return (n + V - 1) / V * V; }
static inline long least(long a, long b) { return a < b ? a : b; }

/* Rows of the next tile: as even a share of those left as tiles of at most so many rows allow. */
static inline long share(long left, long most) {
  const long tiles = (left + most - 1) / most;
  return (left + tiles - 1) / tiles;
}
/* Sums over time go on in blocks of so many words along k: their part of dz stays in L1. */
enum { BLOCK = 128 };
/* Sorted vectors lie a line more apart, as else all of a row would share one set of the cache. */
enum { PANEL = BLOCK + 64 / BYTES };
static const real ZEROS[4 * V];
typedef struct { long from, to; } range; /* of words along k */
#ifndef MATRIX
static inline void tiles_begin(void) {}
static inline void tiles_end(void) {}
#endif

#ifndef HALF
/* A vector of words, of each of n units one, from a matrix whose rows are k: side by side. */
static inline v across(const kept *a, long sk, int both, long n) {
  (void)sk, (void)both;
  if (n >= V) return ld(a);
  v y = all(0);
  FOR(l, n) y[l] = a[l];
  return y;
}
#endif
/* The n words that stand `step` bytes apart, as a vector. */
static inline v lifted(const void *a, long step, long n) {
#if defined(__AVX512F__) && !defined(REAL64)
  if (step < 1 << 26) {
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i places = _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)step));
    const __mmask16 there = n >= V ? 0xffff : (1u << n) - 1;
    return (v)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), there, places, a, 1);
  }
#endif
  real y[V] = {0};
  FOR(l, least(V, n)) memcpy(y + l, (const char *)a + l * step, sizeof *y);
  return ld(y);
}
/* A vector of words, of each of n units one, from a matrix whose rows, `su` apart, are units. */
static inline v along(const kept *a, long k, long su, long K, long n) {
  if (k + EACH <= K) return lifted(a + k, su * sizeof(kept), n);
  real y[V] = {0};
  FOR(l, least(V, n)) put(y + l, a + l * su, k, 1, K);
  return ld(y);
}

/* V vectors as the rows of a square: value l of row i becomes value i of row l. */
static inline void turn(v *rows) {
#if defined(__AVX512F__) && !defined(REAL64)
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
#pragma GCC unroll 4
  for (int s = 8; s; s /= 2) {
    /* Of rows i and i + s: the lanes without and those with the bit s, each beside the other row's. */
    const __mmask16 with = s == 8 ? 0xff00 : s == 4 ? 0xf0f0 : s == 2 ? 0xcccc : 0xaaaa;
    const __m512i other = _mm512_set1_epi32(16 - s), up = _mm512_set1_epi32(s);
    const __m512i low = _mm512_mask_add_epi32(lanes, with, lanes, other);
    const __m512i high = _mm512_mask_add_epi32(_mm512_add_epi32(lanes, up), with, lanes, _mm512_set1_epi32(16));
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) if (!(i & s)) {
      const __m512 a = (__m512)rows[i], b = (__m512)rows[i + s];
      rows[i] = (v)_mm512_permutex2var_ps(a, low, b);
      rows[i + s] = (v)_mm512_permutex2var_ps(a, high, b);
    }
  }
#elif defined(__AVX__) && !defined(REAL64)
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) { /* squares of four, in each half of lanes */
    const __m256 a = _mm256_unpacklo_ps((__m256)rows[i], (__m256)rows[i + 1]);
    const __m256 b = _mm256_unpackhi_ps((__m256)rows[i], (__m256)rows[i + 1]);
    const __m256 c = _mm256_unpacklo_ps((__m256)rows[i + 2], (__m256)rows[i + 3]);
    const __m256 d = _mm256_unpackhi_ps((__m256)rows[i + 2], (__m256)rows[i + 3]);
    rows[i] = (v)_mm256_shuffle_ps(a, c, 0x44), rows[i + 1] = (v)_mm256_shuffle_ps(a, c, 0xee);
    rows[i + 2] = (v)_mm256_shuffle_ps(b, d, 0x44), rows[i + 3] = (v)_mm256_shuffle_ps(b, d, 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) { /* the halves that lie in each other's rows */
    const __m256 a = (__m256)rows[i], b = (__m256)rows[i + 4];
    rows[i] = (v)_mm256_permute2f128_ps(a, b, 0x20), rows[i + 4] = (v)_mm256_permute2f128_ps(a, b, 0x31);
  }
#else
  FOR(i, V) FOR(l, i) {
    const real x = rows[i][l];
    rows[i][l] = rows[l][i];
    rows[l][i] = x;
  }
#endif
}
/* The first n values of a row, zeros behind them. */
static inline v first(const real *a, long n) {
  if (n >= V) return ld(a);
  v y = all(0);
  FOR(l, n) y[l] = a[l];
  return y;
}

/* One part of a group's weights: dst[block][before + k][column][vector][lane], `total` words a unit
   in a block; the value of a column, unit and k is src[column][unit*su + k*sk], su or sk being 1. */
static void pack(real *dst, long most, long units, long K, int columns, const kept *const *src,
                 long su, long sk, long total, long before) {
  const long Q = up(units) / V, W = words(K);
  for (long q = 0; q < Q;) {
    const long n = block(Q - q, most);
    real *out = dst + q * V * total + n * V * before;
    for (int c = 0; c < columns; c++)
      FOR(i, n) {
        const long unit = (q + i) * V;
        const kept *const from = src[c] + unit * su;
        real *const to = out + (c * n + i) * V;
#ifndef HALF
        for (long k = 0; su != 1 && k < W; k += V) {
          v rows[V];
          FOR(l, V) rows[l] = unit + l < units ? first(from + l * su + k, K - k) : all(0);
          turn(rows);
          FOR(l, least(V, W - k)) st(to + (k + l) * columns * n * V, rows[l]);
        }
        if (su != 1) continue;
#endif
        FOR(k, W) {
          const v value = su == 1 ? across(from + EACH * k * sk, sk, EACH * k + 1 < K, units - unit)
                                  : along(from, EACH * k, su, K, units - unit);
          st(to + k * columns * n * V, value);
        }
      }
    q += n;
  }
}

static void spread(real *dst, const real *src, long n) {
  long N = up(n);
  FOR(j, N) dst[j] = src && j < n ? src[j] : 0;
}

static v masked(v x, long n) {
  v y = all(0);
  FOR(l, least(V, n)) y[l] = x[l];
  return y;
}
static real total(v x) {
  real sum = 0;
  FOR(l, V) sum += x[l];
  return sum;
}
/* Mean and 1 / deviation of a row. */
#define STATISTICS(name, type) \
  static void name(const type *x, long n, real *out) { \
    v sum = all(0), squares = all(0); \
    for (long j = 0; j < n; j += V) sum += n - j < V ? masked(ld(x + j), n - j) : ld(x + j); \
    real mean = total(sum) / n; \
    for (long j = 0; j < n; j += V) { \
      v d = ld(x + j) - mean; \
      if (n - j < V) d = masked(d, n - j); \
      squares = fma_(d, d, squares); \
    } \
    out[0] = mean; \
    out[1] = 1 / (real)sqrt((double)(total(squares) / n + (real)1e-5)); \
  }
STATISTICS(statistics, real)
#ifdef HALF
STATISTICS(statistics_kept, kept)
#define statistics(x, n, out) \
  _Generic((x), kept *: statistics_kept, const kept *: statistics_kept, default: statistics)(x, n, out)
#endif
/* The two means that the derivative of a normalisation needs. */
#define BACK_STATISTICS(name, type) \
  static void name(const real *d, const real *gain, const type *x, const real *taken, long n, real *out) { \
    v first = all(0), second = all(0); \
    for (long j = 0; j < n; j += V) { \
      v y = ld(d + j) * ld(gain + j), seen = (ld(x + j) - taken[0]) * taken[1]; \
      if (n - j < V) y = masked(y, n - j), seen = masked(seen, n - j); \
      first += y; \
      second = fma_(y, seen, second); \
    } \
    out[0] = total(first) / n; \
    out[1] = total(second) / n; \
  }
BACK_STATISTICS(back_statistics, real)
#ifdef HALF
BACK_STATISTICS(back_statistics_kept, kept)
#define back_statistics(d, gain, x, taken, n, out) \
  _Generic((x), kept *: back_statistics_kept, const kept *: back_statistics_kept, \
           default: back_statistics)(d, gain, x, taken, n, out)
#endif
