// Shared by the handlers: a call's operands, results and attributes by name, checks that throw exceptions, and the
// parts of kernel arguments that several handlers need.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "ops.h"
#include "xla/ffi/api/ffi.h"

namespace csnn::handlers {

namespace ffi = xla::ffi;

using Dims = std::initializer_list<int64_t>;
using Names = std::initializer_list<std::string_view>;

#define CSNN_QUOTED(name) #name,

template <typename T>
constexpr ffi::DataType type_of = std::is_same_v<T, float>     ? ffi::F32
                                  : std::is_same_v<T, uint8_t> ? ffi::U8
                                                               : ffi::U16;

inline std::string show(int64_t value) { return std::to_string(value); }
inline std::string show(std::string_view name) { return '"' + std::string(name) + '"'; }

// A list as JSON.
template <typename Values>
std::string show_all(const Values& values) {
  std::string text = "[";
  for (const auto& value : values) text += (text.size() > 1 ? ", " : "") + show(value);
  return text + "]";
}

inline void expect(bool ok, const char* message) {
  if (!ok) throw std::invalid_argument(message);
}

[[noreturn]] inline void refuse(std::string_view name, const std::string& why) {
  throw std::invalid_argument(std::string(name) + why);
}

// One call of an operation. Its arguments have the names that `call` in ../library.py passes.
class Call {
  template <typename T>
  T get(const ffi::Dictionary& given, std::string_view name) {
    taken_.push_back(name);
    const auto found = given.get<T>(name);
    if (found.has_error() && !given.contains(name)) refuse(name, ": this operation needs one");
    return checked(name, found);
  }

  template <typename Buffer, typename Arrays>
  auto at(const Arrays& arrays, const ffi::Dictionary& places, std::string_view name) {
    return checked(name, arrays.template get<Buffer>(get<int64_t>(places, name)));
  }

  template <typename T>
  static T checked(std::string_view name, const ffi::ErrorOr<T>& found) {
    if (found.has_error()) refuse(name, ": " + found.error().message());
    return *found;
  }

 public:
  Call(ffi::RemainingArgs operands, ffi::RemainingRets results, ffi::Dictionary attributes)
      : operands_(operands),
        results_(results),
        attributes_(attributes),
        operand_(attribute<ffi::Dictionary>("operands")),
        result_(attribute<ffi::Dictionary>("results")) {}

  template <typename T>
  T attribute(std::string_view name) {
    return get<T>(attributes_, name);
  }

  // An attribute that names a value of an enum; `names` has all of them in the enum's order.
  template <typename Enum>
  Enum choice(std::string_view name, Names names) {
    const auto chosen = attribute<std::string_view>(name);
    const auto found = std::find(names.begin(), names.end(), chosen);
    if (found == names.end()) refuse(name, " is " + show(chosen) + ", expected one of " + show_all(names));
    return static_cast<Enum>(found - names.begin());
  }

  bool has(std::string_view operand) const { return operand_.contains(operand); }

  ffi::Span<const int64_t> dimensions(std::string_view operand, size_t rank) {
    const auto dims = at<ffi::AnyBuffer>(operands_, operand_, operand).dimensions();
    if (dims.size() != rank) refuse(operand, " is " + show_all(dims) + ", expected " + show(rank) + " axes");
    return dims;
  }

  template <typename T>
  bool holds(std::string_view operand) {
    return at<ffi::AnyBuffer>(operands_, operand_, operand).element_type() == type_of<T>;
  }

  template <typename T>
  const T* operand(std::string_view name) {
    return at<ffi::Buffer<type_of<T>>>(operands_, operand_, name).typed_data();
  }

  template <typename T>
  const T* operand(std::string_view name, Dims wanted) {
    const auto found = at<ffi::Buffer<type_of<T>>>(operands_, operand_, name);
    expect_shape(name, found.dimensions(), wanted);
    return found.typed_data();
  }

  template <typename T>
  T* result(std::string_view name, Dims wanted) {
    auto found = at<ffi::Buffer<type_of<T>>>(results_, result_, name);
    expect_shape(name, found->dimensions(), wanted);
    return found->typed_data();
  }

  // A large result, or null if it isn't wanted, in which case its shape is [0].
  template <typename T>
  T* result_if_wanted(std::string_view name, Dims wanted) {
    auto found = at<ffi::Buffer<type_of<T>>>(results_, result_, name);
    if (found->dimensions().size() == 1 && found->dimensions()[0] == 0) return nullptr;
    expect_shape(name, found->dimensions(), wanted);
    use_large_pages(found->typed_data(), found->size_bytes());
    return found->typed_data();
  }

  // Throws if an argument wasn't used: it would be ignored or, if it's a result, stay unwritten.
  void expect_all_taken() const {
    for (const ffi::Dictionary& given : {attributes_, operand_, result_})
      for (const std::string_view name : given)
        if (std::find(taken_.begin(), taken_.end(), name) == taken_.end()) refuse(name, ": this operation has none");
  }

