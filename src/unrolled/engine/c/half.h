/* bfloat16: what lies in memory between steps has 16 bits, what is computed is float32. Neighbours
   along k make one word, and one instruction multiplies and adds both. */
typedef uint16_t kept __attribute__((may_alias));
typedef uint16_t halves __attribute__((vector_size(BYTES / 2), aligned(2), may_alias));
typedef uint32_t words_of_v __attribute__((vector_size(BYTES)));
enum { EACH = 2 };
#if ((defined(__AMX_TILE__) && defined(__AMX_BF16__)) || (defined(__AMXTILE__) && defined(__AMXBF16__))) && \
    defined(__AVX512F__) /* clang 14 names the two without a second underscore */
#define MATRIX /* products are done by `matrix.h` */
/* The compiler does not see that instructions on tiles read and write memory. */
#define FENCE __asm__ volatile("" ::: "memory")
#endif

static inline words_of_v low(const kept *p) {
  return __builtin_convertvector(*(const halves *)p, words_of_v);
}
static inline v ld_kept(const kept *p) { return (v)(low(p) << 16); }
/* To the nearest, to even where two are as near; NaN stays NaN. */
static inline void st_kept(kept *p, v x) {
#ifdef __AVX512BF16__
  *(halves *)p = (halves)_mm512_cvtneps_pbh((__m512)x);
#else
  words_of_v bits = (words_of_v)x;
  bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  bits = (words_of_v)sel((vi)(x != x), (v)((words_of_v){0} + 0x7fc0), (v)bits);
  *(halves *)p = __builtin_convertvector(bits, halves);
#endif
}
#define ld(p) _Generic((p), kept *: ld_kept, const kept *: ld_kept, default: ld)(p)
#define st(p, x) _Generic((p), kept *: st_kept, default: st)(p, x)

static inline v dot_(v a, v w, v sum) {
#ifdef __AVX512BF16__
  return (v)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)w);
#else
  const words_of_v high = (words_of_v){0} + 0xffff0000u;
  sum = fma_((v)((words_of_v)a & high), (v)((words_of_v)w & high), sum);
  return fma_((v)((words_of_v)a << 16), (v)((words_of_v)w << 16), sum);
#endif
}
/* Neighbours k and k + 1 of K as a word; nothing stands beside the last of an odd number. */
static inline void put(real *to, const kept *a, long k, long step, long K) {
  const uint32_t word = a[k * step] | (k + 1 < K ? (uint32_t)a[(k + 1) * step] << 16 : 0);
  memcpy(to, &word, sizeof word);
}
/* A vector of words: of each of n units the values in one row of a matrix and in the row `sk` after
   it, where there is one (`both`). */
static inline v across(const kept *a, long sk, int both, long n) {
  if (n >= V) return (v)(low(a) | (both ? low(a + sk) << 16 : (words_of_v){0}));
  words_of_v y = {0};
  for (long l = 0; l < n; l++) y[l] = a[l] | (both ? (uint32_t)a[sk + l] << 16 : 0);
  return (v)y;
}
/* n reals, n a multiple of V, as words. */
static inline void narrow(real *to, const real *from, long n) {
  for (long j = 0; j < n; j += V) st((kept *)to + j, ld(from + j));
}
