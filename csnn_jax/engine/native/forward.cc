// The forward pass of whole layers.
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

#include "buffers.h"

namespace csnn {

// Packs one step into `bits`, which are 0 at first. Most numbers in frames are 0, so eight bytes are checked at a time.
template <typename Number>
static void pack_step(const Number* x, int64_t groups, int64_t channels, int64_t planes, uint16_t* bits) {
  constexpr int64_t each = 8 / sizeof(Number);
  const int64_t numbers = groups * channels, words = divide_up(planes * channels, lanes), most = (1 << planes) - 1;
  for (int64_t first = 0; first < numbers; first += each) {
    const int64_t end = std::min(first + each, numbers);
    uint64_t any = 1;
    if (end - first == each) std::memcpy(&any, x + first, sizeof any);
    for (int64_t i = first; any && i < end; i++) {
      const Number value = x[i];
      if (value == 0) continue;
      const int64_t count = value >= 1 && value <= static_cast<Number>(most) ? static_cast<int64_t>(value) : 0;
      if (static_cast<Number>(count) != value)
        throw std::invalid_argument("the event engine takes whole numbers from 0 to " + std::to_string(most) +
                                    " in a sequence, not other numbers");
      const int64_t group = static_cast<uint32_t>(i) / static_cast<uint32_t>(channels), c = i - group * channels;
      for (int64_t p = 0; p < planes; p++) {
        const int64_t n = p * channels + c;
        bits[group * words + n / lanes] |= (count >> p & 1) << (n % lanes);
      }
    }
  }
}

template <typename Number>
void pack(const Number* x, int64_t time, int64_t images, int64_t groups, int64_t channels, int64_t planes,
          uint16_t* bits, const Workers& workers) {
  const int64_t words = divide_up(planes * channels, lanes);
  workers.each(images, [&](int64_t image, int64_t) {
    for (int64_t t = 0; t < time; t++) {
      uint16_t* to = bits + (image * time + t) * groups * words;
      std::fill(to, to + groups * words, 0);
      pack_step(x + (t * images + image) * groups * channels, groups, channels, planes, to);
    }
  });
}

template void pack(const float*, int64_t, int64_t, int64_t, int64_t, int64_t, uint16_t*, const Workers&);
template void pack(const uint8_t*, int64_t, int64_t, int64_t, int64_t, int64_t, uint16_t*, const Workers&);

void pool_spikes(const SpikePool& a, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  workers.each(images, [&](int64_t image, int64_t) { k.pool_spikes(a, image); });
}

void constant_lif(const ConstantLif& a, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  workers.each(images, [&](int64_t image, int64_t) { k.constant_lif(a, image); });
}

void image_current(const ImageCurrent& a, int64_t images, const Workers& workers) {
  const Shape& s = a.shape;
  PerWorker scratch(workers.threads(), s.padded_height() * s.padded_width() * s.in * sizeof(float));
  workers.each(images, [&](int64_t image, int64_t worker) {
    kernels().image_current(a, image, reinterpret_cast<float*>(scratch[worker]));
  });
}

// For each output, the power of two by which its weights [rows, outputs] are integers of `bits` bits, and its inverse.
struct Scales {
  Floats scale, inverse;
};

static Scales scales_of(const float* kernel, int64_t rows, int64_t outputs, int64_t bits, const Workers& workers) {
  constexpr int64_t tall = 256;
  const int64_t chunks = divide_up(rows, tall);
  std::vector<float> largest(chunks * outputs);
  workers.each(chunks, [&](int64_t chunk, int64_t) {
    const int64_t first = chunk * tall, count = std::min(tall, rows - first);
    kernels().largest_weights(kernel + first * outputs, count, outputs, largest.data() + chunk * outputs);
  });
  Scales scales{allocate(outputs), allocate(outputs)};
  for (int64_t n = 0; n < outputs; n++) {
    float most = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) most = std::max(most, largest[chunk * outputs + n]);
    const int exponent = most > 0 && std::isfinite(most) ? std::ilogb(most) + 1 : 0;
    scales.scale[n] = std::ldexp(1.0f, exponent - static_cast<int>(bits));
    scales.inverse[n] = std::ldexp(1.0f, static_cast<int>(bits) - exponent);
  }
  return scales;
}

// Outputs in the narrowest block of such weights; the widest block is wider by the same factor as for floats.
template <typename Number>
constexpr int64_t least = lanes * static_cast<int64_t>(sizeof(float) / sizeof(Number));

template <typename Number>
int64_t arranged_size(const Shape& s) {
  return s.weights() * divide_up(s.out, least<Number>) * least<Number>;
}

template <typename Number>
void arrange_weights(const Shape& s, const Number* kernel, Number* to) {
  const int64_t columns = s.tap_columns(), edge = columns - s.kernel, all = arranged_size<Number>(s) / s.weights();
  const int64_t widest = kernels().conv_block / lanes * least<Number>;
  std::fill(to, to + arranged_size<Number>(s), Number{});
  for (int64_t first = 0, width; first < all; first += width) {
    width = first + widest <= all ? widest : least<Number>;
    Number* block = to + first * s.weights();
    for (int64_t i = 0; i < s.kernel; i++)
      for (int64_t j = 0; j < s.kernel; j++)
        for (int64_t c = 0; c < s.in; c++)
          std::copy_n(kernel + ((i * s.kernel + j) * s.in + c) * s.out + first, std::min(width, s.out - first),
                      block + ((c * s.kernel + i) * columns + edge + j) * width);
  }
}

template int64_t arranged_size<float>(const Shape&);
template void arrange_weights(const Shape&, const float*, float*);

template <typename Number>
static Numbers<Number> arranged(const Shape& s, const Number* kernel) {
  Numbers<Number> to = allocate<Number>(arranged_size<Number>(s));
  arrange_weights(s, kernel, to.get());
  return to;
}

