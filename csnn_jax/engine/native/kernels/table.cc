// The kernels of one instruction set.
#include "lanes.h"

#define CSNN_TEXT(x) #x
#define CSNN_NAME(x) CSNN_TEXT(x)

namespace csnn::ISA {

#define CSNN_KERNEL(Result, name, ...) Result name(__VA_ARGS__);
#include "list.h"
#undef CSNN_KERNEL

extern const Kernels table;
const Kernels table = {
    .name = CSNN_NAME(ISA),
    .conv_block = conv_vectors * lanes,
#define CSNN_KERNEL(Result, name, ...) .name = name,
#include "list.h"
};

}  // namespace csnn::ISA
