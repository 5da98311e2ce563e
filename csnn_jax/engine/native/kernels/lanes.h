// Sixteen floats at a time, in one, two or four of the machine's registers.
//
// Sums always run over the same 16 lanes in the same order, and multiplications are fused with additions only by
// `fused` (-ffp-contract=off), so every instruction set gives the same bits.
#pragma once
#include <cassert>
#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "../kernels.h"

namespace csnn::ISA {

#if defined(__AVX512F__)
constexpr int width = 16;
#elif defined(__AVX2__)
constexpr int width = 8;
#else
constexpr int width = 4;
#endif
constexpr int parts = 16 / width;

// Groups of 16 outputs whose sums a convolution keeps in registers, for each of up to four positions.
constexpr int conv_vectors = width == 16 ? 2 : 1;

typedef float part __attribute__((vector_size(4 * width), aligned(4), may_alias));
typedef int32_t whole_part __attribute__((vector_size(4 * width), aligned(4), may_alias));

// (A 64-byte vector type would do, but GCC keeps it in memory if it needs several registers.)
struct v16 {
  part p[parts];
};

// The v16 whose part i is f(i).
template <typename F>
CSNN_INLINE v16 each(F&& f) {
  v16 result;
#pragma GCC unroll 4
  for (int i = 0; i < parts; i++) result.p[i] = f(i);
  return result;
}

CSNN_INLINE v16 load(const float* x) {
  return each([&](int i) __attribute__((always_inline)) { return *reinterpret_cast<const part*>(x + i * width); });
}
CSNN_INLINE void store(float* to, v16 x) {
#pragma GCC unroll 4
  for (int i = 0; i < parts; i++) *reinterpret_cast<part*>(to + i * width) = x.p[i];
}
CSNN_INLINE part all_of_part(float x) { return x - part{}; }  // keeps -0, which 0 + x would turn into 0
CSNN_INLINE v16 all(float x) {
  return each([&](int) __attribute__((always_inline)) { return all_of_part(x); });
}
CSNN_INLINE v16 operator+(v16 a, v16 b) {
  return each([&](int i) __attribute__((always_inline)) { return a.p[i] + b.p[i]; });
}
CSNN_INLINE v16 operator-(v16 a, v16 b) {
  return each([&](int i) __attribute__((always_inline)) { return a.p[i] - b.p[i]; });
}
CSNN_INLINE v16 operator*(v16 a, v16 b) {
  return each([&](int i) __attribute__((always_inline)) { return a.p[i] * b.p[i]; });
}
CSNN_INLINE v16 operator/(v16 a, v16 b) {
  return each([&](int i) __attribute__((always_inline)) { return a.p[i] / b.p[i]; });
}
CSNN_INLINE v16 operator-(v16 a) {
  return each([&](int i) __attribute__((always_inline)) { return -a.p[i]; });
}
CSNN_INLINE v16 operator+(v16 a, float b) { return a + all(b); }
CSNN_INLINE v16 operator-(v16 a, float b) { return a - all(b); }
CSNN_INLINE v16 operator*(v16 a, float b) { return a * all(b); }
CSNN_INLINE v16 operator*(float a, v16 b) { return all(a) * b; }
CSNN_INLINE v16 operator/(float a, v16 b) { return all(a) / b; }
CSNN_INLINE v16& operator+=(v16& a, v16 b) { return a = a + b; }
CSNN_INLINE v16& operator-=(v16& a, v16 b) { return a = a - b; }
CSNN_INLINE v16& operator*=(v16& a, float b) { return a = a * b; }

// a * b + c, rounded once. (By reference: GCC for aarch64 can't pass such vectors by value.)
CSNN_INLINE part fused(const part& a, const part& b, const part& c) {
#if defined(__AVX512F__)
  return (part)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (part)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (part)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else  // a call for each lane, slow if the processor has no such instruction
  part y{};
  for (int lane = 0; lane < width; lane++) y[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
  return y;
#endif
}
CSNN_INLINE v16 fused(v16 a, v16 b, v16 c) {
  return each([&](int i) __attribute__((always_inline)) { return fused(a.p[i], b.p[i], c.p[i]); });
}

CSNN_INLINE v16 abs(v16 x) {
  return each([&](int i) __attribute__((always_inline)) { return (part)((whole_part)x.p[i] & 0x7fffffff); });
}

// Lane by lane: yes where a > b, otherwise no.
CSNN_INLINE v16 where_greater(v16 a, v16 b, v16 yes, v16 no) {
  return each([&](int i) __attribute__((always_inline)) { return a.p[i] > b.p[i] ? yes.p[i] : no.p[i]; });
}

// One bit per lane: a > b.
CSNN_INLINE uint16_t greater(v16 a, v16 b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)a.p[0], (__m512)b.p[0], _CMP_GT_OQ);
#else
  unsigned bits = 0;
#pragma GCC unroll 4
  for (int i = 0; i < parts; i++) {
    const whole_part yes = a.p[i] > b.p[i];
#if defined(__AVX2__)
    bits |= static_cast<unsigned>(_mm256_movemask_ps((__m256)yes)) << (i * width);
#elif defined(__SSE2__)
    bits |= static_cast<unsigned>(_mm_movemask_ps((__m128)yes)) << (i * width);
#else
    for (int lane = 0; lane < width; lane++) bits |= (yes[lane] & 1u) << (i * width + lane);
#endif
  }
  return static_cast<uint16_t>(bits);
#endif
}

