// The operations against plain loops, under sanitizers (test_build.py). Weights are whole numbers, exact in any order.
#include "dense.h"
#include "sums.h"

static int64_t weight_bits;  // 0: weights are added as floats; 10: as whole numbers, 31 at a time

// The kernels alone give the same results as the operations.
static void test_scratch(const csnn::ConvLif& given, const Floats& kernel, int64_t images) {
  const csnn::Kernels& k = csnn::kernels();
  const csnn::Shape& s = given.shape;
  Floats arranged(csnn::arranged_size<float>(s)), last(images * s.neurons());
  csnn::arrange_weights(s, kernel.data(), arranged.data());
  Floats taps(s.kernel * s.kernel * s.out);
  csnn::sum_taps(s, kernel.data(), taps.data());
  Words bits(images * given.time * s.neurons() / lanes);
  csnn::ConvLif a = given;
  a.weight_bits = 0;
  a.kernel = arranged.data(), a.taps = taps.data();
  a.bits = bits.data();
  a.membranes = nullptr;
  a.winners = nullptr;
  a.last = last.data();
  for (int64_t image = 0; image < images; image++)
    k.conv_lif(a, image, reinterpret_cast<char*>(exact_scratch(k.conv_lif_scratch(a)).get()));
  check(std::equal(bits.begin(), bits.end(), given.bits), "conv_lif on exact scratch");
  check(std::equal(last.begin(), last.end(), given.last), "conv_lif on exact scratch, last");
}

static void test_scratch(const csnn::ConvBackward& a, const Floats& dkernel, const Floats& dbias, int64_t images) {
  const csnn::Kernels& k = csnn::kernels();
  Floats kernel_again(dkernel.size()), bias_again(dbias.size());
  for (int64_t image = 0; image < images; image++)
    k.conv_backward(a, image, reinterpret_cast<char*>(exact_scratch(k.conv_backward_scratch(a)).get()),
                    kernel_again.data(), bias_again.data());
  Floats in_place(dkernel.size());
  for (size_t i = 0; i < in_place.size(); i++) in_place[csnn::weight_place(a.shape, i)] = kernel_again[i];
  check(close(in_place, dkernel) && close(bias_again, dbias), "conv_backward on exact scratch");
}

