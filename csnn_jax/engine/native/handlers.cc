// The operations as XLA FFI handlers. They check types and shapes, so mistakes are Python exceptions and never crashes,
// and call ops.h with threads from XLA's own pool.
//
// XLA passes operands and results by position only, so ../library.py passes their names as well. Each name appears here
// once, where it's used.
#include "arguments.h"

namespace csnn::handlers {

// --- spikes

static void pack(Call& call, const Workers& workers) {
  const auto d = call.dimensions("x", 4);
  const auto planes = call.attribute<int64_t>("planes");
  expect(0 < planes && planes <= count_planes, "planes: expected at least 1, at most those of a count");
  auto* bits = call.result<uint16_t>("bits", {d[1], d[0], d[2] * ((planes * d[3] + lanes - 1) / lanes)});
  if (call.holds<float>("x")) csnn::pack(call.operand<float>("x"), d[0], d[1], d[2], d[3], planes, bits, workers);
  else csnn::pack(call.operand<uint8_t>("x"), d[0], d[1], d[2], d[3], planes, bits, workers);
}

static void count_spikes(Call& call, const Workers& workers) {
  const auto d = call.dimensions("bits", 3);
  auto* counts = call.result<float>("counts", {d[0]});
  csnn::count_spikes(call.operand<uint16_t>("bits"), d[0], d[1] * d[2], counts, workers);
}

// --- layers, forward

static void image_current(Call& call, const Workers& workers) {
  const Shape s = conv_shape(call, call.dimensions("kernel", 4)[3], 1);
  const int64_t images = call.dimensions("image", 4)[0];
  auto* winners = call.result<uint8_t>("winners", {s.max ? images : 0, s.neurons()});
  const ImageCurrent a{
      .shape = s,
      .image = call.operand<float>("image", {images, s.height, s.width, s.in}),
      .kernel = call.operand<float>("kernel"),
      .bias = call.operand<float>("bias", {s.out}),
      .current = call.result<float>("current", {images, s.neurons()}),
      .winners = s.max ? winners : nullptr,
  };
  csnn::image_current(a, images, workers);
}

static void constant_lif(Call& call, const Workers& workers) {
  const auto d = call.dimensions("current", 2);
  const int64_t images = d[0], count = d[1], time = call.attribute<int64_t>("time");
  const auto channels = call.attribute<int64_t>("channels"), stride = call.attribute<int64_t>("stride");
  expect(stride > 0 && stride % lanes == 0 && count % stride == 0 && 0 < channels && channels <= stride,
         "current: expected groups of `stride`, a multiple of 16, that hold `channels`");
  expect(time > 0, "time: expected at least 1 step");
  const ConstantLif a{
      .time = time,
      .count = count,
      .channels = channels,
      .stride = stride,
      .neuron = neuron(call),
      .current = call.operand<float>("current"),
      .bits = call.result<uint16_t>("bits", {images, time, count / lanes}),
      .membranes = call.result_if_wanted<float>("membranes", {images, time, count}),
      .last = call.result<float>("last", {images, count}),
  };
  csnn::constant_lif(a, images, workers);
}

static void linear_lif(Call& call, const Workers& workers) {
  const auto x = call.dimensions("bits_in", 3), w = call.dimensions("kernel", 2);
  const int64_t images = x[0], time = x[1], inputs = w[0], outputs = w[1];
  const auto channels = call.attribute<int64_t>("channels");
  expect(time > 0, "time: expected at least 1 step");
  expect(inputs % lanes == 0 && outputs % lanes == 0, "kernel: expected multiples of 16");
  expect(0 < channels && channels <= outputs, "channels: expected at most those of the kernel");
  const LinearLif a{
      .time = time,
      .inputs = inputs,
      .outputs = outputs,
      .channels = channels,
      .neuron = neuron(call),
      .bits_in = call.operand<uint16_t>("bits_in", {images, time, inputs / lanes}),
      .weight_bits = weight_bits(call),
      .bias = call.operand<float>("bias", {outputs}),
      .bits = call.result<uint16_t>("bits", {images, time, outputs / lanes}),
      .membranes = call.result_if_wanted<float>("membranes", {images, time, outputs}),
      .last = call.result<float>("last", {images, outputs}),
  };
  csnn::linear_lif(a, call.operand<float>("kernel"), images, workers);
}

static void conv_lif(Call& call, const Workers& workers) {
  const Shape s = conv_shape(call, call.attribute<int64_t>("channels"));
  const auto x = call.dimensions("bits_in", 3);
  const int64_t images = x[0], time = x[1];
  expect(time > 0, "time: expected at least 1 step");
  const auto* bits_in = call.operand<uint16_t>("bits_in", {images, time, s.inputs() / lanes});
  auto* membranes = call.result_if_wanted<float>("membranes", {images, time, s.neurons()});
  const bool win = membranes && s.max;
  auto* winners = call.result<uint16_t>("winners", {win ? images : 0, time, 2, s.neurons() / lanes});
  const ConvLif a{
      .shape = s,
      .time = time,
      .neuron = neuron(call),
      .bits_in = bits_in,
      .weight_bits = weight_bits(call),
      .bias = call.operand<float>("bias", {s.out}),
      .bits = call.result<uint16_t>("bits", {images, time, s.neurons() / lanes}),
      .membranes = membranes,
      .winners = win ? winners : nullptr,
      .last = call.result<float>("last", {images, s.neurons()}),
  };
  csnn::conv_lif(a, call.operand<float>("kernel"), images, workers);
}

// --- backward

static void lif_backward(Call& call, const Workers& workers) {
  const auto d = call.dimensions("membranes", 3);
  LifBackward a = lif_arguments(call);
  a.dspikes = call.operand<float>("dspikes", {d[0], d[1], d[2]});
  a.dcurrent = call.result<float>("dcurrent", {d[0], d[1], d[2]});
  a.total = call.result<float>("total", {d[0], d[2]});
  csnn::lif_backward(a, d[0], workers);
}

static void linear_weights(Call& call, const Workers& workers) {
  const auto d = call.dimensions("dcurrent", 3);
  const int64_t images = d[0], time = d[1], outputs = d[2], inputs = call.dimensions("bits_in", 3)[2] * lanes;
  expect(outputs % lanes == 0, "dcurrent: expected a multiple of 16");
  const auto* bits_in = call.operand<uint16_t>("bits_in", {images, time, inputs / lanes});
  const LinearWeights a{
      .images = images,
      .time = time,
      .inputs = inputs,
      .outputs = outputs,
      .dcurrent = call.operand<float>("dcurrent"),
      .dkernel = call.result<float>("dkernel", {inputs, outputs}),
  };
  csnn::linear_weights(a, bits_in, workers);
}

static void conv_backward(Call& call, const Workers& workers) {
  const Shape s = conv_shape(call, call.dimensions("kernel", 4)[3]);
  LifBackward lif = lif_arguments(call);
  const int64_t images = call.dimensions("membranes", 3)[0], time = lif.time;
  call.operand<float>("membranes", {images, time, s.neurons()});
  const bool whole = call.has("dspikes");
  if (whole) lif.dspikes = call.operand<float>("dspikes", {images, time, s.neurons()});
  ConvBackward a{
      .shape = s,
      .lif = lif,
      .product = whole ? Product{} : product_arguments(call, s, images, time),
      .bits_in = call.operand<uint16_t>("bits_in", {images, time, s.inputs() / lanes}),
      .winners = call.operand<uint16_t>("winners", {s.max ? images : 0, time, 2, s.neurons() / lanes}),
      .kernel = call.operand<float>("kernel", {s.kernel, s.kernel, s.in, s.out}),
      .grouped_kernel = call.operand<float>("grouped", {s.in / lanes, s.out, s.kernel * s.kernel, lanes}),
      .source = call.choice<Source>("source", {CSNN_EACH_SOURCE(CSNN_QUOTED)}),
  };
  if (a.source == Source::data) {
    call.result<float>("din", {0});
  } else if (a.source == Source::spikes) {
    a.dspikes_in = call.result<float>("din", {images, time, s.inputs()});
  } else {
    a.neuron_in = neuron(call, "beta_in", "threshold_in");
    a.surrogate_in = call.choice<Surrogate>("surrogate_in", {CSNN_EACH_SURROGATE(CSNN_QUOTED)});
    expect_constant_source(s, a.neuron_in, a.surrogate_in);
    a.current_in = call.operand<float>("current_in", {images, s.inputs()});
    a.dcurrent_in = call.result<float>("din", {images, s.inputs()});
  }
  auto* dkernel = call.result<float>("dkernel", {s.kernel, s.kernel, s.in, s.out});
  csnn::conv_backward(a, images, dkernel, call.result<float>("dbias", {s.out}), workers);
}

static void image_weights(Call& call, const Workers& workers) {
  const Shape s = conv_shape(call, call.dimensions("kernel", 4)[3], 1);
  const int64_t images = call.dimensions("image", 4)[0];
  const ImageWeights a{
      .shape = s,
      .image = call.operand<float>("image", {images, s.height, s.width, s.in}),
      .dcurrent = call.operand<float>("dcurrent", {images, s.neurons()}),
      .winners = s.max ? call.operand<uint8_t>("winners", {images, s.neurons()}) : nullptr,
  };
  auto* dkernel = call.result<float>("dkernel", {s.kernel, s.kernel, s.in, s.out});
  csnn::image_weights(a, images, dkernel, call.result<float>("dbias", {s.out}), workers);
}

// --- sums

static void multiply(Call& call, const Workers& workers) {
  const auto left = call.dimensions("left", 2), right = call.dimensions("right", 2);
  const int64_t rows = left[0], inner = left[1], columns = right[1];
  expect(columns % lanes == 0, "right: expected columns in multiples of 16");
  const auto* factor = call.operand<float>("right", {inner, columns});
  auto* product = call.result<float>("product", {rows, columns});
  csnn::multiply(call.operand<float>("left"), factor, rows, inner, columns, product, workers);
}

static void add_rows(Call& call, const Workers& workers) {
  const auto d = call.dimensions("x", 2);
  csnn::add_rows(call.operand<float>("x"), d[0], d[1], call.result<float>("sums", {d[1]}), workers);
}

// --- what the library exports

// Runs an operation; its exceptions become the errors that JAX raises.
template <void (*operation)(Call&, const Workers&)>
static ffi::Error run(ffi::ThreadPool pool, ffi::RemainingArgs operands, ffi::RemainingRets results,
                      ffi::Dictionary attributes) {
  try {
    Call call(operands, results, attributes);
    const auto schedule = [pool](std::function<void()> task) mutable { pool.Schedule(std::move(task)); };
    operation(call, Workers(pool.num_threads(), schedule));
    call.expect_all_taken();
    return ffi::Error::Success();
  } catch (const std::invalid_argument& error) {
    return ffi::Error::InvalidArgument(error.what());
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
}

static auto bind() { return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().RemainingArgs().RemainingRets().Attrs(); }

#pragma GCC visibility push(default)

XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_pack, run<pack>, bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_count_spikes, run<count_spikes>, bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_image_current, run<image_current>, bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_constant_lif, run<constant_lif>, bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_linear_lif, run<linear_lif>, bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_conv_lif, run<conv_lif>, bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_lif_backward, run<lif_backward>, bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_linear_weights, run<linear_weights>, bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_conv_backward, run<conv_backward>, bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_image_weights, run<image_weights>, bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_multiply, run<multiply>, bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_add_rows, run<add_rows>, bind());

extern "C" const char* csnn_sources() { return CSNN_SOURCES; }  // SHA-256 of the sources of this build

extern "C" int csnn_ffi_minor() { return XLA_FFI_API_MINOR; }  // of the JAX whose headers this build used

// What the kernels support, as JSON: the fields of Limits in ../library.py.
extern "C" const char* csnn_limits() {
  static const std::string limits =
      "{\"inputs\": " + show(most_inputs) + ", \"constant_channels\": " + show(most_constant_channels) +
      ", \"count_planes\": " + show(count_planes) + ", \"weight_bits\": " + show(most_bits) +
      ", \"kernel_sizes\": " + show_all(KernelSizes::values) + ", \"pool_sizes\": " + show_all(PoolSizes::values) +
      ", \"resets\": " + show_all(Names{CSNN_EACH_RESET(CSNN_QUOTED)}) + "}";
  return limits.c_str();
}

// Why the instruction set in CSNN_ISA isn't available, in one line; empty if it is.
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

#pragma GCC visibility pop

}  // namespace csnn::handlers
