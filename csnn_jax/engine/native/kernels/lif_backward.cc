// The reverse recurrence of a layer whose membranes were kept.
#include "lif.h"

namespace csnn::ISA {

void lif_backward(const LifBackward& a, int64_t image) {
  assert(a.time > 0 && a.count % lanes == 0 && image >= 0 && a.dspikes && a.dcurrent && a.total);
  double dbeta = 0, dthreshold = 0;
  const int64_t start = image * a.time * a.count;
  float* total = a.total + image * a.count;
  memset(total, 0, a.count * sizeof(float));
  with_surrogate(a.surrogate, [&]<Surrogate kind>() {
    for (int64_t t = a.time - 1; t >= 0; t--) {
      const int64_t at = start + t * a.count;
      const float* next = t == a.time - 1 ? nullptr : a.dcurrent + at + a.count;
      v16 beta_part{}, threshold_part{};
      reverse_step<kind>(a, a.count, a.dspikes + at, a.membranes + at, a.given + at, next, a.dcurrent + at, beta_part,
                         threshold_part);
      for (int64_t n = 0; n < a.count; n += lanes) store(total + n, load(total + n) + load(a.dcurrent + at + n));
      dbeta += sum(beta_part);
      dthreshold += sum(threshold_part);
    }
  });
  a.dbeta[image] = static_cast<float>(dbeta);
  a.dthreshold[image] = static_cast<float>(dthreshold + reset_at_rest(a, a.dcurrent + start));
}

}  // namespace csnn::ISA
