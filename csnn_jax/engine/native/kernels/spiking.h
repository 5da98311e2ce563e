// The spikes that a convolution visits at one step, as lists.
#pragma once
#include "memory.h"

namespace csnn::ISA {

// The spikes of one step, word after word: a word is 16 channels of a pixel.
struct Spiking {
  int32_t* at;     // [height * width * in]: the place of the spike's weights, from its channel and column
  int32_t* start;  // [height * words of a row + 1]: where the spikes of each word begin
  int32_t* seen;   // [rows, words of a row + 1]: the sum of `start` over the rows of pixels that a row of cells covers
  int32_t* place;  // [words of a row]: the place of the weights of a word's first channel
  uint16_t flip;   // all bits if the inputs that don't spike are listed, otherwise none
};

CSNN_INLINE int64_t words_of_row(const Shape& s) { return s.width * s.in / lanes; }

inline Spiking lay_out(Memory& memory, Shape s) {
  const int64_t words = words_of_row(s);
  return {.at = memory.take<int32_t>(s.inputs()),
          .start = memory.take<int32_t>(s.height * words + 1),
          .seen = memory.take<int32_t>(s.rows() * (words + 1)),
          .place = memory.take<int32_t>(words),
          .flip = 0};
}

// `width`: outputs of a block of weights. (A copy of the Shape, here and below: a store to memory can't change it.)
inline void list(Shape s, const uint16_t* bits, const Spiking& spiking, int64_t width) {
  const int64_t words = words_of_row(s);
  const int32_t stride = static_cast<int32_t>(s.kernel * s.tap_columns() * width);
  for (int64_t x = 0, i = 0; x < s.width; x++)
    for (int64_t c = 0; c < s.in; c += lanes) spiking.place[i++] = static_cast<int32_t>(x * width + c * stride);
  int32_t *at = spiking.at, *start = spiking.start;
  const uint64_t none = spiking.flip ? ~uint64_t{0} : 0;
  for (int64_t y = 0; y < s.height; y++, bits += words, start += words) {
    const auto list_words = [&](int64_t from, int64_t to) __attribute__((always_inline)) {
      for (int64_t i = from; i < to; i++) {
        start[i] = static_cast<int32_t>(at - spiking.at);
        at = list_lanes(static_cast<uint16_t>(bits[i] ^ spiking.flip), spiking.place[i], stride, at);
      }
    };
    int64_t i = 0;
    for (; i + 4 <= words; i += 4) {
      if (load_words(bits + i, 4) != none) list_words(i, i + 4);
      else  // usual in an event camera's frames
        for (int64_t j = i; j < i + 4; j++) start[j] = static_cast<int32_t>(at - spiking.at);
    }
    list_words(i, words);
  }
  *start = static_cast<int32_t>(at - spiking.at);
}

// Fills `seen`, which takes two loads to tell whether a cell covers any spike.
inline void sum_up(Shape s, const Spiking& spiking) {
  const int64_t words = words_of_row(s);
  for (int64_t y = 0; y < s.rows(); y++) {
    int32_t* seen = spiking.seen + y * (words + 1);
    memset(seen, 0, (words + 1) * sizeof(int32_t));
    const int64_t top = y * s.pool - s.padding, bottom = top + s.kernel + s.pool - 1;
    for (int64_t row = top > 0 ? top : 0; row < (bottom < s.height ? bottom : s.height); row++)
      for (int64_t i = 0; i <= words; i++) seen[i] += spiking.start[row * words + i];
  }
}

}  // namespace csnn::ISA
