/* Products, the same for all cells: rows of an operand times packed columns of weights, and outer
   products summed over time. Every sum runs over k in order, whatever the tile: bits do not depend
   on the shape of a batch, nor on the number of threads. */
#define FOR(i, n) for (long i = 0; i < (n); i++)

/* Units are walked in blocks of `most` (4, 2 or 1) vectors, then of 2 and 1. */
static inline long block(long left, long most) { return left < most ? (left >= 2 ? 2 : 1) : most; }
static inline long up(long n) { return (n + V - 1) / V * V; }
static inline long least(long a, long b) { return a < b ? a : b; }

/* Rows of the next tile: as even a share of those left as tiles of at most so many rows allow. */
static inline long share(long left, long most) {
  const long tiles = (left + most - 1) / most;
  return (left + tiles - 1) / tiles;
}
/* Sums over time sort their operands into panels of BLOCK k and WIDE vectors. */
enum { BLOCK = 64, WIDE = 16 };
static const real ZEROS[4 * V];

/* One part of a group's weights: dst[block][before + k][column][vector][lane], `total` values a unit
   in a block; the value of a column, unit and k is src[column][unit*su + k*sk]. */
static void pack(real *dst, long most, long units, long K, int columns, const real *const *src, long su, long sk,
                 long total, long before) {
  long Q = up(units) / V;
  for (long q = 0; q < Q;) {
    long n = block(Q - q, most);
    real *out = dst + q * V * total + n * V * before;
    for (int c = 0; c < columns; c++) {
      if (sk == 1) { /* rows of the matrix are units: walk k in strips that stay in cache */
        for (long k0 = 0; k0 < K; k0 += 16) FOR(u, n * V) {
          long unit = q * V + u, k1 = least(k0 + 16, K);
          for (long k = k0; k < k1; k++)
            out[(k * columns + c) * n * V + u] = unit < units ? src[c][unit * su + k] : 0;
        }
      } else FOR(k, K) FOR(u, n * V) {
        long unit = q * V + u;
        out[(k * columns + c) * n * V + u] = unit < units ? src[c][unit * su + k * sk] : 0;
      }
    }
    q += n;
  }
}

static void spread(real *dst, const real *src, long n) {
  long N = up(n);
  FOR(j, N) dst[j] = src && j < n ? src[j] : 0;
}

/* Mean and 1 / deviation of a row. */
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
static void statistics(const real *x, long n, real *out) {
  v sum = all(0), squares = all(0);
  for (long j = 0; j < n; j += V) sum += n - j < V ? masked(ld(x + j), n - j) : ld(x + j);
  real mean = total(sum) / n;
  for (long j = 0; j < n; j += V) {
    v d = ld(x + j) - mean;
    if (n - j < V) d = masked(d, n - j);
    squares = fma_(d, d, squares);
  }
  out[0] = mean;
  out[1] = 1 / (real)sqrt((double)(total(squares) / n + (real)1e-5));
}
/* The two means that the derivative of a normalisation needs. */
static void back_statistics(const real *d, const real *gain, const real *x, const real *taken, long n, real *out) {
  v first = all(0), second = all(0);
  for (long j = 0; j < n; j += V) {
    v y = ld(d + j) * ld(gain + j), seen = (ld(x + j) - taken[0]) * taken[1];
    if (n - j < V) y = masked(y, n - j), seen = masked(seen, n - j);
    first += y;
    second = fma_(y, seen, second);
  }
  out[0] = total(first) / n;
  out[1] = total(second) / n;
}