// x where the lane's bit is set, otherwise 0.
CSNN_INLINE v16 keep(uint16_t bits, v16 x) {
#if defined(__AVX512F__)
  return {{(part)_mm512_maskz_mov_ps(bits, (__m512)x.p[0])}};
#else
  whole_part bit;
  for (int lane = 0; lane < width; lane++) bit[lane] = 1 << lane;
  return each([&](int i) __attribute__((always_inline)) {
    const whole_part set = ((whole_part{} + static_cast<int32_t>(bits >> (i * width))) & bit) == bit;
    return (part)((whole_part)x.p[i] & set);
  });
#endif
}

// Writes first + lane * stride for each lane whose bit is set; returns the end of the list.
CSNN_INLINE int32_t* list_lanes(uint16_t bits, int32_t first, int32_t stride, int32_t* to) {
#if defined(__AVX512F__)  // without a branch per spike, which would be unpredictable
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i all = _mm512_add_epi32(_mm512_set1_epi32(first), _mm512_mullo_epi32(lane, _mm512_set1_epi32(stride)));
  const int count = __builtin_popcount(bits);
  _mm512_mask_storeu_epi32(to, static_cast<uint16_t>((1u << count) - 1), _mm512_maskz_compress_epi32(bits, all));
  return to + count;
#else
  for (unsigned set = bits; set; set &= set - 1) *to++ = first + __builtin_ctz(set) * stride;
  return to;
#endif
}

// The lanes that exist in a group of 16 channels starting at `first`.
CSNN_INLINE uint16_t existing(int64_t channels, int64_t first) {
  const int64_t left = channels - first;
  return left >= lanes ? 0xffff : left <= 0 ? 0 : static_cast<uint16_t>((1u << left) - 1);
}

CSNN_INLINE double sum(v16 x) {
  double total = 0;
  for (int i = 0; i < 16; i++) total += static_cast<double>(x.p[i / width][i % width]);
  return total;
}

// Four words of 16 spikes as one of 64, or fewer if fewer are left.
CSNN_INLINE uint64_t load_words(const uint16_t* words, int64_t count) {
  uint64_t bits = 0;
  if (count >= 4) {
    memcpy(&bits, words, 8);
  } else {
    for (int64_t i = 0; i < count; i++) bits |= static_cast<uint64_t>(words[i]) << (16 * i);
  }
  return bits;
}

// Number of set bits.
CSNN_INLINE int64_t count_bits(const uint16_t* bits, int64_t words) {
  int64_t total = 0;
  for (int64_t w = 0; w < words; w += 4) total += __builtin_popcountll(load_words(bits + w, words - w));
  return total;
}

// e^x for x <= 0, to about one unit in the last place; libm's differs between machines.
CSNN_INLINE v16 exp_negative(v16 x) {
  const v16 least = all(-87.0f);
  x = where_greater(least, x, least, x);
  const v16 shift = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const v16 n = (x * 1.44269504f + shift) - shift;
  const v16 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  const float rest[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  v16 p = all(1.9875691500e-4f);
  for (float c : rest) p = p * r + c;
  const v16 y = p * r * r + r + 1.0f;
  return each([&](int i) __attribute__((always_inline)) {
    return y.p[i] * (part)((__builtin_convertvector(n.p[i], whole_part) + 127) << 23);
  });
}

}  // namespace csnn::ISA
