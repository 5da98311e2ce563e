// The leaky integrate-and-fire neuron: one step, the surrogate derivatives, the reverse recurrence.
#pragma once
#include "lanes.h"

namespace csnn::ISA {

// U[t] from U[t-1] and I[t] (csnn_jax/network/neuron.py; the same operations in the same order).
CSNN_INLINE v16 step(v16 membrane, v16 current, const Neuron& neuron) {
  const v16 threshold = all(neuron.threshold);
  if (neuron.reset == Reset::subtract)
    return neuron.beta * membrane + current - where_greater(membrane, threshold, threshold, v16{});
  if (neuron.reset == Reset::zero) return neuron.beta * where_greater(membrane, threshold, v16{}, membrane) + current;
  return neuron.beta * membrane + current;
}

// dS/dU at x = U - threshold (csnn_jax/network/surrogate.py).
template <Surrogate kind>
CSNN_INLINE v16 derivative(v16 x, float slope) {
  const v16 one = all(1.0f);
  if constexpr (kind == Surrogate::fast_sigmoid || kind == Surrogate::sparse_fast_sigmoid) {
    const v16 d = slope * abs(x) + one;
    const v16 y = one / (d * d);
    return kind == Surrogate::fast_sigmoid ? y : where_greater(x, one, y, v16{});
  } else if constexpr (kind == Surrogate::atan) {
    const v16 d = (1.57079632679f * slope) * x;
    return (slope / 2) / (one + d * d);
  } else if constexpr (kind == Surrogate::sigmoid) {
    const v16 decay = exp_negative(-slope * abs(x)), d = one + decay;
    return slope * decay / (d * d);
  } else if constexpr (kind == Surrogate::straight_through) {
    return one;
  } else if constexpr (kind == Surrogate::triangular) {
    return where_greater(v16{}, x, all(slope), all(-slope));
  } else if constexpr (kind == Surrogate::heaviside) {
    return where_greater(x, v16{}, one, v16{});
  } else if constexpr (kind == Surrogate::spike_rate_escape) {
    return slope * exp_negative(-abs(x - one));
  } else {
    return where_greater(x, v16{}, one, all(slope));
  }
}

// Calls f<kind>() for the surrogate, to keep the choice out of the loops.
template <typename F>
CSNN_INLINE void with_surrogate(Surrogate kind, F&& f) {
#define CSNN_CASE(name) \
  case Surrogate::name: return f.template operator()<Surrogate::name>();
  switch (kind) { CSNN_EACH_SURROGATE(CSNN_CASE) }
#undef CSNN_CASE
}

// One step of the reverse recurrence of `count` neurons,
//     dU[t] = derivative(U[t] - threshold) dS[t] + beta dU[t+1]        (zero: beta (1 - R[t+1])),
// in which the reset passes no gradient. `next` is dU[t+1], null after the last step; `dcurrent`, which gets dU[t], may
// be `dspikes`. Adds to the gradients of beta and the threshold.
template <Surrogate kind>
CSNN_INLINE void reverse_step(const LifBackward& a, int64_t count, const float* dspikes, const float* membranes,
                              const float* given, const float* next, float* dcurrent, v16& dbeta, v16& dthreshold) {
  const Neuron& neuron = a.neuron;
  const v16 threshold = all(neuron.threshold);
  for (int64_t n = 0; n < count; n += lanes) {
    const v16 u = load(membranes + n);
    v16 sigma;
    if constexpr (kind == Surrogate::given) sigma = load(given + n);
    else sigma = derivative<kind>(u - threshold, a.slope);
    const v16 through = sigma * load(dspikes + n);
    const v16 carry = next ? load(next + n) : v16{};
    const v16 carried = neuron.reset == Reset::zero ? where_greater(u, threshold, v16{}, carry) : carry;
    store(dcurrent + n, through + neuron.beta * carried);
    dbeta += carried * u;
    dthreshold -= through;
    if (neuron.reset == Reset::subtract) dthreshold -= where_greater(u, threshold, carry, v16{});
  }
}

// If the threshold is below 0, a neuron at rest (U[-1] = 0) is above it. Returns what this adds to the threshold's
// gradient, from all neurons' dU[0].
CSNN_INLINE double reset_at_rest(const LifBackward& a, const float* dcurrent) {
  double total = 0;
  if (a.neuron.reset == Reset::subtract && 0 > a.neuron.threshold)
    for (int64_t n = 0; n < a.count; n += lanes) total -= sum(load(dcurrent + n));
  return total;
}

}  // namespace csnn::ISA
