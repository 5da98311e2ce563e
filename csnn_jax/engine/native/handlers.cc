// The operations as XLA FFI handlers: they check types and shapes, so that a mistake is a Python exception and never a
// crash, and call ops.h with threads from XLA's own pool.
//
// Each binding stands under its handler. Its operands, results and attributes, in this order, are those of
// ../kernels.py: who changes one of the two changes the other.
#include <iterator>

#include "arguments.h"

namespace csnn::handlers {

#pragma GCC visibility push(default)

extern "C" const char* csnn_sources() { return CSNN_SOURCES; }  // SHA-256 of the sources that this was built from

// What the kernels cover; the fields are those of Limits in ../library.py.
struct Limits {
  int64_t most_inputs = csnn::most_inputs, most_constant_channels = csnn::most_constant_channels;
  int64_t kernel_sizes = std::size(KernelSizes::values);
  const int64_t* kernel_size = KernelSizes::values;
};

extern "C" const Limits* csnn_limits() {
  static const Limits limits;
  return &limits;
}

// Why the instruction set that CSNN_ISA names can't be had, in one line; empty where it can.
extern "C" const char* csnn_isa_problem() {
  static const std::string problem = [] {
    try {
      kernels();
      return std::string();
    } catch (const std::runtime_error& error) {
      return std::string(error.what());
    }
  }();
  return problem.c_str();
}

// --- spikes

static ffi::Error pack(ffi::ThreadPool pool, F32 x, OutU16 bits) {
  return guarded([&] {
    expect_rank("x", x.dimensions(), 4);
    const auto d = x.dimensions();
    expect_shape("bits", bits->dimensions(), {d[0], d[1], d[2] * ((d[3] + lanes - 1) / lanes)});
    csnn::pack(x.typed_data(), d[0], d[1] * d[2], d[3], bits->typed_data(), workers(pool));
  });
}
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_pack, pack, ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<F32>().Ret<U16>());

static ffi::Error count_spikes(ffi::ThreadPool pool, U16 bits, OutF32 counts) {
  return guarded([&] {
    expect_rank("bits", bits.dimensions(), 3);
    const auto d = bits.dimensions();
    expect_shape("counts", counts->dimensions(), {d[0]});
    csnn::count_spikes(bits.typed_data(), d[0], d[1] * d[2], counts->typed_data(), workers(pool));
  });
}
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_count_spikes, count_spikes,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<U16>().Ret<F32>());

// --- layers, forward

static ffi::Error constant_lif(ffi::ThreadPool pool, F32 current, F32 beta, F32 threshold, OutU16 bits,
                               OutF32 membranes, OutF32 last, int64_t reset, int64_t channels, int64_t stride) {
  return guarded([&] {
    expect_rank("current", current.dimensions(), 2);
    expect_rank("bits", bits->dimensions(), 3);
    const int64_t images = current.dimensions()[0], count = current.dimensions()[1], time = bits->dimensions()[1];
    expect(stride > 0 && stride % lanes == 0 && count % stride == 0 && 0 < channels && channels <= stride,
           "current: expected groups of `stride`, a multiple of 16, that hold `channels`");
    expect(time > 0, "time: expected at least 1 step");
    expect_shape("bits", bits->dimensions(), {images, time, count / lanes});
    expect_shape("last", last->dimensions(), {images, count});
    const ConstantLif a{
        .time = time,
        .count = count,
        .channels = channels,
        .stride = stride,
        .neuron = neuron(beta, threshold, reset),
        .current = current.typed_data(),
        .bits = bits->typed_data(),
        .membranes = wanted("membranes", membranes, {images, time, count}),
        .last = last->typed_data(),
    };
    csnn::constant_lif(a, images, workers(pool));
  });
}
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_constant_lif, constant_lif,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F32>()  // current
                                  .Arg<F32>()  // beta
                                  .Arg<F32>()  // threshold
                                  .Ret<U16>()  // bits
                                  .Ret<F32>()  // membranes
                                  .Ret<F32>()  // last
                                  .Attr<int64_t>("reset")
                                  .Attr<int64_t>("channels")
                                  .Attr<int64_t>("stride"));

static ffi::Error linear_lif(ffi::ThreadPool pool, U16 bits_in, F32 kernel, F32 bias, F32 beta, F32 threshold,
                             OutU16 bits, OutF32 membranes, OutF32 last, int64_t reset, int64_t channels) {
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
    const LinearLif a{
        .time = time,
        .inputs = inputs,
        .outputs = outputs,
        .channels = channels,
        .neuron = neuron(beta, threshold, reset),
        .bits_in = bits_in.typed_data(),
        .bias = bias.typed_data(),
        .bits = bits->typed_data(),
        .membranes = wanted("membranes", membranes, {images, time, outputs}),
        .last = last->typed_data(),
    };
    csnn::linear_lif(a, kernel.typed_data(), images, workers(pool));
  });
}
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_linear_lif, linear_lif,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<U16>()  // bits_in
                                  .Arg<F32>()  // kernel
                                  .Arg<F32>()  // bias
                                  .Arg<F32>()  // beta
                                  .Arg<F32>()  // threshold
                                  .Ret<U16>()  // bits
                                  .Ret<F32>()  // membranes
                                  .Ret<F32>()  // last
                                  .Attr<int64_t>("reset")
                                  .Attr<int64_t>("channels"));

