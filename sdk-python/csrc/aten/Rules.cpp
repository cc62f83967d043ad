#include "aten/Rules.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ExpandUtils.h>
#include <c10/util/strides.h>

#include <unordered_map>

#include "driver.h"

namespace remote {
namespace {

Output fresh(c10::IntArrayRef sizes, c10::IntArrayRef strides, c10::ScalarType dtype) {
  Output output;
  output.kind = OutputKind::Fresh;
  output.dtype = dtype;
  output.sizes.assign(sizes.begin(), sizes.end());
  output.strides.assign(strides.begin(), strides.end());
  output.bytes = at::detail::computeStorageNbytes(sizes, strides, c10::elementSize(dtype));
  return output;
}

// What empty_like gives.
Output fresh_like(const at::Tensor& tensor, c10::ScalarType dtype) {
  if (tensor.is_non_overlapping_and_dense()) {
    return fresh(tensor.sizes(), tensor.strides(), dtype);
  }
  return fresh(tensor.sizes(), at::infer_dense_strides(tensor.sizes(), tensor.strides()), dtype);
}

c10::DimVector strides_of(c10::IntArrayRef sizes, at::MemoryFormat format) {
  if (format == at::MemoryFormat::ChannelsLast && sizes.size() == 4) {
    return c10::DimVector(c10::get_channels_last_strides_2d(sizes));
  }
  if (format == at::MemoryFormat::ChannelsLast3d && sizes.size() == 5) {
    return c10::DimVector(c10::get_channels_last_strides_3d(sizes));
  }
  return c10::DimVector(c10::contiguous_strides(sizes));
}

} // namespace

c10::DimVector RuleInput::integers(size_t position) const {
  c10::DimVector values;
  if (arguments_[position].isList()) {
    for (const c10::IValue& item : arguments_[position].toListRef()) {
      values.push_back(item.toInt());
    }
  }
  return values;
}

bool RuleInput::on_cpu() const {
  return device_kind_ == TR_KIND_CPU;
}

void RuleOutput::add(c10::IntArrayRef sizes, c10::ScalarType dtype, at::MemoryFormat format) {
  add_strided(sizes, strides_of(sizes, format), dtype);
}

void RuleOutput::add_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides, c10::ScalarType dtype) {
  returns_.emplace_back().outputs.push_back(fresh(sizes, strides, dtype));
}

void RuleOutput::add_like(const at::Tensor& tensor) {
  add_like(tensor, tensor.scalar_type());
}

void RuleOutput::add_like(const at::Tensor& tensor, c10::ScalarType dtype) {
  returns_.emplace_back().outputs.push_back(fresh_like(tensor, dtype));
}

void RuleOutput::add_undefined() {
  returns_.emplace_back().outputs.emplace_back();
}

void RuleOutput::add_list_like(const c10::IValue& tensors) {
  ReturnValue& value = returns_.emplace_back();
  value.is_list = true;
  for (const c10::IValue& tensor : tensors.toListRef()) {
    value.outputs.push_back(fresh_like(tensor.toTensor(), tensor.toTensor().scalar_type()));
  }
}

void RuleOutput::add_list_of_scalars(const c10::IValue& tensors, c10::ScalarType dtype) {
  ReturnValue& value = returns_.emplace_back();
  value.is_list = true;
  for (size_t count = tensors.toListRef().size(); count > 0; --count) {
    value.outputs.push_back(fresh({}, {}, dtype));
  }
}

Rule find_rule(const std::string& full_name) {
  static const auto* rules = [] {
    auto* made = new std::unordered_map<std::string, Rule>;
    for (const c10::ArrayRef<NamedRule> table :
         {convolution_rules(), foreach_rules(), normalization_rules(), pointwise_rules(), recurrent_rules()}) {
      for (const NamedRule& named : table) {
        made->emplace(named.full_name, named.rule);
      }
    }
    return made;
  }();
  const auto found = rules->find(full_name);
  return found == rules->end() ? nullptr : found->second;
}

} // namespace remote
