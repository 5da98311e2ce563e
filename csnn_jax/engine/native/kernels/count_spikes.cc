#include "lanes.h"

namespace csnn::ISA {

int64_t count_spikes(const uint16_t* bits, int64_t words) {
  assert(words >= 0);
  return count_bits(bits, words);
}

}  // namespace csnn::ISA
