// The operations as XLA FFI handlers, which call ops.h with threads from XLA's own pool. Types, shapes and values are
// checked, so mistakes are Python exceptions and never crashes.
#include "arguments.h"
#include "buffers.h"

namespace csnn::handlers {

// --- spikes

static Work pack(Call& call) {
  constexpr Name shape = "time images groups channels";
  const auto* floats = call.operand<float>("floats", shape, {.optional = true});
  const auto* bytes = call.operand<uint8_t>("bytes", shape, {.optional = true});
  auto* bits = call.result<uint16_t>("bits", "images time groups*words");
  const int64_t time = call.size("time"), images = call.size("images"), groups = call.size("groups");
  const int64_t channels = call.size("channels"), planes = call.whole("planes"), words = call.whole("words");
  return [=](const Workers& workers) {
    expect(0 < planes && planes <= count_planes, "planes: expected at least 1, at most those of a count");
    expect(words == divide_up(planes * channels, lanes), "words: expected those of the channels' planes");
    if (floats) csnn::pack(floats, time, images, groups, channels, planes, bits, workers);
    else csnn::pack(bytes, time, images, groups, channels, planes, bits, workers);
  };
}

static Work count_spikes(Call& call) {
  const auto* bits = call.operand<uint16_t>("bits", "images time words");
  auto* counts = call.result<float>("counts", "images");
  const int64_t images = call.size("images"), words = call.size("time") * call.size("words");
  return [=](const Workers& workers) { csnn::count_spikes(bits, images, words, counts, workers); };
}

// The shape of a max-pool of spikes; `rows` and `columns` of its output are attributes, too.
static SpikePool spike_pool(Call& call) {
  return {
      .time = call.size("time"),
      .height = call.whole("height"),
      .width = call.whole("width"),
      .added = call.whole("added"),
      .words = call.whole("words"),
      .size = call.whole("size"),
      .stride = call.whole("stride"),
      .bits_in = call.operand<uint16_t>("bits_in", "images time height*width*added*words"),
  };
}

static Work pool_spikes(Call& call) {
  SpikePool a = spike_pool(call);
  a.bits = call.result<uint16_t>("bits", "images time rows*columns*added*words");
  const int64_t images = call.size("images"), rows = call.whole("rows"), columns = call.whole("columns");
  return [=](const Workers& workers) {
    check_spike_pool(a, rows, columns);
    csnn::pool_spikes(a, images, workers);
  };
}

static Work pool_backward(Call& call) {
  SpikePool a = spike_pool(call);
  a.dspikes = call.operand<float>("dspikes", "images time rows*columns*words*16");
  a.dspikes_in = call.result<float>("dspikes_in", "images time height*width*words*16");
  const int64_t images = call.size("images"), rows = call.whole("rows"), columns = call.whole("columns");
  return [=](const Workers& workers) {
    check_spike_pool(a, rows, columns);
    csnn::pool_backward(a, images, workers);
  };
}

// --- layers, forward

static Work image_current(Call& call) {
  const ImageCurrent a{
      .shape = conv_shape(call),
      .image = call.operand<float>("image", "images height width in"),
      .kernel = call.operand<float>("kernel", "k k in out"),
      .bias = call.operand<float>("bias", "out"),
      .current = call.result<float>("current", "images rows*columns*out"),
      .winners = call.result<uint8_t>("winners", "images rows*columns*out", {.optional = true}),
  };
  const int64_t images = call.size("images"), rows = call.whole("rows"), columns = call.whole("columns");
  return [=](const Workers& workers) {
    check_conv(a.shape, rows, columns, a.winners, 1);
    csnn::image_current(a, images, workers);
  };
}

static Work constant_lif(Call& call) {
  const ConstantLif a{
      .time = call.whole("time"),
      .count = call.size("neurons"),
      .channels = call.whole("channels"),
      .stride = call.whole("stride"),
      .neuron = neuron(call),
      .current = call.operand<float>("current", "images neurons"),
      .bits = call.result<uint16_t>("bits", "images time neurons/16"),
      .membranes = call.result<float>("membranes", "images time neurons", {.optional = true}),
      .last = call.result<float>("last", "images neurons"),
  };
  const int64_t images = call.size("images");
  return [=](const Workers& workers) {
    expect(a.stride > 0 && a.stride % lanes == 0 && a.count % a.stride == 0 && 0 < a.channels && a.channels <= a.stride,
           "current: expected groups of `stride`, a multiple of 16, that hold `channels`");
    expect(a.time > 0, "time: expected at least 1 step");
    csnn::constant_lif(a, images, workers);
  };
}

static Work linear_lif(Call& call) {
  const LinearLif a{
      .time = call.size("time"),
      .inputs = call.size("inputs"),
      .outputs = call.size("outputs"),
      .channels = call.whole("channels"),
      .neuron = neuron(call),
      .bits_in = call.operand<uint16_t>("bits_in", "images time inputs/16"),
      .weight_bits = call.whole("weight_bits"),
      .bias = call.operand<float>("bias", "outputs"),
      .bits = call.result<uint16_t>("bits", "images time outputs/16"),
      .membranes = call.result<float>("membranes", "images time outputs", {.optional = true}),
      .last = call.result<float>("last", "images outputs"),
  };
  const auto* kernel = call.operand<float>("kernel", "inputs outputs");
  const int64_t images = call.size("images");
  return [=](const Workers& workers) {
    check_weight_bits(a.weight_bits);
    expect(a.time > 0, "time: expected at least 1 step");
    expect(0 < a.channels && a.channels <= a.outputs, "channels: expected at most those of the kernel");
    csnn::linear_lif(a, kernel, images, workers);
  };
}

static Work conv_lif(Call& call) {
  const ConvLif a{
      .shape = conv_shape(call, true),
      .time = call.size("time"),
      .neuron = neuron(call),
      .bits_in = call.operand<uint16_t>("bits_in", "images time height*width*in/16"),
      .weight_bits = call.whole("weight_bits"),
      .bias = call.operand<float>("bias", "out"),
      .added = call.operand<float>("added", "images time rows*columns*out", {.optional = true}),
      .bits = call.result<uint16_t>("bits", "images time rows*columns*out/16"),
      .membranes = call.result<float>("membranes", "images time rows*columns*out", {.optional = true}),
      .winners = call.result<uint16_t>("winners", "images time 2 rows*columns*out/16", {.optional = true}),
      .last = call.result<float>("last", "images rows*columns*out"),
  };
  const auto* kernel = call.operand<float>("kernel", "k k in out");
  const int64_t images = call.size("images"), rows = call.whole("rows"), columns = call.whole("columns");
  return [=](const Workers& workers) {
    check_conv(a.shape, rows, columns, a.winners || a.shape.max);
    check_weight_bits(a.weight_bits);
    expect(a.time > 0, "time: expected at least 1 step");
    csnn::conv_lif(a, kernel, images, workers);
  };
}

// --- backward

static Work lif_backward(Call& call) {
  LifBackward a = lif_arguments(call, "images time neurons");
  a.count = call.size("neurons");
  a.dspikes = call.operand<float>("dspikes", "images time neurons");
  a.dcurrent = call.result<float>("dcurrent", "images time neurons", {.over = "dspikes"});
  a.total = call.result<float>("total", "images neurons");
  const int64_t images = call.size("images");
  return [=](const Workers& workers) {
    check_lif(a);
    csnn::lif_backward(a, images, workers);
  };
}

static Work linear_weights(Call& call) {
  const LinearWeights a{
      .images = call.size("images"),
      .time = call.size("time"),
      .inputs = call.size("words") * lanes,
      .outputs = call.size("outputs"),
      .dcurrent = call.operand<float>("dcurrent", "images time outputs"),
      .dkernel = call.result<float>("dkernel", "16*words outputs"),
  };
  const auto* bits_in = call.operand<uint16_t>("bits_in", "images time words");
  return [=](const Workers& workers) {
    expect(a.outputs % lanes == 0, "dcurrent: expected a multiple of 16");
    csnn::linear_weights(a, bits_in, workers);
  };
}

static Work conv_backward(Call& call) {
  LifBackward lif = lif_arguments(call, "images time rows*columns*out");
  lif.dspikes = call.operand<float>("dspikes", "images time rows*columns*out", {.optional = true});
  lif.dcurrent = call.result<float>("dcurrent", "images time rows*columns*out", {.optional = true});
  const int64_t rows = call.whole("rows"), columns = call.whole("columns");
  lif.count = rows * columns * call.size("out");
  ConvBackward a{
      .shape = conv_shape(call),
      .lif = lif,
      .product = {.left = call.operand<float>("left", "images time inner", {.optional = true}),
                  .right = call.operand<float>("right", "rows*columns inner out", {.optional = true})},
      .bits_in = call.operand<uint16_t>("bits_in", "images time height*width*in/16"),
      .winners = call.operand<uint16_t>("winners", "images time 2 rows*columns*out/16", {.optional = true}),
      .kernel = call.operand<float>("kernel", "k k in out"),
      .grouped_kernel = call.operand<float>("grouped", "in/16 out k*k 16"),
      .leading = call.whole("leading"),
      .dspikes_in = call.result<float>("dspikes_in", "images time height*width*leading", {.optional = true}),
      .neuron_in = {.beta = call.scalar("beta_in", {.optional = true}),
                    .threshold = call.scalar("threshold_in", {.optional = true}),
                    .reset = lif.neuron.reset},
      .surrogate_in = call.choice<Surrogate>("surrogate_in", {CSNN_EACH_SURROGATE(CSNN_QUOTED)}),
      .current_in = call.operand<float>("current_in", "images height*width*in", {.optional = true}),
      .dcurrent_in = call.result<float>("dcurrent_in", "images height*width*in", {.optional = true}),
  };
  if (a.product.left) a.product.inner = call.size("inner");
  a.source = a.dcurrent_in ? Source::constant : a.dspikes_in ? Source::spikes : Source::data;
  auto* dkernel = call.result<float>("dkernel", "k k in out");
  auto* dbias = call.result<float>("dbias", "out");
  const int64_t images = call.size("images");
  return [=](const Workers& workers) {
    check_conv(a.shape, rows, columns, a.winners);
    check_lif(a.lif);
    expect(a.lif.dspikes || (a.product.left && a.product.right), "dspikes: expected, or else left and right");
    expect(a.product.inner % lanes == 0, "left: expected [image, time, a multiple of 16]");
    expect(0 < a.leading && a.leading <= a.shape.in && a.leading % lanes == 0,
           "leading: expected a multiple of 16, at most the input channels");
    if (a.source == Source::constant) check_constant_source(a);
    csnn::conv_backward(a, images, dkernel, dbias, workers);
  };
}

static Work image_weights(Call& call) {
  const ImageWeights a{
      .shape = conv_shape(call),
      .image = call.operand<float>("image", "images height width in"),
      .dcurrent = call.operand<float>("dcurrent", "images rows*columns*out"),
      .winners = call.operand<uint8_t>("winners", "images rows*columns*out", {.optional = true}),
  };
  call.operand<float>("kernel", "k k in out");  // for its sizes
  auto* dkernel = call.result<float>("dkernel", "k k in out");
  auto* dbias = call.result<float>("dbias", "out");
  const int64_t images = call.size("images"), rows = call.whole("rows"), columns = call.whole("columns");
  return [=](const Workers& workers) {
    check_conv(a.shape, rows, columns, a.winners, 1);
    csnn::image_weights(a, images, dkernel, dbias, workers);
  };
}

// --- sums

static Work multiply(Call& call) {
  const auto* left = call.operand<float>("left", "rows inner");
  const auto* right = call.operand<float>("right", "inner columns", {.optional = true});
  const auto* transposed = call.operand<float>("transposed", "columns inner", {.optional = true});
  auto* product = call.result<float>("product", "rows columns");
  const int64_t rows = call.size("rows"), inner = call.size("inner"), columns = call.size("columns");
  return [=](const Workers& workers) {
    expect(columns % lanes == 0, "right: expected columns in multiples of 16");
    expect((right == nullptr) != (transposed == nullptr), "right: expected, or else transposed");
    csnn::multiply(left, right ? right : transposed, transposed, rows, inner, columns, product, workers);
  };
}

static Work add_rows(Call& call) {
  const auto* x = call.operand<float>("x", "rows columns");
  auto* sums = call.result<float>("sums", "columns");
  const int64_t rows = call.size("rows"), columns = call.size("columns");
  return [=](const Workers& workers) { csnn::add_rows(x, rows, columns, sums, workers); };
}

// --- what the library exports

#define CSNN_EACH_OPERATION(X) \
  X(pack)                      \
  X(count_spikes)              \
  X(pool_spikes)               \
  X(pool_backward)             \
  X(image_current)             \
  X(constant_lif)              \
  X(linear_lif)                \
  X(conv_lif)                  \
  X(lif_backward)              \
  X(linear_weights)            \
  X(conv_backward)             \
  X(image_weights)             \
  X(multiply)                  \
  X(add_rows)

using Handler = Work (*)(Call&);

template <Handler handler>
static const Description& description_of() {
  static const Description description = [] {
    Description recorded;
    Call call(&recorded);
    handler(call);
    return recorded;
  }();
  return description;
}

struct Operation {
  Name name;
  const Description* description;
};

static std::string show(const Operation& o) { return handlers::show(o.name) + ": " + handlers::show(*o.description); }

// Runs an operation; its exceptions become the errors that JAX raises.
template <Handler handler>
static ffi::Error run(ffi::ThreadPool pool, ffi::RemainingArgs operands, ffi::RemainingRets results,
                      ffi::Dictionary attributes) {
  try {
    Call call(description_of<handler>(), operands, results, attributes);
    const auto schedule = [pool](std::function<void()> task) mutable { pool.Schedule(std::move(task)); };
    handler(call)(Workers(pool.num_threads(), schedule));
    return ffi::Error::Success();
  } catch (const std::invalid_argument& error) {
    return ffi::Error::InvalidArgument(error.what());
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
}

static auto bind() { return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().RemainingArgs().RemainingRets().Attrs(); }

#pragma GCC visibility push(default)

#define CSNN_EXPORT(name) XLA_FFI_DEFINE_HANDLER_SYMBOL(csnn_##name, run<name>, bind());
CSNN_EACH_OPERATION(CSNN_EXPORT)

extern "C" const char* csnn_sources() { return CSNN_SOURCES; }  // SHA-256 of the sources of this build

extern "C" int csnn_ffi_minor() { return XLA_FFI_API_MINOR; }  // of the JAX whose headers this build used

// The operations by name, and what the kernels support: the fields of Limits in ../library.py. JSON.
extern "C" const char* csnn_description() {
#define CSNN_DESCRIBED(name) {#name, &description_of<name>()},
  static const std::string description =
      "{\"limits\": {\"inputs\": " + show(most_inputs) + ", \"constant_channels\": " + show(most_constant_channels) +
      ", \"count_planes\": " + show(count_planes) + ", \"weight_bits\": " + show(most_bits) +
      ", \"added\": " + show(most_added) + ", \"kernel_sizes\": " + show_all(KernelSizes::values) +
      ", \"pool_sizes\": " + show_all(PoolSizes::values) +
      ", \"resets\": " + show_all(Names{CSNN_EACH_RESET(CSNN_QUOTED)}) +
      "}, \"operations\": " + show_all(std::vector<Operation>{CSNN_EACH_OPERATION(CSNN_DESCRIBED)}, "{}") + "}";
  return description.c_str();
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
