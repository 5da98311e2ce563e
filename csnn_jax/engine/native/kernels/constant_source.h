// The gradient of neurons driven by a constant current, summed over the window without storing membranes.
//
// With the reset detached, the sum of dU over the window is
//     sum over t of f(t) derivative(U[t] - threshold) dS[t],    f(t) = (1 - beta^(t+1)) / (1 - beta) = 1 + beta f(t-1),
// so it's computed in forward order while U is recomputed (reset subtract or none). And a neuron that never fires
// settles: in float32, its U stops changing after a while (24 steps at beta 0.5), and so does f. From then on, its dS
// can be summed first, and gradients that the convolution would spread only to such neurons can be summed even before
// the convolution. Most neurons never fire.
#pragma once
#include "lif.h"
#include "memory.h"

namespace csnn::ISA {

struct ConstantSource {
  CSNN_INLINE ConstantSource(const Shape& s, const Neuron& n) : shape(s), neuron(n) {}

  const Shape& shape;
  const Neuron neuron;
  // Channels are reordered, those that fire in this image first, so that whole groups of 16 never fire.
  int32_t* order = nullptr;       // [in]: the channel at each place
  float* reordered = nullptr;     // the kernel [in / 16, out, k * k, 16], channels reordered
  const float* kernel = nullptr;  // that, or the layer's own
  float* current = nullptr;       // [in / 16, grid of inputs, 16], like the next two
  float* membrane = nullptr;
  float* total = nullptr;      // the gradient so far
  uint16_t* fires = nullptr;   // [in / 16, grid of inputs]: the lanes that fire in this image
  uint8_t* reaches = nullptr;  // [in / 16, cells]: whether the kernel, at a cell's places, covers lanes that fire
  float* unspread = nullptr;   // [out / 16, grid of positions, 16]: dy summed since the neurons settled
  int64_t settles = 0;         // the step from which neurons that never fire, and f, don't change
  float factor = 0;            // f
  double exact_factor = 0;

