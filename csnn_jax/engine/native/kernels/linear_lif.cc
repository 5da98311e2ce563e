// A linear layer of spikes and its neurons: one image over the whole window, for one block of outputs, whose weights
// stay in the L2 cache while image after image is done. The spikes are listed once for all blocks.
#include "lif.h"

namespace csnn::ISA {

// Lists the neurons that spike in `words` words; returns how many.
int64_t list_spikes(const uint16_t* bits, int64_t words, int32_t* neurons) {
  assert(words >= 0);
  int32_t* end = neurons;
  for (int64_t w = 0; w < words; w++) end = list_lanes(bits[w], static_cast<int32_t>(w * lanes), 1, end);
  return end - neurons;
}

template <int V>
void block_lif(const LinearLif& a, int64_t image, int64_t column, const float* block) {
  const v16 threshold = all(a.neuron.threshold);
  v16 u[V] = {};
  for (int64_t t = 0; t < a.time; t++) {
    const int64_t step_at = image * a.time + t;
    v16 total[V] = {};
    for (int64_t e = a.start[step_at]; e < a.start[step_at + 1]; e++)
      for (int v = 0; v < V; v++) total[v] += load(block + (a.spikes[e] * V + v) * lanes);
    for (int v = 0; v < V; v++) {
      const int64_t n = column + v * lanes, at = step_at * a.outputs + n;
      u[v] = step(u[v], total[v] + load(a.bias + n), a.neuron);
      a.bits[at / lanes] = greater(u[v], threshold) & existing(a.channels, n);
      if (a.membranes) store(a.membranes + at, u[v]);
    }
  }
  for (int v = 0; v < V; v++) store(a.last + image * a.outputs + column + v * lanes, u[v]);
}

void linear_lif(const LinearLif& a, int64_t image, int64_t column, int64_t width, const float* block) {
  assert(a.time > 0 && a.inputs % lanes == 0 && a.outputs % lanes == 0 && 0 < a.channels && a.channels <= a.outputs);
  assert(0 < width && width <= most_width && width % lanes == 0);
  assert(image >= 0 && column >= 0 && column + width <= a.outputs && a.start);
  if (width == 4 * lanes) block_lif<4>(a, image, column, block);
  else if (width == 3 * lanes) block_lif<3>(a, image, column, block);
  else if (width == 2 * lanes) block_lif<2>(a, image, column, block);
  else block_lif<1>(a, image, column, block);
}

}  // namespace csnn::ISA
