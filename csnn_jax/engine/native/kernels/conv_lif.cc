// Convolution of spikes, pooling, neurons: one image over the whole window. Only spikes are visited: the sums of a
// cell's positions stay in registers while the spikes of the pixels that they see go by, each of which adds its
// channel's weights to the positions that see it. Then the positions are pooled, and the neurons under them take their
// step.
#include "lif.h"
#include "memory.h"
#include "rows.h"

namespace csnn::ISA {

// The spikes of one step, word after word: a word is 16 channels of a pixel.
struct Spiking {
  int32_t* at;     // [height * width * in]: the place of the spike's weights, as far as channel and column tell it
  int32_t* start;  // [height * words of a row + 1]: where the spikes of each word begin
  int32_t* seen;   // [rows, words of a row + 1]: the sum of `start` over the rows of pixels that a row of cells sees
  int32_t* place;  // [words of a row]: the place of the weights of a word's first channel
};

CSNN_INLINE int64_t words_of_row(const Shape& s) { return s.width * s.in / lanes; }

static Spiking lay_out(Memory& memory, Shape s) {
  const int64_t words = words_of_row(s);
  return {.at = memory.take<int32_t>(s.inputs()),
          .start = memory.take<int32_t>(s.height * words + 1),
          .seen = memory.take<int32_t>(s.rows() * (words + 1)),
          .place = memory.take<int32_t>(words)};
}

// `width`: outputs of a block of weights. (A Shape of one's own, here and below: a store to memory can't change it.)
static void list(Shape s, const uint16_t* bits, const Spiking& spiking, int64_t width) {
  const int64_t words = words_of_row(s);
  const int32_t stride = static_cast<int32_t>(s.kernel * s.tap_columns() * width);
  for (int64_t x = 0, i = 0; x < s.width; x++)
    for (int64_t c = 0; c < s.in; c += lanes) spiking.place[i++] = static_cast<int32_t>(x * width + c * stride);
  int32_t *at = spiking.at, *start = spiking.start;
  for (int64_t y = 0; y < s.height; y++, bits += words, start += words) {
    const auto list_words = [&](int64_t from, int64_t to) __attribute__((always_inline)) {
      for (int64_t i = from; i < to; i++) {
        start[i] = static_cast<int32_t>(at - spiking.at);
        at = list_lanes(bits[i], spiking.place[i], stride, at);
      }
    };
    int64_t i = 0;
    for (; i + 4 <= words; i += 4) {
      if (load_words(bits + i, 4) != 0) list_words(i, i + 4);
      else  // as most are of an event camera's frames
        for (int64_t j = i; j < i + 4; j++) start[j] = static_cast<int32_t>(at - spiking.at);
    }
    list_words(i, words);
  }
  *start = static_cast<int32_t>(at - spiking.at);
}

// What tells in two loads whether a cell sees a spike at all.
static void sum_up(Shape s, const Spiking& spiking) {
  const int64_t words = words_of_row(s);
  for (int64_t y = 0; y < s.rows(); y++) {
    int32_t* seen = spiking.seen + y * (words + 1);
    memset(seen, 0, (words + 1) * sizeof(int32_t));
    const int64_t top = y * s.pool - s.padding, bottom = top + s.kernel + s.pool - 1;
    for (int64_t row = top > 0 ? top : 0; row < (bottom < s.height ? bottom : s.height); row++)
      for (int64_t i = 0; i <= words; i++) seen[i] += spiking.start[row * words + i];
  }
}

// Adds the weights of some spikes to the sums of rows y0..y1 of a cell's places, of V rows of outputs. `weights` and a
// spike's own place are where place (0, 0) finds those of the spike. A place that does not see the spike's column finds
// zeros.
template <typename Row, int K, int P, int V, int y0, int y1>
CSNN_INLINE void add_spikes(const int32_t* at, const int32_t* end, const typename Row::Weight* weights,
                            typename Row::Sum (&sum)[P * P][V]) {
  constexpr int64_t tap = V * Row::outputs, row = (K + P - 1) * tap;  // as Shape::tap_columns
  for (; at < end; at++) {
    const auto* place = weights + *at;
    for (int y = y0; y <= y1; y++)
      for (int x = 0; x < P; x++)
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

// The sums of a cell's positions, of V rows of outputs from `channel` on. False: there is nothing to pool, since the
// cell sees no spike, or the first position has the largest sum already.
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
  const bool many = Row::groups > 1 && seen[to] - seen[from] > a.most;  // a sum of whole numbers could overflow
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
  if (pool == Pool::largest && !many) {  // before whole numbers become floats
    for (int v = 0; v < V; v++)
      for (int place = 1; place < P * P; place++) sum[0][v] = largest(sum[0][v], sum[place][v]);
    for (int g = 0; g < V * Row::groups; g++) total[0][g] = Row::floats(sum[0][g / Row::groups], g % Row::groups);
    return false;
  }
  add_to<Row, P, V>(total, sum);
  return true;
}

// Where a step finds and leaves the neurons of an image.
struct Step {
  const uint16_t* bits_in;
  const float* before;  // membranes; null: 0
  float* after;
  uint16_t *bits, *winners;
};

// The step of the neurons of a cell under V rows of outputs, from group `w` of 16 on.
template <typename Row, int K, int P, int V, Pool pool>
CSNN_INLINE void advance(const ConvLif& a, const Spiking& spiking, int64_t y, int64_t x, int64_t w, const Step& at) {
  const Shape& s = a.shape;
  const v16 threshold = all(a.neuron.threshold);
  v16 sum[P * P][V * Row::groups] = {};
  const bool pools = gather<Row, K, P, V, pool>(a, spiking, y, x, w * lanes, sum);
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
    const v16 current = Row::current(pooled, a.scale, a.bias, n);
    const int64_t word = (y * s.columns() + x) * (s.out / lanes) + group;
    const v16 u = step(at.before ? load(at.before + word * lanes) : v16{}, current, a.neuron);
    store(at.after + word * lanes, u);
    at.bits[word] = greater(u, threshold) & existing(s.channels, n);
    if constexpr (pool == Pool::winner) {
      at.winners[word] = low;
      at.winners[s.neurons() / lanes + word] = high;
    }
  }
}

// The step of all neurons from group `w` on whose weights come in blocks of V rows; the first group that is left.
template <typename Row, int K, int P, int V, Pool pool>
CSNN_INLINE int64_t step_blocks(const ConvLif& a, const Spiking& spiking, int64_t w, const Step& at) {
  constexpr int64_t groups = V * Row::groups;
  const Shape& s = a.shape;
  const int64_t all = (s.out / lanes + Row::groups - 1) / Row::groups * Row::groups;
  if (w + groups > all) return w;
  list(s, at.bits_in, spiking, V * Row::outputs);
  sum_up(s, spiking);
  for (; w + groups <= all; w += groups)  // a block's weights stay in the cache
    for (int64_t y = 0; y < s.rows(); y++)
      for (int64_t x = 0; x < s.columns(); x++) advance<Row, K, P, V, pool>(a, spiking, y, x, w, at);
  return w;
}

template <typename Row, int K, int P, Pool pool>
void window(const ConvLif& given, int64_t image, char* scratch) {
  const ConvLif a = given;  // of one's own, as above
  const Shape& s = a.shape;
  const int64_t words = s.neurons() / lanes;
  Memory memory{scratch};
  const Spiking spiking = lay_out(memory, s);
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
  assert(a.shape.valid() && a.time > 0 && image >= 0 && scratch);
  assert(a.kernel && a.most > 0 && (a.shape.max || !a.winners));
  KernelSizes::choose(a.shape.kernel, [&]<int K>() {
    if (a.scale) window_of<WholeRow, K>(a, image, scratch);
    else window_of<FloatRow, K>(a, image, scratch);
  });
}

}  // namespace csnn::ISA
