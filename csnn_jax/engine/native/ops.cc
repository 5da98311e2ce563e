#include "ops.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace csnn {

namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Free {
  void operator()(void* p) const { std::free(p); }
};
template <typename T>
using Numbers = std::unique_ptr<T[], Free>;
using Floats = Numbers<float>;

// Not initialised; aligned, so that no vector lies across two lines of the cache, and in large pages where it is large.
template <typename T = float>
Numbers<T> allocate(int64_t count) {
  const int64_t bytes = std::max<int64_t>(count, 1) * sizeof(T), alignment = bytes < 1 << 20 ? 64 : 1 << 21;
  Numbers<T> memory(static_cast<T*>(std::aligned_alloc(alignment, divide_up(bytes, alignment) * alignment)));
  if (!memory) throw std::bad_alloc();
  use_large_pages(memory.get(), divide_up(bytes, alignment) * alignment);
  return memory;
}

// One piece of memory per worker, made when the worker first asks.
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

}  // namespace

// The bits of one step; `bits` is 0 before. Most numbers of frames are 0, and eight bytes at a time tell so.
template <typename Number>
static void pack_step(const Number* x, int64_t groups, int64_t channels, int64_t planes, uint16_t* bits) {
  constexpr int64_t each = 8 / sizeof(Number);
  const int64_t numbers = groups * channels, words = divide_up(planes * channels, lanes), most = (1 << planes) - 1;
  for (int64_t first = 0; first < numbers; first += each) {
    const int64_t end = std::min(first + each, numbers);
    uint64_t any = 1;
    if (end - first == each) std::memcpy(&any, x + first, sizeof any);
    for (int64_t i = first; any && i < end; i++) {
      const Number value = x[i];
      if (value == 0) continue;
      const int64_t count = value >= 1 && value <= static_cast<Number>(most) ? static_cast<int64_t>(value) : 0;
      if (static_cast<Number>(count) != value)
        throw std::invalid_argument("the event engine takes whole numbers from 0 to " + std::to_string(most) +
                                    " in a sequence, not other numbers");
      const int64_t group = static_cast<uint32_t>(i) / static_cast<uint32_t>(channels), c = i - group * channels;
      for (int64_t p = 0; p < planes; p++) {
        const int64_t n = p * channels + c;
        bits[group * words + n / lanes] |= (count >> p & 1) << (n % lanes);
      }
    }
  }
}

template <typename Number>
void pack(const Number* x, int64_t time, int64_t images, int64_t groups, int64_t channels, int64_t planes,
          uint16_t* bits, const Workers& workers) {
  const int64_t words = divide_up(planes * channels, lanes);
  workers.each(images, [&](int64_t image, int64_t) {
    for (int64_t t = 0; t < time; t++) {
      uint16_t* to = bits + (image * time + t) * groups * words;
      std::fill(to, to + groups * words, 0);
      pack_step(x + (t * images + image) * groups * channels, groups, channels, planes, to);
    }
  });
}

template void pack(const float*, int64_t, int64_t, int64_t, int64_t, int64_t, uint16_t*, const Workers&);
template void pack(const uint8_t*, int64_t, int64_t, int64_t, int64_t, int64_t, uint16_t*, const Workers&);

void constant_lif(const ConstantLif& a, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  workers.each(images, [&](int64_t image, int64_t) { k.constant_lif(a, image); });
}

int64_t arranged_size(const Shape& s) { return s.weights() * s.out; }

void arrange_weights(const Shape& s, const float* kernel, float* to) {
  const int64_t columns = s.tap_columns(), edge = columns - s.kernel, widest = kernels().conv_block;
  std::fill(to, to + arranged_size(s), 0.0f);
  for (int64_t first = 0, width; first < s.out; first += width) {
    width = first + widest <= s.out ? widest : lanes;
    float* block = to + first * s.weights();
    for (int64_t i = 0; i < s.kernel; i++)
      for (int64_t j = 0; j < s.kernel; j++)
        for (int64_t c = 0; c < s.in; c++)
          std::memcpy(block + ((c * s.kernel + i) * columns + edge + j) * width,
                      kernel + ((i * s.kernel + j) * s.in + c) * s.out + first, width * sizeof(float));
  }
}

