// Convolution of spikes, pooling, neurons: one image over the whole window. Only spikes are visited: the convolution
// at a position is the sum of the kernel's rows that the spikes of its neighbourhood name. Each step's spikes are first
// listed for the positions that see them, so that the sums run without looking for set bits.
#include "lif.h"
#include "memory.h"

namespace csnn::ISA {

// One step's spikes, as the rows of the kernel [k k in, out] to add up at each position. Positions are those of the
// padded image, so that a spike at the border needs no test; the lists of the positions around the image are not used.
struct Lists {
  uint16_t** begin;  // [padded height, padded width]
  uint16_t** end;    // [padded height, padded width]
  int32_t* pixel;    // [inputs / 16]: place of a word of spikes, in the padded image, as seen from its last neighbour
  int32_t* channel;  // [inputs / 16]: first channel of a word of spikes
};

static Lists make_lists(const Shape& s, char* scratch) {
  const int64_t pixels = s.padded_height() * s.padded_width(), words = s.inputs() / lanes, group = s.in / lanes;
  Memory memory{scratch};
  Lists lists{};
  lists.begin = memory.take<uint16_t*>(pixels);
  lists.end = memory.take<uint16_t*>(pixels);
  lists.pixel = memory.take<int32_t>(words);
  lists.channel = memory.take<int32_t>(words);
  const int64_t longest = s.kernel * s.kernel * s.in;
  uint16_t* rows = memory.take<uint16_t>(pixels * longest);
  for (int64_t p = 0; p < pixels; p++) lists.begin[p] = rows + p * longest;
  for (int64_t w = 0; w < words; w++) {
    const int64_t pixel = w / group;
    lists.pixel[w] = static_cast<int32_t>(pixel / s.width * s.padded_width() + pixel % s.width);
    lists.channel[w] = static_cast<int32_t>(w % group * lanes);
  }
  return lists;
}

// Appends each spike to the lists of the k x k positions that see it; a list is then in the order of the rows.
template <int K>
void list_spikes(const Shape& s, const uint16_t* bits, const Lists& lists) {
  const int64_t words = s.inputs() / lanes, wide = s.padded_width();
  memcpy(lists.end, lists.begin, s.padded_height() * wide * sizeof(uint16_t*));
  for (int64_t w = 0; w < words; w += 4) {
    for (uint64_t spikes = load_words(bits + w, words - w); spikes; spikes &= spikes - 1) {
      const int64_t bit = __builtin_ctzll(spikes), word = w + bit / lanes;
      const int64_t channel = lists.channel[word] + bit % lanes;
      uint16_t** corner = lists.end + lists.pixel[word];
      for (int64_t i = 0; i < K; i++)
        for (int64_t j = 0; j < K; j++)
          *corner[(K - 1 - i) * wide + K - 1 - j]++ = static_cast<uint16_t>((i * K + j) * s.in + channel);
    }
  }
}

enum class Pool { average, largest, winner };  // winner: the largest, and where it was

// One step for the V groups of 16 channels from `channel` on.
template <int V, Pool pool>
void advance(const ConvLif& a, const Lists& lists, int64_t channel, const float* before, float* after, uint16_t* bits,
             uint16_t* winners) {
  const Shape& s = a.shape;
  const v16 threshold = all(a.neuron.threshold);
  const int64_t wide = s.padded_width(), edge = s.kernel / 2;
  const float* kernel = a.kernel + channel;
  for (int64_t y = 0; y < s.rows(); y++) {
    for (int64_t x = 0; x < s.columns(); x++) {
      v16 pooled[V] = {};
      uint16_t low[V] = {}, high[V] = {};
      for (int64_t place = 0; place < 4; place++) {
        const int64_t position = (2 * y + edge + place / 2) * wide + 2 * x + edge + place % 2;
        v16 one[V] = {};
        for (const uint16_t* row = lists.begin[position]; row < lists.end[position]; row++)
          for (int v = 0; v < V; v++) one[v] += load(kernel + *row * s.out + v * lanes);
        for (int v = 0; v < V; v++) {
          one[v] += load(a.bias + channel + v * lanes);
          if (place == 0) {
            pooled[v] = one[v];
          } else if constexpr (pool == Pool::average) {
            pooled[v] += one[v];
          } else {  // strictly greater: the first maximum wins
            if constexpr (pool == Pool::winner) {
              const uint16_t wins = greater(one[v], pooled[v]);
              low[v] = place & 1 ? low[v] | wins : low[v] & ~wins;
              high[v] = place & 2 ? high[v] | wins : high[v] & ~wins;
            }
            pooled[v] = one[v] > pooled[v] ? one[v] : pooled[v];
          }
        }
      }
      const int64_t n = (y * s.columns() + x) * s.out + channel;
      for (int v = 0; v < V; v++) {
        const int64_t at = n + v * lanes, word = at / lanes;
        if (pool == Pool::average) pooled[v] *= 0.25f;
        const v16 u = step(before ? load(before + at) : v16{}, pooled[v], a.neuron);
        store(after + at, u);
        bits[word] = greater(u, threshold) & existing(s.channels, channel + v * lanes);
        if constexpr (pool == Pool::winner) {
          winners[word] = low[v];
          winners[s.neurons() / lanes + word] = high[v];
        }
      }
    }
  }
}

template <int K, Pool pool>
void window(const ConvLif& a, int64_t image, char* scratch) {
  const Shape& s = a.shape;
  const int64_t words = s.neurons() / lanes;
  const Lists lists = make_lists(s, scratch);
  float* last = a.last + image * s.neurons();
  for (int64_t t = 0; t < a.time; t++) {
    const int64_t step_at = image * a.time + t;
    list_spikes<K>(s, a.bits_in + step_at * s.inputs() / lanes, lists);
    float* after = a.membranes ? a.membranes + step_at * s.neurons() : last;
    const float* before = t == 0 ? nullptr : a.membranes ? after - s.neurons() : last;
    uint16_t* winners = pool == Pool::winner ? a.winners + step_at * 2 * words : nullptr;
    uint16_t* bits = a.bits + step_at * words;
    int64_t channel = 0;
    for (; channel + 4 * lanes <= s.out; channel += 4 * lanes)
      advance<4, pool>(a, lists, channel, before, after, bits, winners);
    for (; channel + 2 * lanes <= s.out; channel += 2 * lanes)
      advance<2, pool>(a, lists, channel, before, after, bits, winners);
    for (; channel < s.out; channel += lanes) advance<1, pool>(a, lists, channel, before, after, bits, winners);
  }
  if (a.membranes) memcpy(last, a.membranes + (image * a.time + a.time - 1) * s.neurons(), s.neurons() * sizeof(float));
}

template <int K>
void window_of(const ConvLif& a, int64_t image, char* scratch) {
  if (!a.shape.max) window<K, Pool::average>(a, image, scratch);
  else if (a.winners) window<K, Pool::winner>(a, image, scratch);
  else window<K, Pool::largest>(a, image, scratch);
}

void conv_lif(const ConvLif& a, int64_t image, char* scratch) {
  switch (a.shape.kernel) {
    case 1: return window_of<1>(a, image, scratch);
    case 3: return window_of<3>(a, image, scratch);
    case 5: return window_of<5>(a, image, scratch);
    case 7: return window_of<7>(a, image, scratch);
  }
}

}  // namespace csnn::ISA
