// Every kernel, as CSNN_KERNEL(result, name, arguments...): the table, and the functions of an instruction set that it
// points to. Scratch memory has the size that the kernel's `_scratch` returns, in bytes; it's laid out there.
CSNN_KERNEL(void, constant_lif, const ConstantLif&, int64_t image)
CSNN_KERNEL(int64_t, conv_lif_scratch, const ConvLif&)
CSNN_KERNEL(void, conv_lif, const ConvLif&, int64_t image, char* scratch)
CSNN_KERNEL(int64_t, list_spikes, const uint16_t* bits, int64_t words, int32_t* neurons)
// One block of up to `most_width` outputs from `column` on, with the weights `block` [inputs, width]: floats, or int16
// for up to twice as many outputs, padded to a multiple of 32.
CSNN_KERNEL(void, linear_lif, const LinearLif&, int64_t image, int64_t column, int64_t width, const void* block)
CSNN_KERNEL(void, lif_backward, const LifBackward&, int64_t image)
CSNN_KERNEL(void, spike_history, const uint16_t* bits, int64_t time, int64_t count, uint64_t* history)
CSNN_KERNEL(int64_t, list_firing, uint64_t* history, int64_t time, int64_t count, int32_t* neurons)
// One block of up to `most_width` outputs and some inputs; scratch: [time + rows, width].
CSNN_KERNEL(void, linear_weights, const LinearWeights&, int64_t column, int64_t width, int64_t row, int64_t rows,
            float* scratch)
CSNN_KERNEL(int64_t, conv_backward_scratch, const ConvBackward&)
// Adds the image's contribution to dkernel [in, out / 16, k, k, 16] and dbias [out].
CSNN_KERNEL(void, conv_backward, const ConvBackward&, int64_t image, char* scratch, float* dkernel, float* dbias)
CSNN_KERNEL(int64_t, count_spikes, const uint16_t* bits, int64_t words)
CSNN_KERNEL(void, pool_spikes, const SpikePool&, int64_t image)
CSNN_KERNEL(void, pool_backward, const SpikePool&, int64_t image)
// out [rows, columns] = left [rows, inner] @ right [inner, columns], columns a multiple of 16.
CSNN_KERNEL(void, multiply_matrices, int64_t rows, const float* left, const float* right, int64_t inner,
            int64_t columns, float* out, int64_t out_stride)
// Scratch, also for the next one: [padded_height, padded_width, in].
CSNN_KERNEL(void, image_current, const ImageCurrent&, int64_t image, float* scratch)
// Adds the image's contribution to dkernel [k, k, in, out] and dbias [out].
CSNN_KERNEL(void, image_weights, const ImageWeights&, int64_t image, float* scratch, float* dkernel, float* dbias)
// most [columns] = the maximum of itself and the absolute values in each column of kernel [rows, columns].
CSNN_KERNEL(void, largest_weights, const float* kernel, int64_t rows, int64_t columns, float* most)
// to [rows, width] = some columns of kernel [rows, stride] times inverse [columns], followed by zeros. Returns false if
// a product isn't a 16-bit integer. columns is a multiple of 16.
CSNN_KERNEL(bool, to_whole, const float* kernel, int64_t rows, int64_t columns, int64_t stride, const float* inverse,
            int16_t* to, int64_t width)