static void test_conv(const csnn::Shape& s, double density, csnn::Reset reset) {
  const int64_t images = 3, time = 30, count = s.neurons(), taps = s.kernel * s.kernel, places = s.pool * s.pool;
  const csnn::Neuron neuron{.beta = 0.5f, .threshold = 1.0f, .reset = reset};
  // Input spikes from neurons under a constant current, so the backward pass works with either source.
  Floats current = whole_numbers(images * s.inputs(), -8, 8);
  std::bernoulli_distribution often(density);
  for (float& i : current) i = i * 0.0625f + (often(generator) ? 1.0f : 0.0f);
  Words bits_in(images * time * s.inputs() / lanes);
  Floats membranes_in(images * time * s.inputs()), last_in(images * s.inputs());
  const csnn::ConstantLif constant{
      .time = time,
      .count = s.inputs(),
      .channels = s.in,
      .stride = s.in,
      .neuron = neuron,
      .current = current.data(),
      .bits = bits_in.data(),
      .membranes = membranes_in.data(),
      .last = last_in.data(),
  };
  csnn::constant_lif(constant, images, workers);
  for (int64_t b = 0; b < images; b++)
    for (int64_t n = 0; n < s.inputs(); n++) {
      float u = 0;
      for (int64_t t = 0; t < time; t++) {
        u = step(u, current[b * s.inputs() + n], neuron);
        const int64_t at = (b * time + t) * s.inputs() + n;
        check(membranes_in[at] == u && bit(bits_in, at) == (u > 1.0f), "constant_lif");
      }
    }

  Floats kernel = whole_numbers(taps * s.in * s.out, -2, 2), bias = whole_numbers(s.out, -1, 1);
  for (int64_t i = 0; i < taps * s.in; i++)
    for (int64_t c = s.channels; c < s.out; c++) kernel[i * s.out + c] = bias[c] = 0;
  Words bits(images * time * count / lanes), winners(images * time * 2 * count / lanes);
  Floats membranes(images * time * count), last(images * count);
  const csnn::ConvLif forward{
      .shape = s,
      .time = time,
      .neuron = neuron,
      .bits_in = bits_in.data(),
      .weight_bits = weight_bits,
      .bias = bias.data(),
      .added = nullptr,
      .bits = bits.data(),
      .membranes = membranes.data(),
      .winners = s.max ? winners.data() : nullptr,
      .last = last.data(),
  };
  csnn::conv_lif(forward, kernel.data(), images, workers);
  test_scratch(forward, kernel, images);
  std::vector<int> winner(images * time * count);
  for (int64_t b = 0; b < images; b++)
    for (int64_t n = 0; n < count; n++) {
      float u = 0;
      for (int64_t t = 0; t < time; t++) {
        const int64_t at = b * time + t, cell = n / s.out, c = n % s.out;
        float best = 0, sum = 0;
        for (int place = 0; place < places; place++) {
          const int64_t y = cell / s.columns() * s.pool + place / s.pool;
          const int64_t x = cell % s.columns() * s.pool + place % s.pool;
          const float one = convolve(s, bits_in, at, kernel, y, x, c) + bias[c];
          sum += one;
          if (place == 0 || one > best) best = one, winner[at * count + n] = place;
        }
        u = step(u, s.max ? best : sum / static_cast<float>(places), neuron);
        check(membranes[at * count + n] == u, "conv_lif membranes");
        check(bit(bits, at * count + n) == (u > 1.0f && c < s.channels), "conv_lif spikes");
      }
      check(last[b * count + n] == u, "conv_lif last");
    }

  // Straight-through surrogate: dU is then a sum of whole numbers over powers of two, nearly exact.
  const int64_t inner = 32;
  const Floats left = whole_numbers(images * time * inner, -1, 1), right = whole_numbers(count * inner, -1, 1);
  Floats dspikes(images * time * count), dbeta(images), dthreshold(images);
  for (int64_t at = 0; at < images * time; at++)
    for (int64_t n = 0; n < count; n++)
      for (int64_t k = 0; k < inner; k++)
        dspikes[at * count + n] += left[at * inner + k] * right[(n / s.out * inner + k) * s.out + n % s.out];
  Floats grouped(kernel.size());
  for (int64_t k = 0; k < taps; k++)
    for (int64_t c = 0; c < s.in; c++)
      for (int64_t o = 0; o < s.out; o++)
        grouped[((c / lanes * s.out + o) * taps + k) * lanes + c % lanes] = kernel[(k * s.in + c) * s.out + o];
  Floats din(images * time * s.inputs()), dkernel(kernel.size()), dbias(s.out);
  const csnn::LifBackward lif{
      .time = time,
      .count = count,
      .neuron = neuron,
      .surrogate = csnn::Surrogate::straight_through,
      .slope = 1.0f,
      .dspikes = dspikes.data(),
      .membranes = membranes.data(),
      .given = membranes.data(),
      .dbeta = dbeta.data(),
      .dthreshold = dthreshold.data(),
  };
  csnn::ConvBackward a{
      .shape = s,
      .lif = lif,
      .bits_in = bits_in.data(),
      .winners = winners.data(),
      .kernel = kernel.data(),
      .grouped_kernel = grouped.data(),
      .source = csnn::Source::spikes,
      .leading = s.in,
      .dspikes_in = din.data(),
  };
  csnn::conv_backward(a, images, dkernel.data(), dbias.data(), workers);
  test_scratch(a, dkernel, dbias, images);
  const csnn::Product product{.inner = inner, .left = left.data(), .right = right.data()};
  {
    csnn::ConvBackward b = a;
    b.product = product;
    b.lif.dspikes = nullptr;
    Floats again_in(din.size()), again_kernel(kernel.size()), again_bias(s.out);
    b.dspikes_in = again_in.data();
    csnn::conv_backward(b, images, again_kernel.data(), again_bias.data(), workers);
    check(again_in == din && again_kernel == dkernel && again_bias == dbias, "conv_backward of a product");
  }

  {
    csnn::ConvBackward b = a;
    b.leading = csnn::lanes;
    Floats some(din.size() / s.in * b.leading), again_kernel(kernel.size()), again_bias(s.out);
    b.dspikes_in = some.data();
    csnn::conv_backward(b, images, again_kernel.data(), again_bias.data(), workers);
    bool same = again_kernel == dkernel;
    for (size_t i = 0; i < some.size(); i++) same &= some[i] == din[i / b.leading * s.in + i % b.leading];
    check(same, "conv_backward of the leading channels");
  }

  {
    csnn::ConvBackward b = a;
    b.source = csnn::Source::data;
    b.dspikes_in = nullptr;
    Floats again_kernel(kernel.size()), again_bias(s.out);
    csnn::conv_backward(b, images, again_kernel.data(), again_bias.data(), workers);
    check(again_kernel == dkernel && again_bias == dbias, "conv_backward of data");
  }

  std::vector<double> dense_in(din.size()), dense_kernel(kernel.size());
  for (int64_t b = 0; b < images; b++)
    for (int64_t n = 0; n < count; n++) {
      double du = 0;
      for (int64_t t = time - 1; t >= 0; t--) {
        const int64_t at = b * time + t, cell = n / s.out, c = n % s.out;
        const float u = membranes[at * count + n];
        du = dspikes[at * count + n] + 0.5 * (reset == csnn::Reset::zero && u > 1.0f ? 0 : du);
        for (int place = 0; place < places; place++) {
          if (s.max && place != winner[at * count + n]) continue;
          const double share = s.max ? du : du / static_cast<double>(places);
          for (int64_t k = 0; k < taps; k++) {
            const int64_t y = cell / s.columns() * s.pool + place / s.pool + k / s.kernel - s.padding;
            const int64_t x = cell % s.columns() * s.pool + place % s.pool + k % s.kernel - s.padding;
            if (y < 0 || y >= s.height || x < 0 || x >= s.width) continue;
            for (int64_t i = 0; i < s.in; i++) {
              const int64_t from = at * s.inputs() + (y * s.width + x) * s.in + i, w = (k * s.in + i) * s.out + c;
              dense_in[from] += share * kernel[w];
              dense_kernel[w] += share * bit(bits_in, from);
            }
          }
        }
      }
    }
  for (size_t i = 0; i < din.size(); i++) check(close(din[i], dense_in[i]), "conv_backward dspikes");
  for (size_t i = 0; i < dkernel.size(); i++) check(close(dkernel[i], dense_kernel[i]), "conv_backward dkernel");

  if (reset == csnn::Reset::zero) return;
  Floats dcurrent(images * s.inputs()), again(kernel.size());
  a.source = csnn::Source::constant;
  a.neuron_in = neuron;
  a.surrogate_in = csnn::Surrogate::straight_through;
  a.current_in = current.data();
  a.dcurrent_in = dcurrent.data();
  csnn::conv_backward(a, images, again.data(), dbias.data(), workers);
  check(again == dkernel, "conv_backward dkernel, constant source");
  const Floats bias_given = dbias, beta_given = dbeta, threshold_given = dthreshold, given = dcurrent;
  a.product = product;
  a.lif.dspikes = nullptr;
  csnn::conv_backward(a, images, again.data(), dbias.data(), workers);
  test_scratch(a, dkernel, bias_given, images);
  check(again == dkernel && close(dbias, bias_given), "conv_backward of a product, constant source");
  check(close(dcurrent, given), "conv_backward dcurrent of a product, constant source");
  check(close(dbeta, beta_given) && close(dthreshold, threshold_given), "conv_backward dbeta of a product");
  const Floats ones(membranes.size(), 1.0f);  // straight_through's derivative, given; the source keeps its named one
  a.lif.surrogate = csnn::Surrogate::given;
  a.lif.given = ones.data();
  csnn::conv_backward(a, images, again.data(), dbias.data(), workers);
  check(again == dkernel && close(dcurrent, given), "conv_backward of given derivatives, constant source");
  for (int64_t b = 0; b < images; b++)
    for (int64_t n = 0; n < s.inputs(); n++) {
      double total = 0, du = 0;
      for (int64_t t = time - 1; t >= 0; t--) total += du = dense_in[(b * time + t) * s.inputs() + n] + 0.5 * du;
      check(close(dcurrent[b * s.inputs() + n], total), "conv_backward dcurrent, constant source");
    }
}

