// The reverse recurrence of a layer whose membranes were kept.
#include "lif.h"

namespace csnn::ISA {

void lif_backward(const LifBackward& a, int64_t image) {
  const int64_t at = image * a.time * a.count;
  with_surrogate(a.surrogate, [&]<Surrogate kind>() {
    reverse<kind>(a, a.dspikes + at, a.membranes + at, a.given + at, a.dcurrent + at, a.dbeta + image,
                  a.dthreshold + image);
  });
}

}  // namespace csnn::ISA