  CSNN_INLINE int64_t pixels() const { return shape.padded_height() * shape.padded_width(); }
  CSNN_INLINE int64_t groups() const { return shape.in / lanes; }
  CSNN_INLINE int64_t vectors() const { return pixels() * groups(); }
  CSNN_INLINE int64_t cells() const { return shape.rows() * shape.columns(); }
};

inline void lay_out(Memory& memory, ConstantSource& source) {
  const Shape& s = source.shape;
  source.order = memory.take<int32_t>(s.in);
  source.reordered = memory.take<float>(s.kernel * s.kernel * s.in * s.out);
  source.current = memory.take<float>(source.vectors() * lanes);
  source.membrane = memory.take<float>(source.vectors() * lanes);
  source.total = memory.take<float>(source.vectors() * lanes);
  source.fires = memory.take<uint16_t>(source.vectors());
  source.reaches = memory.take<uint8_t>(source.groups() * source.cells());
  source.unspread = memory.take<float>(source.pixels() * s.out);
}

// Lists the channels in `order`, those that fire in this image first; `fires` has the channels in their own order.
inline void order_channels(ConstantSource& source) {
  int64_t front = 0, back = source.shape.in;
  for (int64_t c = 0; c < source.shape.in; c++) {
    uint16_t any = 0;
    for (int64_t p = 0; p < source.pixels(); p++) any |= source.fires[c / lanes * source.pixels() + p];
    source.order[any >> (c % lanes) & 1 ? front++ : --back] = static_cast<int32_t>(c);
  }
}

// Moves the bits of one pixel's channels, in words `stride` apart, to their places in `order`.
inline void reorder(const int32_t* order, int64_t words, int64_t stride, uint16_t* bits) {
  uint16_t before[most_constant_channels / lanes];
  for (int64_t w = 0; w < words; w++) before[w] = bits[w * stride];
  for (int64_t w = 0; w < words; w++) {
    unsigned after = 0;
    for (int64_t i = 0; i < lanes; i++) {
      const int64_t c = order[w * lanes + i];
      after |= (before[c / lanes] >> (c % lanes) & 1u) << i;
    }
    bits[w * stride] = static_cast<uint16_t>(after);
  }
}

// Fills `fires` from the image's spikes [time, height, width, in / 16], with the channels as they are.
inline void find_firing(ConstantSource& source, const uint16_t* bits, int64_t time) {
  const Shape& s = source.shape;
  const int64_t wide = s.padded_width();
  memset(source.fires, 0, source.vectors() * sizeof(uint16_t));
  for (int64_t t = 0; t < time; t++)
    for (int64_t y = 0; y < s.height; y++)
      for (int64_t x = 0; x < s.width; x++)
        for (int64_t g = 0; g < source.groups(); g++)
          source.fires[g * source.pixels() + (y + s.padding) * wide + x + s.padding] |= *bits++;
  for (int64_t c = 0; c < s.in; c++) source.order[c] = static_cast<int32_t>(c);
}

// Copies the current [height, width, in], channels reordered, with zeros around it.
inline void gather_current(ConstantSource& source, const float* current) {
  const Shape& s = source.shape;
  const int64_t wide = s.padded_width();
  memset(source.current, 0, source.vectors() * lanes * sizeof(float));
  for (int64_t place = 0; place < s.in; place++) {
    const int64_t c = source.order[place];
    float* to = source.current + place / lanes * source.pixels() * lanes + place % lanes;
    for (int64_t y = 0; y < s.height; y++)
      for (int64_t x = 0; x < s.width; x++)
        to[((y + s.padding) * wide + x + s.padding) * lanes] = current[(y * s.width + x) * s.in + c];
  }
}

// Copies the kernel [k, k, in, out], channels reordered.
inline void gather_kernel(ConstantSource& source, const float* kernel) {
  const Shape& s = source.shape;
  const int64_t taps = s.kernel * s.kernel;
  for (int64_t place = 0; place < s.in; place++) {
    const int64_t c = source.order[place];
    float* to = source.reordered + place / lanes * s.out * taps * lanes + place % lanes;
    for (int64_t k = 0; k < taps; k++)
      for (int64_t o = 0; o < s.out; o++) to[(o * taps + k) * lanes] = kernel[(k * s.in + c) * s.out + o];
  }
}

// Fills `reaches` from `fires`.
inline void mark_reaches(ConstantSource& source) {
  const Shape& s = source.shape;
  const int64_t wide = s.padded_width();
  for (int64_t g = 0; g < source.groups(); g++) {
    for (int64_t cell = 0; cell < source.cells(); cell++) {
      const int64_t corner = cell / s.columns() * s.pool * wide + cell % s.columns() * s.pool;
      uint16_t any = 0;
      for (int64_t i = 0; i < s.kernel + s.pool - 1; i++)
        for (int64_t j = 0; j < s.kernel + s.pool - 1; j++)
          any |= source.fires[g * source.pixels() + corner + i * wide + j];
      source.reaches[g * source.cells() + cell] = any != 0;
    }
  }
}

// Puts the channels that fire in this image first.
inline void put_firing_first(ConstantSource& source, const float* current, const float* kernel) {
  order_channels(source);
  for (int64_t p = 0; p < source.pixels(); p++)
    reorder(source.order, source.groups(), source.pixels(), source.fires + p);
  gather_current(source, current);
  gather_kernel(source, kernel);
  source.kernel = source.reordered;
  mark_reaches(source);
}

CSNN_INLINE void next_factor(ConstantSource& source) {
  source.exact_factor = 1 + static_cast<double>(source.neuron.beta) * source.exact_factor;
  source.factor = static_cast<float>(source.exact_factor);
}

// Resets to the state before the first step.
inline void rewind(ConstantSource& source) {
  memset(source.membrane, 0, source.vectors() * lanes * sizeof(float));
  source.factor = 0;
  source.exact_factor = 0;
}

// The step from which on f stops changing, or `time`.
inline int64_t factor_settles(ConstantSource& source, int64_t time) {
  for (int64_t t = 0; t < time; t++) {
    const float before = source.factor;
    next_factor(source);
    if (source.factor == before) return t;
  }
  return time;
}

// Fills `settles`: runs the neurons until those that never fire stop changing, unless f changes to the end.
inline void find_settling(ConstantSource& source, int64_t time) {
  rewind(source);
  source.settles = factor_settles(source, time);
  if (source.settles == time) return rewind(source);
  rewind(source);
  const int64_t vectors = source.vectors();
  uint16_t moving = 1;
  for (source.settles = 0; source.settles < time && moving; source.settles++) {
    const float factor_before = source.factor;
    next_factor(source);
    moving = source.factor != factor_before;
    for (int64_t i = 0; i < vectors; i++) {
      const v16 before = load(source.membrane + i * lanes);
      const v16 u = step(before, load(source.current + i * lanes), source.neuron);
      store(source.membrane + i * lanes, u);
      moving |= (greater(u, before) | greater(before, u)) & ~source.fires[i];
    }
  }
  rewind(source);
}

// Sets up from the image's spikes [time, height, width, in / 16], its current, and the kernel [k, k, in, out] and in
// groups of 16 channels. In a window too short for any neuron to settle, the order of the channels makes no difference.
inline void begin(ConstantSource& source, const uint16_t* bits, int64_t time, const float* current, const float* kernel,
                  const float* grouped_kernel) {
  assert(source.shape.in <= most_constant_channels && source.neuron.reset != Reset::zero);
  find_firing(source, bits, time);
  gather_current(source, current);
  find_settling(source, time);
  if (source.settles < time) {
    put_firing_first(source, current, kernel);
    memset(source.unspread, 0, source.pixels() * source.shape.out * sizeof(float));
  } else {
    source.kernel = grouped_kernel;
    memset(source.reaches, 1, source.groups() * source.cells());
  }
  memset(source.total, 0, source.vectors() * lanes * sizeof(float));
}

// Adds the dspikes [in / 16, grid of inputs, 16] of step `t` and clears them; once the neurons that never fire have
// settled, theirs are left to accumulate.
template <Surrogate kind>
void take_step(ConstantSource& source, int64_t t, float* dspikes, float slope) {
  next_factor(source);
  const v16 threshold = all(source.neuron.threshold);
  for (int64_t i = 0; i < source.vectors(); i++) {
    if (t >= source.settles && !source.fires[i]) continue;
    const int64_t at = i * lanes;
    const v16 u = step(load(source.membrane + at), load(source.current + at), source.neuron);
    store(source.membrane + at, u);
    const v16 weight = source.factor * derivative<kind>(u - threshold, slope);
    store(source.total + at, load(source.total + at) + weight * load(dspikes + at));
    store(dspikes + at, v16{});
  }
}

// Adds the accumulated dspikes, and writes the gradient [height, width, in].
template <Surrogate kind>
void finish(ConstantSource& source, const float* dspikes, float slope, float* dcurrent) {
  const Shape& s = source.shape;
  const int64_t wide = s.padded_width();
  const v16 threshold = all(source.neuron.threshold);
  for (int64_t i = 0; i < source.vectors(); i++) {
    if (source.fires[i]) continue;
    const int64_t at = i * lanes;
    const v16 weight = source.factor * derivative<kind>(load(source.membrane + at) - threshold, slope);
    store(source.total + at, load(source.total + at) + weight * load(dspikes + at));
  }
  for (int64_t y = 0; y < s.height; y++)
    for (int64_t x = 0; x < s.width; x++)
      for (int64_t c = 0; c < s.in; c++)
        dcurrent[(y * s.width + x) * s.in + source.order[c]] =
            source.total[(c / lanes * source.pixels() + (y + s.padding) * wide + x + s.padding) * lanes + c % lanes];
}

}  // namespace csnn::ISA
