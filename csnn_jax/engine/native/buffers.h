// Memory for whole operations.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "ops.h"

namespace csnn {

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Free {
  void operator()(void* p) const { std::free(p); }
};
template <typename T>
using Numbers = std::unique_ptr<T[], Free>;
using Floats = Numbers<float>;

// Uninitialized; aligned so that no vector straddles two cache lines, and in large pages if it's large.
template <typename T = float>
Numbers<T> allocate(int64_t count) {
  const int64_t bytes = std::max<int64_t>(count, 1) * sizeof(T), alignment = bytes < 1 << 20 ? 64 : 1 << 21;
  Numbers<T> memory(static_cast<T*>(std::aligned_alloc(alignment, divide_up(bytes, alignment) * alignment)));
  if (!memory) throw std::bad_alloc();
  use_large_pages(memory.get(), divide_up(bytes, alignment) * alignment);
  return memory;
}

// One piece of memory per worker, allocated on first use.
class PerWorker {
 public:
  PerWorker(int64_t workers, int64_t bytes) : count_(divide_up(bytes, sizeof(float))), memory_(workers) {}
  char* operator[](int64_t worker) {
    if (!memory_[worker]) memory_[worker] = allocate(count_);
    return reinterpret_cast<char*>(memory_[worker].get());
  }

 private:
  int64_t count_;
  std::vector<Floats> memory_;
};

}  // namespace csnn
