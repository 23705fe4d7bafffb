/* What dz is multiplied with is sorted first: vectors of a row's values, the words along k of each
   one behind the other. dz itself lies so, but where neighbours along k make a word. */
static void sort_panel(real *to, const kept *a, long lda, long K, long size) {
  for (long k = 0; k < K; k += EACH, a += EACH * lda, to += V) for (long i = 0; i < size; i += V) {
    fetch(a + 12 * EACH * lda + i);
    st(to + i * PANEL, across(a + i, lda, k + 1 < K, size - i));
  }
#ifdef MATRIX /* which takes SIDE words at once: what is not there counts as 0 */
  for (long k = words(K); k % SIDE; k++, to += V) for (long i = 0; i < size; i += V) st(to + i * PANEL, all(0));
#endif
}
#ifdef MATRIX
/* An operand is sorted in squares: the words along k of a value side by side. */
static void sort_operand(real *to, const kept *a, long lda, long K, long size) {
  for (long k = 0; k < K; k += SIDE * EACH, a += SIDE * EACH * lda, to += SIDE * V)
    for (long i = 0; i < size; i += V) {
      v rows[SIDE];
      FOR(l, SIDE) {
        const long of = EACH * l;
        rows[l] = k + of < K ? across(a + of * lda + i, lda, k + of + 1 < K, size - i) : all(0);
      }
      turn(rows);
      FOR(l, SIDE) st(to + i * PANEL + l * V, rows[l]);
    }
}
#else
#define sort_operand sort_panel
#endif
/* The sum along k of one vector of dz: block by block, as a long sum of one lane loses bits, and four
   sums at once, as an addition waits for the one before. */
static v sum_panel(const real *a, long W) {
  v s0 = all(0), s1 = all(0), s2 = all(0), s3 = all(0);
#ifdef HALF
  FOR(k, W) {
    const words_of_v word = (words_of_v)ld(a + k * V);
    s0 += (v)(word << 16);
    s1 += (v)(word & 0xffff0000u);
  }
#else
  long k = 0;
  for (; k + 4 <= W; k += 4, a += 4 * V) s0 += ld(a), s1 += ld(a + V), s2 += ld(a + 2 * V), s3 += ld(a + 3 * V);
  for (; k < W; k++, a += V) s0 += ld(a);
#endif
  return (s0 + s1) + (s2 + s3);
}