static ffi::Error conv_lif(ffi::ThreadPool pool, U16 bits_in, F32 kernel, F32 bias, F32 beta, F32 threshold,
                           OutU16 bits, OutF32 membranes, OutU16 winners, OutF32 last, ffi::Span<const int64_t> size,
                           int64_t reset, int64_t channels, int64_t max) {
  return guarded([&] {
    expect_rank("bits_in", bits_in.dimensions(), 3);
    expect_rank("kernel", kernel.dimensions(), 4);
    const Shape s = conv_shape(size, kernel.dimensions(), channels, max);
    const int64_t images = bits_in.dimensions()[0], time = bits_in.dimensions()[1];
    expect(time > 0, "time: expected at least 1 step");
    expect_shape("bits_in", bits_in.dimensions(), {images, time, s.inputs() / lanes});
    expect_shape("bias", bias.dimensions(), {s.out});
    expect_shape("bits", bits->dimensions(), {images, time, s.neurons() / lanes});
    expect_shape("last", last->dimensions(), {images, s.neurons()});
    float* kept = wanted("membranes", membranes, {images, time, s.neurons()});
    const bool win = kept && s.max;
    expect_shape("winners", winners->dimensions(), {win ? images : 0, time, 2, s.neurons() / lanes});
    const ConvLif a{
        .shape = s,
        .time = time,
        .neuron = neuron(beta, threshold, reset),
        .bits_in = bits_in.typed_data(),
        .bias = bias.typed_data(),
        .bits = bits->typed_data(),
        .membranes = kept,
        .winners = win ? winners->typed_data() : nullptr,
        .last = last->typed_data(),
    };
    csnn::conv_lif(a, kernel.typed_data(), images, workers(pool));
  });
}
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_conv_lif, conv_lif,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<U16>()  // bits_in
                                  .Arg<F32>()  // kernel
                                  .Arg<F32>()  // bias
                                  .Arg<F32>()  // beta
                                  .Arg<F32>()  // threshold
                                  .Ret<U16>()  // bits
                                  .Ret<F32>()  // membranes
                                  .Ret<U16>()  // winners
                                  .Ret<F32>()  // last
                                  .Attr<ffi::Span<const int64_t>>("size")
                                  .Attr<int64_t>("reset")
                                  .Attr<int64_t>("channels")
                                  .Attr<int64_t>("max"));

// --- backward

static ffi::Error lif_backward(ffi::ThreadPool pool, F32 dspikes, F32 membranes, F32 given, F32 beta, F32 threshold,
                               OutF32 dcurrent, OutF32 dbeta, OutF32 dthreshold, int64_t reset, int64_t surrogate,
                               float slope) {
  return guarded([&] {
    LifBackward a =
        lif_arguments(dspikes, membranes, given, beta, threshold, reset, surrogate, slope, dbeta, dthreshold);
    const auto d = membranes.dimensions();
    expect_shape("dspikes", dspikes.dimensions(), {d[0], d[1], d[2]});
    expect_shape("dcurrent", dcurrent->dimensions(), {d[0], d[1], d[2]});
    a.dcurrent = dcurrent->typed_data();
    csnn::lif_backward(a, d[0], workers(pool));
  });
}
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_lif_backward, lif_backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F32>()  // dspikes
                                  .Arg<F32>()  // membranes
                                  .Arg<F32>()  // given
                                  .Arg<F32>()  // beta
                                  .Arg<F32>()  // threshold
                                  .Ret<F32>()  // dcurrent
                                  .Ret<F32>()  // dbeta
                                  .Ret<F32>()  // dthreshold
                                  .Attr<int64_t>("reset")
                                  .Attr<int64_t>("surrogate")
                                  .Attr<float>("slope"));

