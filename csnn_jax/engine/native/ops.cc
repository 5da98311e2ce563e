#include "ops.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace csnn {

#if defined(__x86_64__)
namespace avx512 { extern const Kernels table; }
namespace avx2 { extern const Kernels table; }
#endif
namespace baseline { extern const Kernels table; }

namespace {

constexpr int64_t block_width = 64;  // outputs of a linear layer done together

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

const Kernels& choose_kernels() {
  std::vector<const Kernels*> able;  // fastest first
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt"))
    able.push_back(&avx512::table);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt"))
    able.push_back(&avx2::table);
#endif
  able.push_back(&baseline::table);
  const char* wanted = std::getenv("CSNN_ISA");
  if (!wanted) return *able[0];
  std::string names;
  for (const Kernels* table : able) {
    if (!std::strcmp(table->name, wanted)) return *table;
    names += std::string(" ") + table->name;
  }
  throw std::runtime_error("CSNN_ISA " + std::string(wanted) + ": this machine has" + names);
}

// What the threads of one `each` share; the last of them frees it.
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

// One piece of memory per worker, made when the worker first asks.
class PerWorker {
 public:
  PerWorker(int64_t workers, int64_t bytes) : bytes_(bytes), memory_(workers) {}
  char* operator[](int64_t worker) {
    if (!memory_[worker]) memory_[worker].reset(static_cast<char*>(std::aligned_alloc(64, divide_up(bytes_, 64) * 64)));
    if (!memory_[worker]) throw std::bad_alloc();
    return memory_[worker].get();
  }

