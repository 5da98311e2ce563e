// What the handlers share: checks of the operands' types and shapes, whose failures are exceptions, and the parts of
// the kernels' arguments that several of them take.
#pragma once
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "ops.h"
#include "xla/ffi/api/ffi.h"

namespace csnn::handlers {

namespace ffi = xla::ffi;
using F32 = ffi::Buffer<ffi::F32>;
using U16 = ffi::Buffer<ffi::U16>;
using OutF32 = ffi::Result<F32>;
using OutU16 = ffi::Result<U16>;

using Dims = std::initializer_list<int64_t>;

template <typename Dimensions>
std::string show(const Dimensions& dims) {
  std::string text = "[";
  for (int64_t d : dims) text += (text.size() > 1 ? ", " : "") + std::to_string(d);
  return text + "]";
}

inline void expect_shape(const char* name, ffi::Span<const int64_t> dims, Dims wanted) {
  bool same = dims.size() == wanted.size();
  for (size_t i = 0; same && i < wanted.size(); i++) same = dims[i] == wanted.begin()[i];
  if (!same) throw std::invalid_argument(std::string(name) + " is " + show(dims) + ", expected " + show(wanted));
}

inline void expect(bool ok, const std::string& message) {
  if (!ok) throw std::invalid_argument(message);
}

inline void expect_rank(const char* name, ffi::Span<const int64_t> dims, size_t rank) {
  if (dims.size() != rank)
    throw std::invalid_argument(std::string(name) + " is " + show(dims) + ", expected " + std::to_string(rank) +
                                " axes");
}

inline Neuron neuron(const F32& beta, const F32& threshold, int64_t reset) {
  expect_shape("beta", beta.dimensions(), {});
  expect_shape("threshold", threshold.dimensions(), {});
  expect(0 <= reset && reset <= 2, "reset: expected 0, 1 or 2");
  return {
      .beta = beta.typed_data()[0],
      .threshold = threshold.typed_data()[0],
      .reset = static_cast<Reset>(reset),
  };
}

inline Shape conv_shape(ffi::Span<const int64_t> size, ffi::Span<const int64_t> kernel, int64_t channels, int64_t max) {
  expect(size.size() == 2, "size: expected height and width");
  const Shape s{
      .height = size[0],
      .width = size[1],
      .in = kernel[2],
      .out = kernel[3],
      .channels = channels,
      .kernel = kernel[0],
      .max = max != 0,
  };
  expect(s.height >= 2 && s.width >= 2, "size: expected at least 2 x 2 pixels");
  expect(kernel[0] == kernel[1] && KernelSizes::has(s.kernel),
         "kernel: expected square, of one of the sizes " + show(KernelSizes::values));
  expect(s.in > 0 && s.in % lanes == 0 && s.out > 0 && s.out % lanes == 0,
         "kernel: expected channels in multiples of 16");
  expect(s.kernel * s.kernel * s.in <= most_inputs,
         "kernel: expected at most " + std::to_string(most_inputs) + " inputs to an output");
  expect(0 < channels && channels <= s.out, "channels: expected at most those of the kernel");
  return s;
}

inline Workers workers(ffi::ThreadPool pool) {
  return {pool.num_threads(), [pool](std::function<void()> task) mutable { pool.Schedule(std::move(task)); }};
}

// Runs the handler's body; what it throws becomes the error that JAX raises.
template <typename Body>
ffi::Error guarded(Body&& body) {
  try {
    body();
    return ffi::Error::Success();
  } catch (const std::invalid_argument& error) {
    return ffi::Error::InvalidArgument(error.what());
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
}

// An optional result: where it is not wanted, its shape is [0].
inline float* wanted(const char* name, OutF32& result, Dims dims) {
  if (result->dimensions().size() == 1 && result->dimensions()[0] == 0) return nullptr;
  expect_shape(name, result->dimensions(), dims);
  use_large_pages(result->typed_data(), result->size_bytes());
  return result->typed_data();
}

inline bool absent(const F32& operand) { return operand.dimensions().size() == 1 && operand.dimensions()[0] == 0; }

// Where `dspikes` is given as a product its shape is [0].
inline LifBackward lif_arguments(const F32& dspikes, const F32& membranes, const F32& given, const F32& beta,
                                 const F32& threshold, int64_t reset, int64_t surrogate, float slope, OutF32& dbeta,
                                 OutF32& dthreshold) {
  expect_rank("membranes", membranes.dimensions(), 3);
  const auto d = membranes.dimensions();
  expect(d[1] > 0 && d[2] % lanes == 0, "membranes: expected [image, time, a multiple of 16]");
  if (!absent(dspikes)) expect_shape("dspikes", dspikes.dimensions(), {d[0], d[1], d[2]});
  expect(0 <= surrogate && surrogate <= static_cast<int64_t>(Surrogate::given), "surrogate: unknown number");
  const auto kind = static_cast<Surrogate>(surrogate);
  const bool named = kind != Surrogate::given;
  if (named) expect_shape("given", given.dimensions(), {0});
  else expect_shape("given", given.dimensions(), {d[0], d[1], d[2]});
  expect_shape("dbeta", dbeta->dimensions(), {d[0]});
  expect_shape("dthreshold", dthreshold->dimensions(), {d[0]});
  return {
      .time = d[1],
      .count = d[2],
      .neuron = neuron(beta, threshold, reset),
      .surrogate = kind,
      .slope = slope,
      .dspikes = absent(dspikes) ? nullptr : dspikes.typed_data(),
      .membranes = membranes.typed_data(),
      .given = named ? membranes.typed_data() : given.typed_data(),
      .dbeta = dbeta->typed_data(),
      .dthreshold = dthreshold->typed_data(),
  };
}

inline Product product_arguments(const F32& left, const F32& right, const Shape& s, int64_t images, int64_t time) {
  expect_rank("left", left.dimensions(), 3);
  const int64_t inner = left.dimensions()[2];
  expect(inner > 0 && inner % lanes == 0, "left: expected [image, time, a multiple of 16]");
  expect_shape("left", left.dimensions(), {images, time, inner});
  expect_shape("right", right.dimensions(), {s.rows() * s.columns(), inner, s.out});
  return {.inner = inner, .left = left.typed_data(), .right = right.typed_data()};
}

inline void expect_constant_source(const Shape& s, const LifBackward& lif) {
  expect(lif.neuron.reset != Reset::zero, "reset zero: a constant source has no forward sum");
  expect(lif.surrogate != Surrogate::given, "surrogate: a constant source needs a named one");
  expect(s.in <= most_constant_channels,
         "kernel: a constant source has at most " + std::to_string(most_constant_channels) + " channels");
}

}  // namespace csnn::handlers
