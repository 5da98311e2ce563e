// Max-pooling of sums of spikes, and its gradient, which goes to the first of the largest sums in a window.
#include "lanes.h"

namespace csnn::ISA {

// The planes of a pixel's sums, for word `w` of each of the spikes.
static void add_up(const SpikePool& a, const uint16_t* bits, int64_t w, uint16_t* planes) {
  for (int64_t i = 0; i < a.added; i++) {
    unsigned carried = bits[i * a.words + w];
    for (int64_t j = 0; j < i; j++) {
      const unsigned both = planes[j] & carried;
      planes[j] = static_cast<uint16_t>(planes[j] | carried);
      carried = both;
    }
    planes[i] = static_cast<uint16_t>(carried);
  }
}

// Calls visit(window, w, first pixel) for every window, as a number, and every word.
template <typename F>
CSNN_INLINE void each_window(const SpikePool& a, F&& visit) {
  for (int64_t y = 0; y < a.rows(); y++)
    for (int64_t x = 0; x < a.columns(); x++)
      for (int64_t w = 0; w < a.words; w++) visit(y * a.columns() + x, w, (y * a.width + x) * a.stride);
}

// Calls visit(pixel, its planes) for every pixel of a window, in row-major order.
template <typename F>
CSNN_INLINE void each_pixel(const SpikePool& a, const uint16_t* bits, int64_t w, int64_t first, F&& visit) {
  uint16_t planes[most_added];
  for (int64_t i = 0; i < a.size; i++) {
    for (int64_t j = 0; j < a.size; j++) {
      const int64_t pixel = first + i * a.width + j;
      add_up(a, bits + pixel * a.added * a.words, w, planes);
      visit(pixel, planes);
    }
  }
}

static void find_largest(const SpikePool& a, const uint16_t* bits, int64_t w, int64_t first, uint16_t* most) {
  memset(most, 0, a.added * sizeof(uint16_t));
  each_pixel(a, bits, w, first, [&](int64_t, const uint16_t* planes) {
    for (int64_t j = 0; j < a.added; j++) most[j] = static_cast<uint16_t>(most[j] | planes[j]);
  });
}

void pool_spikes(const SpikePool& a, int64_t image) {
  assert(0 < a.added && a.added <= most_added && a.size > 0 && a.stride > 0 && image >= 0);
  const int64_t in = a.height * a.width * a.added * a.words, out = a.rows() * a.columns() * a.added * a.words;
  for (int64_t t = image * a.time; t < (image + 1) * a.time; t++) {
    each_window(a, [&](int64_t window, int64_t w, int64_t first) {
      uint16_t most[most_added];
      find_largest(a, a.bits_in + t * in, w, first, most);
      for (int64_t j = 0; j < a.added; j++) a.bits[t * out + (window * a.added + j) * a.words + w] = most[j];
    });
  }
}

void pool_backward(const SpikePool& a, int64_t image) {
  assert(0 < a.added && a.added <= most_added && a.size > 0 && a.stride > 0 && image >= 0);
  const int64_t wide = a.words * lanes, in = a.height * a.width, out = a.rows() * a.columns();
  for (int64_t t = image * a.time; t < (image + 1) * a.time; t++) {
    const uint16_t* bits = a.bits_in + t * in * a.added * a.words;
    float* dspikes_in = a.dspikes_in + t * in * wide;
    memset(dspikes_in, 0, in * wide * sizeof(float));
    each_window(a, [&](int64_t window, int64_t w, int64_t first) {
      uint16_t most[most_added];
      find_largest(a, bits, w, first, most);
      const v16 gradient = load(a.dspikes + (t * out + window) * wide + w * lanes);
      unsigned left = 0xffff;  // lanes whose maximum hasn't come yet
      each_pixel(a, bits, w, first, [&](int64_t pixel, const uint16_t* planes) {
        unsigned wins = left;
        for (int64_t j = 0; j < a.added; j++) wins &= ~(planes[j] ^ static_cast<unsigned>(most[j]));
        left &= ~wins;
        float* to = dspikes_in + pixel * wide + w * lanes;
        store(to, load(to) + keep(static_cast<uint16_t>(wins), gradient));
      });
    });
  }
}

}  // namespace csnn::ISA
