// Convolution of spikes, pooling, neurons: one image over the whole window. Only spikes are visited: the convolution
// at a position is the sum of the weight rows that the set bits of its neighbourhood name.
#include "lif.h"

namespace csnn::ISA {

// Sum of the weight rows [., out] of the spikes around one position, for V groups of 16 output channels.
template <int V>
CSNN_INLINE void convolve(const Shape& s, const uint16_t* corner, const float* kernel, v16* total) {
  const int64_t run = s.kernel * s.in / lanes, row = s.padded_width() * s.in / lanes;
  for (int v = 0; v < V; v++) total[v] = v16{};
  for (int64_t i = 0; i < s.kernel; i++) {  // a row of the neighbourhood is one run of bits, and of weight rows
    for (int64_t w = 0; w < run; w += 4) {
      uint64_t spikes = load_words(corner + i * row + w, run - w);
      const float* weights = kernel + (i * run + w) * lanes * s.out;
      while (spikes) {
        const float* at = weights + __builtin_ctzll(spikes) * s.out;
        spikes &= spikes - 1;
        for (int v = 0; v < V; v++) total[v] += load(at + v * lanes);
      }
    }
  }
}

// All positions of one step, for the V groups of 16 channels from `channel` on.
template <int V>
void advance(const ConvLif& a, int64_t t, int64_t channel, const uint16_t* spikes, const float* before, float* after,
             uint16_t* bits, uint16_t* winners) {
  const Shape& s = a.shape;
  const v16 threshold = all(a.neuron.threshold);
  for (int64_t y = 0; y < s.rows(); y++) {
    for (int64_t x = 0; x < s.columns(); x++) {
      v16 pooled[V], one[V];
      uint16_t low[V] = {}, high[V] = {};
      for (int64_t place = 0; place < 4; place++) {
        const int64_t top = 2 * y + place / 2, left = 2 * x + place % 2;
        convolve<V>(s, spikes + (top * s.padded_width() + left) * s.in / lanes, a.kernel + channel, one);
        for (int v = 0; v < V; v++) {
          one[v] += load(a.bias + channel + v * lanes);
          if (place == 0) {
            pooled[v] = one[v];
          } else if (s.max) {  // strictly greater: the first maximum wins
            const uint16_t wins = greater(one[v], pooled[v]);
            pooled[v] = one[v] > pooled[v] ? one[v] : pooled[v];
            low[v] = place & 1 ? low[v] | wins : low[v] & ~wins;
            high[v] = place & 2 ? high[v] | wins : high[v] & ~wins;
          } else {
            pooled[v] += one[v];
          }
        }
      }
      const int64_t n = (y * s.columns() + x) * s.out + channel;
      for (int v = 0; v < V; v++) {
        const int64_t at = n + v * lanes, word = at / lanes;
        if (!s.max) pooled[v] *= 0.25f;
        const v16 u = step(t ? load(before + at) : v16{}, pooled[v], a.neuron);
        store(after + at, u);
        bits[word] = greater(u, threshold) & existing(s.channels, channel + v * lanes);
        if (winners) {
          winners[word] = low[v];
          winners[s.neurons() / lanes + word] = high[v];
        }
      }
    }
  }
}

void conv_lif(const ConvLif& a, int64_t image, char* scratch) {
  const Shape& s = a.shape;
  const int64_t words_in = s.inputs() / lanes, words = s.neurons() / lanes, pixel = s.in / lanes, edge = s.kernel / 2;
  uint16_t* spikes = reinterpret_cast<uint16_t*>(scratch);  // [padded height, padded width, in / 16]
  memset(spikes, 0, s.padded_height() * s.padded_width() * pixel * sizeof(uint16_t));
  float* last = a.last + image * s.neurons();
  for (int64_t t = 0; t < a.time; t++) {
    const int64_t step_at = image * a.time + t;
    for (int64_t y = 0; y < s.height; y++)
      memcpy(spikes + ((y + edge) * s.padded_width() + edge) * pixel,
             a.bits_in + step_at * words_in + y * s.width * pixel, s.width * pixel * sizeof(uint16_t));
    float* after = a.membranes ? a.membranes + step_at * s.neurons() : last;
    const float* before = a.membranes ? after - s.neurons() : last;
    uint16_t* winners = a.winners ? a.winners + step_at * 2 * words : nullptr;
    uint16_t* bits = a.bits + step_at * words;
    int64_t channel = 0;
    for (; channel + 4 * lanes <= s.out; channel += 4 * lanes)
      advance<4>(a, t, channel, spikes, before, after, bits, winners);
    for (; channel + 2 * lanes <= s.out; channel += 2 * lanes)
      advance<2>(a, t, channel, spikes, before, after, bits, winners);
    for (; channel < s.out; channel += lanes) advance<1>(a, t, channel, spikes, before, after, bits, winners);
  }
  if (a.membranes) memcpy(last, a.membranes + (image * a.time + a.time - 1) * s.neurons(), s.neurons() * sizeof(float));
}

}  // namespace csnn::ISA
