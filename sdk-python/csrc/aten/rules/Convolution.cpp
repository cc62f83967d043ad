// convolution and its backward, in the memory format that cuDNN and oneDNN give.
#include "aten/Rules.h"

namespace remote {
namespace {

// The value for one dimension: a list of one stands for all.
int64_t at_dimension(const c10::DimVector& values, size_t dimension) {
  return values[values.size() == 1 ? 0 : dimension];
}

at::MemoryFormat format_of(const at::Tensor& input, const at::Tensor& weight) {
  const at::MemoryFormat wanted = input.dim() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast;
  const bool channels_last = input.dim() >= 4 && (input.suggest_memory_format() == wanted || weight.suggest_memory_format() == wanted);
  return channels_last ? wanted : at::MemoryFormat::Contiguous;
}

bool fits(const c10::DimVector& values, size_t dimensions) {
  return values.size() == 1 || values.size() == dimensions;
}

// convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)
bool convolution(const RuleInput& in, RuleOutput& out) {
  const at::Tensor &input = in.tensor(0), &weight = in.tensor(1);
  const int64_t groups = in.integer(8);
  if (input.dim() < 3 || weight.dim() != input.dim() || groups <= 0 || input.scalar_type() != weight.scalar_type()) {
    return false;
  }
  const auto dimensions = static_cast<size_t>(input.dim() - 2);
  const c10::DimVector stride = in.integers(3), padding = in.integers(4), dilation = in.integers(5), extra = in.integers(7);
  const bool transposed = in[6].toBool();
  if (!fits(stride, dimensions) || !fits(padding, dimensions) || !fits(dilation, dimensions) || (transposed && !fits(extra, dimensions))) {
    return false;
  }
  const int64_t channels = transposed ? weight.size(1) * groups : weight.size(0);
  if (input.size(1) != (transposed ? weight.size(0) : weight.size(1) * groups) || weight.size(0) % groups != 0) {
    return false;
  }
  if (in.has_tensor(2) && (in.tensor(2).dim() != 1 || in.tensor(2).size(0) != channels)) {
    return false;
  }
  c10::DimVector sizes = {input.size(0), channels};
  for (size_t dimension = 0; dimension < dimensions; ++dimension) {
    const auto axis = static_cast<int64_t>(dimension) + 2;
    const int64_t step = at_dimension(stride, dimension), pad = at_dimension(padding, dimension);
    const int64_t kernel = at_dimension(dilation, dimension) * (weight.size(axis) - 1) + 1;
    if (step <= 0 || pad < 0) {
      return false;
    }
    const int64_t length = transposed ? (input.size(axis) - 1) * step - 2 * pad + kernel + at_dimension(extra, dimension)
                                      : (input.size(axis) + 2 * pad - kernel) / step + 1;
    if (length <= 0 || (!transposed && input.size(axis) + 2 * pad < kernel)) {
      return false;
    }
    sizes.push_back(length);
  }
  out.add(sizes, input.scalar_type(), format_of(input, weight));
  return true;
}

// convolution_backward(grad_output, input, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, output_mask)
bool convolution_backward(const RuleInput& in, RuleOutput& out) {
  const at::Tensor &input = in.tensor(1), &weight = in.tensor(2);
  const c10::ArrayRef<c10::IValue> mask = in[10].toListRef();
  if (input.dim() < 3 || weight.dim() != input.dim()) {
    return false;
  }
  const at::MemoryFormat format = format_of(input, weight);
  for (const at::Tensor* tensor : {&input, &weight}) {
    if (mask[tensor == &input ? 0 : 1].toBool()) {
      out.add(tensor->sizes(), tensor->scalar_type(), format);
    } else {
      out.add_undefined();
    }
  }
  if (mask[2].toBool()) {
    const bool transposed = in[7].toBool();
    out.add({transposed ? weight.size(1) * in.integer(9) : weight.size(0)}, weight.scalar_type());
  } else {
    out.add_undefined();
  }
  return true;
}

constexpr NamedRule kRules[] = {
    {"aten::convolution", &convolution},
    {"aten::convolution_backward", &convolution_backward},
};

} // namespace

c10::ArrayRef<NamedRule> convolution_rules() {
  return kRules;
}

} // namespace remote
