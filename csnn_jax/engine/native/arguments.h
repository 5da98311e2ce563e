// The arguments of operations. A handler mentions each operand, attribute and result once, where it uses it. Run
// without a call, it describes the operation, which is how ../library.py knows it; and the arguments of every call are
// compared with that description before the handler reads them.
#pragma once
#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "ops.h"
#include "xla/ffi/api/ffi.h"

namespace csnn::handlers {

namespace ffi = xla::ffi;

using Name = std::string_view;
using Names = std::vector<Name>;
#define CSNN_QUOTED(name) #name,

// What an operation computes, once a handler has read its arguments.
using Work = std::function<void(const Workers&)>;

template <typename T>
constexpr ffi::DataType type_of = std::is_same_v<T, float>     ? ffi::F32
                                  : std::is_same_v<T, uint8_t> ? ffi::U8
                                                               : ffi::U16;

struct Argument {
  Name name;
  ffi::DataType type;
  // Of each axis: a name, a number, or a product of these, perhaps divided by a number, as in "rows*columns*out/16".
  // A name is that of a whole-number attribute, or of the size of an axis that has no other name.
  Names shape;
  bool optional;
  Name over;  // the operand that this result may overwrite; empty: none
};

struct Attribute {
  Name name, type;
};

struct Description {
  std::vector<Argument> operands, results;
  std::vector<Attribute> attributes;
};

inline std::string show(int64_t value) { return std::to_string(value); }
inline std::string show(Name name) { return '"' + std::string(name) + '"'; }
inline std::string show(ffi::DataType type) {
  return type == ffi::F32 ? "\"float32\"" : type == ffi::U16 ? "\"uint16\"" : type == ffi::U8 ? "\"uint8\"" : "\"?\"";
}

// Values as a JSON list, or in other brackets.
template <typename Values>
std::string show_all(const Values& values, const char* brackets = "[]") {
  std::string text;
  for (const auto& value : values) text += (text.empty() ? "" : ", ") + show(value);
  return brackets[0] + text + brackets[1];
}

inline std::string show(const Argument& a) {
  return show(a.name) + ": {\"type\": " + show(a.type) + ", \"shape\": " + show_all(a.shape) +
         ", \"optional\": " + (a.optional ? "true" : "false") + ", \"over\": " + show(a.over) + "}";
}
inline std::string show(const Attribute& a) { return show(a.name) + ": " + show(a.type); }
inline std::string show(const Description& d) {
  return "{\"operands\": " + show_all(d.operands, "{}") + ", \"attributes\": " + show_all(d.attributes, "{}") +
         ", \"results\": " + show_all(d.results, "{}") + "}";
}

inline void expect(bool ok, const char* message) {
  if (!ok) throw std::invalid_argument(message);
}

[[noreturn]] inline void refuse(Name name, const std::string& why) {
  throw std::invalid_argument(std::string(name) + why);
}

template <typename T>
T checked(Name name, const ffi::ErrorOr<T>& read) {
  if (read.has_error()) refuse(name, ": " + read.error().message());
  return *read;
}

// A string's parts between separators, which aren't at its ends.
inline Names split(Name text, char separator) {
  Names parts;
  for (size_t end; !text.empty(); text.remove_prefix(end == text.npos ? text.size() : end + 1)) {
    end = text.find(separator);
    parts.push_back(text.substr(0, end));
  }
  return parts;
}

struct Options {
  bool optional = false;  // if it's omitted, its pointer is null
  Name over{};
};

// Reads an operation's arguments. To describe it, there are none: numbers are 0 and pointers are null.
class Call {
 public:
  explicit Call(Description* description) : described_(description) {}

  Call(const Description& description, ffi::RemainingArgs operands, ffi::RemainingRets results,
       ffi::Dictionary attributes)
      : attributes_(attributes) {
    for (const Attribute& a : description.attributes)
      if (a.type == "int64") sizes_[a.name] = read<int64_t>(a.name);
    std::vector<std::pair<const Argument*, ffi::AnyBuffer>> buffers;
    const auto position = read<ffi::Dictionary>("operands"), result_position = read<ffi::Dictionary>("results");
    for (const Argument& a : description.operands)
      if (is_given(a, position)) {
        buffers.emplace_back(&a, checked(a.name, operands.get<ffi::AnyBuffer>(place(a, position))));
        bind(a, buffers.back().second.dimensions());
      }
    for (const Argument& a : description.results)
      if (is_given(a, result_position)) {
        ffi::Result<ffi::AnyBuffer> result = checked(a.name, results.get<ffi::AnyBuffer>(place(a, result_position)));
        buffers.emplace_back(&a, *result);
        if (a.optional) use_large_pages(result->untyped_data(), result->size_bytes());
      }
    for (const auto& [argument, buffer] : buffers) check(*argument, buffer);
  }

