// The backward pass of whole layers, products and sums.
#include <cstring>
#include <functional>

#include "buffers.h"

namespace csnn {

void lif_backward(const LifBackward& a, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  workers.each(images, [&](int64_t image, int64_t) { k.lif_backward(a, image); });
}

void pool_backward(const SpikePool& a, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  workers.each(images, [&](int64_t image, int64_t) { k.pool_backward(a, image); });
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
  PerWorker scratch(workers.threads(), (a.time + rows) * most_width * sizeof(float));
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

// Sums that `add(image, worker, sums)` accumulates over the images. There is a fixed number of partial sums, added in
// order, so the result doesn't depend on the number of threads.
static Floats add_images(int64_t images, int64_t count, const Workers& workers,
                         const std::function<void(int64_t, int64_t, float*)>& add) {
  const int64_t chunks = std::clamp<int64_t>(images, 1, 32), size = divide_up(count, lanes) * lanes;
  Floats sums = allocate(chunks * size);
  std::memset(sums.get(), 0, chunks * size * sizeof(float));
  workers.each(chunks, [&](int64_t chunk, int64_t worker) {
    for (int64_t image = chunk * images / chunks; image < (chunk + 1) * images / chunks; image++)
      add(image, worker, sums.get() + chunk * size);
  });
  constexpr int64_t some = 2048;
  workers.each(divide_up(count, some), [&](int64_t part, int64_t) {
    for (int64_t chunk = 1; chunk < chunks; chunk++)
      for (int64_t i = part * some; i < std::min((part + 1) * some, count); i++) sums[i] += sums[chunk * size + i];
  });
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
  for (int64_t i = 0; i < weights; i += lanes) std::copy_n(sums.get() + i, lanes, dkernel + weight_place(s, i));
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

// to [columns, rows] = x [rows, columns] transposed, in tiles whose sides are cache lines; rows is a multiple of 16.
static void transpose(const float* x, int64_t rows, int64_t columns, float* to) {
  for (int64_t first = 0; first < rows; first += lanes)
    for (int64_t left = 0; left < columns; left += lanes)
      for (int64_t c = left; c < std::min(left + lanes, columns); c++)
        for (int64_t row = first; row < first + lanes; row++) to[c * rows + row] = x[row * columns + c];
}

void multiply(const float* left, const float* right, bool transposed, int64_t rows, int64_t inner, int64_t columns,
              float* product, const Workers& workers) {
  const Kernels& k = kernels();
  constexpr int64_t wide = 64, tall = 60;  // multiples of every instruction set's tile
  const int64_t blocks = divide_up(columns, wide), chunks = divide_up(rows, tall);
  auto width = [&](int64_t block) { return std::min(wide, columns - block * wide); };
  // Each block's columns are contiguous, as in linear_lif.
  const Floats packed = allocate(inner * columns);
  workers.each(blocks, [&](int64_t block, int64_t) {
    float* to = packed.get() + block * wide * inner;
    if (transposed) return transpose(right + block * wide * inner, width(block), inner, to);
    for (int64_t n = 0; n < inner; n++)
      std::memcpy(to + n * width(block), right + n * columns + block * wide, width(block) * sizeof(float));
  });
  workers.each(chunks, [&](int64_t chunk, int64_t) {
    const int64_t first = chunk * tall, count = std::min(tall, rows - first);
    for (int64_t block = 0; block < blocks; block++)
      k.multiply_matrices(count, left + first * inner, packed.get() + block * wide * inner, inner, width(block),
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
