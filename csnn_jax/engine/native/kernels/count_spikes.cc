// Number of set bits.
#include "lanes.h"

namespace csnn::ISA {

int64_t count_spikes(const uint16_t* bits, int64_t words) {
  assert(words >= 0);
  int64_t total = 0;
  for (int64_t w = 0; w < words; w += 4) total += __builtin_popcountll(load_words(bits + w, words - w));
  return total;
}

}  // namespace csnn::ISA
