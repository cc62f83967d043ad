// The fused cells of LSTM and GRU. PyTorch calls them once per time step on every accelerator; they exist on CUDA only. Where CPU kernels
// run behind the device they are put together from operators that exist there.
// Only the operators below, not all of PyTorch's.
#define AT_PER_OPERATOR_HEADERS
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>

#include <tuple>

#include "aten/Call.h"
#include "aten/Kernels.h"
#include "driver.h"

namespace remote {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

bool runs_on_cpu(const at::Tensor& tensor) {
  return tr_device_kind(tensor.device().index()) == TR_KIND_CPU;
}

bool is_given(const OptionalTensor& tensor) {
  return tensor.has_value() && tensor->defined();
}

at::Tensor with_bias(const at::Tensor& gates, const OptionalTensor& bias) {
  return is_given(bias) ? gates + *bias : gates;
}

template <size_t... I>
auto tensors_of(const Stack& results, std::index_sequence<I...>) {
  return std::make_tuple((results[I].isTensor() ? results[I].toTensor() : at::Tensor())...);
}

// Sends the operator itself: `name` has a kernel where the executor runs CUDA.
template <size_t N, class... Arguments>
auto send(const char* name, const Arguments&... arguments) {
  Operator& op = operator_of(c10::Dispatcher::singleton().findSchemaOrThrow(name, ""));
  Stack stack;
  (stack.emplace_back(arguments), ...);
  call(op, &stack);
  return tensors_of(stack, std::make_index_sequence<N>());
}

// workspace: the activated gates (in, forget, cell, out) side by side.
std::tuple<at::Tensor, at::Tensor, at::Tensor> lstm_cell(
    const at::Tensor& input_gates,
    const at::Tensor& hidden_gates,
    const at::Tensor& cx,
    const OptionalTensor& input_bias,
    const OptionalTensor& hidden_bias) {
  if (!runs_on_cpu(cx)) {
    return send<3>("aten::_thnn_fused_lstm_cell", input_gates, hidden_gates, cx, input_bias, hidden_bias);
  }
  const std::vector<at::Tensor> gates = with_bias(with_bias(input_gates + hidden_gates, input_bias), hidden_bias).chunk(4, 1);
  const at::Tensor in = gates[0].sigmoid();
  const at::Tensor forget = gates[1].sigmoid();
  const at::Tensor cell = gates[2].tanh();
  const at::Tensor out = gates[3].sigmoid();
  const at::Tensor cy = forget * cx + in * cell;
  return {out * cy.tanh(), cy, at::cat({in, forget, cell, out}, 1)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> lstm_cell_backward(
    const OptionalTensor& grad_hy_or_none,
    const OptionalTensor& grad_cy_or_none,
    const at::Tensor& cx,
    const at::Tensor& cy,
    const at::Tensor& workspace,
    bool has_bias) {
  if (!runs_on_cpu(cx)) {
    return send<3>("aten::_thnn_fused_lstm_cell_backward_impl", grad_hy_or_none, grad_cy_or_none, cx, cy, workspace, has_bias);
  }
  if (!is_given(grad_hy_or_none) && !is_given(grad_cy_or_none)) {
    return {};
  }
  const at::Tensor grad_hy = is_given(grad_hy_or_none) ? *grad_hy_or_none : at::zeros_like(cy);
  const at::Tensor grad_cy = is_given(grad_cy_or_none) ? *grad_cy_or_none : at::zeros_like(cy);
  const std::vector<at::Tensor> gates = workspace.chunk(4, 1);
  const at::Tensor &in = gates[0], &forget = gates[1], &cell = gates[2], &out = gates[3];
  const at::Tensor squashed = cy.tanh();
  const at::Tensor grad_out = grad_hy * squashed * (1 - out) * out;
  const at::Tensor grad_cell_state = grad_hy * out * (1 - squashed * squashed) + grad_cy;
  const at::Tensor grad_gates = at::cat(
      {grad_cell_state * cell * (1 - in) * in,
       grad_cell_state * cx * (1 - forget) * forget,
       grad_cell_state * in * (1 - cell * cell),
       grad_out},
      1);
  return {grad_gates, grad_cell_state * forget, has_bias ? grad_gates.sum(0) : at::Tensor()};
}

// workspace: reset, update and new gates, the state before, and the hidden part of the new gate, side by side.
std::tuple<at::Tensor, at::Tensor> gru_cell(
    const at::Tensor& input_gates,
    const at::Tensor& hidden_gates,
    const at::Tensor& hx,
    const OptionalTensor& input_bias,
    const OptionalTensor& hidden_bias) {
  if (!runs_on_cpu(hx)) {
    return send<2>("aten::_thnn_fused_gru_cell", input_gates, hidden_gates, hx, input_bias, hidden_bias);
  }
  const std::vector<at::Tensor> input = with_bias(input_gates, input_bias).chunk(3, 1);
  const std::vector<at::Tensor> hidden = with_bias(hidden_gates, hidden_bias).chunk(3, 1);
  const at::Tensor reset = (input[0] + hidden[0]).sigmoid();
  const at::Tensor update = (input[1] + hidden[1]).sigmoid();
  const at::Tensor fresh = (input[2] + reset * hidden[2]).tanh();
  return {fresh + update * (hx - fresh), at::cat({reset, update, fresh, hx, hidden[2]}, 1)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> gru_cell_backward(
    const at::Tensor& grad_hy, const at::Tensor& workspace, bool has_bias) {
  if (!runs_on_cpu(workspace)) {
    return send<5>("aten::_thnn_fused_gru_cell_backward", grad_hy, workspace, has_bias);
  }
  const std::vector<at::Tensor> saved = workspace.chunk(5, 1);
  const at::Tensor &reset = saved[0], &update = saved[1], &fresh = saved[2], &hx = saved[3], &hidden = saved[4];
  const at::Tensor grad_update = grad_hy * (hx - fresh) * (1 - update) * update;
  const at::Tensor grad_fresh = grad_hy * (1 - update) * (1 - fresh * fresh);
  const at::Tensor grad_reset = grad_fresh * hidden * (1 - reset) * reset;
  const at::Tensor grad_input_gates = at::cat({grad_reset, grad_update, grad_fresh}, 1);
  const at::Tensor grad_hidden_gates = at::cat({grad_reset, grad_update, grad_fresh * reset}, 1);
  return {
      grad_input_gates,
      grad_hidden_gates,
      grad_hy * update,
      has_bias ? grad_input_gates.sum(0) : at::Tensor(),
      has_bias ? grad_hidden_gates.sum(0) : at::Tensor()};
}

} // namespace

void register_recurrent_cells(torch::Library& library) {
  library.impl("_thnn_fused_lstm_cell", &lstm_cell);
  library.impl("_thnn_fused_lstm_cell_backward_impl", &lstm_cell_backward);
  library.impl("_thnn_fused_gru_cell", &gru_cell);
  library.impl("_thnn_fused_gru_cell_backward", &gru_cell_backward);
}

} // namespace remote