void sum_taps(const Shape& s, const float* kernel, float* taps) {
  std::fill_n(taps, s.kernel * s.kernel * s.out, 0.0f);
  for (int64_t row = 0; row < s.kernel * s.kernel * s.in; row++)
    for (int64_t n = 0; n < s.out; n++) taps[row / s.in * s.out + n] += kernel[row * s.out + n];
}

void conv_lif(ConvLif a, const float* kernel, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  const Shape& s = a.shape;
  const int64_t rows = s.kernel * s.kernel * s.in;
  Scales scales;
  Floats floats, taps;
  Numbers<int16_t> whole;
  if (a.weight_bits) {
    scales = scales_of(kernel, rows, s.out, a.weight_bits, workers);
    const Numbers<int16_t> units = allocate<int16_t>(rows * s.out);
    if (k.to_whole(kernel, rows, s.out, s.out, scales.inverse.get(), units.get(), s.out)) {
      whole = arranged<int16_t>(s, units.get());
      a.kernel = whole.get(), a.scale = scales.scale.get(), a.most = INT16_MAX >> a.weight_bits;
    }
  }
  if (!a.kernel) {  // also if training diverged and left other weights
    floats = arranged(s, kernel), taps = allocate(s.kernel * s.kernel * s.out);
    sum_taps(s, kernel, taps.get());
    a.kernel = floats.get(), a.taps = taps.get();
  }
  PerWorker scratch(workers.threads(), k.conv_lif_scratch(a));
  workers.each(images, [&](int64_t image, int64_t worker) { k.conv_lif(a, image, scratch[worker]); });
}

namespace {

// A linear layer's outputs in blocks of up to `widest`, each with contiguous columns: rows a power of two apart would
// compete for the same cache lines.
struct Blocks {
  int64_t inputs, outputs, widest, least;  // a block's rows are padded to a multiple of `least`

  int64_t count() const { return divide_up(outputs, widest); }
  int64_t width(int64_t block) const { return std::min(widest, outputs - block * widest); }
  int64_t padded(int64_t block) const { return divide_up(width(block), least) * least; }
  int64_t start(int64_t block) const { return block * widest * inputs; }
  int64_t size() const { return divide_up(outputs, least) * least * inputs; }
};

}  // namespace

// Runs the images in chunks, block by block.
static void linear_blocks(const LinearLif& a, const Blocks& blocks, int64_t images, const Workers& workers,
                          const std::function<const void*(int64_t)>& weights) {
  constexpr int64_t chunk = 8;
  const int64_t chunks = divide_up(images, chunk);
  workers.each(blocks.count() * chunks, [&](int64_t unit, int64_t) {
    const int64_t block = unit / chunks, first = unit % chunks * chunk;
    for (int64_t image = first; image < std::min(first + chunk, images); image++)
      kernels().linear_lif(a, image, block * blocks.widest, blocks.width(block), weights(block));
  });
}

// Returns false if the weights aren't integers.
static bool linear_whole(LinearLif a, const float* kernel, int64_t images, const Workers& workers) {
  const Blocks blocks{a.inputs, a.outputs, 2 * most_width, 2 * lanes};
  const Scales scales = scales_of(kernel, a.inputs, a.outputs, a.weight_bits, workers);
  const Numbers<int16_t> packed = allocate<int16_t>(blocks.size());
  std::atomic<bool> whole = true;
  workers.each(blocks.count(), [&](int64_t block, int64_t) {
    const int64_t column = block * blocks.widest;
    if (!kernels().to_whole(kernel + column, a.inputs, blocks.width(block), a.outputs, scales.inverse.get() + column,
                            packed.get() + blocks.start(block), blocks.padded(block)))
      whole = false;
  });
  if (!whole) return false;
  a.scale = scales.scale.get(), a.most = INT16_MAX >> a.weight_bits;
  linear_blocks(a, blocks, images, workers, [&](int64_t block) { return packed.get() + blocks.start(block); });
  return true;
}

static void linear_floats(const LinearLif& a, const float* kernel, int64_t images, const Workers& workers) {
  const Blocks blocks{a.inputs, a.outputs, most_width, lanes};
  const Floats packed = allocate(blocks.size());
  workers.each(blocks.count(), [&](int64_t block, int64_t) {
    float* to = packed.get() + blocks.start(block);
    for (int64_t n = 0; n < a.inputs; n++, to += blocks.width(block))
      std::copy_n(kernel + n * a.outputs + block * blocks.widest, blocks.width(block), to);
  });
  linear_blocks(a, blocks, images, workers, [&](int64_t block) { return packed.get() + blocks.start(block); });
}

void linear_lif(LinearLif a, const float* kernel, int64_t images, const Workers& workers) {
  const Kernels& k = kernels();
  const int64_t words = a.inputs / lanes, steps = images * a.time;
  std::vector<int64_t> start(steps + 1);
  workers.each(images, [&](int64_t image, int64_t) {
    for (int64_t at = image * a.time; at < (image + 1) * a.time; at++)
      start[at + 1] = k.count_spikes(a.bits_in + at * words, words);
  });
  for (int64_t at = 0; at < steps; at++) start[at + 1] += start[at];
  const Numbers<int32_t> spikes = allocate<int32_t>(start[steps]);
  workers.each(images, [&](int64_t image, int64_t) {
    for (int64_t at = image * a.time; at < (image + 1) * a.time; at++)
      k.list_spikes(a.bits_in + at * words, words, spikes.get() + start[at]);
  });
  a.start = start.data();
  a.spikes = spikes.get();
  if (!a.weight_bits || !linear_whole(a, kernel, images, workers)) linear_floats(a, kernel, images, workers);
}

}  // namespace csnn
