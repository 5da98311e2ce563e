// Weight gradient of a linear layer of spikes: dkernel[n] = sum of dcurrent[t] over the steps at which input n spiked.
// Each input's sum over an image stays in registers, so its row of dkernel is touched once per image, not per spike;
// and only if it spiked in that image at all.
#include "lanes.h"

namespace csnn::ISA {

// When each neuron of an image spiked: history [count, words of 64 steps] from bits [time, count / 16].
void spike_history(const uint16_t* bits, int64_t time, int64_t count, uint64_t* history) {
  assert(time > 0 && count % lanes == 0);
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

// Lists the neurons of an image that spiked at some step, and keeps only their history; returns how many.
int64_t list_firing(uint64_t* history, int64_t time, int64_t count, int32_t* neurons) {
  assert(time > 0 && count >= 0);
  const int64_t spans = (time + 63) / 64;
  int64_t firing = 0;
  for (int64_t n = 0; n < count; n++) {
    uint64_t any = 0;
    for (int64_t i = 0; i < spans; i++) any |= history[firing * spans + i] = history[n * spans + i];
    neurons[firing] = static_cast<int32_t>(n);
    firing += any != 0;
  }
  return firing;
}

// Where the neurons from `row` on begin in a list of firing ones, which starts with their number.
CSNN_INLINE int64_t first_from(const int32_t* firing, int64_t row) {
  int64_t low = 1, high = 1 + firing[0];
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (firing[middle] < row) low = middle + 1;
    else high = middle;
  }
  return low;
}

template <int V>
void block_weights(const LinearWeights& a, int64_t column, int64_t row, int64_t rows, float* scratch) {
  const int64_t spans = (a.time + 63) / 64;
  // Contiguous copies: rows a power of two apart would compete for the same cache lines.
  float* sums = scratch + a.time * V * lanes;
  memset(sums, 0, rows * V * lanes * sizeof(float));
  for (int64_t image = 0; image < a.images; image++) {
    for (int64_t t = 0; t < a.time; t++)
      for (int v = 0; v < V; v++)
        store(scratch + (t * V + v) * lanes, load(a.dcurrent + (image * a.time + t) * a.outputs + column + v * lanes));
    const int32_t* firing = a.firing + image * (a.inputs + 1);
    for (int64_t e = first_from(firing, row); e <= firing[0]; e++) {
      const int64_t n = firing[e];
      if (n >= row + rows) break;
      const uint64_t* when = a.history + (image * a.inputs + e - 1) * spans;
      v16 total[V] = {};
      for (int64_t i = 0; i < spans; i++) {
        for (uint64_t steps = when[i]; steps; steps &= steps - 1) {
          const float* at = scratch + (i * 64 + __builtin_ctzll(steps)) * V * lanes;
          for (int v = 0; v < V; v++) total[v] += load(at + v * lanes);
        }
      }
      float* sum = sums + (n - row) * V * lanes;
      for (int v = 0; v < V; v++) store(sum + v * lanes, load(sum + v * lanes) + total[v]);
    }
  }
  for (int64_t n = 0; n < rows; n++)
    memcpy(a.dkernel + (row + n) * a.outputs + column, sums + n * V * lanes, V * lanes * sizeof(float));
}

void linear_weights(const LinearWeights& a, int64_t column, int64_t width, int64_t row, int64_t rows, float* scratch) {
  assert(a.time > 0 && a.outputs % lanes == 0 && 0 < width && width <= most_width && width % lanes == 0);
  assert(column >= 0 && column + width <= a.outputs && row >= 0 && row + rows <= a.inputs);
  BlockRows::choose(width / lanes, [&]<int V>() { block_weights<V>(a, column, row, rows, scratch); });
}

}  // namespace csnn::ISA
