/* Sums over time sort what they multiply: strips of rows of the result, STRIP of them side by side for
   each word along k, and vectors of the other side, one behind the other along k. */
#ifdef HALF
static inline uint32_t pair(const kept *a, long lda, int both) { return a[0] | (both ? (uint32_t)a[lda] << 16 : 0); }
static void sort_strips(real *to, const kept *a, long lda, long K, long wide) {
  for (long k = 0; k < K; k += EACH, to += STRIP, a += EACH * lda)
    for (long r = 0; r < wide; r += STRIP) {
      uint32_t words[8];
#ifdef __SSE2__
      if (wide - r >= 8) {
        const __m128i one = _mm_loadu_si128((const __m128i *)(a + r));
        const __m128i two = k + 1 < K ? _mm_loadu_si128((const __m128i *)(a + lda + r)) : _mm_setzero_si128();
        _mm_storeu_si128((__m128i *)words, _mm_unpacklo_epi16(one, two));
        _mm_storeu_si128((__m128i *)(words + 4), _mm_unpackhi_epi16(one, two));
      } else
#endif
        FOR(l, least(STRIP, wide - r)) words[l] = pair(a + r + l, lda, k + 1 < K);
      memcpy(to + r * BLOCK, words, least(STRIP, wide - r) * sizeof(real));
    }
}
static void sort_vectors(real *to, const kept *a, long lda, long K, long size) {
  const long whole = size / V * V;
  for (long k = 0; k < K; k += EACH, a += EACH * lda, to += V) {
    const int both = k + 1 < K;
    for (long i = 0; i < whole; i += V) {
      words_of_v word = low(a + i);
      if (both) word |= low(a + lda + i) << 16;
      st(to + i * BLOCK, (v)word);
    }
    if (size > whole) {
      uint32_t words[V] = {0};
      FOR(l, size - whole) words[l] = pair(a + whole + l, lda, both);
      memcpy(to + whole * BLOCK, words, sizeof words);
    }
  }
}
#else
static void sort_strips(real *to, const kept *a, long lda, long K, long wide) {
  const long whole = wide / STRIP * STRIP;
  for (long k = 0; k < K; k++, to += STRIP, a += lda) {
    for (long r = 0; r < whole; r += STRIP) memcpy(to + r * BLOCK, a + r, STRIP * sizeof(real));
    for (long r = whole; r < wide; r++) to[whole * BLOCK + r - whole] = a[r];
  }
}
static void sort_vectors(real *to, const kept *a, long lda, long K, long size) {
  const long whole = size / V * V;
  for (long k = 0; k < K; k++, to += V, a += lda) {
    for (long i = 0; i < whole; i += V) st(to + i * BLOCK, ld(a + i));
    if (size > whole) FOR(l, V) to[whole * BLOCK + l] = whole + l < size ? a[whole + l] : 0;
  }
}
#endif
