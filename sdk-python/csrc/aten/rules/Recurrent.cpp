// The fused cells of LSTM and GRU (CUDA kernels).
#include "aten/Rules.h"

namespace remote {
namespace {

void add_contiguous(RuleOutput& out, const at::Tensor& tensor) {
  out.add(tensor.sizes(), tensor.scalar_type());
}

// _thnn_fused_lstm_cell(input_gates, hidden_gates, cx, input_bias, hidden_bias) -> (hy, cy, workspace)
bool lstm_cell(const RuleInput& in, RuleOutput& out) {
  add_contiguous(out, in.tensor(2));
  add_contiguous(out, in.tensor(2));
  add_contiguous(out, in.tensor(0));
  return true;
}

// _thnn_fused_lstm_cell_backward_impl(grad_hy, grad_cy, cx, cy, workspace, has_bias) -> (grad_gates, grad_cx, grad_bias)
bool lstm_cell_backward(const RuleInput& in, RuleOutput& out) {
  if (!in.has_tensor(0) && !in.has_tensor(1)) {
    return false;
  }
  add_contiguous(out, in.tensor(4));
  add_contiguous(out, in.tensor(2));
  if (in[5].toBool()) {
    out.add({in.tensor(4).size(1)}, in.tensor(4).scalar_type());
  } else {
    out.add_undefined();
  }
  return true;
}

// _thnn_fused_gru_cell(input_gates, hidden_gates, hx, input_bias, hidden_bias) -> (hy, workspace)
bool gru_cell(const RuleInput& in, RuleOutput& out) {
  const at::Tensor& state = in.tensor(2);
  if (state.dim() != 2) {
    return false;
  }
  add_contiguous(out, state);
  out.add({state.size(0), state.size(1) * 5}, state.scalar_type());
  return true;
}

// _thnn_fused_gru_cell_backward(grad_hy, workspace, has_bias) -> (grad_input_gates, grad_hidden_gates, grad_hx, grad_input_bias, grad_hidden_bias)
bool gru_cell_backward(const RuleInput& in, RuleOutput& out) {
  const at::Tensor& workspace = in.tensor(1);
  const int64_t batch = workspace.size(0), gates = workspace.size(1) / 5 * 3;
  out.add({batch, gates}, workspace.scalar_type());
  out.add({batch, gates}, workspace.scalar_type());
  add_contiguous(out, in.tensor(0));
  for (int bias = 0; bias < 2; ++bias) {
    if (in[2].toBool()) {
      out.add({gates}, workspace.scalar_type());
    } else {
      out.add_undefined();
    }
  }
  return true;
}

constexpr NamedRule kRules[] = {
    {"aten::_thnn_fused_lstm_cell", &lstm_cell},
    {"aten::_thnn_fused_lstm_cell_backward_impl", &lstm_cell_backward},
    {"aten::_thnn_fused_gru_cell", &gru_cell},
    {"aten::_thnn_fused_gru_cell_backward", &gru_cell_backward},
};

} // namespace

c10::ArrayRef<NamedRule> recurrent_rules() {
  return kRules;
}

} // namespace remote