static ffi::Error linear_weights(ffi::ThreadPool pool, U16 bits, F32 dcurrent, OutF32 dkernel) {
  return guarded([&] {
    expect_rank("dcurrent", dcurrent.dimensions(), 3);
    expect_rank("dkernel", dkernel->dimensions(), 2);
    const auto d = dcurrent.dimensions();
    const int64_t inputs = dkernel->dimensions()[0], outputs = dkernel->dimensions()[1];
    expect(inputs % lanes == 0 && outputs % lanes == 0, "dkernel: expected multiples of 16");
    expect_shape("dcurrent", d, {d[0], d[1], outputs});
    expect_shape("bits", bits.dimensions(), {d[0], d[1], inputs / lanes});
    const LinearWeights a{
        .images = d[0],
        .time = d[1],
        .inputs = inputs,
        .outputs = outputs,
        .dcurrent = dcurrent.typed_data(),
        .dkernel = dkernel->typed_data(),
    };
    csnn::linear_weights(a, bits.typed_data(), workers(pool));
  });
}
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_linear_weights, linear_weights,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<U16>().Arg<F32>().Ret<F32>());

static ffi::Error conv_backward(ffi::ThreadPool pool, F32 dspikes, F32 left, F32 right, F32 membranes, F32 given,
                                U16 winners, U16 bits_in, F32 kernel, F32 grouped, F32 beta, F32 threshold,
                                F32 current_in, F32 beta_in, F32 threshold_in, OutF32 dkernel, OutF32 dbias,
                                OutF32 dbeta, OutF32 dthreshold, OutF32 din, ffi::Span<const int64_t> size,
                                int64_t reset, int64_t surrogate, float slope, int64_t max, int64_t source) {
  return guarded([&] {
    expect_rank("bits_in", bits_in.dimensions(), 3);
    const LifBackward lif =
        lif_arguments(dspikes, membranes, given, beta, threshold, reset, surrogate, slope, dbeta, dthreshold);
    expect_rank("dkernel", dkernel->dimensions(), 4);
    const Shape s = conv_shape(size, dkernel->dimensions(), dkernel->dimensions()[3], max);
    const int64_t images = membranes.dimensions()[0], time = lif.time;
    expect_shape("membranes", membranes.dimensions(), {images, time, s.neurons()});
    expect_shape("winners", winners.dimensions(), {s.max ? images : 0, time, 2, s.neurons() / lanes});
    expect_shape("bits_in", bits_in.dimensions(), {images, time, s.inputs() / lanes});
    expect_shape("kernel", kernel.dimensions(), {s.kernel, s.kernel, s.in, s.out});
    expect_shape("grouped", grouped.dimensions(), {s.in / lanes, s.out, s.kernel * s.kernel, lanes});
    expect_shape("dbias", dbias->dimensions(), {s.out});
    expect(0 <= source && source <= 2, "source: expected 0, 1 or 2");
    ConvBackward a{
        .shape = s,
        .lif = lif,
        .product = lif.dspikes ? Product{} : product_arguments(left, right, s, images, time),
        .bits_in = bits_in.typed_data(),
        .winners = winners.typed_data(),
        .kernel = kernel.typed_data(),
        .grouped_kernel = grouped.typed_data(),
        .source = static_cast<Source>(source),
    };
    if (a.source == Source::data) {
      expect_shape("din", din->dimensions(), {0});
    } else if (a.source == Source::spikes) {
      expect_shape("din", din->dimensions(), {images, time, s.inputs()});
      a.dspikes_in = din->typed_data();
    } else {
      expect_constant_source(s, lif);
      expect_shape("current_in", current_in.dimensions(), {images, s.inputs()});
      expect_shape("din", din->dimensions(), {images, s.inputs()});
      a.neuron_in = neuron(beta_in, threshold_in, reset);
      a.current_in = current_in.typed_data();
      a.dcurrent_in = din->typed_data();
    }
    csnn::conv_backward(a, images, dkernel->typed_data(), dbias->typed_data(), workers(pool));
  });
}
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_conv_backward, conv_backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F32>()  // dspikes
                                  .Arg<F32>()  // left
                                  .Arg<F32>()  // right
                                  .Arg<F32>()  // membranes
                                  .Arg<F32>()  // given
                                  .Arg<U16>()  // winners
                                  .Arg<U16>()  // bits_in
                                  .Arg<F32>()  // kernel
                                  .Arg<F32>()  // grouped
                                  .Arg<F32>()  // beta
                                  .Arg<F32>()  // threshold
                                  .Arg<F32>()  // current_in
                                  .Arg<F32>()  // beta_in
                                  .Arg<F32>()  // threshold_in
                                  .Ret<F32>()  // dkernel
                                  .Ret<F32>()  // dbias
                                  .Ret<F32>()  // dbeta
                                  .Ret<F32>()  // dthreshold
                                  .Ret<F32>()  // din
                                  .Attr<ffi::Span<const int64_t>>("size")
                                  .Attr<int64_t>("reset")
                                  .Attr<int64_t>("surrogate")
                                  .Attr<float>("slope")
                                  .Attr<int64_t>("max")
                                  .Attr<int64_t>("source"));

#pragma GCC visibility pop

}  // namespace csnn::handlers
