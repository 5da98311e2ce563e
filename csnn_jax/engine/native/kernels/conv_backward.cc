// Backward pass of convolution, pooling and neurons: one image over the whole window.
//
// A max-pool passes one gradient in four, to the place in its 2x2 cell that won. So both halves visit the surviving
// gradients only: the weight gradient at the spikes, the input gradient cell by cell and winning place by place, with
// the k x k inputs that a place touches held in registers.
#include "constant_source.h"
#include "memory.h"

namespace csnn::ISA {

struct Scratch {
  float* dcurrent;  // [time, neurons]: gradient of the pooled current
  float* dy;        // [padded height, padded width, 16]: gradient of the convolution's output, 16 channels
  float* dspikes;   // [in / 16, padded height, padded width, 16]: gradient of the input spikes
  int32_t* count;   // [in]: spikes of each input channel
  int32_t* spikes;  // [in, height * width]: their places in the padded image
};

// The channels, of up to 64 from word `at` on, whose gradient goes to one place of the cell.
CSNN_INLINE uint64_t winning(const Shape& s, const uint16_t* winners, int64_t at, int64_t words, int64_t place) {
  const uint64_t all = words >= 4 ? ~uint64_t{0} : (uint64_t{1} << (16 * words)) - 1;
  if (!s.max) return all;
  const uint64_t low = load_words(winners + at, words), high = load_words(winners + s.neurons() / lanes + at, words);
  return (place & 1 ? low : ~low) & (place & 2 ? high : ~high) & all;
}

// Lists the input spikes of one step by channel, as places in the padded image.
static void list_spikes(const Shape& s, const uint16_t* bits, const Scratch& scratch) {
  memset(scratch.count, 0, s.in * sizeof(int32_t));
  const int64_t pixel = s.in / lanes;
  for (int64_t y = 0; y < s.height; y++) {
    for (int64_t x = 0; x < s.width; x++) {
      for (int64_t w = 0; w < pixel; w += 4) {
        uint64_t spikes = load_words(bits + (y * s.width + x) * pixel + w, pixel - w);
        for (; spikes; spikes &= spikes - 1) {
          const int64_t channel = w * lanes + __builtin_ctzll(spikes);
          scratch.spikes[channel * s.height * s.width + scratch.count[channel]++] = y * s.padded_width() + x;
        }
      }
    }
  }
}

// Spreads 16 channels of the pooled gradient to the places that won.
static void unpool(const Shape& s, const float* dcurrent, const uint16_t* winners, int64_t channel, float* dy) {
  const int64_t edge = s.kernel / 2, wide = s.padded_width();
  const float share = s.max ? 1.0f : 0.25f;
  for (int64_t y = 0; y < s.rows(); y++) {
    for (int64_t x = 0; x < s.columns(); x++) {
      const int64_t n = (y * s.columns() + x) * s.out + channel;
      const v16 gradient = load(dcurrent + n) * share;
      float* cell = dy + ((2 * y + edge) * wide + 2 * x + edge) * lanes;
      for (int64_t place = 0; place < 4; place++) {
        const auto wins = static_cast<uint16_t>(winning(s, winners, n / lanes, 1, place));
        store(cell + (place / 2 * wide + place % 2) * lanes, keep(wins, gradient));
      }
    }
  }
}

// dkernel[i, j, c, .] += sum over the spikes of channel c of dy at the position that sees them through (i, j).
template <int K>
void add_weights(const Shape& s, const Scratch& scratch, int64_t channel, float* dkernel) {
  const int64_t wide = s.padded_width();
  for (int64_t c = 0; c < s.in; c++) {
    const int32_t* spikes = scratch.spikes + c * s.height * s.width;
    if (!scratch.count[c]) continue;
    v16 total[K][K] = {};
    for (int32_t e = 0; e < scratch.count[c]; e++) {
      const float* corner = scratch.dy + spikes[e] * lanes;
      for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) total[i][j] += load(corner + ((K - 1 - i) * wide + K - 1 - j) * lanes);
    }
    for (int i = 0; i < K; i++) {
      for (int j = 0; j < K; j++) {
        float* out = dkernel + ((i * K + j) * s.in + c) * s.out + channel;
        store(out, load(out) + total[i][j]);
      }
    }
  }
}

