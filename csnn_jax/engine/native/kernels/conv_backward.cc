// Backward pass of convolution, pooling and neurons: one image over the whole window.
//
// A max-pool passes one gradient in four, to the winning place in its cell. So both halves visit only the surviving
// gradients: the weight gradient at the spikes, the input gradient cell by cell and winning place by place, with the
// inputs that a cell covers in registers.
//
// With a constant source, a cell is still if none of the inputs that it covers ever fires: its own membranes then
// settle too. From the step at which both have settled, only the sum of its gradient over time is needed.
#include "constant_source.h"
#include "product.h"
#include "spread.h"

namespace csnn::ISA {

struct Scratch {
  float* dcurrent;   // [time, neurons]: gradient of the pooled current; at first, of the spikes
  float* dy;         // [grid of positions, 16]: gradient of the convolution's output, 16 channels
  float* dspikes;    // [in / 16, grid of inputs, 16]: gradient of the input spikes
  int32_t* count;    // [in]: spikes of each input channel
  int32_t* spikes;   // [in, height * width]: the first positions that cover them
  uint8_t* covered;  // [cells]: whether they cover a spike
  float* sums;       // [2, inner]: two sums over time of the left side of a product
  float* still;      // [2, neurons]: their products for the still cells
};

// Marks the cells that cover any of the pixels from `left` to `right` in row `y`.
static void mark_cells(const Shape& s, int64_t y, int64_t left, int64_t right, uint8_t* marked) {
  const auto first = [&](int64_t pixel) {
    const int64_t position = pixel + s.padding - s.kernel + 1;
    return position < 0 ? 0 : position >> (s.pool - 1);
  };
  const auto end = [&](int64_t pixel, int64_t count) {
    const int64_t after = ((pixel + s.padding) >> (s.pool - 1)) + 1;
    return after < count ? after : count;
  };
  for (int64_t row = first(y); row < end(y, s.rows()); row++)
    for (int64_t column = first(left); column < end(right, s.columns()); column++)
      marked[row * s.columns() + column] = 1;
}

// Lists the input spikes of one step by channel, as the first positions that cover them; marks the cells that cover any
// in `covered`, unless that is null.
static void list_by_channel(const Shape& s, const uint16_t* bits, const Scratch& scratch, uint8_t* covered) {
  if (covered) memset(covered, 0, s.rows() * s.columns());
  memset(scratch.count, 0, s.in * sizeof(int32_t));
  const int64_t pixel = s.in / lanes, some = pixel <= 2 ? 4 / pixel : 1;  // pixels whose spikes are listed at once
  const int shift = some == 4 ? 4 : some == 2 ? 5 : 6;                    // 2^shift channels of each
  for (int64_t y = 0; y < s.height; y++, bits += s.width * pixel) {
    for (int64_t x = 0; x < s.width; x += some) {
      const int64_t words = (x + some < s.width ? some : s.width - x) * pixel;
      for (int64_t w = 0; w < words; w += 4) {
        uint64_t spikes = load_words(bits + x * pixel + w, words - w);
        if (covered && spikes) mark_cells(s, y, x, x + some - 1, covered);
        for (; spikes; spikes &= spikes - 1) {
          const int64_t bit = __builtin_ctzll(spikes), channel = w * lanes + (bit & ((1 << shift) - 1));
          const int64_t at = y * s.padded_width() + x + (bit >> shift);
          scratch.spikes[channel * s.height * s.width + scratch.count[channel]++] = static_cast<int32_t>(at);
        }
      }
    }
  }
}

// dkernel[c, ., i, j] += sum over the spikes of channel c of dy at the position that covers them with (i, j).
template <int K>
void add_weights(const Shape& s, const Scratch& scratch, int64_t channel, float* dkernel) {
  const int64_t wide = s.padded_width();
  // Where the rows of the grid with valid positions begin and end, in places.
  const int64_t above = s.margin() * wide, below = (s.margin() + s.rows() * s.pool) * wide;
  for (int64_t c = 0; c < s.in; c++) {
    const int32_t* spikes = scratch.spikes + c * s.height * s.width;
    if (!scratch.count[c]) continue;
    v16 total[K][K] = {};
    for (int32_t e = 0; e < scratch.count[c]; e++) {
      const float* corner = scratch.dy + spikes[e] * lanes;
      for (int i = 0; i < K; i++) {
        const int64_t row = spikes[e] + (K - 1 - i) * wide;
        if (row < above || row >= below) continue;  // no valid position: zeros
        for (int j = 0; j < K; j++) total[i][j] += load(corner + ((K - 1 - i) * wide + K - 1 - j) * lanes);
      }
    }
    float* out = dkernel + (c * s.out + channel) * K * K;
    for (int i = 0; i < K; i++)
      for (int j = 0; j < K; j++, out += lanes) store(out, load(out) + total[i][j]);
  }
}

// Copies the first `channels` to [height, width, channels], without the zeros around it.
static void copy_inside(const Shape& s, int64_t channels, const float* padded, float* inside) {
  const int64_t wide = s.padded_width(), grid = s.padded_height() * wide * lanes;
  for (int64_t y = 0; y < s.height; y++)
    for (int64_t x = 0; x < s.width; x++)
      for (int64_t g = 0; g < channels / lanes; g++)
        store(inside + (y * s.width + x) * channels + g * lanes,
              load(padded + g * grid + ((y + s.padding) * wide + x + s.padding) * lanes));
}

// Sorts the cells; a cell is still if it covers no neuron that fires and its membranes stop changing at some step.
// (In a channel, all still cells have the same current and so the same membranes, so one cell has the step for all.)
static void sort_cells(const ConvBackward& a, const ConstantSource& constant, const float* membranes, Cells& cells) {
  const Shape& s = a.shape;
  const int64_t count = s.rows() * s.columns(), last = a.lif.time - 1;
  cells.count = cells.active = count;
  cells.settles = last;
  for (int64_t cell = 0; cell < count; cell++) cells.number[cell] = static_cast<int32_t>(cell);
  if (a.source != Source::constant || !a.product.inner) return;
  const v16 threshold = all(a.lif.neuron.threshold);
  auto rests = [&](int64_t cell, int64_t t) {  // U[t] = U[t-1], not firing
    bool equal = true;
    for (int64_t n = cell * s.out; n < (cell + 1) * s.out; n += lanes) {
      const v16 u = load(membranes + t * s.neurons() + n), before = load(membranes + (t - 1) * s.neurons() + n);
      equal &= !(greater(u, before) | greater(before, u) | greater(u, threshold));
    }
    return equal;
  };
  int64_t front = 0, back = count;
  for (int64_t cell = 0; cell < count; cell++) {
    bool quiet = true;
    for (int64_t g = 0; g < s.in / lanes; g++) quiet &= !constant.reaches[g * count + cell];
    int64_t t = constant.settles;
    if (quiet && back == count) {  // the first such cell
      while (t < last && !rests(cell, t)) t++;
    } else {
      t = cells.settles;
    }
    const bool still = quiet && t < last && rests(cell, t);
    if (still) cells.settles = t;
    cells.number[still ? --back : front++] = static_cast<int32_t>(cell);
  }
  cells.active = front;
}

// The two sums over the steps from `cells.settles` on that a still cell's gradient needs: with A[t] = left[t] +
// beta A[t+1], A[settles] and the sum of A. Multiplied by the cell's part of the right side and by the derivative at
// the settled membrane, they give dU[settles] and the sum of dU.
static void sum_left(const ConvBackward& a, const float* left, const Cells& cells, float* sums) {
  const int64_t inner = a.product.inner;
  memset(sums, 0, 2 * inner * sizeof(float));
  for (int64_t t = a.lif.time - 1; t >= cells.settles; t--) {
    for (int64_t n = 0; n < inner; n += lanes) {
      const v16 now = load(left + t * inner + n) + a.lif.neuron.beta * load(sums + n);
      store(sums + n, now);
      store(sums + inner + n, load(sums + inner + n) + now);
    }
  }
}

// Fills scratch.dcurrent, from the last step to the first; a still cell has its sum from `cells.settles` on there.
template <Surrogate kind>
void to_currents(const ConvBackward& a, int64_t image, const Cells& cells, const Scratch& scratch) {
  const Shape& s = a.shape;
  const int64_t neurons = s.neurons(), time = a.lif.time, inner = a.product.inner, start = image * time * neurons;
  const float *membranes = a.lif.membranes + start, *given = a.lif.given + start;
  const float* dspikes = inner ? scratch.dcurrent : a.lif.dspikes + start;
  double dbeta = 0, dthreshold = 0;
  v16 beta_part{}, threshold_part{};
  const float* left = a.product.left + image * time * inner;
  if (cells.active < cells.count) sum_left(a, left, cells, scratch.sums);
  for (int64_t i = 0; i < cells.count && inner; i++) {
    const int64_t first = cells.number[i] * s.out;
    const float* right = a.product.right + first * inner;
    const bool still = i >= cells.active;
    multiply(still ? cells.settles : time, left, right, inner, s.out, scratch.dcurrent + first, neurons);
    if (!still) continue;
    multiply(2, scratch.sums, right, inner, s.out, scratch.still + first, neurons);
    for (int64_t n = first; n < first + s.out; n += lanes) {
      const v16 u = load(membranes + cells.settles * neurons + n);
      v16 sigma;
      if constexpr (kind == Surrogate::given) sigma = load(given + cells.settles * neurons + n);
      else sigma = derivative<kind>(u - all(a.lif.neuron.threshold), a.lif.slope);
      const v16 now = sigma * load(scratch.still + n), total = sigma * load(scratch.still + neurons + n);
      store(scratch.dcurrent + cells.settles * neurons + n, now);
      store(scratch.still + n, total);
      beta_part += (total - now) * u;
      threshold_part -= total - a.lif.neuron.beta * (total - now);
    }
  }
  for (int64_t t = time - 1; t >= 0; t--) {
    for (int64_t i = 0; i < (t < cells.settles ? cells.count : cells.active); i++) {
      const int64_t at = t * neurons + cells.number[i] * s.out;
      const float* next = t == time - 1 ? nullptr : scratch.dcurrent + at + neurons;
      reverse_step<kind>(a.lif, s.out, dspikes + at, membranes + at, given + at, next, scratch.dcurrent + at, beta_part,
                         threshold_part);
    }
    dbeta += sum(beta_part);
    dthreshold += sum(threshold_part);
    beta_part = threshold_part = v16{};
  }
  a.lif.dbeta[image] = static_cast<float>(dbeta);
  a.lif.dthreshold[image] = static_cast<float>(dthreshold + reset_at_rest(a.lif, scratch.dcurrent));
  for (int64_t i = cells.active; i < cells.count; i++)
    memcpy(scratch.dcurrent + cells.settles * neurons + cells.number[i] * s.out,
           scratch.still + cells.number[i] * s.out, s.out * sizeof(float));
}

template <int K, int P>
void backward(const ConvBackward& a, int64_t image, const Cells& cells, const Scratch& scratch,
              ConstantSource& constant, float* dkernel, float* dbias) {
  const Shape& s = a.shape;
  const int64_t words = s.neurons() / lanes, grid = s.padded_height() * s.padded_width() * lanes;
  const bool is_constant = a.source == Source::constant;
  const float* kernel = is_constant ? constant.kernel : a.grouped_kernel;
  for (int64_t t = 0; t < a.lif.time; t++) {
    const int64_t step_at = image * a.lif.time + t, count = cells.visited(t);
    const float* dcurrent = scratch.dcurrent + t * s.neurons();
    const uint16_t* winners = a.winners + step_at * 2 * words;
    const bool settled = is_constant && t >= constant.settles;
    uint8_t* covered = a.source == Source::data ? scratch.covered : nullptr;
    list_by_channel(s, a.bits_in + step_at * s.inputs() / lanes, scratch, covered);
    for (int64_t c = 0; c < s.out; c += lanes) {
      float* unspread = settled ? constant.unspread + c / lanes * grid : nullptr;
      unpool<P>(s, cells, count, dcurrent, winners, c, covered, scratch.dy, unspread);
      add_weights<K>(s, scratch, c, dkernel);
      v16 total{};
      for (int64_t i = 0; i < count; i++) total += load(dcurrent + cells.number[i] * s.out + c);
      store(dbias + c, load(dbias + c) + total);
    }
    if (a.source == Source::data) continue;
    for (int64_t g = 0; g < a.leading / lanes; g++) {
      const uint8_t* reaches = settled ? constant.reaches + g * cells.count : nullptr;
      spread<K, P>(s, cells, count, dcurrent, winners, kernel + g * s.out * K * K * lanes, reaches,
                   scratch.dspikes + g * grid);
    }
    if (is_constant) {
      with_surrogate(a.surrogate_in,
                     [&]<Surrogate kind>() { take_step<kind>(constant, t, scratch.dspikes, a.lif.slope); });
    } else {
      copy_inside(s, a.leading, scratch.dspikes, a.dspikes_in + step_at * s.height * s.width * a.leading);
      memset(scratch.dspikes, 0, a.leading / lanes * grid * sizeof(float));
    }
  }
  if (!is_constant) return;
  for (int64_t g = 0; g < s.in / lanes; g++)
    spread_sum<K>(s, constant.unspread, kernel + g * s.out * K * K * lanes, constant.reaches + g * cells.count,
                  scratch.dspikes + g * grid);
  with_surrogate(a.surrogate_in, [&]<Surrogate kind>() {
    finish<kind>(constant, scratch.dspikes, a.lif.slope, a.dcurrent_in + image * s.inputs());
  });
}

static void lay_out(Memory& memory, const ConvBackward& a, Scratch& scratch, Cells& cells, ConstantSource& constant) {
  const Shape& s = a.shape;
  const int64_t pixels = s.padded_height() * s.padded_width();
  if (!a.lif.dcurrent) scratch.dcurrent = memory.take<float>(a.lif.time * s.neurons());
  scratch.dy = memory.take<float>(pixels * lanes);
  scratch.dspikes = memory.take<float>(pixels * s.in);
  scratch.count = memory.take<int32_t>(s.in);
  scratch.spikes = memory.take<int32_t>(s.in * s.height * s.width);
  scratch.covered = memory.take<uint8_t>(s.rows() * s.columns());
  cells.number = memory.take<int32_t>(s.rows() * s.columns());
  cells.corner = memory.take<int32_t>(s.rows() * s.columns());
  scratch.sums = memory.take<float>(2 * a.product.inner);
  scratch.still = memory.take<float>(2 * s.neurons());
  if (a.source == Source::constant) lay_out(memory, constant);
}

int64_t conv_backward_scratch(const ConvBackward& a) {
  Memory nothing;
  Scratch scratch{};
  Cells cells{};
  ConstantSource constant(a.shape, a.neuron_in);
  lay_out(nothing, a, scratch, cells, constant);
  return nothing.used;
}

void conv_backward(const ConvBackward& a, int64_t image, char* scratch_memory, float* dkernel, float* dbias) {
  const Shape& s = a.shape;
  assert(a.lif.time > 0 && a.lif.count == s.neurons() && image >= 0 && scratch_memory);
  assert(a.product.inner % lanes == 0 && (a.product.inner > 0) == !a.lif.dspikes);
  assert(a.source != Source::constant || (a.surrogate_in != Surrogate::given && !a.lif.dcurrent));
  assert(a.leading == s.in || (a.source != Source::constant && 0 <= a.leading && a.leading < s.in));
  const int64_t pixels = s.padded_height() * s.padded_width();
  Memory memory{scratch_memory};
  Scratch scratch{};
  Cells cells{};
  ConstantSource constant(s, a.neuron_in);
  lay_out(memory, a, scratch, cells, constant);
  if (a.lif.dcurrent) scratch.dcurrent = a.lif.dcurrent + image * a.lif.time * s.neurons();
  if (a.source == Source::constant)
    begin(constant, a.bits_in + image * a.lif.time * s.inputs() / lanes, a.lif.time, a.current_in + image * s.inputs(),
          a.kernel, a.grouped_kernel);
  sort_cells(a, constant, a.lif.membranes + image * a.lif.time * s.neurons(), cells);
  for (int64_t i = 0; i < cells.count; i++)
    cells.corner[i] = static_cast<int32_t>(
        (cells.number[i] / s.columns() * s.padded_width() + cells.number[i] % s.columns()) * s.pool);
  with_surrogate(a.lif.surrogate, [&]<Surrogate kind>() { to_currents<kind>(a, image, cells, scratch); });
  memset(scratch.dy, 0, pixels * lanes * sizeof(float));
  memset(scratch.dspikes, 0, pixels * s.in * sizeof(float));
  KernelSizes::choose(s.kernel, [&]<int K>() {
    PoolSizes::choose(s.pool, [&]<int P>() { backward<K, P>(a, image, cells, scratch, constant, dkernel, dbias); });
  });
}

}  // namespace csnn::ISA
