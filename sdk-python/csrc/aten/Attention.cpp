// Which kernel scaled_dot_product_attention takes. PyTorch asks the device; the answer depends on what computes behind it.
#include <ATen/Context.h>
#include <ATen/SDPBackend.h>
#include <ATen/core/Tensor.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/ops/_fused_sdp_choice_native.h>

#include "aten/Kernels.h"
#include "driver.h"

namespace remote {
namespace {

bool is_dense_4d(const at::Tensor& tensor) {
  return tensor.dim() == 4 && tensor.layout() == c10::kStrided && tensor.stride(-1) == 1;
}

// What CUDA's memory-efficient kernel takes with room to spare. It draws its own random numbers, so dropout is left to the mathematical
// form, whose numbers come from the device's generator.
bool fits_efficient_kernel(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask, double dropout) {
  const c10::ScalarType dtype = query.scalar_type();
  const bool dtype_fits = dtype == c10::kFloat || dtype == c10::kHalf || dtype == c10::kBFloat16;
  return at::globalContext().userEnabledMemEfficientSDP() && dtype_fits && dropout == 0.0 && !mask.has_value() && is_dense_4d(query) &&
      is_dense_4d(key) && is_dense_4d(value) && key.scalar_type() == dtype && value.scalar_type() == dtype && query.size(-1) % 8 == 0 &&
      value.size(-1) % 8 == 0 && query.size(0) == key.size(0) && query.size(1) == key.size(1) && query.size(2) > 0 && key.size(2) > 0;
}

int64_t choose(
    const at::Tensor& query,
    const at::Tensor& key,
    const at::Tensor& value,
    const std::optional<at::Tensor>& mask,
    double dropout,
    bool is_causal,
    std::optional<double> scale,
    bool enable_gqa) {
  switch (tr_device_kind(query.device().index())) {
    case TR_KIND_CPU:
      return at::native::_fused_sdp_choice_cpp(query, key, value, mask, dropout, is_causal, scale, enable_gqa);
    case TR_KIND_CUDA:
      if (!enable_gqa && fits_efficient_kernel(query, key, value, mask, dropout)) {
        return static_cast<int64_t>(at::SDPBackend::efficient_attention);
      }
      break;
    default:
      break;
  }
  return static_cast<int64_t>(at::SDPBackend::math);
}

} // namespace

void register_attention_choice() {
  at::native::_fused_sdp_choice_stub.set_privateuse1_dispatch_ptr(&choose);
}

} // namespace remote
