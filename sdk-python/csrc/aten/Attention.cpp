// Which kernel scaled_dot_product_attention takes. PyTorch asks the device; the answer depends on what computes behind it.
#include <ATen/SDPBackend.h>
#include <ATen/core/Tensor.h>
#include <ATen/native/transformers/attention.h>

#include "aten/Kernels.h"
#include "driver.h"

namespace remote {
namespace {

// The mathematical form runs on every executor and has every derivative.
int64_t choose(
    const at::Tensor&,
    const at::Tensor&,
    const at::Tensor&,
    const std::optional<at::Tensor>&,
    double,
    bool,
    std::optional<double>,
    bool) {
  return static_cast<int64_t>(at::SDPBackend::math);
}

} // namespace

void register_attention_choice() {
  at::native::_fused_sdp_choice_stub.set_privateuse1_dispatch_ptr(&choose);
}

} // namespace remote
