// Autocast casts as it does on CUDA: matrix products in the lower precision, sums and losses in float32.
#include <ATen/autocast_mode.h>
#include <ATen/Functions.h>

#include "aten/Kernels.h"

namespace remote {
// The macros below name PyTorch's operators and casting policies without their namespaces.
using namespace at;
using namespace at::autocast;

void register_autocast(torch::Library& m) {
#define LOWER_PRECISION(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
#define FLOAT32(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
#define FLOAT32_DTYPE(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32_set_opt_dtype)
#define WIDEST(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)
  AT_FORALL_LOWER_PRECISION_FP(LOWER_PRECISION)
  AT_FORALL_FP32(FLOAT32)
  AT_FORALL_FP32_SET_OPT_DTYPE(FLOAT32_DTYPE)
  AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE(KERNEL_DIFFERENT_REDISPATCH_SIGNATURE_PRIVATEUSEONE)
  AT_FORALL_PROMOTE(WIDEST)
#undef LOWER_PRECISION
#undef FLOAT32
#undef FLOAT32_DTYPE
#undef WIDEST
}

} // namespace remote
