// Divides one block of memory into pieces.
//
// A kernel that needs scratch memory has a function `lay_out`, which takes its pieces from a Memory. Without a block,
// it only measures: `used` is then the size that the block must have.
#pragma once
#include "lanes.h"

namespace csnn::ISA {

struct Memory {
  char* base = nullptr;
  int64_t used = 0;  // bytes

  // `count` numbers, aligned to 64 bytes; null without a block.
  template <typename T>
  CSNN_INLINE T* take(int64_t count) {
    T* piece = base ? reinterpret_cast<T*>(base + used) : nullptr;
    used += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return piece;
  }
};

}  // namespace csnn::ISA
