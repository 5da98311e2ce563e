// Cuts pieces off one stretch of memory.
//
// A kernel that needs scratch has one function `lay_out`, that takes its pieces from a Memory. Over nothing it only
// measures: `used` is then the length that the stretch must have.
#pragma once
#include "lanes.h"

namespace csnn::ISA {

struct Memory {
  char* base = nullptr;
  int64_t used = 0;  // bytes

  // `count` numbers, from a multiple of 64 bytes on; null over nothing.
  template <typename T>
  CSNN_INLINE T* take(int64_t count) {
    T* piece = base ? reinterpret_cast<T*>(base + used) : nullptr;
    used += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return piece;
  }
};

}  // namespace csnn::ISA
