// Whole operations, which run the kernels for all images on the given threads. Independent of JAX.
#pragma once
#include <cstdint>
#include <functional>

#include "kernels.h"

namespace csnn {

// Threads that share work. `schedule` passes a task to another thread and returns at once.
class Workers {
 public:
  Workers(int64_t threads, std::function<void(std::function<void()>)> schedule)
      : threads_(threads < 1 ? 1 : threads), schedule_(std::move(schedule)) {}

  // Calls body(unit, worker) for every unit, on any thread in any order; returns when all are done. The caller works
  // too, and only waits for units in progress, so it can't deadlock in a busy pool. `worker`, less than threads(),
  // belongs to one thread at a time. Exceptions from body are rethrown.
  void each(int64_t units, const std::function<void(int64_t unit, int64_t worker)>& body) const;

  int64_t threads() const { return threads_; }

 private:
  int64_t threads_;
  std::function<void(std::function<void()>)> schedule_;
};

// The kernels for this machine, or for the instruction set that the environment variable CSNN_ISA names.
// Throws std::runtime_error if the machine doesn't support it or the name is unknown.
const Kernels& kernels();

// Requests large pages for memory that hasn't been touched yet: its first touch then costs a third as much.
void use_large_pages(void* memory, int64_t bytes);

// Converts counts x [time, image, groups, channels], below 2^planes, to bits [image, time, groups, planes * channels
// rounded up / 16]: channel p * channels + c has bit p of channel c's count. Number: float or uint8_t. Throws
// std::invalid_argument for any other number.
template <typename Number>
void pack(const Number* x, int64_t time, int64_t images, int64_t groups, int64_t channels, int64_t planes,
          uint16_t* bits, const Workers&);
void constant_lif(const ConstantLif&, int64_t images, const Workers&);
// Arranges the weights [k, k, in, out] of a convolution for ConvLif; arranged_size is the number of values. Number:
// float or int16_t.
template <typename Number>
void arrange_weights(const Shape&, const Number* kernel, Number* to);
template <typename Number>
int64_t arranged_size(const Shape&);
// ConvLif::taps for the weights [k, k, in, out].
void sum_taps(const Shape&, const float* kernel, float* taps);
// Where element i of a gradient [in, out / 16, k, k, 16] belongs in [k, k, in, out].
int64_t weight_place(const Shape&, int64_t i);
void image_current(const ImageCurrent&, int64_t images, const Workers&);
// Arranges kernel [k, k, in, out].
void conv_lif(ConvLif, const float* kernel, int64_t images, const Workers&);
// kernel [inputs, outputs]. Makes the lists of spikes.
void linear_lif(LinearLif, const float* kernel, int64_t images, const Workers&);
void lif_backward(const LifBackward&, int64_t images, const Workers&);
// bits [image, time, inputs / 16]. Makes the history.
void linear_weights(LinearWeights, const uint16_t* bits, const Workers&);
void conv_backward(const ConvBackward&, int64_t images, float* dkernel, float* dbias, const Workers&);
// dkernel [k, k, in, out].
void image_weights(const ImageWeights&, int64_t images, float* dkernel, float* dbias, const Workers&);
// product [rows, columns] = left [rows, inner] @ right, columns a multiple of 16; right is [inner, columns], or
// `transposed` [columns, inner].
void multiply(const float* left, const float* right, bool transposed, int64_t rows, int64_t inner, int64_t columns,
              float* product, const Workers&);
// sums [columns] of x [rows, columns], in double precision and a fixed order.
void add_rows(const float* x, int64_t rows, int64_t columns, float* sums, const Workers&);
void count_spikes(const uint16_t* bits, int64_t images, int64_t words, float* counts, const Workers&);
void pool_spikes(const SpikePool&, int64_t images, const Workers&);
void pool_backward(const SpikePool&, int64_t images, const Workers&);

}  // namespace csnn
