// Converts rows of floats to 16-bit integers.
#include "rows.h"

namespace csnn::ISA {

// most[columns] = the largest absolute value of each column, so far and in `rows` more; columns is a multiple of 16.
void largest_weights(const float* kernel, int64_t rows, int64_t columns, float* most) {
  assert(columns % lanes == 0);
  for (int64_t row = 0; row < rows; row++, kernel += columns)
    for (int64_t n = 0; n < columns; n += lanes) store(most + n, largest(load(most + n), abs(load(kernel + n))));
}

// to [rows, width] = the first `columns` of kernel [rows, stride] times those of `inverse`, then zeros; columns is a
// multiple of 16. Returns false if a product isn't an integer, or isn't finite.
bool to_whole(const float* kernel, int64_t rows, int64_t columns, int64_t stride, const float* inverse, int16_t* to,
              int64_t width) {
  assert(columns % lanes == 0 && columns <= width && columns <= stride);
  uint16_t right = 0xffff;
  for (int64_t row = 0; row < rows; row++, kernel += stride, to += width) {
    for (int64_t n = 0; n < columns; n += lanes) {
      const v16 unit = load(kernel + n) * load(inverse + n);
      v16 back;
#pragma GCC unroll 4
      for (int i = 0; i < parts; i++) {
        const whole_part whole = __builtin_convertvector(unit.p[i], whole_part);
        back.p[i] = __builtin_convertvector(whole, part);
        *reinterpret_cast<half_part*>(to + n + i * ISA::width) = __builtin_convertvector(whole, half_part);
      }
      right &= ~(greater(unit, back) | greater(back, unit)) & greater(all(32768.0f), abs(unit));  // and not NaN
    }
    for (int64_t n = columns; n < width; n++) to[n] = 0;
  }
  return right == 0xffff;
}

}  // namespace csnn::ISA