void conv_lif(ConvLif a, const float* kernel, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  const Floats arranged = allocate(arranged_size(a.shape));
  arrange_weights(a.shape, kernel, arranged.get());
  a.kernel = arranged.get();
  PerWorker scratch(workers.threads(), k.conv_lif_scratch(a));
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
  const Numbers<int32_t> spikes = allocate<int32_t>(start[steps]);
  workers.each(images, [&](int64_t image, int64_t) {
    for (int64_t at = image * a.time; at < (image + 1) * a.time; at++)
      k.list_spikes(a.bits_in + at * words, words, spikes.get() + start[at]);
  });
  a.start = start.data();
  a.spikes = spikes.get();
  const int64_t blocks = divide_up(a.outputs, most_width), chunk = 8, chunks = divide_up(images, chunk);
  auto width = [&](int64_t block) { return std::min(most_width, a.outputs - block * most_width); };
  // The columns of a block side by side: rows a power of two apart would compete for the same lines of the cache.
  const Floats packed = allocate(a.inputs * a.outputs);
  workers.each(blocks, [&](int64_t block, int64_t) {
    float* to = packed.get() + block * most_width * a.inputs;
    for (int64_t n = 0; n < a.inputs; n++)
      std::memcpy(to + n * width(block), kernel + n * a.outputs + block * most_width, width(block) * sizeof(float));
  });
  workers.each(blocks * chunks, [&](int64_t unit, int64_t) {
    const int64_t block = unit / chunks, first = unit % chunks * chunk;
    for (int64_t image = first; image < std::min(first + chunk, images); image++)
      k.linear_lif(a, image, block * most_width, width(block), packed.get() + block * most_width * a.inputs);
  });
}

void lif_backward(const LifBackward& a, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  workers.each(images, [&](int64_t image, int64_t) { k.lif_backward(a, image); });
}

void linear_weights(LinearWeights a, const uint16_t* bits, const Workers& workers) {
  const Kernels& k = kernels();
  const int64_t spans = divide_up(a.time, 64);
  const Numbers<uint64_t> history = allocate<uint64_t>(a.images * a.inputs * spans);
  const Numbers<int32_t> firing = allocate<int32_t>(a.images * (a.inputs + 1));
  workers.each(a.images, [&](int64_t image, int64_t) {
    uint64_t* when = history.get() + image * a.inputs * spans;
    int32_t* list = firing.get() + image * (a.inputs + 1);
    k.spike_history(bits + image * a.time * a.inputs / lanes, a.time, a.inputs, when);
    list[0] = static_cast<int32_t>(k.list_firing(when, a.time, a.inputs, list + 1));
  });
  a.history = history.get();
  a.firing = firing.get();
  const int64_t blocks = divide_up(a.outputs, most_width), rows = 1024, parts = divide_up(a.inputs, rows);
  PerWorker scratch(workers.threads(), a.time * most_width * sizeof(float));
  workers.each(blocks * parts, [&](int64_t unit, int64_t worker) {
    const int64_t column = unit / parts * most_width, row = unit % parts * rows;
    k.linear_weights(a, column, std::min(most_width, a.outputs - column), row, std::min(rows, a.inputs - row),
                     reinterpret_cast<float*>(scratch[worker]));
  });
}

int64_t weight_place(const Shape& s, int64_t i) {
  const int64_t taps = s.kernel * s.kernel, groups = s.out / lanes, tap = i / lanes % taps, group = i / lanes / taps;
  return (tap * s.in + group / groups) * s.out + group % groups * lanes + i % lanes;
}

// What `add(image, worker, sums)` adds up over the images. A fixed number of partial sums, added in order, so that the
// result does not depend on the number of threads.
static Floats add_images(int64_t images, int64_t count, const Workers& workers,
                         const std::function<void(int64_t, int64_t, float*)>& add) {
  const int64_t chunks = std::min<int64_t>(images, 32), size = divide_up(count, lanes) * lanes;
  Floats sums = allocate(chunks * size);
  std::memset(sums.get(), 0, chunks * size * sizeof(float));
  workers.each(chunks, [&](int64_t chunk, int64_t worker) {
    for (int64_t image = chunk * images / chunks; image < (chunk + 1) * images / chunks; image++)
      add(image, worker, sums.get() + chunk * size);
  });
  for (int64_t chunk = 1; chunk < chunks; chunk++)
    for (int64_t i = 0; i < count; i++) sums[i] += sums[chunk * size + i];
  return sums;
}

