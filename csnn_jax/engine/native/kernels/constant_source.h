// The gradient of neurons behind a constant current, summed over the window without keeping a membrane.
//
// With the reset detached, the sum of dU over the window is
//     sum over t of f(t) derivative(U[t] - threshold) dS[t],        f(t) = (1 - beta^(t+1)) / (1 - beta) = 1 + beta f(t-1),
// so it is taken in forward order while U is recomputed (reset subtract or none). And a neuron that never fires settles: in
// float32 its U stops changing after a while (24 steps at beta 0.5), and so does f. From then on its dS may be summed first,
// and what the convolution would spread to such neurons only may be summed even before the convolution. Most
// neurons never fire.
#pragma once
#include "lif.h"

namespace csnn::ISA {

struct ConstantSource {
  CSNN_INLINE ConstantSource(const Shape& s, const Neuron& n) : shape(s), neuron(n) {}

  const Shape& shape;
  const Neuron neuron;
  // Channels are reordered, those that fire in this image first, so that whole groups of 16 never fire.
  int32_t* order = nullptr;     // [in]: the channel at each place
  float* kernel = nullptr;      // [in / 16, out, k * k, 16]
  float* current = nullptr;     // [in / 16, padded height, padded width, 16], as the next two
  float* membrane = nullptr;
  float* total = nullptr;       // the gradient so far
  uint16_t* fires = nullptr;    // [in / 16, padded height, padded width]: the lanes that fire in this image
  uint8_t* reaches = nullptr;   // [in / 16, cells]: whether the kernel, at a 2x2 cell's places, touches lanes that fire
  float* unspread = nullptr;    // [out / 16, padded height, padded width, 16]: dy summed since the neurons settled
  int64_t settles = 0;          // the step from which on no neuron that never fires changes, nor f
  float factor = 0;             // f
  double exact_factor = 0;

