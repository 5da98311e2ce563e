// The arguments of every kernel, and the table through which they are called.
//
// The files in kernels/ are compiled once per instruction set, with ISA defined as the namespace to put them in; both
// sides include this header, so it has no code. A kernel does one unit of work (an image, a block of outputs) on raw
// pointers: it allocates nothing, calls nothing outside its file and its headers, and doesn't use threads.
//
// Layouts. Everything is image-major: [image, time, neuron]. A neuron's number is position * channels + channel, where
// channels are rounded up to a multiple of 16 (`lanes`); the neurons that this adds have zero weights and never
// spike. Spikes are bits, 16 to a word: neuron n is bit n % 16 of word n / 16.
#pragma once
#include <cstdint>

// Always inlined: an out-of-line copy could be compiled for instructions that the machine lacks.
#define CSNN_INLINE __attribute__((always_inline)) inline

namespace csnn {

constexpr int64_t lanes = 16;

// Sizes of a convolution's kernel or pool; its loops are compiled for each.
template <int... sizes>
struct Sizes {
  static constexpr int64_t values[] = {sizes...};

  CSNN_INLINE static constexpr bool has(int64_t size) { return ((size == sizes) || ...); }

  // Calls f<K>() for the size K.
  template <typename F>
  CSNN_INLINE static void choose(int64_t size, F&& f) {
    ((size == sizes ? f.template operator()<sizes>() : void()), ...);
  }
};

// Limits, defined only here: handlers.cc rejects anything beyond them, and Python reads them from the library
// (csnn_description; Limits in library.py).
using KernelSizes = Sizes<1, 2, 3, 4, 5, 6, 7>;
using PoolSizes = Sizes<1, 2>;
using BlockRows = Sizes<1, 2, 3, 4>;              // vectors in a row of a block of a linear layer
constexpr int64_t most_inputs = 65535;            // of one output of a convolution: kernel * kernel * in
constexpr int64_t most_constant_channels = 1024;  // of Source::constant
constexpr int64_t most_width = 64;                // of a block of a linear layer's outputs
constexpr int64_t count_planes = 4;               // bits of a count that a frame may hold
constexpr int64_t most_bits = 12;                 // of an integer weight: int16 can then add up 7
constexpr int64_t most_added = 64;                // spikes in a sum that is pooled

// The values of the enums that Python chooses from, by these names.
#define CSNN_EACH_RESET(X) X(subtract) X(zero) X(none)

// `given`: the caller passes the derivative itself, one number per membrane.
#define CSNN_EACH_SURROGATE(X) \
  X(fast_sigmoid)              \
  X(atan)                      \
  X(sigmoid)                   \
  X(straight_through)          \
  X(triangular)                \
  X(heaviside)                 \
  X(spike_rate_escape)         \
  X(sparse_fast_sigmoid)       \
  X(leaky_spike)               \
  X(given)

#define CSNN_LISTED(name) name,
enum class Reset { CSNN_EACH_RESET(CSNN_LISTED) };
enum class Surrogate { CSNN_EACH_SURROGATE(CSNN_LISTED) };

// Where a convolution's input came from, and so where its input gradient goes. `data`: from outside, no gradient;
// `spikes`: from neurons that take their gradient per time step; `constant`: from neurons driven by a constant current,
// which take it summed over time.
enum class Source { data, spikes, constant };

struct Neuron {
  float beta, threshold;
  Reset reset;
};

// A convolution, stride 1, then pooling in cells of pool x pool positions (incomplete cells at the edges are dropped).
// A neuron belongs to one cell; without pooling, a cell is one position.
//
// Grids. Both have padded_height() x padded_width() places. The grid of positions has all positions of the kernel that
// cover at least one pixel, so the first valid one is at (margin(), margin()). The grid of inputs has the pixels with
// zeros around them, the first pixel at (padding, padding): position p covers the inputs from p on.
struct Shape {
  int64_t height, width, in, out;  // input pixels; channels, both rounded up to a multiple of 16
  int64_t channels;                // output channels that exist
  int64_t kernel;                  // height and width of the kernel
  int64_t padding;                 // zeros on every side of the input, at most half a kernel
  int64_t pool;                    // height and width of a cell
  bool max;                        // max-pool, otherwise average