static void test_linear(int64_t inputs, int64_t outputs, int64_t channels, int64_t time, double density) {
  const int64_t images = 9;
  const csnn::Neuron neuron{.beta = 0.5f, .threshold = 1.0f, .reset = csnn::Reset::subtract};
  const Words bits_in = random_bits(images * time * inputs / lanes, density);
  Floats kernel = whole_numbers(inputs * outputs, -2, 2), bias = whole_numbers(outputs, -1, 1);
  Words bits(images * time * outputs / lanes);
  Floats membranes(images * time * outputs), last(images * outputs), counts(images), dkernel(kernel.size());
  const csnn::LinearLif forward{
      .time = time,
      .inputs = inputs,
      .outputs = outputs,
      .channels = channels,
      .neuron = neuron,
      .bits_in = bits_in.data(),
      .weight_bits = weight_bits,
      .bias = bias.data(),
      .bits = bits.data(),
      .membranes = membranes.data(),
      .last = last.data(),
  };
  csnn::linear_lif(forward, kernel.data(), images, workers);
  Floats dense(kernel.size());
  const Floats dcurrent = whole_numbers(images * time * outputs, -3, 3);
  const csnn::LinearWeights backward{
      .images = images,
      .time = time,
      .inputs = inputs,
      .outputs = outputs,
      .dcurrent = dcurrent.data(),
      .dkernel = dkernel.data(),
  };
  csnn::linear_weights(backward, bits_in.data(), workers);
  csnn::count_spikes(bits_in.data(), images, time * inputs / lanes, counts.data(), workers);
  for (int64_t b = 0; b < images; b++) {
    Floats u(outputs);
    float count = 0;
    for (int64_t t = 0; t < time; t++) {
      const int64_t at = b * time + t;
      Floats current = bias;
      for (int64_t i = 0; i < inputs; i++) {
        if (!bit(bits_in, at * inputs + i)) continue;
        count++;
        for (int64_t o = 0; o < outputs; o++) {
          current[o] += kernel[i * outputs + o];
          dense[i * outputs + o] += dcurrent[at * outputs + o];
        }
      }
      for (int64_t o = 0; o < outputs; o++) {
        u[o] = step(u[o], current[o], neuron);
        check(membranes[at * outputs + o] == u[o], "linear_lif membranes");
        check(bit(bits, at * outputs + o) == (u[o] > 1.0f && o < channels), "linear_lif spikes");
      }
    }
    check(counts[b] == count, "count_spikes");
  }
  check(dense == dkernel, "linear_weights");
}

