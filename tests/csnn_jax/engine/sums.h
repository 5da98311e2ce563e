// Tests of the sums that training needs: matrix products, sums of rows, an image's current and the weights' gradient.
#pragma once
#include <algorithm>
#include <numeric>

#include "dense.h"

static void test_multiply(int64_t rows, int64_t inner, int64_t columns) {
  // Thirds reveal the order of a sum and where it rounds: once for each term, in the order of `inner`.
  Floats left = whole_numbers(rows * inner, -9, 9), right = whole_numbers(inner * columns, -9, 9);
  for (float& v : left) v /= 3;
  for (float& v : right) v /= 3;
  Floats product(rows * columns, std::numeric_limits<float>::quiet_NaN());
  Floats transposed(right.size());
  for (int64_t i = 0; i < inner; i++)
    for (int64_t c = 0; c < columns; c++) transposed[c * inner + i] = right[i * columns + c];
  csnn::multiply(left.data(), right.data(), false, rows, inner, columns, product.data(), workers);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) {
      float total = 0;
      for (int64_t i = 0; i < inner; i++) total = std::fma(left[r * inner + i], right[i * columns + c], total);
      check(product[r * columns + c] == total, "multiply");
    }
  Floats again(product.size(), std::numeric_limits<float>::quiet_NaN());
  csnn::multiply(left.data(), transposed.data(), true, rows, inner, columns, again.data(), workers);
  check(again == product, "multiply, transposed");
}

static void test_add_rows(int64_t rows, int64_t columns) {
  Floats x = whole_numbers(rows * columns, -999, 999), sums(columns, std::numeric_limits<float>::quiet_NaN());
  csnn::add_rows(x.data(), rows, columns, sums.data(), workers);
  for (int64_t c = 0; c < columns; c++) {
    double total = 0;
    for (int64_t r = 0; r < rows; r++) total += x[r * columns + c];
    check(sums[c] == static_cast<float>(total), "add_rows");
  }
}

// `s.in` may be any number here.
static void test_image_current(const csnn::Shape& s) {
  const int64_t images = 5, cells = s.rows() * s.columns(), places = s.pool * s.pool;
  const Floats image = whole_numbers(images * s.inputs(), 0, 3);
  const Floats kernel = whole_numbers(s.kernel * s.kernel * s.in * s.out, -3, 3), bias = whole_numbers(s.out, -9, 9);
  Floats current(images * s.neurons(), std::numeric_limits<float>::quiet_NaN());
  std::vector<uint8_t> winners(current.size(), 99);
  const csnn::ImageCurrent a{.shape = s,
                             .image = image.data(),
                             .kernel = kernel.data(),
                             .bias = bias.data(),
                             .current = current.data(),
                             .winners = s.max ? winners.data() : nullptr};
  csnn::image_current(a, images, workers);
  for (int64_t n = 0; n < images * cells * s.out; n++) {
    const int64_t c = n % s.out, cell = n / s.out % cells, b = n / s.out / cells;
    Floats sums;
    for (int64_t place = 0; place < places; place++) {
      float sum = 0;
      for (int64_t tap = 0; tap < s.kernel * s.kernel; tap++) {
        const int64_t y = cell / s.columns() * s.pool + place / s.pool + tap / s.kernel - s.padding;
        const int64_t x = cell % s.columns() * s.pool + place % s.pool + tap % s.kernel - s.padding;
        if (y < 0 || y >= s.height || x < 0 || x >= s.width) continue;
        for (int64_t i = 0; i < s.in; i++)
          sum += kernel[(tap * s.in + i) * s.out + c] * image[b * s.inputs() + (y * s.width + x) * s.in + i];
      }
      sums.push_back(sum);
    }
    const auto largest = std::max_element(sums.begin(), sums.end());  // the first if several are equal
    const float average = std::accumulate(sums.begin(), sums.end(), 0.0f) / static_cast<float>(places);
    check(current[n] == (s.max ? *largest : average) + bias[c], "image_current");
    check(winners[n] == (s.max ? largest - sums.begin() : 99), "winners of image_current");
  }
}

static void test_image_weights(const csnn::Shape& s) {
  const int64_t images = 37, taps = s.kernel * s.kernel, cells = s.rows() * s.columns(), places = s.pool * s.pool;
  const Floats image = whole_numbers(images * s.inputs(), 0, 3), dcurrent = whole_numbers(images * s.neurons(), -2, 2);
  const Floats drawn = whole_numbers(images * s.neurons(), 0, static_cast<int>(places) - 1);
  const std::vector<uint8_t> winners(drawn.begin(), drawn.end());
  Floats dkernel(taps * s.in * s.out), dbias(s.out), dense(dkernel.size()), bias(s.out);
  const csnn::ImageWeights a{
      .shape = s, .image = image.data(), .dcurrent = dcurrent.data(), .winners = s.max ? winners.data() : nullptr};
  csnn::image_weights(a, images, dkernel.data(), dbias.data(), workers);
  for (int64_t n = 0; n < images * cells * s.out; n++) {
    const int64_t c = n % s.out, cell = n / s.out % cells, b = n / s.out / cells;
    bias[c] += dcurrent[n];
    for (int64_t place = 0; place < places; place++) {
      if (s.max && winners[n] != place) continue;
      const float share = s.max ? dcurrent[n] : dcurrent[n] / static_cast<float>(places);
      const int64_t y = cell / s.columns() * s.pool + place / s.pool, x = cell % s.columns() * s.pool + place % s.pool;
      for (int64_t tap = 0; tap < taps; tap++) {
        const int64_t row = y + tap / s.kernel - s.padding, column = x + tap % s.kernel - s.padding;
        if (row < 0 || row >= s.height || column < 0 || column >= s.width) continue;
        for (int64_t i = 0; i < s.in; i++)
          dense[(tap * s.in + i) * s.out + c] += share * image[b * s.inputs() + (row * s.width + column) * s.in + i];
      }
    }
  }
  check(dkernel == dense && dbias == bias, "image_weights");
}

static void test_sums() {
  for (int64_t columns : {16, 64, 80, 208})
    for (int64_t rows : {1, 5, 59, 127}) test_multiply(rows, 11 * rows % 37 + 1, columns);
  for (int64_t rows : {0, 1, 4096, 9000}) test_add_rows(rows, rows % 7 + 1);
  // height, width, in, out, channels, kernel, padding, pool, max
  for (const csnn::Shape& s : {csnn::Shape{5, 8, 1, 16, 16, 3, 1, 2, true},
                               {7, 6, 3, 32, 20, 2, 0, 2, false},
                               {6, 9, 2, 16, 9, 7, 3, 1, false}}) {
    test_image_current(s);
    test_image_weights(s);
  }
}
