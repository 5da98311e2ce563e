// A linear layer of spikes and its neurons: one image over the whole window, for one block of outputs, whose weights
// stay in the L2 cache from image to image. The spikes are listed once for all blocks.
#include "lif.h"
#include "rows.h"

namespace csnn::ISA {

// Lists the neurons that spike in `words` words; returns how many.
int64_t list_spikes(const uint16_t* bits, int64_t words, int32_t* neurons) {
  assert(words >= 0);
  int32_t* end = neurons;
  for (int64_t w = 0; w < words; w++) end = list_lanes(bits[w], static_cast<int32_t>(w * lanes), 1, end);
  return end - neurons;
}

template <typename Row, int V>
void block_lif(const LinearLif& a, int64_t image, int64_t column, const typename Row::Weight* block) {
  constexpr int groups = V * Row::groups;
  const v16 threshold = all(a.neuron.threshold);
  const int64_t existing_groups = (a.outputs - column) / lanes;
  v16 u[groups] = {};
  for (int64_t t = 0; t < a.time; t++) {
    const int64_t step_at = image * a.time + t;
    v16 total[groups] = {};
    for (int64_t e = a.start[step_at], end = a.start[step_at + 1]; e < end;) {
      const int64_t some = end - e < a.most ? end : e + a.most;  // before a sum of integers could overflow
      typename Row::Sum sum[V] = {};
      for (; e < some; e++)
        for (int v = 0; v < V; v++) sum[v] += Row::load(block + (a.spikes[e] * V + v) * Row::outputs);
      for (int g = 0; g < groups; g++) total[g] += Row::floats(sum[g / Row::groups], g % Row::groups);
    }
    for (int g = 0; g < groups; g++) {
      if (Row::groups > 1 && g >= existing_groups) break;
      const int64_t n = column + g * lanes, at = step_at * a.outputs + n;
      const v16 current = Row::current(total[g], a.scale, a.bias, n);
      u[g] = step(u[g], current, a.neuron);
      a.bits[at / lanes] = greater(u[g], threshold) & existing(a.channels, n);
      if (a.membranes) store(a.membranes + at, u[g]);
    }
  }
  for (int g = 0; g < groups && g < existing_groups; g++) store(a.last + image * a.outputs + column + g * lanes, u[g]);
}

void linear_lif(const LinearLif& a, int64_t image, int64_t column, int64_t width, const void* block) {
  assert(a.time > 0 && a.inputs % lanes == 0 && a.outputs % lanes == 0 && 0 < a.channels && a.channels <= a.outputs);
  assert(0 < width && width <= (a.scale ? 2 : 1) * most_width && width % lanes == 0 && a.most > 0);
  assert(image >= 0 && column >= 0 && column + width <= a.outputs && a.start);
  const int64_t wide = a.scale ? WholeRow::outputs : FloatRow::outputs;
  BlockRows::choose((width + wide - 1) / wide, [&]<int V>() {
    if (a.scale) block_lif<WholeRow, V>(a, image, column, static_cast<const int16_t*>(block));
    else block_lif<FloatRow, V>(a, image, column, static_cast<const float*>(block));
  });
}

}  // namespace csnn::ISA