  CSNN_INLINE int64_t pixels() const { return shape.padded_height() * shape.padded_width(); }
  CSNN_INLINE int64_t groups() const { return shape.in / lanes; }
};

CSNN_INLINE void next_factor(ConstantSource& source) {
  source.exact_factor = 1 + static_cast<double>(source.neuron.beta) * source.exact_factor;
  source.factor = static_cast<float>(source.exact_factor);
}

// Runs the neurons that never fire until they settle; then starts anew.
inline void find_settling(ConstantSource& source, int64_t time) {
  const int64_t cells = source.pixels() * source.groups();
  uint16_t moving = 1;
  for (source.settles = 0; source.settles < time && moving; source.settles++) {
    const float factor_before = source.factor;
    next_factor(source);
    moving = source.factor != factor_before;
    for (int64_t i = 0; i < cells; i++) {
      const v16 before = load(source.membrane + i * lanes);
      const v16 u = step(before, load(source.current + i * lanes), source.neuron);
      store(source.membrane + i * lanes, u);
      moving |= (greater(u, before) | greater(before, u)) & ~source.fires[i];
    }
  }
  memset(source.membrane, 0, cells * lanes * sizeof(float));
  source.factor = 0;
  source.exact_factor = 0;
}

// Sets up from the image's spikes [time, height, width, in / 16], its current and the kernel [k, k, in, out].
inline void begin(ConstantSource& source, const uint16_t* bits, int64_t time, const float* current, const float* kernel) {
  const Shape& s = source.shape;
  const int64_t pixel = s.in / lanes, edge = s.kernel / 2, wide = s.padded_width(), taps = s.kernel * s.kernel;
  const int64_t cells = source.pixels() * source.groups();
  memset(source.current, 0, cells * lanes * sizeof(float));
  memset(source.membrane, 0, cells * lanes * sizeof(float));
  memset(source.total, 0, cells * lanes * sizeof(float));
  memset(source.fires, 0, cells * sizeof(uint16_t));
  memset(source.unspread, 0, source.pixels() * s.out * sizeof(float));

  // Until the order is known, `fires` holds channel groups as they are.
  for (int64_t t = 0; t < time; t++)
    for (int64_t y = 0; y < s.height; y++)
      for (int64_t x = 0; x < s.width; x++)
        for (int64_t g = 0; g < pixel; g++)
          source.fires[g * source.pixels() + (y + edge) * wide + x + edge] |= *bits++;
  int64_t front = 0, back = s.in;
  for (int64_t c = 0; c < s.in; c++) {
    uint16_t any = 0;
    for (int64_t p = 0; p < source.pixels(); p++) any |= source.fires[c / lanes * source.pixels() + p];
    source.order[any >> (c % lanes) & 1 ? front++ : --back] = static_cast<int32_t>(c);
  }
  for (int64_t p = 0; p < source.pixels(); p++) {
    uint16_t before[64];  // at most 1,024 channels; the handler checks
    for (int64_t g = 0; g < pixel; g++) before[g] = source.fires[g * source.pixels() + p];
    for (int64_t g = 0; g < pixel; g++) {
      unsigned bits_now = 0;
      for (int64_t i = 0; i < lanes; i++) {
        const int64_t c = source.order[g * lanes + i];
        bits_now |= (before[c / lanes] >> (c % lanes) & 1u) << i;
      }
      source.fires[g * source.pixels() + p] = static_cast<uint16_t>(bits_now);
    }
  }
  for (int64_t g = 0; g < pixel; g++) {
    for (int64_t i = 0; i < lanes; i++) {
      const int64_t c = source.order[g * lanes + i];
      for (int64_t y = 0; y < s.height; y++)
        for (int64_t x = 0; x < s.width; x++)
          source.current[(g * source.pixels() + (y + edge) * wide + x + edge) * lanes + i] =
              current[(y * s.width + x) * s.in + c];
      for (int64_t k = 0; k < taps; k++)
        for (int64_t o = 0; o < s.out; o++)
          source.kernel[((g * s.out + o) * taps + k) * lanes + i] = kernel[(k * s.in + c) * s.out + o];
    }
    for (int64_t cell = 0; cell < s.rows() * s.columns(); cell++) {
      const int64_t corner = cell / s.columns() * 2 * wide + cell % s.columns() * 2;
      uint16_t any = 0;
      for (int64_t i = 0; i <= s.kernel; i++)
        for (int64_t j = 0; j <= s.kernel; j++) any |= source.fires[g * source.pixels() + corner + i * wide + j];
      source.reaches[g * s.rows() * s.columns() + cell] = any != 0;
    }
  }
  find_settling(source, time);
}

// Takes the dspikes [in / 16, padded height, padded width, 16] of step `time` and leaves zeros; once the neurons that
// never fire have settled, leaves theirs to be summed.
template <Surrogate kind>
void take_step(ConstantSource& source, int64_t time, float* dspikes, float slope) {
  next_factor(source);
  const v16 threshold = all(source.neuron.threshold);
  for (int64_t i = 0; i < source.pixels() * source.groups(); i++) {
    if (time >= source.settles && !source.fires[i]) continue;
    const int64_t at = i * lanes;
    const v16 u = step(load(source.membrane + at), load(source.current + at), source.neuron);
    store(source.membrane + at, u);
    const v16 weight = source.factor * derivative<kind>(u - threshold, slope);
    store(source.total + at, load(source.total + at) + weight * load(dspikes + at));
    store(dspikes + at, v16{});
  }
}

// Takes what was left to sum, and writes the gradient [height, width, in].
template <Surrogate kind>
void finish(ConstantSource& source, const float* dspikes, float slope, float* dcurrent) {
  const Shape& s = source.shape;
  const int64_t edge = s.kernel / 2, wide = s.padded_width();
  const v16 threshold = all(source.neuron.threshold);
  for (int64_t i = 0; i < source.pixels() * source.groups(); i++) {
    if (source.fires[i]) continue;
    const int64_t at = i * lanes;
    const v16 weight = source.factor * derivative<kind>(load(source.membrane + at) - threshold, slope);
    store(source.total + at, load(source.total + at) + weight * load(dspikes + at));
  }
  for (int64_t y = 0; y < s.height; y++)
    for (int64_t x = 0; x < s.width; x++)
      for (int64_t c = 0; c < s.in; c++)
        dcurrent[(y * s.width + x) * s.in + source.order[c]] =
            source.total[(c / lanes * source.pixels() + (y + edge) * wide + x + edge) * lanes + c % lanes];
}

}  // namespace csnn::ISA