 private:
  static void expect_shape(std::string_view name, ffi::Span<const int64_t> dims, Dims wanted) {
    if (!std::equal(dims.begin(), dims.end(), wanted.begin(), wanted.end()))
      refuse(name, " is " + show_all(dims) + ", expected " + show_all(wanted));
  }

  std::vector<std::string_view> taken_;
  ffi::RemainingArgs operands_;
  ffi::RemainingRets results_;
  ffi::Dictionary attributes_, operand_, result_;  // the last two: position of an operand or result by name
};

inline Neuron neuron(Call& call, std::string_view beta = "beta", std::string_view threshold = "threshold") {
  return {
      .beta = *call.operand<float>(beta, {}),
      .threshold = *call.operand<float>(threshold, {}),
      .reset = call.choice<Reset>("reset", {CSNN_EACH_RESET(CSNN_QUOTED)}),
  };
}

// Bits of a layer's weights, if they are integers; otherwise 0.
inline int64_t weight_bits(Call& call) {
  const auto bits = call.attribute<int64_t>("weight_bits");
  expect(0 <= bits && bits <= most_bits, "weight_bits: expected at least 0, at most those of whole numbers");
  return bits;
}

// The sizes of a convolution with `channels` output channels without padding, and input channels in multiples of
// `group`.
inline Shape conv_shape(Call& call, int64_t channels, int64_t group = lanes) {
  const auto size = call.attribute<ffi::Span<const int64_t>>("size");
  const auto kernel = call.dimensions("kernel", 4);
  expect(size.size() == 2, "size: expected height and width");
  const Shape s{
      .height = size[0],
      .width = size[1],
      .in = kernel[2],
      .out = kernel[3],
      .channels = channels,
      .kernel = kernel[0],
      .padding = call.attribute<int64_t>("padding"),
      .pool = call.attribute<int64_t>("pool"),
      .max = call.attribute<bool>("max"),
  };
  if (kernel[0] != kernel[1] || !KernelSizes::has(s.kernel))
    refuse("kernel", ": expected square, of one of the sizes " + show_all(KernelSizes::values));
  if (!PoolSizes::has(s.pool)) refuse("pool", ": expected one of the sizes " + show_all(PoolSizes::values));
  expect(!s.max || s.pool > 1, "max: expected a pool of more than one position");
  expect(s.padding >= 0 && 2 * s.padding < s.kernel, "padding: expected less than half of the kernel, rounded up");
  expect(s.height > 0 && s.width > 0 && s.rows() > 0 && s.columns() > 0, "size: expected enough pixels for a neuron");
  expect(s.in > 0 && s.in % group == 0 && s.out > 0 && s.out % lanes == 0,
         "kernel: expected channels in multiples of 16");
  if (s.kernel * s.kernel * s.in > most_inputs)
    refuse("kernel", ": expected at most " + show(most_inputs) + " inputs to an output");
  expect(0 < channels && channels <= s.out, "channels: expected at most those of the kernel");
  return s;
}

// All fields except dspikes, dcurrent and total.
inline LifBackward lif_arguments(Call& call) {
  const auto d = call.dimensions("membranes", 3);
  expect(d[1] > 0 && d[2] % lanes == 0, "membranes: expected [image, time, a multiple of 16]");
  const auto surrogate = call.choice<Surrogate>("surrogate", {CSNN_EACH_SURROGATE(CSNN_QUOTED)});
  const float* membranes = call.operand<float>("membranes");
  return {
      .time = d[1],
      .count = d[2],
      .neuron = neuron(call),
      .surrogate = surrogate,
      .slope = call.attribute<float>("slope"),
      .membranes = membranes,
      .given = surrogate == Surrogate::given ? call.operand<float>("given", {d[0], d[1], d[2]}) : membranes,
      .dbeta = call.result<float>("dbeta", {d[0]}),
      .dthreshold = call.result<float>("dthreshold", {d[0]}),
  };
}

inline Product product_arguments(Call& call, const Shape& s, int64_t images, int64_t time) {
  const int64_t inner = call.dimensions("left", 3)[2];
  expect(inner > 0 && inner % lanes == 0, "left: expected [image, time, a multiple of 16]");
  return {
      .inner = inner,
      .left = call.operand<float>("left", {images, time, inner}),
      .right = call.operand<float>("right", {s.rows() * s.columns(), inner, s.out}),
  };
}

inline void expect_constant_source(const Shape& s, const Neuron& neuron, Surrogate surrogate) {
  expect(neuron.reset != Reset::zero, "reset zero: a constant source has no forward sum");
  expect(surrogate != Surrogate::given, "surrogate_in: a constant source needs a named one");
  if (s.in > most_constant_channels)
    refuse("kernel", ": a constant source has at most " + show(most_constant_channels) + " channels");
}

}  // namespace csnn::handlers
