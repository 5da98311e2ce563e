// Convolution of spikes, pooling, neurons: one image over the whole window. Only spikes are visited: each adds its
// channel's weights to the k x k positions that see it. A few rows of positions are under way at a time; as soon as two
// rows are complete (one where nothing is pooled), they are pooled and the neurons under them take their step.
#include "lif.h"
#include "memory.h"

namespace csnn::ISA {

struct Rows {
  float* sum;        // [k + 1, padded width, out]: row r of the grid of positions is row r % (k + 1)
  int32_t* channel;  // [in]: the channels of one pixel that spike
};

static Rows lay_out(Memory& memory, const Shape& s) {
  return {.sum = memory.take<float>((s.kernel + 1) * s.padded_width() * s.out), .channel = memory.take<int32_t>(s.in)};
}

// sum += the weights of the pixel's spikes for one row of the kernel: `run` numbers from `sum` on, which are the k
// positions in a row that see the pixel, V groups of 16 at a time in registers.
template <int V>
CSNN_INLINE int64_t add_run(int64_t from, int64_t run, const float* weights, int64_t stride, const int32_t* channel,
                            int64_t spikes, float* sum) {
  for (; from + V * lanes <= run; from += V * lanes) {
    v16 total[V];
    for (int v = 0; v < V; v++) total[v] = load(sum + from + v * lanes);
    for (int64_t e = 0; e < spikes; e++) {
      const float* row = weights + channel[e] * stride + from;
      for (int v = 0; v < V; v++) total[v] += load(row + v * lanes);
    }
    for (int v = 0; v < V; v++) store(sum + from + v * lanes, total[v]);
  }
  return from;
}

// Adds the weights of the spikes of one row of pixels.
template <int K>
void add_row(const ConvLif& a, const uint16_t* bits, int64_t y, const Rows& rows) {
  const Shape& s = a.shape;
  const int64_t pixel = s.in / lanes, wide = s.padded_width() * s.out, run = K * s.out, stride = K * run;
  for (int64_t x = 0; x < s.width; x++) {
    int64_t spikes = 0;
    for (int64_t w = 0; w < pixel; w += 4)
      for (uint64_t set = load_words(bits + x * pixel + w, pixel - w); set; set &= set - 1)
        rows.channel[spikes++] = static_cast<int32_t>(w * lanes + __builtin_ctzll(set));
    if (!spikes) continue;
    // Position row y + K - 1 - i of the grid. Those before the first that counts would take the place of others.
    for (int i = 0; i < K && i <= y + s.padding; i++) {
      float* sum = rows.sum + (y + K - 1 - i) % (K + 1) * wide + x * s.out;
      const float* weights = a.kernel + i * run;
      int64_t from = 0;
#if defined(__AVX512F__)
      from = add_run<12>(from, run, weights, stride, rows.channel, spikes, sum);
#endif
      from = add_run<4>(from, run, weights, stride, rows.channel, spikes, sum);
      add_run<1>(from, run, weights, stride, rows.channel, spikes, sum);
    }
  }
}

enum class Pool { average, largest, winner };  // winner: the largest, and where it was

// Pools the rows of positions of row `y` of cells, which are left at 0, and takes the step of the neurons under them.
template <int K, int P, Pool pool>
void advance(const ConvLif& a, int64_t y, const Rows& rows, const float* before, float* after, uint16_t* bits,
             uint16_t* winners) {
  const Shape& s = a.shape;
  const v16 threshold = all(a.neuron.threshold);
  const int64_t wide = s.padded_width() * s.out, margin = s.margin(), words = s.out / lanes;
  float* row[P];
  for (int64_t i = 0; i < P; i++) row[i] = rows.sum + (P * y + margin + i) % (K + 1) * wide + margin * s.out;
  for (int64_t x = 0; x < s.columns(); x++) {
    for (int64_t w = 0; w < words; w++) {
      const v16 bias = load(a.bias + w * lanes);
      v16 pooled{};
      uint16_t low = 0, high = 0;
      for (int64_t place = 0; place < P * P; place++) {
        float* at = row[place / P] + (P * x + place % P) * s.out + w * lanes;
        const v16 one = load(at) + bias;
        store(at, v16{});
        if (place == 0) {
          pooled = one;
        } else if constexpr (pool == Pool::average) {
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
      if constexpr (pool == Pool::average && P > 1) pooled *= 1.0f / (P * P);
      const int64_t word = (y * s.columns() + x) * words + w;
      const v16 u = step(before ? load(before + word * lanes) : v16{}, pooled, a.neuron);
      store(after + word * lanes, u);
      bits[word] = greater(u, threshold) & existing(s.channels, w * lanes);
      if constexpr (pool == Pool::winner) {
        winners[word] = low;
        winners[s.neurons() / lanes + word] = high;
      }
    }
  }
}

template <int K, int P, Pool pool>
void window(const ConvLif& a, int64_t image, char* scratch) {
  const Shape& s = a.shape;
  const int64_t words = s.neurons() / lanes, wide = s.padded_width() * s.out, margin = s.margin();
  Memory memory{scratch};
  const Rows rows = lay_out(memory, s);
  float* last = a.last + image * s.neurons();
  for (int64_t t = 0; t < a.time; t++) {
    const int64_t step_at = image * a.time + t;
    const uint16_t* bits_in = a.bits_in + step_at * s.inputs() / lanes;
    float* after = a.membranes ? a.membranes + step_at * s.neurons() : last;
    const float* before = t == 0 ? nullptr : a.membranes ? after - s.neurons() : last;
    uint16_t* winners = pool == Pool::winner ? a.winners + step_at * 2 * words : nullptr;
    uint16_t* bits = a.bits + step_at * words;
    memset(rows.sum, 0, (K + 1) * wide * sizeof(float));
    int64_t next = 0;  // row of pixels
    for (int64_t y = 0; y < s.rows(); y++) {
      for (; next < s.height && next < P * (y + 1) + margin; next++)
        add_row<K>(a, bits_in + next * s.width * s.in / lanes, next, rows);
      advance<K, P, pool>(a, y, rows, before, after, bits, winners);
    }
  }
  if (a.membranes) memcpy(last, a.membranes + (image * a.time + a.time - 1) * s.neurons(), s.neurons() * sizeof(float));
}

template <int K>
void window_of(const ConvLif& a, int64_t image, char* scratch) {
  if (a.shape.pool == 1) window<K, 1, Pool::average>(a, image, scratch);
  else if (!a.shape.max) window<K, 2, Pool::average>(a, image, scratch);
  else if (a.winners) window<K, 2, Pool::winner>(a, image, scratch);
  else window<K, 2, Pool::largest>(a, image, scratch);
}

int64_t conv_lif_scratch(const ConvLif& a) {
  Memory nothing;
  lay_out(nothing, a.shape);
  return nothing.used;
}

void conv_lif(const ConvLif& a, int64_t image, char* scratch) {
  assert(a.shape.valid() && a.time > 0 && image >= 0 && scratch);
  assert(a.kernel && (a.shape.max || !a.winners));
  KernelSizes::choose(a.shape.kernel, [&]<int K>() { window_of<K>(a, image, scratch); });
}

}  // namespace csnn::ISA
