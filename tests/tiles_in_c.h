/* Tile instructions (AMX) in plain C, for processors without them and for sanitizers, which do not
   see what instructions on tiles read and write. In the order of Intel's manual ("TDPBF16PS": even
   and odd words are added apart, then both to the accumulator). */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

static __thread struct {
  int configured, rows[8], bytes[8];
  float at[8][16][16];
} in_c_;

static inline void configure_in_c(const void *how) {
  const uint8_t *const bytes = how;
  for (int i = 0; i < 8; i++) {
    uint16_t of_row;
    memcpy(&of_row, bytes + 16 + 2 * i, sizeof of_row);
    in_c_.rows[i] = bytes[48 + i], in_c_.bytes[i] = of_row;
    if (bytes[0] != 1 || in_c_.rows[i] > 16 || of_row > 64) __builtin_trap();
  }
  in_c_.configured = 1;
}
static inline void load_in_c(int tile, const char *from, long step) {
  if (!in_c_.configured || !in_c_.rows[tile]) __builtin_trap();
  memset(in_c_.at[tile], 0, sizeof in_c_.at[tile]);
  for (int r = 0; r < in_c_.rows[tile]; r++)
    for (int i = 0; i < in_c_.bytes[tile] / 4; i++)
      in_c_.at[tile][r][i] = *(const float *)(from + r * step + 4 * i);
}
static inline void store_in_c(int tile, char *to, long step) {
  if (!in_c_.configured || !in_c_.rows[tile]) __builtin_trap();
  for (int r = 0; r < in_c_.rows[tile]; r++)
    for (int i = 0; i < in_c_.bytes[tile] / 4; i++)
      *(float *)(to + r * step + 4 * i) = in_c_.at[tile][r][i];
}
static inline float half_in_c(float word, int odd) {
  uint32_t bits;
  memcpy(&bits, &word, sizeof bits);
  bits = odd ? bits & 0xffff0000u : bits << 16;
  memcpy(&word, &bits, sizeof bits);
  return word;
}
static inline void multiply_in_c(int sum, int a, int b) {
  if (in_c_.rows[sum] != in_c_.rows[a] || 4 * in_c_.rows[b] != in_c_.bytes[a]) __builtin_trap();
  for (int m = 0; m < in_c_.rows[sum]; m++)
    for (int n = 0; n < in_c_.bytes[sum] / 4; n++) {
      float parts[2] = {0, 0};
      for (int k = 0; k < in_c_.rows[b]; k++)
        for (int odd = 0; odd < 2; odd++)
          parts[odd] = __builtin_fmaf(half_in_c(in_c_.at[a][m][k], odd), half_in_c(in_c_.at[b][k][n], odd), parts[odd]);
      in_c_.at[sum][m][n] += parts[0] + parts[1];
    }
}

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig(how) configure_in_c(how)
#define _tile_release() (in_c_.configured = 0)
#define _tile_loadd(tile, from, step) load_in_c(tile, (const char *)(from), step)
#define _tile_stored(tile, to, step) store_in_c(tile, (char *)(to), step)
#define _tile_dpbf16ps(sum, a, b) multiply_in_c(sum, a, b)