// dspikes += the convolution of dy with the transposed kernel, for one group of 16 input channels.
// At positions where `reaches` (of padded width) is 0 nothing is done; null: nowhere.
template <int K>
void spread(const Shape& s, const float* dcurrent, const uint16_t* winners, const float* kernel, const uint8_t* reaches,
            float* dspikes) {
  constexpr int64_t block = 32;  // output channels whose weights, 18 KB, stay in the L1 cache
  const int64_t wide = s.padded_width();
  const float share = s.max ? 1.0f : 0.25f;
  for (int64_t c = 0; c < s.out; c += block) {
    const int64_t words = (s.out - c < block ? s.out - c : block) / lanes;
    for (int64_t cell = 0; cell < s.rows() * s.columns(); cell++) {
      const int64_t n = cell * s.out + c, y = cell / s.columns() * 2, x = cell % s.columns() * 2;
      for (int64_t place = 0; place < 4; place++) {
        const int64_t position = (y + place / 2) * wide + x + place % 2;
        if (reaches && !reaches[position]) continue;
        float* corner = dspikes + position * lanes;
        v16 total[K][K];
        for (int i = 0; i < K; i++)
          for (int j = 0; j < K; j++) total[i][j] = load(corner + (i * wide + j) * lanes);
        uint64_t wins = winning(s, winners, n / lanes, words, place);
        for (; wins; wins &= wins - 1) {
          const int64_t channel = __builtin_ctzll(wins);
          const v16 gradient = all(dcurrent[n + channel] * share);
          const float* weights = kernel + (c + channel) * K * K * lanes;
          for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++) total[i][j] += gradient * load(weights + (i * K + j) * lanes);
        }
        for (int i = 0; i < K; i++)
          for (int j = 0; j < K; j++) store(corner + (i * wide + j) * lanes, total[i][j]);
      }
    }
  }
}

// The same for dy summed over time, at the positions that `spread` left out.
template <int K>
void spread_sum(const Shape& s, const float* dy, const float* kernel, const uint8_t* reaches, float* dspikes) {
  const int64_t wide = s.padded_width(), edge = s.kernel / 2, grid = s.padded_height() * wide * lanes;
  for (int64_t y = 0; y < s.rows() * 2; y++) {
    for (int64_t x = 0; x < s.columns() * 2; x++) {
      if (reaches[y * wide + x]) continue;
      float* corner = dspikes + (y * wide + x) * lanes;
      for (int64_t channel = 0; channel < s.out; channel++) {
        const v16 gradient = all(dy[channel / lanes * grid + ((y + edge) * wide + x + edge) * lanes + channel % lanes]);
        const float* weights = kernel + channel * K * K * lanes;
        for (int i = 0; i < K; i++) {
          for (int j = 0; j < K; j++) {
            float* out = corner + (i * wide + j) * lanes;
            store(out, load(out) + gradient * load(weights + (i * K + j) * lanes));
          }
        }
      }
    }
  }
}

// Without the zeros around it, to [height, width, in].
static void copy_inside(const Shape& s, const float* padded, float* inside) {
  const int64_t edge = s.kernel / 2, wide = s.padded_width(), grid = s.padded_height() * wide * lanes;
  for (int64_t y = 0; y < s.height; y++)
    for (int64_t x = 0; x < s.width; x++)
      for (int64_t g = 0; g < s.in / lanes; g++)
        store(inside + (y * s.width + x) * s.in + g * lanes,
              load(padded + g * grid + ((y + edge) * wide + x + edge) * lanes));
}

