// PyTorch's PrivateUse1 takes CUDA's fused RNN cells at each time step; CPU has no kernel for them. These follow
// aten/src/ATen/native/cuda/RNN.cu, with its order of gates and the workspace that its backward reads.
#include "tensor.h"
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

namespace trb {
namespace {

using Stack = std::vector<c10::IValue>;

at::Tensor tensor(const Stack& stack, size_t i) { return stack[i].isTensor() ? stack[i].toTensor() : at::Tensor(); }
at::Tensor plus(const at::Tensor& a, const at::Tensor& b) { return b.defined() ? a + b : a; }
at::Tensor or_zeros(const at::Tensor& a, const at::Tensor& like) { return a.defined() ? a : at::zeros_like(like); }

void lstm(Stack& s) {
  const auto gates = plus(plus(tensor(s, 0) + tensor(s, 1), tensor(s, 3)), tensor(s, 4)).chunk(4, 1);
  const auto in = gates[0].sigmoid(), forget = gates[1].sigmoid(), cell = gates[2].tanh(), out = gates[3].sigmoid();
  auto cy = forget * tensor(s, 2) + in * cell;
  auto hy = out * cy.tanh();
  s = {hy, cy, at::cat({in, forget, cell, out}, 1)};
}

void lstm_backward(Stack& s) {
  const auto cx = tensor(s, 2), cy = tensor(s, 3);
  const auto grad_hy = or_zeros(tensor(s, 0), cy), grad_cy = or_zeros(tensor(s, 1), cy);
  const auto gates = tensor(s, 4).chunk(4, 1);
  const bool biased = s[5].toBool();
  const auto &in = gates[0], &forget = gates[1], &cell = gates[2], &out = gates[3];
  const auto activated = cy.tanh();
  const auto grad_cell = grad_hy * out * (1 - activated * activated) + grad_cy;
  auto grad_gates = at::cat({grad_cell * cell * (1 - in) * in, grad_cell * cx * (1 - forget) * forget, grad_cell * in * (1 - cell * cell),
                             grad_hy * activated * (1 - out) * out}, 1);
  s = {grad_gates, grad_cell * forget, biased ? grad_gates.sum(0) : at::Tensor()};
}

void gru(Stack& s) {
  const auto hx = tensor(s, 2);
  const auto none = at::zeros({3 * hx.size(1)}, hx.options());
  const auto x = tensor(s, 0).chunk(3, 1), h = tensor(s, 1).chunk(3, 1);
  const auto bias_x = (tensor(s, 3).defined() ? tensor(s, 3) : none).chunk(3, 0), bias_h = (tensor(s, 4).defined() ? tensor(s, 4) : none).chunk(3, 0);
  const auto reset = (x[0] + h[0] + bias_x[0] + bias_h[0]).sigmoid(), in = (x[1] + h[1] + bias_x[1] + bias_h[1]).sigmoid();
  const auto hidden = h[2] + bias_h[2];
  const auto next = (x[2] + bias_x[2] + reset * hidden).tanh();
  auto hy = next + in * (hx - next);
  s = {hy, at::cat({reset, in, next, hx, hidden}, 1)};
}

void gru_backward(Stack& s) {
  const auto grad = tensor(s, 0);
  const auto saved = tensor(s, 1).chunk(5, 1);
  const bool biased = s[2].toBool();
  const auto &reset = saved[0], &in = saved[1], &next = saved[2], &hx = saved[3], &hidden = saved[4];
  const auto grad_in = grad * (hx - next) * (1 - in) * in;
  const auto grad_next = grad * (1 - in) * (1 - next * next);
  const auto grad_reset = grad_next * hidden * (1 - reset) * reset;
  auto grad_x = at::cat({grad_reset, grad_in, grad_next}, 1), grad_h = at::cat({grad_reset, grad_in, grad_next * reset}, 1);
  s = {grad_x, grad_h, grad * in, biased ? grad_x.sum(0) : at::Tensor(), biased ? grad_h.sum(0) : at::Tensor()};
}

}  // namespace

bool is_fused_cell(const std::string& name) {
  return name == "aten::_thnn_fused_lstm_cell" || name == "aten::_thnn_fused_lstm_cell_backward_impl" || name == "aten::_thnn_fused_gru_cell" ||
         name == "aten::_thnn_fused_gru_cell_backward";
}

void run_fused_cell(const std::string& name, Stack& stack) {
  if (name == "aten::_thnn_fused_lstm_cell") lstm(stack);
  else if (name == "aten::_thnn_fused_lstm_cell_backward_impl") lstm_backward(stack);
  else if (name == "aten::_thnn_fused_gru_cell") gru(stack);
  else gru_backward(stack);
}

}  // namespace trb
