// Weight gradient of a linear layer of spikes: dkernel[n] = sum of dcurrent[t] over the steps at which input n spiked.
// Each input's sum over an image stays in registers, so its row of dkernel is touched once per image, not per spike.
#include "lanes.h"

namespace csnn::ISA {

// When each neuron of an image spiked: history [count, words of 64 steps] from bits [time, count / 16].
void spike_history(const uint16_t* bits, int64_t time, int64_t count, uint64_t* history) {
  const int64_t words = count / lanes, spans = (time + 63) / 64;
  memset(history, 0, count * spans * sizeof(uint64_t));
  for (int64_t t = 0; t < time; t++) {
    for (int64_t w = 0; w < words; w += 4) {
      uint64_t spikes = load_words(bits + t * words + w, words - w);
      for (; spikes; spikes &= spikes - 1)
        history[(w * lanes + __builtin_ctzll(spikes)) * spans + t / 64] |= uint64_t{1} << (t % 64);
    }
  }
}

template <int V>
void block_weights(const LinearWeights& a, int64_t column, int64_t row, int64_t rows) {
  const int64_t spans = (a.time + 63) / 64;
  for (int64_t n = row; n < row + rows; n++)
    for (int v = 0; v < V; v++) store(a.dkernel + n * a.outputs + column + v * lanes, v16{});
  for (int64_t image = 0; image < a.images; image++) {
    const float* dcurrent = a.dcurrent + image * a.time * a.outputs + column;
    for (int64_t n = row; n < row + rows; n++) {
      const uint64_t* when = a.history + (image * a.inputs + n) * spans;
      v16 total[V] = {};
      uint64_t any = 0;
      for (int64_t i = 0; i < spans; i++) {
        any |= when[i];
        for (uint64_t steps = when[i]; steps; steps &= steps - 1) {
          const float* at = dcurrent + (i * 64 + __builtin_ctzll(steps)) * a.outputs;
          for (int v = 0; v < V; v++) total[v] += load(at + v * lanes);
        }
      }
      if (!any) continue;
      float* out = a.dkernel + n * a.outputs + column;
      for (int v = 0; v < V; v++) store(out + v * lanes, load(out + v * lanes) + total[v]);
    }
  }
}

void linear_weights(const LinearWeights& a, int64_t column, int64_t width, int64_t row, int64_t rows) {
  if (width == 4 * lanes) block_weights<4>(a, column, row, rows);
  else if (width == 3 * lanes) block_weights<3>(a, column, row, rows);
  else if (width == 2 * lanes) block_weights<2>(a, column, row, rows);
  else block_weights<1>(a, column, row, rows);
}

}  // namespace csnn::ISA
