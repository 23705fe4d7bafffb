/* A vector of reals and the pointwise functions on it. REAL64 chooses double; the width follows
   the machine. Every function is the same on every lane: results do not depend on where a unit
   lies. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

#ifdef REAL64
typedef double real;
typedef int64_t whole;
#else
typedef float real;
typedef int32_t whole;
#endif
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define V ((long)(BYTES / sizeof(real)))
typedef real v __attribute__((vector_size(BYTES)));
typedef real vu __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));
typedef whole vi __attribute__((vector_size(BYTES)));

static inline v ld(const real *p) { return *(const vu *)p; }
static inline void st(real *p, v x) { *(vu *)p = x; }
/* Have a line in the cache by the time it is read; where nothing lies there, nothing happens. */
static inline void fetch(const void *p) { __builtin_prefetch(p); }
/* The same of a line that will be written. */
static inline void fetch_to(const void *p) { __builtin_prefetch(p, 1); }
static inline v all(real x) { return (v){0} + x; }
/* The same value on every lane, straight from memory: the load itself spreads it. */
static inline v every(const real *p) {
#if defined(__AVX512F__) && defined(REAL64)
  return (v)_mm512_set1_pd(*p);
#elif defined(__AVX512F__)
  return (v)_mm512_set1_ps(*p);
#elif defined(__AVX__) && defined(REAL64)
  return (v)_mm256_broadcast_sd(p);
#elif defined(__AVX__)
  return (v)_mm256_broadcast_ss(p);
#else
  return all(*p);
#endif
}
/* A vector that several operations take from a register. Without the empty instruction gcc makes a
   load of each use where it tunes for some processors, and loads are what a product waits for. */
static inline v near_(const real *p) {
  v x = ld(p);
#if defined(__AVX512F__)
  __asm__("" : "+v"(x));
#elif defined(__AVX__)
  __asm__("" : "+x"(x));
#endif
  return x;
}
static inline v sel(vi yes, v a, v b) { return (v)(((vi)a & yes) | ((vi)b & ~yes)); }

/* One rounding where the machine can: written out, so that no compiler chooses where. */
static inline v fma_(v a, v b, v c) {
#if defined(__AVX512F__) && defined(REAL64)
  return (v)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX512F__)
  return (v)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__) && defined(REAL64)
  return (v)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__FMA__)
  return (v)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON) && defined(__aarch64__) && defined(REAL64)
  return (v)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#elif defined(__ARM_NEON) && defined(__aarch64__)
  return (v)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

/* Comparisons are false on NaN, so NaN comes through all of these. */
static inline v maximum(v a, v b) { return sel((vi)(a != a) | (vi)(a > b), a, b); }
static inline v minimum(v a, v b) { return sel((vi)(a != a) | (vi)(a < b), a, b); }
static inline v positive(v a) { return sel((vi)(a > 0), all(1), all(0)); }
static inline v prefer(v a, v b) {
  return sel((vi)(a > b), all(1), sel((vi)(a == b), all((real)0.5), all(0)));
}
static inline v relu(v a) { return sel((vi)(a < 0), all(0), a); }
static inline v absolute(v a) { return sel((vi)(a < 0), -a, a); }

#define LANES(name, f) \
  static inline v name(v x) { \
    v y; \
    for (long l = 0; l < V; l++) y[l] = f(x[l]); \
    return y; \
  }
#ifdef REAL64
LANES(exp_, exp)
LANES(log_, log)
LANES(log1p_, log1p)
LANES(tanh_, tanh)
LANES(sqrt_, sqrt)
LANES(sin_, sin)
LANES(cos_, cos)
#else
LANES(sqrt_, sqrtf)
LANES(sin_, sinf)
LANES(cos_, cosf)

static inline v clamp(v x, real least, real most) { /* NaN stays NaN */
#if defined(__AVX512F__)
  return (v)_mm512_max_ps((__m512)all(least), _mm512_min_ps((__m512)all(most), (__m512)x));
#elif defined(__AVX__)
  return (v)_mm256_max_ps((__m256)all(least), _mm256_min_ps((__m256)all(most), (__m256)x));
#else
  return sel((vi)(x < least), all(least), sel((vi)(x > most), all(most), x));
#endif
}

/* 1 / x of a normal x: an estimate of 14 bits and one step of Newton, where division is slow. */
static inline v inverse(v x) {
#if defined(__AVX512F__)
  v y = (v)_mm512_rcp14_ps((__m512)x);
  return y * fma_(-x, y, all(2));
#else
  return 1 / x;
#endif
}

#if defined(__AVX512F__)
/* exp: y / log 2 = n + r, a polynomial in r (the least relative error of 2^r with 2^0 = 1), and n
   added to the exponent; rounding and scaling are an instruction each. */
