// What test_ops.cc compares the operations with: random whole numbers, and plain loops over dense arrays.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "../../../csnn_jax/engine/native/ops.h"

using csnn::lanes;
using Floats = std::vector<float>;
using Words = std::vector<uint16_t>;

static std::mt19937 generator(1);
static const csnn::Workers workers(3, [](std::function<void()> task) { std::thread(std::move(task)).detach(); });

static Floats whole_numbers(size_t count, int least, int most) {
  std::uniform_int_distribution<int> draw(least, most);
  Floats values(count);
  for (float& v : values) v = static_cast<float>(draw(generator));
  return values;
}

static Words random_bits(size_t count, double density) {
  std::bernoulli_distribution draw(density);
  Words words(count);
  for (uint16_t& word : words)
    for (int i = 0; i < 16; i++) word = static_cast<uint16_t>(word | draw(generator) << i);
  return words;
}

static float bit(const Words& words, int64_t n) { return static_cast<float>(words[n / lanes] >> (n % lanes) & 1); }

static void check(bool ok, const char* what) {
  if (!ok) {
    std::printf("FAILED %s\n", what);
    std::exit(1);
  }
}

static float step(float u, float current, const csnn::Neuron& n) {
  const bool fired = u > n.threshold;
  if (n.reset == csnn::Reset::subtract) return n.beta * u + current - (fired ? n.threshold : 0);
  return n.beta * (n.reset == csnn::Reset::zero && fired ? 0 : u) + current;
}

// The convolution's output at one position.
static float convolve(const csnn::Shape& s, const Words& bits, int64_t at, const Floats& kernel, int64_t y, int64_t x,
                      int64_t out) {
  float total = 0;
  for (int64_t i = 0; i < s.kernel; i++)
    for (int64_t j = 0; j < s.kernel; j++)
      for (int64_t c = 0; c < s.in; c++) {
        const int64_t row = y + i - s.padding, column = x + j - s.padding;
        if (row < 0 || row >= s.height || column < 0 || column >= s.width) continue;
        total += bit(bits, at * s.inputs() + (row * s.width + column) * s.in + c) *
                 kernel[((i * s.kernel + j) * s.in + c) * s.out + out];
      }
  return total;
}

static bool close(double a, double b) { return std::abs(a - b) <= 1e-3 + 1e-4 * std::abs(b); }

static bool close(const Floats& a, const Floats& b) {
  bool ok = a.size() == b.size();
  for (size_t i = 0; ok && i < a.size(); i++) ok = close(a[i], b[i]);
  return ok;
}

// Scratch memory of exactly the length a kernel asks for, so AddressSanitizer catches any byte beyond it. It is full of
// NaN, so a read before a write shows in the results.
static std::unique_ptr<float[]> exact_scratch(int64_t bytes) {
  check(bytes > 0 && bytes % 64 == 0, "length of scratch");
  std::unique_ptr<float[]> memory(new float[bytes / sizeof(float)]);
  std::fill_n(memory.get(), bytes / sizeof(float), std::numeric_limits<float>::quiet_NaN());
  return memory;
}
