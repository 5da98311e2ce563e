// Convolution and pooling of an image that is the same at every step, and the weight gradient: the sum over positions
// of their inputs times the gradient of the current, which a max-pool passes to only one position of each cell.
#include "lanes.h"

namespace csnn::ISA {

// Copies an image with zeros around it, the first pixel at (padding, padding).
static void pad(const Shape& s, const float* image, float* padded) {
  memset(padded, 0, s.padded_height() * s.padded_width() * s.in * sizeof(float));
  for (int64_t y = 0; y < s.height; y++)
    memcpy(padded + ((y + s.padding) * s.padded_width() + s.padding) * s.in, image + y * s.width * s.in,
           s.width * s.in * sizeof(float));
}

// Whether a pooled cell sees nothing but zeros, as most do in a picture of a digit.
static bool is_blank(const Shape& s, const float* padded, int64_t cell) {
  const int64_t width = s.padded_width() * s.in, side = s.kernel + s.pool - 1;
  const float* row = padded + (cell / s.columns() * width + cell % s.columns() * s.in) * s.pool;
  for (int64_t i = 0; i < side; i++, row += width)
    for (int64_t j = 0; j < side * s.in; j++)
      if (row[j] != 0) return false;
  return true;
}

// One pooled cell's current for 16 outputs. On their grids, neither products nor sums round, so order doesn't matter.
// (No `fused`, which is slow if the processor doesn't have it.)
template <int P>
CSNN_INLINE void cell_current(const ImageCurrent& a, const float* padded, int64_t image, int64_t cell, int64_t c) {
  const Shape& s = a.shape;
  const int64_t width = s.padded_width() * s.in, n = image * s.neurons() + cell * s.out + c;
  const float* corner = padded + cell / s.columns() * P * width + cell % s.columns() * P * s.in;
  const float* weights = a.kernel + c;
  v16 sum[P * P] = {};
  for (int64_t i = 0; i < s.kernel; i++, corner += width) {
    for (int64_t j = 0; j < s.kernel * s.in; j++, weights += s.out) {
      const v16 row = load(weights);
      for (int place = 0; place < P * P; place++) sum[place] += corner[place / P * width + place % P * s.in + j] * row;
    }
  }
  v16 pooled = sum[0];
  uint8_t winner[lanes] = {};
  for (int place = 1; place < P * P; place++) {
    if (s.max) {  // strictly greater: the first maximum wins
      const uint16_t wins = greater(sum[place], pooled);
      for (int i = 0; i < lanes; i++) winner[i] = wins >> i & 1 ? place : winner[i];
      pooled = where_greater(sum[place], pooled, sum[place], pooled);
    } else {
      pooled += sum[place];
    }
  }
  if (P > 1 && !s.max) pooled *= 1.0f / (P * P);
  store(a.current + n, pooled + load(a.bias + c));
  if (a.winners) memcpy(a.winners + n, winner, lanes);
}

void image_current(const ImageCurrent& a, int64_t image, float* scratch) {
  const Shape& s = a.shape;
  assert(s.out % lanes == 0 && image >= 0 && scratch && (s.max || !a.winners));
  pad(s, a.image + image * s.inputs(), scratch);
  PoolSizes::choose(s.pool, [&]<int P>() {
    for (int64_t cell = 0; cell < s.rows() * s.columns(); cell++) {
      const int64_t n = image * s.neurons() + cell * s.out;
      if (is_blank(s, scratch, cell)) {
        memcpy(a.current + n, a.bias, s.out * sizeof(float));
        if (a.winners) memset(a.winners + n, 0, s.out);
      } else {
        for (int64_t c = 0; c < s.out; c += lanes) cell_current<P>(a, scratch, image, cell, c);
      }
    }
  });
}

// The lanes whose winner is `place`.
CSNN_INLINE uint16_t winning(const uint8_t* winners, int64_t place) {
  unsigned bits = 0;
  for (int i = 0; i < lanes; i++) bits |= static_cast<unsigned>(winners[i] == place) << i;
  return static_cast<uint16_t>(bits);
}

// dkernel [k, k, in, .] += the inputs of position (y, x) times its gradient.
CSNN_INLINE void add_position(const Shape& s, const float* padded, int64_t y, int64_t x, v16 gradient, float* dkernel) {
  for (int64_t i = 0; i < s.kernel; i++) {
    const float* seen = padded + ((y + i) * s.padded_width() + x) * s.in;
    for (int64_t j = 0; j < s.kernel * s.in; j++) {
      if (seen[j] == 0) continue;
      float* to = dkernel + (i * s.kernel * s.in + j) * s.out;
      store(to, fused(all(seen[j]), gradient, load(to)));
    }
  }
}

void image_weights(const ImageWeights& a, int64_t image, float* scratch, float* dkernel, float* dbias) {
  const Shape& s = a.shape;
  assert(s.out % lanes == 0 && image >= 0 && scratch && s.max == (a.winners != nullptr));
  pad(s, a.image + image * s.inputs(), scratch);
  const float share = s.max ? 1.0f : 1.0f / static_cast<float>(s.pool * s.pool);
  for (int64_t cell = 0; cell < s.rows() * s.columns(); cell++) {
    const int64_t y = cell / s.columns() * s.pool, x = cell % s.columns() * s.pool;
    const bool blank = is_blank(s, scratch, cell);
    for (int64_t c = 0; c < s.out; c += lanes) {
      const int64_t n = image * s.neurons() + cell * s.out + c;
      const v16 gradient = load(a.dcurrent + n);
      store(dbias + c, load(dbias + c) + gradient);
      for (int64_t place = 0; place < s.pool * s.pool && !blank; place++) {
        const uint16_t wins = s.max ? winning(a.winners + n, place) : 0xffff;
        if (wins)
          add_position(s, scratch, y + place / s.pool, x + place % s.pool, keep(wins, gradient * share), dkernel + c);
      }
    }
  }
}

}  // namespace csnn::ISA