static inline v exp_inside(v y) {
  const v n = (v)_mm512_roundscale_ps((__m512)(y * 1.44269502f), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  v r = fma_(y, all(1.44269502f), -n);
  r = fma_(y, all(1.92596303e-8f), r); /* what 1 / log 2 has beyond 24 bits */
  v p = all(1.5353362e-4f);
  p = fma_(p, r, all(1.3398875e-3f));
  p = fma_(p, r, all(9.6184369e-3f));
  p = fma_(p, r, all(5.5503324e-2f));
  p = fma_(p, r, all(2.4022648e-1f));
  p = fma_(p, r, all(6.9314718e-1f));
  p = fma_(p, r, all(1));
  return (v)_mm512_scalef_ps((__m512)p, (__m512)n);
}
#else
/* exp: y = n log 2 + r, a polynomial in r (Cephes), and n added to the exponent. */
static inline v exp_inside(v y) {
  v n = fma_(y, all(1.44269504088896341f), all(12582912.f)) - 12582912.f;
  v r = fma_(n, all(-0.693359375f), y);
  r = fma_(n, all(2.12194440e-4f), r);
  v p = all(1.9875691500e-4f);
  p = fma_(p, r, all(1.3981999507e-3f));
  p = fma_(p, r, all(8.3334519073e-3f));
  p = fma_(p, r, all(4.1665795894e-2f));
  p = fma_(p, r, all(1.6666665459e-1f));
  p = fma_(p, r, all(5.0000001201e-1f));
  p = fma_(p, r * r, r + 1);
  vi scale = (__builtin_convertvector(n, vi) + 127) << 23;
  return p * (v)scale;
}
#endif
static inline v exp_(v x) {
  v p = exp_inside(clamp(x, -87.336544f, 88.37626f));
  p = sel((vi)(x < (real)-87.336544f), all(0), p);
  return sel((vi)(x > (real)88.37626f), all((real)INFINITY), p);
}

/* log: x = 2^e m with m near 1, a polynomial in m - 1 (Cephes). */
static inline v log_(v x) {
  vi bits = (vi)sel((vi)(x < (real)1.17549435e-38f), all(1.17549435e-38f), x);
  vi e = (bits >> 23) - 126;
  v m = (v)((bits & 0x007fffff) | 0x3f000000);
  vi small = (vi)(m < (real)0.707106781186547524f);
  v k = __builtin_convertvector(e + small, v);
  m = m + sel(small, m, all(0)) - 1;
  v p = all(7.0376836292e-2f);
  p = fma_(p, m, all(-1.1514610310e-1f));
  p = fma_(p, m, all(1.1676998740e-1f));
  p = fma_(p, m, all(-1.2420140846e-1f));
  p = fma_(p, m, all(1.4249322787e-1f));
  p = fma_(p, m, all(-1.6668057665e-1f));
  p = fma_(p, m, all(2.0000714765e-1f));
  p = fma_(p, m, all(-2.4999993993e-1f));
  p = fma_(p, m, all(3.3333331174e-1f));
  v s = m * m;
  v y = p * m * s;
  y = fma_(k, all(-2.12194440e-4f), y);
  y = fma_(s, all(-0.5f), y);
  y = fma_(k, all(0.693359375f), m + y);
  y = sel((vi)(x == (real)INFINITY), x, y);
  y = sel((vi)(x == 0), all((real)-INFINITY), y);
  return sel((vi)(x < 0) | (vi)(x != x), all((real)NAN), y);
}

static inline v log1p_(v x) {
  v w = x + 1;
  return sel((vi)(w == 1), x, log_(w) * x / (w - 1 + sel((vi)(w == 1), all(1), all(0))));
}

/* tanh: a rational function of x^2, on the range where tanh is not 1 yet. */
static inline v tanh_(v x) {
  v y = clamp(x, -7.90531110763549805f, 7.90531110763549805f);
  v s = y * y, p = all(-2.76076847742355e-16f), q = all(1.19825839466702e-06f);
  p = fma_(p, s, all(2.00018790482477e-13f));
  p = fma_(p, s, all(-8.60467152213735e-11f));
  p = fma_(p, s, all(5.12229709037114e-08f));
  p = fma_(p, s, all(1.48572235717979e-05f));
  p = fma_(p, s, all(6.37261928875436e-04f));
  p = fma_(p, s, all(4.89352455891786e-03f));
  q = fma_(q, s, all(1.18534705686654e-04f));
  q = fma_(q, s, all(2.26843463243900e-03f));
  q = fma_(q, s, all(4.89352518554385e-03f));
  return y * p * inverse(q);
}
#endif
#ifdef REAL64
static inline v sigmoid_(v x) { return 1 / (1 + exp_(-x)); }
#else
/* The sign goes into the constants of exp: an instruction less than to turn it before clamping. */
static inline v sigmoid_(v x) { return inverse(1 + exp_inside(-clamp(x, -87.f, 87.f))); }
#endif
static inline v softplus_(v x) { return maximum(x, all(0)) + log1p_(exp_(-absolute(x))); }
static inline v logsigmoid_(v x) { return minimum(x, all(0)) - log1p_(exp_(-absolute(x))); }

/* Numbers too small to be normal cost hundreds of cycles each: they count as zero while we run. */
static inline unsigned long quick_zeros(void) {
#if defined(__SSE2__)
  unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);
  return before;
#elif defined(__aarch64__)
  uint64_t before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" : : "r"(before | (1ull << 24)));
  return before;
#else
  return 0;
#endif
}
static inline void restore_zeros(unsigned long before) {
#if defined(__SSE2__)
  _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)before));
#else
  (void)before;
#endif
}
