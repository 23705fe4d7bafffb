/* Sums over time sort what they multiply: a strip of rows of the result side by side for each word
   along k, and vectors of the other side one behind the other. */
#ifdef HALF
static void sort_strip(real *to, const kept *a, long lda, long K, long left) {
  for (long k = 0; k < K; k += EACH, to += STRIP, a += EACH * lda) {
    uint32_t words[8];
#ifdef __SSE2__
    if (left >= 8) {
      const __m128i one = _mm_loadu_si128((const __m128i *)a);
      const __m128i two = k + 1 < K ? _mm_loadu_si128((const __m128i *)(a + lda)) : _mm_setzero_si128();
      _mm_storeu_si128((__m128i *)words, _mm_unpacklo_epi16(one, two));
      _mm_storeu_si128((__m128i *)(words + 4), _mm_unpackhi_epi16(one, two));
    } else
#endif
      FOR(r, STRIP) words[r] = r < left ? a[r] | (k + 1 < K ? (uint32_t)a[lda + r] << 16 : 0) : 0;
    memcpy(to, words, STRIP * sizeof(real));
  }
}
static inline void sort_vectors(real *to, const kept *z, long ldz, long K, long wide) {
  for (long k = 0; k < K; k += EACH, z += EACH * ldz, to += V)
    FOR(i, wide) {
      words_of_v word = low(z + i * V);
      if (k + 1 < K) word |= low(z + ldz + i * V) << 16;
      st(to + i * BLOCK * V, (v)word);
    }
}
static inline v plus(v sum, v word) { return dot_(word, (v)((words_of_v){0} + 0x3f803f80u), sum); }
#else
static void sort_strip(real *to, const kept *a, long lda, long K, long left) {
  if (left >= STRIP) FOR(k, K) memcpy(to + k * STRIP, a + k * lda, STRIP * sizeof(real));
  else FOR(k, K) FOR(r, STRIP) to[k * STRIP + r] = r < left ? a[k * lda + r] : 0;
}
static inline void sort_vectors(real *to, const kept *z, long ldz, long K, long wide) {
  FOR(k, K) FOR(i, wide) st(to + (i * BLOCK + k) * V, ld(z + k * ldz + i * V));
}
static inline v plus(v sum, v word) { return sum + word; }
#endif