void conv_backward(const ConvBackward& a, int64_t images, float* dkernel, float* dbias, const Workers& workers) {
  const Kernels& k = kernels();
  const Shape& s = a.shape;
  const int64_t weights = s.kernel * s.kernel * s.in * s.out;
  PerWorker scratch(workers.threads(), k.conv_backward_scratch(a));
  const Floats sums = add_images(images, weights + s.out, workers, [&](int64_t image, int64_t worker, float* sum) {
    k.conv_backward(a, image, scratch[worker], sum, sum + weights);
  });
  for (int64_t i = 0; i < weights; i++) dkernel[weight_place(s, i)] = sums[i];
  std::copy_n(sums.get() + weights, s.out, dbias);
}

void image_weights(const ImageWeights& a, int64_t images, float* dkernel, float* dbias, const Workers& workers) {
  const Kernels& k = kernels();
  const Shape& s = a.shape;
  const int64_t weights = s.kernel * s.kernel * s.in * s.out, padded = s.padded_height() * s.padded_width() * s.in;
  PerWorker scratch(workers.threads(), padded * sizeof(float));
  const Floats sums = add_images(images, weights + s.out, workers, [&](int64_t image, int64_t worker, float* sum) {
    k.image_weights(a, image, reinterpret_cast<float*>(scratch[worker]), sum, sum + weights);
  });
  std::copy_n(sums.get(), weights, dkernel);
  std::copy_n(sums.get() + weights, s.out, dbias);
}

void multiply(const float* left, const float* right, int64_t rows, int64_t inner, int64_t columns, float* product,
              const Workers& workers) {
  const Kernels& k = kernels();
  constexpr int64_t wide = 64, tall = 60;  // whole tiles of every instruction set's kernel
  const int64_t blocks = divide_up(columns, wide), chunks = divide_up(rows, tall);
  auto width = [&](int64_t block) { return std::min(wide, columns - block * wide); };
  // The columns of a block side by side, as in linear_lif.
  const Floats packed = allocate(inner * columns);
  workers.each(blocks, [&](int64_t block, int64_t) {
    float* to = packed.get() + block * wide * inner;
    for (int64_t n = 0; n < inner; n++)
      std::memcpy(to + n * width(block), right + n * columns + block * wide, width(block) * sizeof(float));
  });
  workers.each(chunks, [&](int64_t chunk, int64_t) {
    const int64_t first = chunk * tall, count = std::min(tall, rows - first);
    for (int64_t block = 0; block < blocks; block++)
      k.multiply(count, left + first * inner, packed.get() + block * wide * inner, inner, width(block),
                 product + first * columns + block * wide, columns);
  });
}

void add_rows(const float* x, int64_t rows, int64_t columns, float* sums, const Workers& workers) {
  const int64_t tall = 4096, chunks = divide_up(rows, tall);
  std::vector<double> partial(std::max<int64_t>(chunks, 1) * columns);
  workers.each(chunks, [&](int64_t chunk, int64_t) {
    double* to = partial.data() + chunk * columns;
    for (int64_t row = chunk * tall; row < std::min(rows, (chunk + 1) * tall); row++)
      for (int64_t c = 0; c < columns; c++) to[c] += static_cast<double>(x[row * columns + c]);
  });
  for (int64_t c = 0; c < columns; c++) {
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) total += partial[chunk * columns + c];
    sums[c] = static_cast<float>(total);
  }
}

void count_spikes(const uint16_t* bits, int64_t images, int64_t words, float* counts, const Workers& workers) {
  const Kernels& k = kernels();
  workers.each(images, [&](int64_t image, int64_t) {
    counts[image] = static_cast<float>(k.count_spikes(bits + image * words, words));
  });
}

}  // namespace csnn
