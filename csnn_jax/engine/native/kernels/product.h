// Matrix product. Each sum runs over the inner index in order, regardless of how rows and columns are tiled.
#pragma once
#include "lanes.h"

namespace csnn::ISA {

// R rows by V groups of 16 columns, whose sums stay in registers.
template <int R, int V>
CSNN_INLINE void multiply_tile(const float* left, const float* right, int64_t inner, int64_t columns, float* out,
                               int64_t out_stride) {
  part total[R][V * parts] = {};
  for (int64_t k = 0; k < inner; k++) {
    part row[V * parts];
    for (int v = 0; v < V * parts; v++) row[v] = *reinterpret_cast<const part*>(right + k * columns + v * width);
    for (int r = 0; r < R; r++) {
      const part factor = all_of_part(left[r * inner + k]);
      for (int v = 0; v < V * parts; v++) total[r][v] = fused(factor, row[v], total[r][v]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int v = 0; v < V * parts; v++) *reinterpret_cast<part*>(out + r * out_stride + v * width) = total[r][v];
}

template <int R, int V>
CSNN_INLINE int64_t multiply_rows(int64_t from, int64_t rows, const float* left, const float* right, int64_t inner,
                                  int64_t columns, float* out, int64_t out_stride) {
  for (; from + R <= rows; from += R)
    multiply_tile<R, V>(left + from * inner, right, inner, columns, out + from * out_stride, out_stride);
  return from;
}

// R rows at a time, then the rest.
template <int R, int V>
void multiply_columns(int64_t rows, const float* left, const float* right, int64_t inner, int64_t columns, float* out,
                      int64_t out_stride) {
  int64_t done = multiply_rows<R, V>(0, rows, left, right, inner, columns, out, out_stride);
  if constexpr (R > 4) done = multiply_rows<4, V>(done, rows, left, right, inner, columns, out, out_stride);
  multiply_rows<1, V>(done, rows, left, right, inner, columns, out, out_stride);
}

// out [rows, columns] = left [rows, inner] @ right [inner, columns], columns a multiple of 16.
inline void multiply(int64_t rows, const float* left, const float* right, int64_t inner, int64_t columns, float* out,
                     int64_t out_stride) {
#if defined(__AVX512F__)
  constexpr int wide = 4, tall = 6;  // 24 of the 32 registers hold sums
#elif defined(__AVX2__)
  constexpr int wide = 1, tall = 5;  // 10 of 16
#else
  constexpr int wide = 1, tall = 2;  // 8 of 16
#endif
  int64_t c = 0;
  for (; c + wide * lanes <= columns; c += wide * lanes)
    multiply_columns<tall, wide>(rows, left, right + c, inner, columns, out + c, out_stride);
  for (; c < columns; c += lanes) multiply_columns<tall, 1>(rows, left, right + c, inner, columns, out + c, out_stride);
}

}  // namespace csnn::ISA
