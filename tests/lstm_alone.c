/* The emitted LSTM without Python: one call forward and backward, weighted sums of all that comes
   out. For processors that only an emulator runs here. CELL names the emitted file. */
#include CELL
#include <stdio.h>
#include <stdlib.h>

static unsigned state = 1;
static real drawn(void) {
  state = state * 1664525u + 1013904223u;
  return (real)((int)(state >> 9) % 2001 - 1000) / 2000;
}
static real *zeros(long n) { return calloc(n + 2 * V, sizeof(real)); }
static real *numbers(long n) {
  real *p = zeros(n);
  FOR(i, n) p[i] = drawn();
  return p;
}
/* Of a matrix whose rows are `wide` apart. */
static void say(const char *name, const real *p, long rows, long width, long wide) {
  double sum = 0;
  FOR(r, rows) FOR(i, width) sum += p[r * wide + i] * (1 + (7 * r + i) % 13);
  printf("%s %.6f\n", name, sum);
}

int main(void) {
  const long T = 20, B = 7, K = 5, H = 19, Hp = up(H), Kp = up(K);
  call at = {0}, *c = &at;
  c->T = T, c->B = c->G = B, c->K = c->ldx = K, c->H = c->P = H, c->Hp = c->Pp = Hp;
  c->threads = 1, c->want_dx = 1, c->ring_h = c->ring_c = T + 1;
  c->x = numbers(T * B * K);
  c->x_weight = numbers(4 * H * K), c->x_bias = numbers(4 * H);
  c->u_weight = numbers(4 * H * H), c->u_bias = numbers(4 * H);
  real *const arriving = zeros(T * B * Hp);
  FOR(t, T * B) FOR(j, H) arriving[t * Hp + j] = drawn();
  c->d_output = arriving, c->ldt = B * Hp, c->ldb = Hp;
  c->S = T * B | 1;
  c->pack = zeros(pack_size(c)), c->save = zeros(T * B * 4 * Hp), c->dz = zeros(4 * Hp * c->S);
  c->s_h = zeros((T + 1) * B * Hp), c->s_c = zeros((T + 1) * B * Hp);
  c->a_h = zeros(2 * B * Hp), c->a_c = zeros(2 * B * Hp);
  c->dx = zeros(T * B * Kp), c->gx = zeros(4 * H * K), c->gu = zeros(4 * H * H);
  c->gb = zeros(4 * Hp), c->gbx = zeros(4 * H), c->gbu = zeros(4 * H);
  c->sums = zeros(sum_size(c));
  forward(c, 1);
  backward(c);
  say("h", c->s_h, (T + 1) * B, H, Hp);
  say("c", c->s_c, (T + 1) * B, H, Hp);
  say("dx", c->dx, T * B, K, Kp);
  say("dW", c->gx, 4 * H, K, K);
  say("dU", c->gu, 4 * H, H, H);
  say("db", c->gbx, 1, 4 * H, 4 * H);
  return 0;
}