template <int K>
void backward(const ConvBackward& a, int64_t image, const Scratch& scratch, ConstantSource& constant, float* dkernel,
              float* dbias) {
  const Shape& s = a.shape;
  const int64_t words = s.neurons() / lanes, grid = s.padded_height() * s.padded_width() * lanes;
  const bool is_constant = a.source == Source::constant;
  const float* kernel = is_constant ? constant.kernel : a.grouped_kernel;
  for (int64_t t = 0; t < a.lif.time; t++) {
    const int64_t step_at = image * a.lif.time + t;
    const float* dcurrent = scratch.dcurrent + t * s.neurons();
    const uint16_t* winners = a.winners + step_at * 2 * words;
    const bool settled = is_constant && constant.settled;
    list_spikes(s, a.bits_in + step_at * s.inputs() / lanes, scratch);
    for (int64_t c = 0; c < s.out; c += lanes) {
      unpool(s, dcurrent, winners, c, scratch.dy);
      add_weights<K>(s, scratch, c, dkernel);
      v16 total{};
      for (int64_t p = 0; p < s.rows() * s.columns(); p++) total += load(dcurrent + p * s.out + c);
      store(dbias + c, load(dbias + c) + total);
      float* unspread = constant.unspread + c / lanes * grid;
      if (settled)
        for (int64_t i = 0; i < grid; i += lanes) store(unspread + i, load(unspread + i) + load(scratch.dy + i));
    }
    if (a.source == Source::data) continue;
    for (int64_t g = 0; g < s.in / lanes; g++) {
      const uint8_t* reaches = settled ? constant.reaches + g * grid / lanes : nullptr;
      spread<K>(s, dcurrent, winners, kernel + g * s.out * K * K * lanes, reaches, scratch.dspikes + g * grid);
    }
    if (is_constant) {
      with_surrogate(a.lif.surrogate,
                     [&]<Surrogate kind>() { take_step<kind>(constant, scratch.dspikes, a.lif.slope); });
    } else {
      copy_inside(s, scratch.dspikes, a.dspikes_in + step_at * s.inputs());
      memset(scratch.dspikes, 0, s.in / lanes * grid * sizeof(float));
    }
  }
  if (!is_constant) return;
  if (constant.settled)
    for (int64_t g = 0; g < s.in / lanes; g++)
      spread_sum<K>(s, constant.unspread, kernel + g * s.out * K * K * lanes, constant.reaches + g * grid / lanes,
                    scratch.dspikes + g * grid);
  with_surrogate(a.lif.surrogate, [&]<Surrogate kind>() {
    finish<kind>(constant, scratch.dspikes, a.lif.slope, a.dcurrent_in + image * s.inputs());
  });
}

void conv_backward(const ConvBackward& a, int64_t image, char* scratch_memory, float* dkernel, float* dbias) {
  const Shape& s = a.shape;
  const int64_t pixels = s.padded_height() * s.padded_width();
  Memory memory{scratch_memory};
  Scratch scratch{};
  scratch.dcurrent = memory.take<float>(a.lif.time * s.neurons());
  scratch.dy = memory.take<float>(pixels * lanes);
  scratch.dspikes = memory.take<float>(pixels * s.in);
  scratch.count = memory.take<int32_t>(s.in);
  scratch.spikes = memory.take<int32_t>(s.in * s.height * s.width);
  ConstantSource constant(s, a.neuron_in);
  if (a.source == Source::constant) {
    constant.order = memory.take<int32_t>(s.in);
    constant.kernel = memory.take<float>(s.kernel * s.kernel * s.in * s.out);
    constant.current = memory.take<float>(pixels * s.in);
    constant.membrane = memory.take<float>(pixels * s.in);
    constant.total = memory.take<float>(pixels * s.in);
    constant.fires = memory.take<uint16_t>(pixels * s.in / lanes);
    constant.reaches = memory.take<uint8_t>(pixels * s.in / lanes);
    constant.unspread = memory.take<float>(pixels * s.out);
    begin(constant, a.bits_in + image * a.lif.time * s.inputs() / lanes, a.lif.time, a.current_in + image * s.inputs(),
          a.kernel);
  }

  const int64_t at = image * a.lif.time * s.neurons();
  with_surrogate(a.lif.surrogate, [&]<Surrogate kind>() {
    reverse<kind>(a.lif, a.lif.dspikes + at, a.lif.membranes + at, a.lif.given + at, scratch.dcurrent,
                  a.lif.dbeta + image, a.lif.dthreshold + image);
  });
  memset(scratch.dy, 0, pixels * lanes * sizeof(float));
  memset(scratch.dspikes, 0, pixels * s.in * sizeof(float));
  switch (s.kernel) {
    case 1: return backward<1>(a, image, scratch, constant, dkernel, dbias);
    case 3: return backward<3>(a, image, scratch, constant, dkernel, dbias);
    case 5: return backward<5>(a, image, scratch, constant, dkernel, dbias);
    case 7: return backward<7>(a, image, scratch, constant, dkernel, dbias);
  }
}

}  // namespace csnn::ISA