  template <typename T>
  const T* operand(Name name, Name shape, Options options = {}) {
    if (described_) described_->operands.push_back({name, type_of<T>, split(shape, ' '), options.optional, {}});
    return static_cast<const T*>(pointers_[name]);
  }

  float scalar(Name name, Options options = {}) {
    const float* value = operand<float>(name, "", options);
    return value ? *value : 0;
  }

  template <typename T>
  T* result(Name name, Name shape, Options options = {}) {
    if (described_)
      described_->results.push_back({name, type_of<T>, split(shape, ' '), options.optional, options.over});
    return static_cast<T*>(pointers_[name]);
  }

  int64_t size(Name name) const {
    const auto size = sizes_.find(name);
    if (size == sizes_.end() && !described_) refuse(name, ": unknown, because this operation needs another operand");
    return described_ ? 0 : size->second;
  }

  int64_t whole(Name name) { return attribute<int64_t>({name, "int64"}); }
  float number(Name name) { return attribute<float>({name, "float32"}); }
  bool flag(Name name) { return attribute<bool>({name, "bool"}); }

  // An attribute that names a value of an enum; `names` has all of them in the enum's order.
  template <typename Enum>
  Enum choice(Name name, const Names& names) {
    const auto chosen = attribute<Name>({name, "str"});
    const auto place = std::find(names.begin(), names.end(), chosen);
    if (place == names.end() && !described_)
      refuse(name, " is " + show(chosen) + ", expected one of " + show_all(names));
    return static_cast<Enum>(described_ ? 0 : place - names.begin());
  }

 private:
  template <typename T>
  T read(Name name) const {
    if (!attributes_->contains(name)) refuse(name, ": this operation needs one");
    return checked(name, attributes_->get<T>(name));
  }

  template <typename T>
  T attribute(const Attribute& attribute) {
    if (!described_) return read<T>(attribute.name);
    described_->attributes.push_back(attribute);
    return {};
  }

  static bool is_given(const Argument& a, const ffi::Dictionary& position) {
    if (!position.contains(a.name) && !a.optional) refuse(a.name, ": this operation needs one");
    return position.contains(a.name);
  }

  static int64_t place(const Argument& a, const ffi::Dictionary& position) {
    return checked(a.name, position.get<int64_t>(a.name));
  }

  void bind(const Argument& a, ffi::Span<const int64_t> dimensions) {
    for (size_t i = 0; i < std::min(a.shape.size(), dimensions.size()); i++)
      if (std::isalpha(a.shape[i][0]) && a.shape[i].find_first_of("*/") == Name::npos)
        sizes_.emplace(a.shape[i], dimensions[i]);
  }

  void check(const Argument& a, const ffi::AnyBuffer& buffer) {
    if (buffer.element_type() != a.type)
      refuse(a.name, " is " + show(buffer.element_type()) + ", expected " + show(a.type));
    std::vector<int64_t> wanted;
    for (const Name axis : a.shape) wanted.push_back(evaluate(axis));
    const auto shape = buffer.dimensions();
    if (!std::equal(shape.begin(), shape.end(), wanted.begin(), wanted.end()))
      refuse(a.name, " is " + show_all(shape) + ", expected " + show_all(wanted) + ": " + show_all(a.shape));
    pointers_[a.name] = buffer.untyped_data();
  }

  int64_t evaluate(Name axis) const {
    const Names parts = split(axis, '/');
    int64_t product = 1;
    for (const Name factor : split(parts[0], '*'))
      product *= std::isalpha(factor[0]) ? size(factor) : std::stoll(std::string(factor));
    const int64_t divisor = parts.size() > 1 ? std::stoll(std::string(parts[1])) : 1;
    if (product % divisor) refuse(parts[0], ": expected a multiple of " + show(divisor));
    return product / divisor;
  }

