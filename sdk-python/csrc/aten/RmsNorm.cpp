// The backward of rms_norm has a CUDA kernel only. Where CPU kernels run behind the device it is put together here.
#define AT_PER_OPERATOR_HEADERS
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <numeric>
#include <tuple>

#include "aten/Call.h"
#include "aten/Kernels.h"
#include "driver.h"

namespace remote {
namespace {

using Gradients = std::tuple<at::Tensor, at::Tensor>;

Gradients send(
    const at::Tensor& grad_out,
    const at::Tensor& input,
    c10::IntArrayRef normalized_shape,
    const at::Tensor& rstd,
    const std::optional<at::Tensor>& weight,
    std::array<bool, 2> output_mask) {
  static Operator& op = operator_of(c10::Dispatcher::singleton().findSchemaOrThrow("aten::_fused_rms_norm_backward", ""));
  Stack stack;
  stack.emplace_back(grad_out);
  stack.emplace_back(input);
  stack.emplace_back(normalized_shape);
  stack.emplace_back(rstd);
  stack.emplace_back(weight);
  stack.emplace_back(c10::List<bool>({output_mask[0], output_mask[1]}));
  call(op, &stack);
  return {stack[0].toTensor(), stack[1].toTensor()};
}

Gradients rms_norm_backward(
    const at::Tensor& grad_out,
    const at::Tensor& input,
    c10::IntArrayRef normalized_shape,
    const at::Tensor& rstd,
    const std::optional<at::Tensor>& weight,
    std::array<bool, 2> output_mask) {
  if (tr_device_kind(input.device().index()) != TR_KIND_CPU) {
    return send(grad_out, input, normalized_shape, rstd, weight, output_mask);
  }
  const bool weighted = weight.has_value() && weight->defined();
  const int64_t outer = input.dim() - static_cast<int64_t>(normalized_shape.size());
  c10::DimVector inner_dims(normalized_shape.size());
  std::iota(inner_dims.begin(), inner_dims.end(), outer);
  const at::Tensor normalized = input * rstd;
  Gradients gradients;
  if (output_mask[0]) {
    const at::Tensor scaled = weighted ? grad_out * *weight : grad_out;
    const at::Tensor mean = (scaled * normalized).mean(inner_dims, /*keepdim=*/true);
    std::get<0>(gradients) = ((scaled - normalized * mean) * rstd).to(input.scalar_type());
  }
  if (output_mask[1] && weighted) {
    const at::Tensor product = grad_out * normalized;
    c10::DimVector outer_dims(outer);
    std::iota(outer_dims.begin(), outer_dims.end(), 0);
    std::get<1>(gradients) = (outer == 0 ? product : product.sum(outer_dims)).to(weight->scalar_type());
  }
  return gradients;
}

} // namespace

void register_rms_norm(torch::Library& library) {
  library.impl("_fused_rms_norm_backward", &rms_norm_backward);
}

} // namespace remote