  // A shift divides by a pool of 1 or 2; a division would dominate some loops.
  CSNN_INLINE constexpr int64_t rows() const { return (height + 2 * padding - kernel + 1) >> (pool - 1); }
  CSNN_INLINE constexpr int64_t columns() const { return (width + 2 * padding - kernel + 1) >> (pool - 1); }
  CSNN_INLINE constexpr int64_t margin() const { return kernel - 1 - padding; }
  CSNN_INLINE constexpr int64_t padded_height() const { return height + kernel - 1; }
  CSNN_INLINE constexpr int64_t padded_width() const { return width + kernel - 1; }
  // Columns of a kernel in conv_lif's layout: if places of a cell are side by side, a column of zeros comes first. A
  // place reads it, or the next row's, for a pixel that it doesn't cover.
  CSNN_INLINE constexpr int64_t tap_columns() const { return kernel + pool - 1; }
  // Weights of an output in that layout, with the zeros after the last row.
  CSNN_INLINE constexpr int64_t weights() const { return in * kernel * tap_columns() + pool - 1; }
  CSNN_INLINE constexpr int64_t inputs() const { return height * width * in; }
  CSNN_INLINE constexpr int64_t neurons() const { return rows() * columns() * out; }
};

// Neurons driven by a current that does not change with time.
struct ConstantLif {
  int64_t time, count, channels, stride;  // count neurons: groups of `stride`, of which the first `channels` exist
  Neuron neuron;
  const float* current;  // [image, count]
  uint16_t* bits;        // [image, time, count / 16]
  float* membranes;      // [image, time, count], or null
  float* last;           // [image, count]
};

struct ConvLif {
  Shape shape;
  int64_t time;
  Neuron neuron;
  const uint16_t* bits_in;       // [image, time, inputs / 16]
  int64_t weight_bits;           // of a weight, without its sign, if it's an integer times its scale; 0: a float
  const void* kernel = nullptr;  // in blocks of outputs, [weights(), outputs], floats or int16; set by forward.cc
  const float* scale = nullptr;  // [out], powers of two, for integers; set by forward.cc
  const float* taps = nullptr;   // [k, k, out]: sums of all inputs' weights, for floats; set by forward.cc
  int64_t most = INT64_MAX;      // number of such weights that int16 can add up; set by forward.cc
  const float* bias;             // [out]
  const float* added;            // [image, time, neurons]: a current to add to the pooled one, or null
  uint16_t* bits;                // [image, time, neurons / 16]
  float* membranes;              // [image, time, neurons], or null
  uint16_t* winners;             // [image, time, 2, neurons / 16]: low and high bit of the winner's place, or null
  float* last;                   // [image, neurons]
};

struct LinearLif {
  int64_t time, inputs, outputs, channels;
  Neuron neuron;
  const uint16_t* bits_in;       // [image, time, inputs / 16]
  int64_t weight_bits;           // as in ConvLif, like the next two
  const float* scale = nullptr;  // [outputs]
  int64_t most = INT64_MAX;
  const int32_t* spikes = nullptr;  // the inputs that spike, by image and step; set by forward.cc
  const int64_t* start = nullptr;   // [image * time + 1]: where a step's spikes begin; set by forward.cc
  const float* bias;                // [outputs]
  uint16_t* bits;                   // [image, time, outputs / 16]
  float* membranes;                 // [image, time, outputs], or null
  float* last;                      // [image, outputs]
};

// The reverse recurrence of a layer of neurons, with what it needs from the forward pass.
struct LifBackward {
  int64_t time, count;
  Neuron neuron;
  Surrogate surrogate;
  float slope;
  const float* dspikes = nullptr;  // [image, time, count]
  const float* membranes;          // [image, time, count]
  const float* given;              // [image, time, count]: the derivative for Surrogate::given, otherwise unused
  float* dcurrent = nullptr;       // [image, time, count], may be dspikes
  float* total = nullptr;          // [image, count]: dcurrent summed over time
  float* dbeta;                    // [image]
  float* dthreshold;               // [image]
};

struct LinearWeights {
  int64_t images, time, inputs, outputs;
  const uint64_t* history = nullptr;  // [image, inputs, words of 64 steps]: when each of `firing` spiked; set by ops.cc
  const int32_t* firing = nullptr;    // [image, 1 + inputs]: how many inputs spiked at all, and which; set by ops.cc
  const float* dcurrent;              // [image, time, outputs]
  float* dkernel;                     // [inputs, outputs]
};

// The pooled current of a convolution of an image that doesn't change with time.
struct ImageCurrent {
  Shape shape;          // its `in` isn't rounded up
  const float* image;   // [image, height, width, in]
  const float* kernel;  // [k, k, in, out]
  const float* bias;    // [out]
  float* current;       // [image, neurons]
  uint8_t* winners;     // [image, neurons]: the winner's place in its cell; or null
};

// The weight gradient of a convolution of an image that doesn't change with time, from its pooled current's gradient.
struct ImageWeights {
  Shape shape;             // its `in` isn't rounded up
  const float* image;      // [image, height, width, in]
  const float* dcurrent;   // [image, neurons]
  const uint8_t* winners;  // [image, neurons]: the winner's place in its cell; null for average pooling, and none
};

// A max-pool of a sum of spikes. Sums are planes: bit c of plane j says whether the sum of channel c is above j.
struct SpikePool {
  int64_t time, height, width, added, words;  // input pixels; spikes in a sum, 1 to most_added; words of each
  int64_t size, stride;                       // of the windows; incomplete ones are dropped
  const uint16_t* bits_in;                    // [image, time, height, width, added, words]
  uint16_t* bits = nullptr;                   // [image, time, rows, columns, added, words]: planes
  const float* dspikes = nullptr;             // [image, time, rows, columns, words * 16]: the gradient of the maxima
  float* dspikes_in = nullptr;                // [image, time, height, width, words * 16]: and of each input

