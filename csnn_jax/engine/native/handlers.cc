// The operations as XLA FFI handlers: they check types and shapes, so that a mistake is a Python exception and never a
// crash, and call ops.h with threads from XLA's own pool. Names and arguments are those of event_ops.py.
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "ops.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
using csnn::lanes;
using F32 = ffi::Buffer<ffi::F32>;
using U16 = ffi::Buffer<ffi::U16>;
using OutF32 = ffi::Result<F32>;
using OutU16 = ffi::Result<U16>;

namespace {

using Dims = std::initializer_list<int64_t>;

template <typename Shape>
std::string show(const Shape& dims) {
  std::string text = "[";
  for (int64_t d : dims) text += (text.size() > 1 ? ", " : "") + std::to_string(d);
  return text + "]";
}

void expect_shape(const char* name, ffi::Span<const int64_t> dims, Dims wanted) {
  bool same = dims.size() == wanted.size();
  for (size_t i = 0; same && i < wanted.size(); i++) same = dims[i] == wanted.begin()[i];
  if (!same) throw std::invalid_argument(std::string(name) + " is " + show(dims) + ", expected " + show(wanted));
}

void expect(bool ok, const char* message) {
  if (!ok) throw std::invalid_argument(message);
}

void expect_rank(const char* name, ffi::Span<const int64_t> dims, size_t rank) {
  if (dims.size() != rank)
    throw std::invalid_argument(std::string(name) + " is " + show(dims) + ", expected " + std::to_string(rank) +
                                " axes");
}

csnn::Neuron neuron(const F32& beta, const F32& threshold, int64_t reset) {
  expect_shape("beta", beta.dimensions(), {});
  expect_shape("threshold", threshold.dimensions(), {});
  expect(0 <= reset && reset <= 2, "reset: expected 0, 1 or 2");
  return {beta.typed_data()[0], threshold.typed_data()[0], static_cast<csnn::Reset>(reset)};
}

csnn::Shape conv_shape(ffi::Span<const int64_t> size, ffi::Span<const int64_t> kernel, int64_t channels, int64_t max) {
  csnn::Shape s{size[0], size[1], kernel[2], kernel[3], channels, kernel[0], max != 0};
  expect(s.height >= 2 && s.width >= 2, "size: expected at least 2 x 2 pixels");
  expect(kernel[0] == kernel[1] && (s.kernel == 1 || s.kernel == 3 || s.kernel == 5 || s.kernel == 7),
         "kernel: expected 1, 3, 5 or 7, square");
  expect(s.in > 0 && s.in % lanes == 0 && s.out > 0 && s.out % lanes == 0, "kernel: expected channels in multiples of 16");
  expect(s.kernel * s.kernel * s.in < 1 << 16, "kernel: expected at most 65535 inputs to an output");
  expect(0 < channels && channels <= s.out, "channels: expected at most those of the kernel");
  return s;
}

csnn::Workers workers(ffi::ThreadPool pool) {
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
float* wanted(const char* name, OutF32& result, Dims dims) {
  if (result->dimensions().size() == 1 && result->dimensions()[0] == 0) return nullptr;
  expect_shape(name, result->dimensions(), dims);
  csnn::use_large_pages(result->typed_data(), result->size_bytes());
  return result->typed_data();
}

// Where `dspikes` is given as a product its shape is [0].
csnn::LifBackward lif_arguments(const F32& dspikes, const F32& membranes, const F32& given, const F32& beta,
                                const F32& threshold, int64_t reset, int64_t surrogate, float slope, OutF32& dbeta,
                                OutF32& dthreshold) {
  expect_rank("membranes", membranes.dimensions(), 3);
  const auto d = membranes.dimensions();
  expect(d[1] > 0 && d[2] % lanes == 0, "membranes: expected [image, time, a multiple of 16]");
  const bool product = dspikes.dimensions().size() == 1 && dspikes.dimensions()[0] == 0;
  if (!product) expect_shape("dspikes", dspikes.dimensions(), {d[0], d[1], d[2]});
  expect(0 <= surrogate && surrogate <= static_cast<int64_t>(csnn::Surrogate::given), "surrogate: unknown number");
  const auto kind = static_cast<csnn::Surrogate>(surrogate);
  if (kind == csnn::Surrogate::given) expect_shape("given", given.dimensions(), {d[0], d[1], d[2]});
  else expect_shape("given", given.dimensions(), {0});
  expect_shape("dbeta", dbeta->dimensions(), {d[0]});
  expect_shape("dthreshold", dthreshold->dimensions(), {d[0]});
  const float* kept = membranes.typed_data();
  return {d[1], d[2], neuron(beta, threshold, reset), kind, slope, product ? nullptr : dspikes.typed_data(), kept,
          kind == csnn::Surrogate::given ? given.typed_data() : kept, nullptr, dbeta->typed_data(),
          dthreshold->typed_data()};
}

ffi::Error pack(ffi::ThreadPool pool, F32 x, OutU16 bits) {
  return guarded([&] {
    expect_rank("x", x.dimensions(), 4);
    const auto d = x.dimensions();
    expect_shape("bits", bits->dimensions(), {d[0], d[1], d[2] * ((d[3] + lanes - 1) / lanes)});
    csnn::pack(x.typed_data(), d[0], d[1] * d[2], d[3], bits->typed_data(), workers(pool));
  });
}

ffi::Error constant_lif(ffi::ThreadPool pool, F32 current, F32 beta, F32 threshold, OutU16 bits, OutF32 membranes,
                        OutF32 last, int64_t reset, int64_t channels, int64_t stride) {
  return guarded([&] {
    expect_rank("current", current.dimensions(), 2);
    expect_rank("bits", bits->dimensions(), 3);
    const int64_t images = current.dimensions()[0], count = current.dimensions()[1], time = bits->dimensions()[1];
    expect(stride > 0 && stride % lanes == 0 && count % stride == 0 && 0 < channels && channels <= stride,
           "current: expected groups of `stride`, a multiple of 16, that hold `channels`");
    expect(time > 0, "time: expected at least 1 step");
    expect_shape("bits", bits->dimensions(), {images, time, count / lanes});
    expect_shape("last", last->dimensions(), {images, count});
    csnn::constant_lif({time, count, channels, stride, neuron(beta, threshold, reset), current.typed_data(),
                        bits->typed_data(), wanted("membranes", membranes, {images, time, count}), last->typed_data()},
                       images, workers(pool));
  });
}

ffi::Error conv_lif(ffi::ThreadPool pool, U16 bits_in, F32 kernel, F32 bias, F32 beta, F32 threshold, OutU16 bits,
                    OutF32 membranes, OutU16 winners, OutF32 last, ffi::Span<const int64_t> size, int64_t reset,
                    int64_t channels, int64_t max) {
  return guarded([&] {
    expect_rank("bits_in", bits_in.dimensions(), 3);
    expect_rank("kernel", kernel.dimensions(), 4);
    expect(size.size() == 2, "size: expected height and width");
    const csnn::Shape s = conv_shape(size, kernel.dimensions(), channels, max);
    const int64_t images = bits_in.dimensions()[0], time = bits_in.dimensions()[1];
    expect(time > 0, "time: expected at least 1 step");
    expect_shape("bits_in", bits_in.dimensions(), {images, time, s.inputs() / lanes});
    expect_shape("bias", bias.dimensions(), {s.out});
    expect_shape("bits", bits->dimensions(), {images, time, s.neurons() / lanes});
    expect_shape("last", last->dimensions(), {images, s.neurons()});
    float* kept = wanted("membranes", membranes, {images, time, s.neurons()});
    const bool win = kept && s.max;
    expect_shape("winners", winners->dimensions(), {win ? images : 0, time, 2, s.neurons() / lanes});
    csnn::conv_lif({s, time, neuron(beta, threshold, reset), bits_in.typed_data(), nullptr, bias.typed_data(),
                    bits->typed_data(), kept, win ? winners->typed_data() : nullptr, last->typed_data()},
                   kernel.typed_data(), images, workers(pool));
  });
}

ffi::Error linear_lif(ffi::ThreadPool pool, U16 bits_in, F32 kernel, F32 bias, F32 beta, F32 threshold, OutU16 bits,
                      OutF32 membranes, OutF32 last, int64_t reset, int64_t channels) {
  return guarded([&] {
    expect_rank("bits_in", bits_in.dimensions(), 3);
    expect_rank("kernel", kernel.dimensions(), 2);
    const int64_t images = bits_in.dimensions()[0], time = bits_in.dimensions()[1];
    const int64_t inputs = kernel.dimensions()[0], outputs = kernel.dimensions()[1];
    expect(time > 0, "time: expected at least 1 step");
    expect(inputs % lanes == 0 && outputs % lanes == 0, "kernel: expected multiples of 16");
    expect(0 < channels && channels <= outputs, "channels: expected at most those of the kernel");
    expect_shape("bits_in", bits_in.dimensions(), {images, time, inputs / lanes});
    expect_shape("bias", bias.dimensions(), {outputs});
    expect_shape("bits", bits->dimensions(), {images, time, outputs / lanes});
    expect_shape("last", last->dimensions(), {images, outputs});
    csnn::linear_lif({time, inputs, outputs, channels, neuron(beta, threshold, reset), bits_in.typed_data(),
                      nullptr, nullptr, bias.typed_data(), bits->typed_data(), wanted("membranes", membranes, {images, time, outputs}),
                      last->typed_data()},
                     kernel.typed_data(), images, workers(pool));
  });
}

ffi::Error lif_backward(ffi::ThreadPool pool, F32 dspikes, F32 membranes, F32 given, F32 beta, F32 threshold,
                        OutF32 dcurrent, OutF32 dbeta, OutF32 dthreshold, int64_t reset, int64_t surrogate, float slope) {
  return guarded([&] {
    csnn::LifBackward a =
        lif_arguments(dspikes, membranes, given, beta, threshold, reset, surrogate, slope, dbeta, dthreshold);
    const auto d = membranes.dimensions();
    expect_shape("dspikes", dspikes.dimensions(), {d[0], d[1], d[2]});
    expect_shape("dcurrent", dcurrent->dimensions(), {d[0], d[1], d[2]});
    a.dcurrent = dcurrent->typed_data();
    csnn::lif_backward(a, d[0], workers(pool));
  });
}

ffi::Error linear_weights(ffi::ThreadPool pool, U16 bits, F32 dcurrent, OutF32 dkernel) {
  return guarded([&] {
    expect_rank("dcurrent", dcurrent.dimensions(), 3);
    expect_rank("dkernel", dkernel->dimensions(), 2);
    const auto d = dcurrent.dimensions();
    const int64_t inputs = dkernel->dimensions()[0], outputs = dkernel->dimensions()[1];
    expect(inputs % lanes == 0 && outputs % lanes == 0, "dkernel: expected multiples of 16");
    expect_shape("dcurrent", d, {d[0], d[1], outputs});
    expect_shape("bits", bits.dimensions(), {d[0], d[1], inputs / lanes});
    csnn::linear_weights({d[0], d[1], inputs, outputs, nullptr, nullptr, dcurrent.typed_data(), dkernel->typed_data()},
                         bits.typed_data(), workers(pool));
  });
}

ffi::Error conv_backward(ffi::ThreadPool pool, F32 dspikes, F32 left, F32 right, F32 membranes, F32 given, U16 winners,
                         U16 bits_in, F32 kernel, F32 grouped, F32 beta, F32 threshold, F32 current_in, F32 beta_in,
                         F32 threshold_in, OutF32 dkernel, OutF32 dbias, OutF32 dbeta, OutF32 dthreshold, OutF32 din,
                         ffi::Span<const int64_t> size, int64_t reset, int64_t surrogate, float slope, int64_t max,
                         int64_t source) {
  return guarded([&] {
    expect_rank("bits_in", bits_in.dimensions(), 3);
    const csnn::LifBackward lif =
        lif_arguments(dspikes, membranes, given, beta, threshold, reset, surrogate, slope, dbeta, dthreshold);
    expect_rank("dkernel", dkernel->dimensions(), 4);
    expect(size.size() == 2, "size: expected height and width");
    const auto k = dkernel->dimensions();
    const csnn::Shape s = conv_shape(size, k, k[3], max);
    const int64_t images = membranes.dimensions()[0], time = lif.time;
    expect_shape("membranes", membranes.dimensions(), {images, time, s.neurons()});
    expect_shape("winners", winners.dimensions(), {s.max ? images : 0, time, 2, s.neurons() / lanes});
    expect_shape("bits_in", bits_in.dimensions(), {images, time, s.inputs() / lanes});
    expect_shape("kernel", kernel.dimensions(), {s.kernel, s.kernel, s.in, s.out});
    expect_shape("grouped", grouped.dimensions(), {s.in / lanes, s.out, s.kernel * s.kernel, lanes});
    expect_shape("dbias", dbias->dimensions(), {s.out});
    expect(0 <= source && source <= 2, "source: expected 0, 1 or 2");
    csnn::ConvBackward a{};
    a.shape = s;
    a.lif = lif;
    if (!lif.dspikes) {
      expect_rank("left", left.dimensions(), 3);
      const int64_t inner = left.dimensions()[2];
      expect(inner > 0 && inner % lanes == 0, "left: expected [image, time, a multiple of 16]");
      expect_shape("left", left.dimensions(), {images, time, inner});
      expect_shape("right", right.dimensions(), {s.rows() * s.columns(), inner, s.out});
      a.product = {inner, left.typed_data(), right.typed_data()};
    }
    a.bits_in = bits_in.typed_data();
    a.winners = winners.typed_data();
    a.kernel = kernel.typed_data();
    a.grouped_kernel = grouped.typed_data();
    a.source = static_cast<csnn::Source>(source);
    if (a.source == csnn::Source::data) {
      expect_shape("din", din->dimensions(), {0});
    } else if (a.source == csnn::Source::spikes) {
      expect_shape("din", din->dimensions(), {images, time, s.inputs()});
      a.dspikes_in = din->typed_data();
    } else {
      expect(reset != static_cast<int64_t>(csnn::Reset::zero), "reset zero: a constant source has no forward sum");
      expect(lif.surrogate != csnn::Surrogate::given, "surrogate: a constant source needs a named one");
      expect(s.in <= 1024, "kernel: a constant source has at most 1024 channels");
      expect_shape("current_in", current_in.dimensions(), {images, s.inputs()});
      expect_shape("din", din->dimensions(), {images, s.inputs()});
      a.neuron_in = neuron(beta_in, threshold_in, reset);
      a.current_in = current_in.typed_data();
      a.dcurrent_in = din->typed_data();
    }
    csnn::conv_backward(a, images, dkernel->typed_data(), dbias->typed_data(), workers(pool));
  });
}

ffi::Error count_spikes(ffi::ThreadPool pool, U16 bits, OutF32 counts) {
  return guarded([&] {
    expect_rank("bits", bits.dimensions(), 3);
    const auto d = bits.dimensions();
    expect_shape("counts", counts->dimensions(), {d[0]});
    csnn::count_spikes(bits.typed_data(), d[0], d[1] * d[2], counts->typed_data(), workers(pool));
  });
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" const char* csnn_sources() { return CSNN_SOURCES; }  // SHA-256 of the sources that this was built from
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_pack, pack, ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<F32>().Ret<U16>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_constant_lif, constant_lif,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<F32>().Arg<F32>().Arg<F32>()
                                  .Ret<U16>().Ret<F32>().Ret<F32>()
                                  .Attr<int64_t>("reset").Attr<int64_t>("channels").Attr<int64_t>("stride"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_conv_lif, conv_lif,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
                                  .Arg<U16>().Arg<F32>().Arg<F32>().Arg<F32>().Arg<F32>()
                                  .Ret<U16>().Ret<F32>().Ret<U16>().Ret<F32>()
                                  .Attr<ffi::Span<const int64_t>>("size").Attr<int64_t>("reset")
                                  .Attr<int64_t>("channels").Attr<int64_t>("max"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_linear_lif, linear_lif,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
                                  .Arg<U16>().Arg<F32>().Arg<F32>().Arg<F32>().Arg<F32>()
                                  .Ret<U16>().Ret<F32>().Ret<F32>().Attr<int64_t>("reset").Attr<int64_t>("channels"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_lif_backward, lif_backward,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
                                  .Arg<F32>().Arg<F32>().Arg<F32>().Arg<F32>().Arg<F32>()
                                  .Ret<F32>().Ret<F32>().Ret<F32>()
                                  .Attr<int64_t>("reset").Attr<int64_t>("surrogate").Attr<float>("slope"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_linear_weights, linear_weights,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<U16>().Arg<F32>().Ret<F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_conv_backward, conv_backward,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
                                  .Arg<F32>().Arg<F32>().Arg<F32>().Arg<F32>().Arg<F32>().Arg<U16>().Arg<U16>().Arg<F32>().Arg<F32>()
                                  .Arg<F32>().Arg<F32>().Arg<F32>().Arg<F32>().Arg<F32>()
                                  .Ret<F32>().Ret<F32>().Ret<F32>().Ret<F32>().Ret<F32>()
                                  .Attr<ffi::Span<const int64_t>>("size").Attr<int64_t>("reset")
                                  .Attr<int64_t>("surrogate").Attr<float>("slope").Attr<int64_t>("max")
                                  .Attr<int64_t>("source"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_count_spikes, count_spikes,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<U16>().Ret<F32>());
#pragma GCC visibility pop
