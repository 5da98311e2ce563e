// The matrix product as a separate kernel.
#include "product.h"

namespace csnn::ISA {

void multiply_matrices(int64_t rows, const float* left, const float* right, int64_t inner, int64_t columns, float* out,
                       int64_t out_stride) {
  assert(rows >= 0 && inner >= 0 && columns % lanes == 0 && columns <= out_stride);
  multiply(rows, left, right, inner, columns, out, out_stride);
}

}  // namespace csnn::ISA
