/* What dz is multiplied with is sorted first: vectors of a row's values, the words along k of each
   one behind the other. dz itself lies so, but where neighbours along k make a word. */
static void sort_panel(real *to, const kept *a, long lda, long K, long size) {
  for (long k = 0; k < K; k += EACH, a += EACH * lda, to += V)
    for (long i = 0; i < size; i += V) st(to + i * BLOCK, across(a + i, lda, k + 1 < K, size - i));
}
/* The sum along k of one vector of dz: block by block, as a long sum of one lane loses bits. */
static v sum_panel(const real *a, long W) {
  v sum = all(0);
#ifdef HALF
  FOR(k, W) {
    const words_of_v word = (words_of_v)ld(a + k * V);
    sum += (v)(word << 16);
    sum += (v)(word & 0xffff0000u);
  }
#else
  FOR(k, W) sum += ld(a + k * V);
#endif
  return sum;
}
