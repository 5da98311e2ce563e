// Threads that share work, and large pages.
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>

#include "ops.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace csnn {

namespace {

// Shared by the threads of one `each`; the last one frees it.
struct Crew {
  std::function<void(int64_t, int64_t)> body;
  int64_t units;
  std::atomic<int64_t> next{0}, workers{0};
  std::mutex mutex;
  std::condition_variable finished;
  int64_t done = 0;
  std::exception_ptr error;

  void work() {
    if (next.load() >= units) return;  // too late: the body may be gone
    const int64_t worker = workers++;
    for (int64_t unit = next++; unit < units; unit = next++) {
      std::exception_ptr thrown;
      try {
        body(unit, worker);
      } catch (...) {
        thrown = std::current_exception();
      }
      std::lock_guard<std::mutex> lock(mutex);
      if (thrown) error = thrown;
      if (++done == units) finished.notify_all();
    }
  }
};

}  // namespace

void Workers::each(int64_t units, const std::function<void(int64_t, int64_t)>& body) const {
  if (units <= 0) return;
  auto crew = std::make_shared<Crew>();
  crew->body = body;
  crew->units = units;
  const int64_t helpers = (units < threads_ ? units : threads_) - 1;
  for (int64_t i = 0; i < helpers; i++) schedule_([crew] { crew->work(); });
  crew->work();
  std::unique_lock<std::mutex> lock(crew->mutex);
  crew->finished.wait(lock, [&] { return crew->done == units; });
  if (crew->error) std::rethrow_exception(crew->error);
}

void use_large_pages([[maybe_unused]] void* memory, [[maybe_unused]] int64_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t page = 1 << 21;
  const auto start = reinterpret_cast<uintptr_t>(memory), first = (start + page - 1) / page * page;
  const uintptr_t end = (start + bytes) / page * page;
  if (end > first) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);  // a hint: it may fail
#endif
}

}  // namespace csnn
