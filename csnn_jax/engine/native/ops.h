// Whole operations: the kernels run over all images on the threads given. Knows nothing of JAX.
#pragma once
#include <cstdint>
#include <functional>

#include "kernels.h"

namespace csnn {

// Threads to share work among. `schedule` hands a task to another thread and returns at once.
class Workers {
 public:
  Workers(int64_t threads, std::function<void(std::function<void()>)> schedule)
      : threads_(threads < 1 ? 1 : threads), schedule_(std::move(schedule)) {}

  // Calls body(unit, worker) for every unit, on any thread in any order; returns when all are done. The caller works
  // too, and waits for units that are being worked on only, so it cannot deadlock in a busy pool. `worker`, less than
  // threads(), is held by one thread at a time. An exception of the body is rethrown here.
  void each(int64_t units, const std::function<void(int64_t unit, int64_t worker)>& body) const;

  int64_t threads() const { return threads_; }

 private:
  int64_t threads_;
  std::function<void(std::function<void()>)> schedule_;
};

// The kernels for this machine, or for the instruction set that the environment variable CSNN_ISA names.
// Throws std::runtime_error where the machine lacks it or there is none of that name.
const Kernels& kernels();

// Asks for large pages for memory that is not touched yet: its first touch then costs a third.
void use_large_pages(void* memory, int64_t bytes);

// x [time, image, groups, channels] of counts below 2^planes to bits [image, time, groups, planes * channels rounded up
// / 16]: channel p * channels + c has bit p of the count of channel c. Number: float or uint8_t. Throws
// std::invalid_argument at any other number.
template <typename Number>
void pack(const Number* x, int64_t time, int64_t images, int64_t groups, int64_t channels, int64_t planes,
          uint16_t* bits, const Workers&);
void constant_lif(const ConstantLif&, int64_t images, const Workers&);
// The weights [k, k, in, out] of a convolution as ConvLif has them, and how many numbers these are. Number: float or
// int16_t.
template <typename Number>
void arrange_weights(const Shape&, const Number* kernel, Number* to);
template <typename Number>
int64_t arranged_size(const Shape&);
// ConvLif::taps of the weights [k, k, in, out].
void sum_taps(const Shape&, const float* kernel, float* taps);
// Where number i of a gradient [in, out / 16, k, k, 16] belongs in [k, k, in, out].
int64_t weight_place(const Shape&, int64_t i);
void image_current(const ImageCurrent&, int64_t images, const Workers&);
// kernel [k, k, in, out]; it is arranged here.
void conv_lif(ConvLif, const float* kernel, int64_t images, const Workers&);
// kernel [inputs, outputs]; the lists of spikes are made here.
void linear_lif(LinearLif, const float* kernel, int64_t images, const Workers&);
void lif_backward(const LifBackward&, int64_t images, const Workers&);
// bits [image, time, inputs / 16]; the history is made here.
void linear_weights(LinearWeights, const uint16_t* bits, const Workers&);
void conv_backward(const ConvBackward&, int64_t images, float* dkernel, float* dbias, const Workers&);
// dkernel [k, k, in, out].
void image_weights(const ImageWeights&, int64_t images, float* dkernel, float* dbias, const Workers&);
// product [rows, columns] = left [rows, inner] @ right [inner, columns], columns a multiple of 16.
void multiply(const float* left, const float* right, int64_t rows, int64_t inner, int64_t columns, float* product,
              const Workers&);
// sums [columns] of x [rows, columns], in double precision and a fixed order.
void add_rows(const float* x, int64_t rows, int64_t columns, float* sums, const Workers&);
void count_spikes(const uint16_t* bits, int64_t images, int64_t words, float* counts, const Workers&);

}  // namespace csnn
