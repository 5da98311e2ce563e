// Rows of weights, as floats or as 16-bit integers, of which twice as many fit into a register.
#pragma once
#include "lanes.h"

namespace csnn::ISA {

typedef int16_t short_part __attribute__((vector_size(4 * width), aligned(4), may_alias));
typedef int16_t half_part __attribute__((vector_size(2 * width), aligned(2), may_alias));

// Thirty-two integers, in as many registers as 16 floats.
struct w32 {
  short_part p[parts];
};

CSNN_INLINE w32& operator+=(w32& a, w32 b) {
#pragma GCC unroll 4
  for (int i = 0; i < parts; i++) a.p[i] += b.p[i];
  return a;
}

CSNN_INLINE v16 largest(v16 a, v16 b) { return where_greater(b, a, b, a); }
CSNN_INLINE w32 largest(w32 a, w32 b) {
#pragma GCC unroll 4
  for (int i = 0; i < parts; i++) a.p[i] = b.p[i] > a.p[i] ? b.p[i] : a.p[i];
  return a;
}

struct FloatRow {
  using Weight = float;
  using Sum = v16;
  static constexpr int groups = 1;  // of 16 outputs in a sum
  static constexpr int64_t outputs = groups * lanes;

  CSNN_INLINE static Sum load(const float* x) { return ISA::load(x); }
  CSNN_INLINE static v16 floats(const Sum& sum, int) { return sum; }
  // The current of 16 outputs.
  CSNN_INLINE static v16 current(v16 sum, const float*, const float* bias, int64_t n) {
    return sum + ISA::load(bias + n);
  }
};

struct WholeRow {
  using Weight = int16_t;
  using Sum = w32;
  static constexpr int groups = 2;
  static constexpr int64_t outputs = groups * lanes;

  CSNN_INLINE static Sum load(const int16_t* x) {
    w32 result;
#pragma GCC unroll 4
    for (int i = 0; i < parts; i++) result.p[i] = *reinterpret_cast<const short_part*>(x + 2 * i * width);
    return result;
  }
  // The sums of group `g`.
  CSNN_INLINE static v16 floats(const Sum& sum, int g) {
    int16_t numbers[outputs];
    memcpy(numbers, sum.p, sizeof numbers);
    return each([&](int i) __attribute__((always_inline)) {
      return __builtin_convertvector(*reinterpret_cast<const half_part*>(numbers + g * lanes + i * width), part);
    });
  }
  CSNN_INLINE static v16 current(v16 sum, const float* scale, const float* bias, int64_t n) {
    return fused(sum, ISA::load(scale + n), ISA::load(bias + n));  // exact: the scale is a power of two
  }
};

}  // namespace csnn::ISA