  CSNN_INLINE constexpr int64_t rows() const { return (height - size) / stride + 1; }
  CSNN_INLINE constexpr int64_t columns() const { return (width - size) / stride + 1; }
};

// A gradient of spikes as a product that isn't computed yet, of a linear layer's dcurrent and its weights.
struct Product {
  int64_t inner = 0;             // outputs of that layer; 0: no product
  const float* left = nullptr;   // [image, time, inner]
  const float* right = nullptr;  // [cells, inner, out]: its weights, cell by cell
};

struct ConvBackward {
  Shape shape;
  LifBackward lif;  // of this layer; its dspikes are null if they are a product, its dcurrent if nobody reads it
  Product product{};
  const uint16_t* bits_in;      // [image, time, inputs / 16]
  const uint16_t* winners;      // [image, time, 2, neurons / 16], as ConvLif wrote them; unused for average pooling
  const float* kernel;          // [k, k, in, out]
  const float* grouped_kernel;  // the same numbers as [in / 16, out, k * k, 16]
  Source source = Source::data;
  int64_t leading;                    // Source::spikes: how many channels get a gradient, the first ones,
  float* dspikes_in = nullptr;        // and it: [image, time, height, width, leading]
  Neuron neuron_in{};                 // Source::constant: the input's neurons,
  Surrogate surrogate_in{};           // their surrogate, of the same slope,
  const float* current_in = nullptr;  // [image, inputs]: their current,
  float* dcurrent_in = nullptr;       // [image, inputs]: and its gradient
};

// One table per instruction set.
struct Kernels {
  const char* name;
  int64_t conv_block;  // outputs in a block of conv_lif's weights, as floats; the last ones are in blocks of 16
#define CSNN_KERNEL(Result, name, ...) Result (*name)(__VA_ARGS__);
#include "kernels/list.h"
#undef CSNN_KERNEL
};

}  // namespace csnn
