// Neurons driven by a constant current: the first layer of a network that gets the same image at every step.
#include "lif.h"

namespace csnn::ISA {

void constant_lif(const ConstantLif& a, int64_t image) {
  assert(a.time > 0 && image >= 0 && a.stride > 0 && a.stride % lanes == 0 && a.count % a.stride == 0);
  assert(0 < a.channels && a.channels <= a.stride);
  const float* current = a.current + image * a.count;
  const int64_t words = a.count / lanes;
  uint16_t* bits = a.bits + image * a.time * words;
  float* membranes = a.membranes ? a.membranes + image * a.time * a.count : nullptr;
  const v16 threshold = all(a.neuron.threshold);
  constexpr int64_t wide = 8;  // groups of 16 at a time, to hide one group's latency behind the others

  for (int64_t first = 0; first < words; first += wide) {
    const int64_t groups = words - first < wide ? words - first : wide;
    v16 u[wide] = {}, drive[wide];
    uint16_t exist[wide];
    for (int64_t g = 0; g < groups; g++) {
      drive[g] = load(current + (first + g) * lanes);
      exist[g] = existing(a.channels, (first + g) * lanes % a.stride);
    }
    for (int64_t t = 0; t < a.time; t++) {
      for (int64_t g = 0; g < groups; g++) {
        u[g] = step(u[g], drive[g], a.neuron);
        bits[t * words + first + g] = greater(u[g], threshold) & exist[g];
        if (membranes) store(membranes + t * a.count + (first + g) * lanes, u[g]);
      }
    }
    for (int64_t g = 0; g < groups; g++) store(a.last + image * a.count + (first + g) * lanes, u[g]);
  }
}

}  // namespace csnn::ISA
