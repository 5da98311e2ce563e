// The kernels of one instruction set.
#include "lanes.h"

#define CSNN_TEXT(x) #x
#define CSNN_NAME(x) CSNN_TEXT(x)

namespace csnn {
namespace ISA {
void constant_lif(const ConstantLif&, int64_t image);
int64_t conv_lif_scratch(const ConvLif&);
void conv_lif(const ConvLif&, int64_t image, char* scratch);
int64_t list_spikes(const uint16_t* bits, int64_t words, int32_t* neurons);
void linear_lif(const LinearLif&, int64_t image, int64_t column, int64_t width, const void* block);
void lif_backward(const LifBackward&, int64_t image);
void spike_history(const uint16_t* bits, int64_t time, int64_t count, uint64_t* history);
int64_t list_firing(const uint64_t* history, int64_t time, int64_t count, int32_t* neurons);
void linear_weights(const LinearWeights&, int64_t column, int64_t width, int64_t row, int64_t rows, float* scratch);
int64_t conv_backward_scratch(const ConvBackward&);
void conv_backward(const ConvBackward&, int64_t image, char* scratch, float* dkernel, float* dbias);
int64_t count_spikes(const uint16_t* bits, int64_t words);
void multiply_matrices(int64_t rows, const float* left, const float* right, int64_t inner, int64_t columns, float* out,
                       int64_t out_stride);
void image_current(const ImageCurrent&, int64_t image, float* scratch);
void image_weights(const ImageWeights&, int64_t image, float* scratch, float* dkernel, float* dbias);

void largest_weights(const float* kernel, int64_t rows, int64_t columns, float* most);
bool to_whole(const float* kernel, int64_t rows, int64_t columns, int64_t stride, const float* inverse, int16_t* to,
              int64_t width);

extern const Kernels table;
const Kernels table = {
    .name = CSNN_NAME(ISA),
    .conv_block = conv_vectors * lanes,
    .constant_lif = constant_lif,
    .conv_lif_scratch = conv_lif_scratch,
    .conv_lif = conv_lif,
    .list_spikes = list_spikes,
    .linear_lif = linear_lif,
    .lif_backward = lif_backward,
    .spike_history = spike_history,
    .list_firing = list_firing,
    .linear_weights = linear_weights,
    .conv_backward_scratch = conv_backward_scratch,
    .conv_backward = conv_backward,
    .count_spikes = count_spikes,
    .multiply = multiply_matrices,
    .image_current = image_current,
    .image_weights = image_weights,
    .largest_weights = largest_weights,
    .to_whole = to_whole,
};
}  // namespace ISA
}  // namespace csnn