static const std::pair<csnn::Shape, csnn::Reset> stacks[] = {
    // height, width, in, out, channels, kernel, padding, pool, max
    {{5, 7, 16, 16, 3, 3, 1, 2, true}, csnn::Reset::subtract},
    {{4, 2, 32, 48, 48, 3, 1, 2, true}, csnn::Reset::zero},
    {{3, 5, 16, 80, 70, 5, 2, 2, true}, csnn::Reset::none},
    {{7, 3, 32, 32, 20, 1, 0, 2, false}, csnn::Reset::subtract},
    {{2, 3, 80, 16, 16, 7, 3, 2, false}, csnn::Reset::none},
    {{9, 8, 16, 32, 30, 5, 0, 2, true}, csnn::Reset::subtract},
    {{5, 6, 32, 16, 9, 2, 0, 2, false}, csnn::Reset::none},
    {{6, 4, 16, 80, 80, 4, 0, 1, false}, csnn::Reset::subtract},
    {{3, 4, 32, 16, 16, 3, 1, 1, false}, csnn::Reset::zero},
    {{7, 6, 16, 16, 16, 6, 1, 1, false}, csnn::Reset::none},
};

int main() {
  std::printf("%s\n", csnn::kernels().name);
  test_sums();
  for (const auto& [density, whole] : std::initializer_list<std::pair<double, int64_t>>{
           {0.0, 10}, {0.05, 10}, {0.05, 0}, {0.4, 0}, {0.7, 0}, {1.0, 10}}) {
    weight_bits = whole;
    for (const auto& stack : stacks) test_conv(stack.first, density, stack.second);
    test_linear(16, 16, 10, 1, density);
    test_linear(2096, 16, 16, 3, density);
    test_linear(560, 112, 100, 70, density);
    test_linear(48, 176, 161, 65, density);
  }
}
