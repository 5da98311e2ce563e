// Chooses the kernels: those for the newest instruction set that this processor has, or for the one in CSNN_ISA.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "ops.h"

namespace csnn {

// build.py says which kernels this library has.
namespace avx512 { extern const Kernels table; }
namespace avx2 { extern const Kernels table; }
namespace baseline { extern const Kernels table; }

static const Kernels& choose_kernels() {
  std::vector<const Kernels*> able;  // fastest first
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
#if defined(CSNN_HAS_AVX512)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt"))
    able.push_back(&avx512::table);
#endif
#if defined(CSNN_HAS_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
      __builtin_cpu_supports("popcnt"))
    able.push_back(&avx2::table);
#endif
#if defined(CSNN_HAS_BASELINE)
  able.push_back(&baseline::table);
#endif
  const char* wanted = std::getenv("CSNN_ISA");
  if (!wanted || !*wanted) {
    if (able.empty()) throw std::runtime_error("has no kernels for this processor");
    return *able[0];
  }
  std::string names;
  for (const Kernels* table : able) {
    if (!std::strcmp(table->name, wanted)) return *table;
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  }
  throw std::runtime_error("CSNN_ISA=" + std::string(wanted) + ": expected one of this machine's: " + names +
                           "; `python -m csnn_jax.engine.build` adds those that an installation leaves out");
}

const Kernels& kernels() {
  static const Kernels& chosen = choose_kernels();
  return chosen;
}

}  // namespace csnn