 private:
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  int64_t bytes_;
  std::vector<std::unique_ptr<char, Free>> memory_;
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

const Kernels& kernels() {
  static const Kernels& chosen = choose_kernels();
  return chosen;
}

void use_large_pages([[maybe_unused]] void* memory, [[maybe_unused]] int64_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t page = 1 << 21;
  const auto start = reinterpret_cast<uintptr_t>(memory), first = (start + page - 1) / page * page;
  const uintptr_t end = (start + bytes) / page * page;
  if (end > first) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);  // a hint: it may fail
#endif
}

int64_t conv_lif_scratch(const Shape& s) {
  const int64_t pixels = s.padded_height() * s.padded_width(), longest = s.kernel * s.kernel * s.in;
  return pixels * 2 * sizeof(uint16_t*) + s.inputs() / lanes * 2 * sizeof(int32_t) + pixels * longest * 2 + 5 * 64;
}

int64_t conv_backward_scratch(const Shape& s, int64_t time, int64_t inner) {
  const int64_t pixels = s.padded_height() * s.padded_width();
  const int64_t always = time * s.neurons() + pixels * (lanes + s.in) + s.in + s.in * s.height * s.width +
                         s.rows() * s.columns() + 2 * (inner + s.neurons());
  const int64_t constant = s.in + s.kernel * s.kernel * s.in * s.out + pixels * (4 * s.in + s.out);
  return (always + constant) * 4 + 16 * 64;
}

void pack(const float* x, int64_t images, int64_t groups, int64_t channels, uint16_t* bits, const Workers& workers) {
  const int64_t words = divide_up(channels, lanes);
  workers.each(images, [&](int64_t image, int64_t) {
    for (int64_t group = image * groups; group < (image + 1) * groups; group++) {
      std::fill(bits + group * words, bits + (group + 1) * words, 0);
      for (int64_t c = 0; c < channels; c++) {
        const float value = x[group * channels + c];
        if (value == 1) bits[group * words + c / lanes] |= 1u << (c % lanes);
        else if (value != 0) throw std::invalid_argument("the event engine takes spikes, 0 or 1, not other numbers");
      }
    }
  });
}

void constant_lif(const ConstantLif& a, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  workers.each(images, [&](int64_t image, int64_t) { k.constant_lif(a, image); });
}

void conv_lif(const ConvLif& a, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  PerWorker scratch(workers.threads(), conv_lif_scratch(a.shape));
  workers.each(images, [&](int64_t image, int64_t worker) { k.conv_lif(a, image, scratch[worker]); });
}

void linear_lif(LinearLif a, const float* kernel, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  const int64_t words = a.inputs / lanes, steps = images * a.time;
  std::vector<int64_t> start(steps + 1);
  workers.each(images, [&](int64_t image, int64_t) {
    for (int64_t at = image * a.time; at < (image + 1) * a.time; at++)
      start[at + 1] = k.count_spikes(a.bits_in + at * words, words);
  });
  for (int64_t at = 0; at < steps; at++) start[at + 1] += start[at];
  std::vector<int32_t> spikes(start[steps]);
  workers.each(images, [&](int64_t image, int64_t) {
    for (int64_t at = image * a.time; at < (image + 1) * a.time; at++)
      k.list_spikes(a.bits_in + at * words, words, spikes.data() + start[at]);
  });
  a.start = start.data();
  a.spikes = spikes.data();
  const int64_t blocks = divide_up(a.outputs, block_width), chunk = 8, chunks = divide_up(images, chunk);
  auto width = [&](int64_t block) { return std::min(block_width, a.outputs - block * block_width); };
  // The columns of a block side by side: rows a power of two apart would compete for the same lines of the cache.
  std::vector<float> packed(a.inputs * a.outputs);
  workers.each(blocks, [&](int64_t block, int64_t) {
    float* to = packed.data() + block * block_width * a.inputs;
    for (int64_t n = 0; n < a.inputs; n++)
      std::memcpy(to + n * width(block), kernel + n * a.outputs + block * block_width, width(block) * sizeof(float));
  });
  workers.each(blocks * chunks, [&](int64_t unit, int64_t) {
    const int64_t block = unit / chunks, first = unit % chunks * chunk;
    for (int64_t image = first; image < std::min(first + chunk, images); image++)
      k.linear_lif(a, image, block * block_width, width(block), packed.data() + block * block_width * a.inputs);
  });
}

void lif_backward(const LifBackward& a, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  workers.each(images, [&](int64_t image, int64_t) { k.lif_backward(a, image); });
}

void linear_weights(LinearWeights a, const uint16_t* bits, const Workers& workers) {
  const Kernels& k = kernels();
  const int64_t spans = divide_up(a.time, 64);
  std::vector<uint64_t> history(a.images * a.inputs * spans);
  workers.each(a.images, [&](int64_t image, int64_t) {
    k.spike_history(bits + image * a.time * a.inputs / lanes, a.time, a.inputs,
                    history.data() + image * a.inputs * spans);
  });
  a.history = history.data();
  const int64_t blocks = divide_up(a.outputs, block_width), rows = 512, parts = divide_up(a.inputs, rows);
  workers.each(blocks * parts, [&](int64_t unit, int64_t) {
    const int64_t column = unit / parts * block_width, row = unit % parts * rows;
    k.linear_weights(a, column, std::min(block_width, a.outputs - column), row, std::min(rows, a.inputs - row));
  });
}

void conv_backward(const ConvBackward& a, int64_t images, float* dkernel, float* dbias, const Workers& workers) {
  const Kernels& k = kernels();
  const Shape& s = a.shape;
  // A fixed number of partial sums, added in order, so that the result does not depend on the number of threads.
  const int64_t chunks = std::min<int64_t>(images, 32), weights = s.kernel * s.kernel * s.in * s.out;
  std::vector<float> sums(chunks * (weights + s.out));
  PerWorker scratch(workers.threads(), conv_backward_scratch(s, a.lif.time, a.product.inner));
  workers.each(chunks, [&](int64_t chunk, int64_t worker) {
    float* sum = sums.data() + chunk * (weights + s.out);
    for (int64_t image = chunk * images / chunks; image < (chunk + 1) * images / chunks; image++)
      k.conv_backward(a, image, scratch[worker], sum, sum + weights);
  });
  for (int64_t i = 0; i < weights + s.out; i++) {
    float total = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) total += sums[chunk * (weights + s.out) + i];
    (i < weights ? dkernel[i] : dbias[i - weights]) = total;
  }
}

void count_spikes(const uint16_t* bits, int64_t images, int64_t words, float* counts, const Workers& workers) {
  const Kernels& k = kernels();
  workers.each(images, [&](int64_t image, int64_t) {
    counts[image] = static_cast<float>(k.count_spikes(bits + image * words, words));
  });
}

}  // namespace csnn