  Description* described_ = nullptr;
  std::optional<ffi::Dictionary> attributes_;
  std::map<Name, int64_t> sizes_;
  std::map<Name, void*> pointers_;
};

inline Neuron neuron(Call& call) {
  return {
      .beta = call.scalar("beta"),
      .threshold = call.scalar("threshold"),
      .reset = call.choice<Reset>("reset", {CSNN_EACH_RESET(CSNN_QUOTED)}),
  };
}

// A convolution with `channels` output channels without padding, if they are an attribute.
inline Shape conv_shape(Call& call, bool has_channels = false) {
  const int64_t out = call.size("out");
  return {
      .height = call.whole("height"),
      .width = call.whole("width"),
      .in = call.size("in"),
      .out = out,
      .channels = has_channels ? call.whole("channels") : out,
      .kernel = call.size("k"),
      .padding = call.whole("padding"),
      .pool = call.whole("pool"),
      .max = call.flag("max"),
  };
}

// All fields except count, dspikes, dcurrent and total, for membranes of this shape.
inline LifBackward lif_arguments(Call& call, Name shape) {
  const float* membranes = call.operand<float>("membranes", shape);
  const float* given = call.operand<float>("given", shape, {.optional = true});
  return {
      .time = call.size("time"),
      .count = 0,
      .neuron = neuron(call),
      .surrogate = call.choice<Surrogate>("surrogate", {CSNN_EACH_SURROGATE(CSNN_QUOTED)}),
      .slope = call.number("slope"),
      .membranes = membranes,
      .given = given ? given : membranes,
      .dbeta = call.result<float>("dbeta", "images"),
      .dthreshold = call.result<float>("dthreshold", "images"),
  };
}

// --- what the kernels need besides the right shapes

inline void check_weight_bits(int64_t bits) {
  expect(0 <= bits && bits <= most_bits, "weight_bits: expected at least 0, at most those of whole numbers");
}

inline void check_lif(const LifBackward& a) {
  expect(a.time > 0 && a.count % lanes == 0, "membranes: expected [image, time, a multiple of 16]");
  expect(a.given != a.membranes || a.surrogate != Surrogate::given, "given: this surrogate needs one");
}

// `group`: the input channels are a multiple of it.
inline void check_conv(const Shape& s, int64_t rows, int64_t columns, bool winners, int64_t group = lanes) {
  if (!KernelSizes::has(s.kernel)) refuse("kernel", ": expected one of the sizes " + show_all(KernelSizes::values));
  if (!PoolSizes::has(s.pool)) refuse("pool", ": expected one of the sizes " + show_all(PoolSizes::values));
  expect(!s.max || s.pool > 1, "max: expected a pool of more than one position");
  expect(winners == s.max, "winners: expected for a max-pool, and only then");
  expect(s.padding >= 0 && 2 * s.padding < s.kernel, "padding: expected less than half of the kernel, rounded up");
  expect(s.height > 0 && s.width > 0 && s.rows() > 0 && s.columns() > 0, "height, width: expected pixels for a neuron");
  expect(rows == s.rows() && columns == s.columns(), "rows, columns: expected those of the pooled convolution");
  expect(s.in > 0 && s.in % group == 0 && s.out > 0 && s.out % lanes == 0,
         "kernel: expected channels in multiples of 16");
  if (s.kernel * s.kernel * s.in > most_inputs)
    refuse("kernel", ": expected at most " + show(most_inputs) + " inputs to an output");
  expect(0 < s.channels && s.channels <= s.out, "channels: expected at most those of the kernel");
}

inline void check_spike_pool(const SpikePool& a, int64_t rows, int64_t columns) {
  if (a.added < 1 || a.added > most_added) refuse("added", ": expected 1 to " + show(most_added));
  expect(a.size > 0 && a.stride > 0, "size, stride: expected at least 1");
  expect(a.height >= a.size && a.width >= a.size, "height, width: expected at least a window");
  expect(rows == a.rows() && columns == a.columns(), "rows, columns: expected those of the pool");
}

inline void check_constant_source(const ConvBackward& a) {
  expect(a.neuron_in.reset != Reset::zero, "reset zero: a constant source has no forward sum");
  expect(a.surrogate_in != Surrogate::given, "surrogate_in: a constant source needs a named one");
  expect(a.current_in, "current_in: a constant source needs one");
  expect(!a.lif.dcurrent, "dcurrent: it isn't computed for every step of a constant source");
  if (a.shape.in > most_constant_channels)
    refuse("kernel", ": a constant source has at most " + show(most_constant_channels) + " channels");
}

}  // namespace csnn::handlers
