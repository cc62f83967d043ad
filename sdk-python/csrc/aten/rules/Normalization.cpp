// layer_norm, group_norm and batch_norm. The dtype of their saved statistics depends on the kernel: CUDA keeps them in float32.
#include "aten/Rules.h"

#include <c10/util/accumulate.h>

namespace remote {
namespace {

// Dtype of CPU statistics: the parameters', when they are wider than the input.
c10::ScalarType parameter_dtype(const RuleInput& in, const at::Tensor& input, std::initializer_list<size_t> parameters) {
  for (const size_t position : parameters) {
    if (in.has_tensor(position)) {
      return in.tensor(position).scalar_type() == input.scalar_type() ? input.scalar_type() : c10::kFloat;
    }
  }
  return input.scalar_type();
}

// Dtype of CUDA statistics.
c10::ScalarType accumulate_dtype(c10::ScalarType dtype) {
  return dtype == c10::kHalf || dtype == c10::kBFloat16 ? c10::kFloat : dtype;
}

bool masked(const RuleInput& in, size_t mask, size_t index) {
  return in[mask].toListRef()[index].toBool();
}

// The gradient of a parameter: its own shape, or nothing. False: it is asked for, and there is no parameter to take the shape from.
bool add_parameter_gradient(const RuleInput& in, RuleOutput& out, bool wanted, size_t parameter) {
  if (!wanted) {
    out.add_undefined();
    return true;
  }
  if (!in.has_tensor(parameter)) {
    return false;
  }
  out.add_like(in.tensor(parameter));
  return true;
}

void add_input_gradient(RuleOutput& out, bool wanted, const at::Tensor& input) {
  if (wanted) {
    out.add_like(input);
  } else {
    out.add_undefined();
  }
}

// native_layer_norm(input, normalized_shape, weight, bias, eps) -> (output, mean, rstd)
bool layer_norm(const RuleInput& in, RuleOutput& out) {
  const at::Tensor& input = in.tensor(0);
  const c10::DimVector shape = in.integers(1);
  const int64_t outer = input.dim() - static_cast<int64_t>(shape.size());
  if (outer < 0 || shape.empty() || c10::IntArrayRef(shape) != input.sizes().slice(outer)) {
    return false;
  }
  for (const size_t parameter : {2, 3}) {
    if (in.has_tensor(parameter) && in.tensor(parameter).sizes() != c10::IntArrayRef(shape)) {
      return false;
    }
  }
  c10::DimVector statistics(input.sizes().begin(), input.sizes().end());
  std::fill(statistics.begin() + outer, statistics.end(), 1);
  const c10::ScalarType dtype = in.on_cpu() ? parameter_dtype(in, input, {2, 3}) : accumulate_dtype(input.scalar_type());
  out.add(input.sizes(), input.scalar_type());
  out.add(statistics, dtype);
  out.add(statistics, dtype);
  return true;
}

// native_layer_norm_backward(grad_out, input, normalized_shape, mean, rstd, weight, bias, output_mask)
bool layer_norm_backward(const RuleInput& in, RuleOutput& out) {
  const at::Tensor& input = in.tensor(1);
  if (in.tensor(0).sizes() != input.sizes()) {
    return false;
  }
  if (masked(in, 7, 0)) {
    out.add(input.sizes(), input.scalar_type());
  } else {
    out.add_undefined();
  }
  return add_parameter_gradient(in, out, masked(in, 7, 1), 5) && add_parameter_gradient(in, out, masked(in, 7, 2), 6);
}

// native_group_norm(input, weight, bias, N, C, HxW, group, eps) -> (output, mean, rstd)
bool group_norm(const RuleInput& in, RuleOutput& out) {
  const at::Tensor& input = in.tensor(0);
  const int64_t batch = in.integer(3), channels = in.integer(4), pixels = in.integer(5), groups = in.integer(6);
  if (input.numel() != batch * channels * pixels || groups <= 0 || channels % groups != 0) {
    return false;
  }
  for (const size_t parameter : {1, 2}) {
    if (in.has_tensor(parameter) && in.tensor(parameter).numel() != channels) {
      return false;
    }
  }
  const c10::ScalarType dtype = parameter_dtype(in, input, {1, 2});
  out.add(input.sizes(), input.scalar_type(), in.on_cpu() ? input.suggest_memory_format() : at::MemoryFormat::Contiguous);
  out.add({batch, groups}, dtype);
  out.add({batch, groups}, dtype);
  return true;
}

// native_group_norm_backward(grad_out, input, mean, rstd, weight, N, C, HxW, group, output_mask)
bool group_norm_backward(const RuleInput& in, RuleOutput& out) {
  add_input_gradient(out, masked(in, 9, 0), in.tensor(1));
  return add_parameter_gradient(in, out, masked(in, 9, 1), 4) && add_parameter_gradient(in, out, masked(in, 9, 2), 4);
}

bool add_batch_norm(const RuleInput& in, RuleOutput& out, std::initializer_list<size_t> parameters, bool training) {
  const at::Tensor& input = in.tensor(0);
  if (input.dim() < 2) {
    return false;
  }
  const int64_t channels = input.size(1);
  for (const size_t parameter : parameters) {
    if (in.has_tensor(parameter) && in.tensor(parameter).numel() != channels) {
      return false;
    }
  }
  out.add_like(input);
  if (in.on_cpu()) {
    const c10::ScalarType dtype = parameter_dtype(in, input, parameters);
    out.add({training ? channels : 0}, dtype);
    out.add({training ? channels : 0}, dtype);
  } else {
    out.add({channels}, accumulate_dtype(input.scalar_type()));
    out.add({channels}, accumulate_dtype(input.scalar_type()));
  }
  return true;
}

// native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps) -> (output, save_mean, save_invstd)
bool batch_norm(const RuleInput& in, RuleOutput& out) {
  return add_batch_norm(in, out, {1, 2, 3, 4}, in[5].toBool());
}

// _native_batch_norm_legit.no_stats(input, weight, bias, training, momentum, eps) -> (output, save_mean, save_invstd)
bool batch_norm_without_statistics(const RuleInput& in, RuleOutput& out) {
  return add_batch_norm(in, out, {1, 2}, in[3].toBool());
}

// native_batch_norm_backward(grad_out, input, weight, running_mean, running_var, save_mean, save_invstd, train, eps, output_mask)
bool batch_norm_backward(const RuleInput& in, RuleOutput& out) {
  add_input_gradient(out, masked(in, 9, 0), in.tensor(1));
  return add_parameter_gradient(in, out, masked(in, 9, 1), 2) && add_parameter_gradient(in, out, masked(in, 9, 2), 2);
}

constexpr NamedRule kRules[] = {
    {"aten::native_layer_norm", &layer_norm},
    {"aten::native_layer_norm_backward", &layer_norm_backward},
    {"aten::native_group_norm", &group_norm},
    {"aten::native_group_norm_backward", &group_norm_backward},
    {"aten::native_batch_norm", &batch_norm},
    {"aten::_native_batch_norm_legit", &batch_norm},
    {"aten::_native_batch_norm_legit.no_stats", &batch_norm_without_statistics},
    {"aten::native_batch_norm_backward", &batch_norm_backward},
};

} // namespace

c10::ArrayRef<NamedRule> normalization_rules() {
  return kRules;
}

} // namespace remote
