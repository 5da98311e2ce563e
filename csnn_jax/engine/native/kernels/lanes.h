// Sixteen floats at a time, whatever the machine's registers: GCC and Clang split the type where it is too wide.
//
// Sums always run over the same 16 lanes in the same order, and no multiplication is fused with an addition
// (-ffp-contract=off), so every instruction set gives the same bits.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "../kernels.h"

namespace csnn::ISA {

typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t v16i __attribute__((vector_size(64), aligned(4), may_alias));

CSNN_INLINE v16 load(const float* p) { return *reinterpret_cast<const v16*>(p); }
CSNN_INLINE void store(float* p, v16 x) { *reinterpret_cast<v16*>(p) = x; }
CSNN_INLINE v16 all(float x) { return v16{} + x; }
CSNN_INLINE v16 abs(v16 x) { return (v16)((v16i)x & 0x7fffffff); }

// One bit per lane: a > b.
CSNN_INLINE uint16_t greater(v16 a, v16 b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
#elif defined(__SSE2__)
  const v16i yes = a > b;
  __m128 part[4];
  memcpy(part, &yes, sizeof part);
  return static_cast<uint16_t>(_mm_movemask_ps(part[0]) | _mm_movemask_ps(part[1]) << 4 |
                               _mm_movemask_ps(part[2]) << 8 | _mm_movemask_ps(part[3]) << 12);
#else
  const v16i yes = a > b;
  unsigned bits = 0;
  for (int i = 0; i < 16; i++) bits |= (yes[i] & 1u) << i;
  return static_cast<uint16_t>(bits);
#endif
}

// x where the lane's bit is set, else 0.
CSNN_INLINE v16 keep(uint16_t bits, v16 x) {
#if defined(__AVX512F__)
  return (v16)_mm512_maskz_mov_ps(bits, (__m512)x);
#else
  const v16i bit = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  const v16i set = ((v16i{} + static_cast<int32_t>(bits)) & bit) == bit;
  return (v16)((v16i)x & set);
#endif
}

// The lanes of a group of 16 channels, the first of which is `first`, that exist.
CSNN_INLINE uint16_t existing(int64_t channels, int64_t first) {
  const int64_t left = channels - first;
  return left >= lanes ? 0xffff : left <= 0 ? 0 : static_cast<uint16_t>((1u << left) - 1);
}

CSNN_INLINE double sum(v16 x) {
  double total = 0;
  for (int i = 0; i < 16; i++) total += static_cast<double>(x[i]);
  return total;
}

// Four words of 16 spikes as one of 64, or what is left of them.
CSNN_INLINE uint64_t load_words(const uint16_t* words, int64_t count) {
  uint64_t bits = 0;
  if (count >= 4) {
    memcpy(&bits, words, 8);
  } else {
    for (int64_t i = 0; i < count; i++) bits |= static_cast<uint64_t>(words[i]) << (16 * i);
  }
  return bits;
}

// e^x for x <= 0, to about one unit in the last place; libm's differs between machines.
CSNN_INLINE v16 exp_negative(v16 x) {
  x = x < -87.0f ? all(-87.0f) : x;
  const v16 shift = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  const v16 n = (x * 1.44269504f + shift) - shift;
  const v16 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  const float rest[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  v16 p = all(1.9875691500e-4f);
  for (float c : rest) p = p * r + c;
  const v16 y = p * r * r + r + 1.0f;
  return y * (v16)((__builtin_convertvector(n, v16i) + 127) << 23);
}

}  // namespace csnn::ISA
