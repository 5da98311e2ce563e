// Cuts pieces off one stretch of memory.
#pragma once
#include "lanes.h"

namespace csnn::ISA {

struct Memory {
  char* at;
  template <typename T>
  CSNN_INLINE T* take(int64_t count) {
    T* piece = reinterpret_cast<T*>(at);
    at += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return piece;
  }
};

}  // namespace csnn::ISA
