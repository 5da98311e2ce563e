// Convolution of spikes, pooling, neurons: one image over the whole window. Only spikes are visited: the sums of a
// cell's positions stay in registers while each spike of the pixels that they cover adds its channel's weights to the
// positions that cover it. Then the positions are pooled, and their neurons take one step.
//
// A step with more than six spikes per pixel is dense. Then each column of pixels has a separate loop, in which no
// position reads zeros; and if more than half of the inputs spike, the others are visited and subtracted from the sums
// of all weights: on their grids, no sum rounds.
#include "lif.h"
#include "rows.h"
#include "spiking.h"

namespace csnn::ISA {

// Adds the weights of some spikes to the sums of rows y0..y1 and columns x0..x1 of a cell's places, for V rows of
// outputs. `weights` plus a spike's own place is where place (0, 0) reads the spike's weights. A place that doesn't
// cover the spike's column reads zeros.
template <typename Row, int K, int P, int V, int y0, int y1, int x0 = 0, int x1 = P - 1>
CSNN_INLINE void add_spikes(const int32_t* at, const int32_t* end, const typename Row::Weight* weights,
                            typename Row::Sum (&sum)[P * P][V]) {
  constexpr int64_t tap = V * Row::outputs, row = (K + P - 1) * tap;  // as Shape::tap_columns
  for (; at < end; at++) {
    const auto* place = weights + *at;
    for (int y = y0; y <= y1; y++)
      for (int x = x0; x <= x1; x++)
        for (int v = 0; v < V; v++) sum[y * P + x][v] += Row::load(place - y * row - x * tap + v * Row::outputs);
  }
}

template <typename Row, int P, int V>
CSNN_INLINE void add_to(v16 (&total)[P * P][V * Row::groups], const typename Row::Sum (&sum)[P * P][V]) {
  for (int place = 0; place < P * P; place++)
    for (int g = 0; g < V * Row::groups; g++)
      total[place][g] += Row::floats(sum[place][g / Row::groups], g % Row::groups);
}

enum class Pool { average, largest, winner };  // winner: the largest, and where it was

// The sums of a cell's positions, for V rows of outputs from `channel` on. Returns false if there is nothing to pool,
// because the cell covers no spike, or the first position already has the largest sum.
template <typename Row, int K, int P, int V, Pool pool>
CSNN_INLINE bool gather(const ConvLif& a, const Spiking& spiking, int64_t y, int64_t x, int64_t channel,
                        v16 (&total)[P * P][V * Row::groups]) {
  constexpr int64_t tap = V * Row::outputs, taps_row = (K + P - 1) * tap;
  const Shape& s = a.shape;
  const int64_t top = y * P - s.padding, left = x * P - s.padding, right = left + K + P - 1;
  const int64_t words = words_of_row(s), from = (left > 0 ? left : 0) * (s.in / lanes),
                to = (right < s.width ? right : s.width) * (s.in / lanes);
  const int32_t* seen = spiking.seen + y * (words + 1);
  if (seen[from] == seen[to]) return false;
  const bool many = Row::groups > 1 && seen[to] - seen[from] > a.most;  // a sum of integers could overflow
  typename Row::Sum sum[P * P][V] = {};
  const auto* weights =
      static_cast<const typename Row::Weight*>(a.kernel) + channel * s.weights() + (P - 1 - left) * tap;
  for (int64_t row = 0; row < K + P - 1; row++, weights += taps_row) {
    if (top + row < 0 || top + row >= s.height) continue;
    const int32_t* start = spiking.start + (top + row) * words;
    const int32_t *at = spiking.at + start[from], *end = spiking.at + start[to];
    while (true) {
      const int32_t* some = many && end - at > a.most ? at + a.most : end;
      if (P > 1 && row == 0) add_spikes<Row, K, P, V, 0, 0>(at, some, weights, sum);
      else if (P > 1 && row == K) add_spikes<Row, K, P, V, P - 1, P - 1>(at, some, weights, sum);
      else add_spikes<Row, K, P, V, 0, P - 1>(at, some, weights, sum);
      if (!many) break;
      add_to<Row, P, V>(total, sum);
      for (auto& place : sum)
        for (auto& one : place) one = {};
      if ((at = some) == end) break;
    }
  }
  if (pool == Pool::largest && !many) {  // before integers become floats
    for (int v = 0; v < V; v++)
      for (int place = 1; place < P * P; place++) sum[0][v] = largest(sum[0][v], sum[place][v]);
    for (int g = 0; g < V * Row::groups; g++) total[0][g] = Row::floats(sum[0][g / Row::groups], g % Row::groups);
    return false;
  }
  add_to<Row, P, V>(total, sum);
  return true;
}

// The sum of the weights of all inputs that a position covers, for 16 outputs from `channel` on.
template <int K>
CSNN_INLINE v16 sum_taps(const ConvLif& a, int64_t top, int64_t left, int64_t channel) {
  const Shape& s = a.shape;
  v16 total{};
  for (int64_t i = top < 0 ? -top : 0; i < K && top + i < s.height; i++)
    for (int64_t j = left < 0 ? -left : 0; j < K && left + j < s.width; j++)
      total += load(a.taps + (i * K + j) * s.out + channel);
  return total;
}

// `gather` for a dense step, with all sums.
template <int K, int P, int V>
void gather_dense(const ConvLif& a, const Spiking& spiking, int64_t y, int64_t x, int64_t channel,
                  v16 (&total)[P * P][V]) {
  constexpr int64_t tap = V * lanes, taps_row = (K + P - 1) * tap;
  const Shape& s = a.shape;
  const int64_t top = y * P - s.padding, left = x * P - s.padding, words = words_of_row(s);
  const auto column = [&](int64_t at) { return (at < 0 ? 0 : at < s.width ? at : s.width) * (s.in / lanes); };
  const int64_t first = column(left), second = column(left + 1), last = column(left + K),
                end = column(left + K + P - 1);
  const float* weights = static_cast<const float*>(a.kernel) + channel * s.weights() + (P - 1 - left) * tap;
  v16 sum[P * P][V] = {};
  for (int64_t row = 0; row < K + P - 1; row++, weights += taps_row) {
    if (top + row < 0 || top + row >= s.height) continue;
    const int32_t *at = spiking.at, *start = spiking.start + (top + row) * words;
    const auto add = [&]<int y0, int y1>() __attribute__((always_inline)) {
      if constexpr (P == 1) {
        add_spikes<FloatRow, K, P, V, y0, y1>(at + start[first], at + start[end], weights, sum);
      } else {
        add_spikes<FloatRow, K, P, V, y0, y1, 0, 0>(at + start[first], at + start[second], weights, sum);
        add_spikes<FloatRow, K, P, V, y0, y1>(at + start[second], at + start[last], weights, sum);
        add_spikes<FloatRow, K, P, V, y0, y1, P - 1, P - 1>(at + start[last], at + start[end], weights, sum);
      }
    };
    if (P > 1 && row == 0) add.template operator()<0, 0>();
    else if (P > 1 && row == K) add.template operator()<P - 1, P - 1>();
    else add.template operator()<0, P - 1>();
  }
  for (int place = 0; place < P * P; place++)
    for (int g = 0; g < V; g++)
      total[place][g] = spiking.flip
                            ? sum_taps<K>(a, top + place / P, left + place % P, channel + g * lanes) - sum[place][g]
                            : sum[place][g];
}

// Where one step reads and writes an image's neurons.
struct Step {
  const uint16_t* bits_in;
  const float* before;  // membranes; null: 0
  float* after;
  const float* added;  // null: nothing
  uint16_t *bits, *winners;
};

// One step of a cell's neurons, for V rows of outputs from group `w` of 16 on.
template <typename Row, int K, int P, int V, Pool pool, bool dense>
CSNN_INLINE void advance(const ConvLif& a, const Spiking& spiking, int64_t y, int64_t x, int64_t w, const Step& at) {
  const Shape& s = a.shape;
  const v16 threshold = all(a.neuron.threshold);
  v16 sum[P * P][V * Row::groups] = {};
  bool pools = true;
  if constexpr (dense) gather_dense<K, P, V>(a, spiking, y, x, w * lanes, sum);
  else pools = gather<Row, K, P, V, pool>(a, spiking, y, x, w * lanes, sum);
  for (int g = 0; g < V * Row::groups; g++) {
    const int64_t group = w + g, n = group * lanes;
    if (Row::groups > 1 && n >= s.out) break;
    v16 pooled = sum[0][g];
    uint16_t low = 0, high = 0;
    if (pools) {
      for (int place = 1; place < P * P; place++) {
        const v16 one = sum[place][g];
        if constexpr (pool == Pool::average) {
          pooled += one;
        } else {  // strictly greater: the first maximum wins
          if constexpr (pool == Pool::winner) {
            const uint16_t wins = greater(one, pooled);
            low = place & 1 ? low | wins : low & ~wins;
            high = place & 2 ? high | wins : high & ~wins;
          }
          pooled = where_greater(one, pooled, one, pooled);
        }
      }
    }
    if constexpr (pool == Pool::average && P > 1) pooled *= 1.0f / (P * P);
    const int64_t word = (y * s.columns() + x) * (s.out / lanes) + group;
    v16 current = Row::current(pooled, a.scale, a.bias, n);
    if (at.added) current += load(at.added + word * lanes);
    const v16 u = step(at.before ? load(at.before + word * lanes) : v16{}, current, a.neuron);
    store(at.after + word * lanes, u);
    at.bits[word] = greater(u, threshold) & existing(s.channels, n);
    if constexpr (pool == Pool::winner) {
      at.winners[word] = low;
      at.winners[s.neurons() / lanes + word] = high;
    }
  }
}

// One step of all neurons from group `w` on whose weights are in blocks of V rows; returns the first group left over.
template <typename Row, int K, int P, int V, Pool pool>
CSNN_INLINE int64_t step_blocks(const ConvLif& a, Spiking& spiking, int64_t w, const Step& at) {
  constexpr int64_t groups = V * Row::groups;
  constexpr bool can_be_dense = Row::groups == 1 && V == conv_vectors;  // for all, compiling would take twice as long
  const Shape& s = a.shape;
  const int64_t all = (s.out / lanes + Row::groups - 1) / Row::groups * Row::groups;
  if (w + groups > all) return w;
  const int64_t spikes = can_be_dense ? count_bits(at.bits_in, s.inputs() / lanes) : 0;
  const bool dense = spikes > 6 * s.height * s.width;
  spiking.flip = dense && 2 * spikes > s.inputs() ? 0xffff : 0;
  list(s, at.bits_in, spiking, V * Row::outputs);
  sum_up(s, spiking);
  const auto step_all = [&]<bool crowded>() __attribute__((always_inline)) {
    for (; w + groups <= all; w += groups)  // a block's weights stay in the cache
      for (int64_t y = 0; y < s.rows(); y++)
        for (int64_t x = 0; x < s.columns(); x++) advance<Row, K, P, V, pool, crowded>(a, spiking, y, x, w, at);
  };
  if (can_be_dense && dense) step_all.template operator()<can_be_dense>();
  else step_all.template operator()<false>();
  return w;
}

template <typename Row, int K, int P, Pool pool>
void window(const ConvLif& given, int64_t image, char* scratch) {
  const ConvLif a = given;  // a local copy: a store to memory can't change it
  const Shape& s = a.shape;
  const int64_t words = s.neurons() / lanes;
  Memory memory{scratch};
  Spiking spiking = lay_out(memory, s);
  float* last = a.last + image * s.neurons();
  for (int64_t t = 0; t < a.time; t++) {
    const int64_t step_at = image * a.time + t;
    float* after = a.membranes ? a.membranes + step_at * s.neurons() : last;
    const Step at{
        .bits_in = a.bits_in + step_at * s.inputs() / lanes,
        .before = t == 0        ? nullptr
                  : a.membranes ? after - s.neurons()
                                : last,
        .after = after,
        .added = a.added ? a.added + step_at * s.neurons() : nullptr,
        .bits = a.bits + step_at * words,
        .winners = pool == Pool::winner ? a.winners + step_at * 2 * words : nullptr,
    };
    int64_t w = step_blocks<Row, K, P, conv_vectors, pool>(a, spiking, 0, at);
    if constexpr (conv_vectors > 1) step_blocks<Row, K, P, 1, pool>(a, spiking, w, at);
  }
  if (a.membranes) memcpy(last, a.membranes + (image * a.time + a.time - 1) * s.neurons(), s.neurons() * sizeof(float));
}

template <typename Row, int K>
void window_of(const ConvLif& a, int64_t image, char* scratch) {
  if (a.shape.pool == 1) window<Row, K, 1, Pool::average>(a, image, scratch);
  else if (!a.shape.max) window<Row, K, 2, Pool::average>(a, image, scratch);
  else if (a.winners) window<Row, K, 2, Pool::winner>(a, image, scratch);
  else window<Row, K, 2, Pool::largest>(a, image, scratch);
}

int64_t conv_lif_scratch(const ConvLif& a) {
  Memory nothing;
  lay_out(nothing, a.shape);
  return nothing.used;
}

void conv_lif(const ConvLif& a, int64_t image, char* scratch) {
  assert(a.time > 0 && image >= 0 && scratch);
  assert(a.kernel && a.most > 0 && (a.taps || a.scale) && (a.shape.max || !a.winners));
  KernelSizes::choose(a.shape.kernel, [&]<int K>() {
    if (a.scale) window_of<WholeRow, K>(a, image, scratch);
    else window_of<FloatRow, K>(a, image, scratch);
  });
}

}  // namespace csnn::ISA
