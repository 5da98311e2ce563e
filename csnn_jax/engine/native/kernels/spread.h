// Spreads gradients from the cells of a pooled layer to the winning places, and from those to the inputs they cover.
#pragma once
#include "lanes.h"

namespace csnn::ISA {

// The cells in the order of visits: up to step `settles`, all `count` of them; after it, only the first `active`, which
// aren't still.
struct Cells {
  int32_t* number;
  int32_t* corner;  // the first of the places that each covers, in the grid of inputs
  int64_t count, active, settles;

  CSNN_INLINE int64_t visited(int64_t t) const { return t <= settles ? count : active; }
};

// Of up to 64 channels of a cell, those whose gradient goes to each of its places.
struct Winning {
  uint64_t low, high, exist;  // the bits of the winners' places; the channels that there are
  bool max;

  // `at`: the first channel's word.
  CSNN_INLINE Winning(const Shape& s, const uint16_t* winners, int64_t at, int64_t words)
      : exist(words >= 4 ? ~uint64_t{0} : (uint64_t{1} << (16 * words)) - 1), max(s.max) {
    low = max ? load_words(winners + at, words) : 0;
    high = max ? load_words(winners + s.neurons() / lanes + at, words) : 0;
  }

  CSNN_INLINE uint64_t operator[](int place) const {
    return max ? (place & 1 ? low : ~low) & (place & 2 ? high : ~high) & exist : exist;
  }
};

// The fraction of a cell's gradient that a place gets, if it gets any.
CSNN_INLINE float share_of(const Shape& s) { return s.max ? 1.0f : 1.0f / static_cast<float>(s.pool * s.pool); }

// Spreads 16 channels of the pooled gradient to the winning places, of all cells or, unless that is null, of the
// covered ones; also adds it to `total`, unless that is null.
template <int P>
void unpool(const Shape& s, const Cells& cells, int64_t count, const float* dcurrent, const uint16_t* winners,
            int64_t channel, const uint8_t* covered, float* dy, float* total) {
  const int64_t margin = s.margin(), wide = s.padded_width();
  const float share = share_of(s);
  for (int64_t i = 0; i < count; i++) {
    if (covered && !covered[cells.number[i]]) continue;
    const int64_t n = cells.number[i] * s.out + channel;
    const v16 gradient = load(dcurrent + n) * share;
    const int64_t corner = (cells.corner[i] + margin * wide + margin) * lanes;
    const Winning wins(s, winners, n / lanes, 1);
    for (int place = 0; place < P * P; place++) {
      const int64_t at = corner + (place / P * wide + place % P) * lanes;
      const v16 passed = keep(static_cast<uint16_t>(wins[place]), gradient);
      store(dy + at, passed);
      if (total) store(total + at, load(total + at) + passed);
    }
  }
}

// For one group of 16 input channels, adds the contribution of a cell's `place` to the k x k inputs that it covers.
template <int K, int P, int place>
CSNN_INLINE void spread_place(uint64_t wins, const float* dcurrent, float share, const float* kernel,
                              v16 (&total)[K + P - 1][K + P - 1]) {
  for (; wins; wins &= wins - 1) {
    const int64_t channel = __builtin_ctzll(wins);
    const v16 gradient = all(dcurrent[channel] * share);
    const float* weights = kernel + channel * K * K * lanes;
    for (int i = 0; i < K; i++)
      for (int j = 0; j < K; j++) {
        v16& sum = total[place / P + i][place % P + j];
        sum = fused(gradient, load(weights + (i * K + j) * lanes), sum);
      }
  }
}

// dspikes += the convolution of dy with the transposed kernel, for one group of 16 input channels. A cell at a time:
// the inputs that it covers, (k + 1) x (k + 1) for a pool of 2, stay in registers. Cells where `reaches` is 0 are
// skipped; null: none.
template <int K, int P>
void spread(const Shape& s, const Cells& cells, int64_t count, const float* dcurrent, const uint16_t* winners,
            const float* kernel, const uint8_t* reaches, float* dspikes) {
  constexpr int64_t block = 64;  // output channels at a time; 32, whose weights fit into any L1 cache, take longer
  const int64_t wide = s.padded_width();
  const float share = share_of(s);
  for (int64_t c = 0; c < s.out; c += block) {
    const int64_t words = (s.out - c < block ? s.out - c : block) / lanes;
    for (int64_t i = 0; i < count; i++) {
      const int64_t cell = cells.number[i];
      if (reaches && !reaches[cell]) continue;
      const int64_t n = cell * s.out + c;
      float* corner = dspikes + cells.corner[i] * lanes;
      const float *gradient = dcurrent + n, *weights = kernel + c * K * K * lanes;
      v16 total[K + P - 1][K + P - 1] = {};
      const Winning wins(s, winners, n / lanes, words);
      spread_place<K, P, 0>(wins[0], gradient, share, weights, total);
      if constexpr (P == 2) {
        spread_place<K, P, 1>(wins[1], gradient, share, weights, total);
        spread_place<K, P, 2>(wins[2], gradient, share, weights, total);
        spread_place<K, P, 3>(wins[3], gradient, share, weights, total);
      }
      for (int row = 0; row < K + P - 1; row++) {
        for (int column = 0; column < K + P - 1; column++) {
          float* at = corner + (row * wide + column) * lanes;
          store(at, load(at) + total[row][column]);
        }
      }
    }
  }
}

// The same for dy summed over time, at the cells that `spread` skipped.
template <int K>
void spread_sum(const Shape& s, const float* dy, const float* kernel, const uint8_t* reaches, float* dspikes) {
  const int64_t wide = s.padded_width(), margin = s.margin(), grid = s.padded_height() * wide * lanes;
  for (int64_t y = 0; y < s.rows() * s.pool; y++) {
    for (int64_t x = 0; x < s.columns() * s.pool; x++) {
      if (reaches[y / s.pool * s.columns() + x / s.pool]) continue;
      float* corner = dspikes + (y * wide + x) * lanes;
      for (int64_t channel = 0; channel < s.out; channel++) {
        const int64_t at = ((y + margin) * wide + x + margin) * lanes + channel % lanes;
        const v16 gradient = all(dy[channel / lanes * grid + at]);
        const float* weights = kernel + channel * K * K * lanes;
        for (int i = 0; i < K; i++) {
          for (int j = 0; j < K; j++) {
            float* out = corner + (i * wide + j) * lanes;
            store(out, fused(gradient, load(weights + (i * K + j) * lanes), load(out)));
          }
        }
      }
    }
  }
}

}  // namespace csnn::ISA
