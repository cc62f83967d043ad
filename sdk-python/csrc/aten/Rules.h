// Hand-written metadata rules, for hot operators that PyTorch has no C++ meta function for.
//
// A rule says what an operator returns for given arguments: one value per return that is not an argument of the call. It answers false
// where it is not sure (an odd argument, a combination PyTorch refuses): then the next source of metadata decides, and raises PyTorch's
// own error where there is one. Strides may differ from the executor's, which converts them; shape and dtype may not.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <string>

#include "aten/Cache.h"

namespace remote {

class RuleInput {
 public:
  RuleInput(c10::ArrayRef<c10::IValue> arguments, int device_kind) : arguments_(arguments), device_kind_(device_kind) {}

  const c10::IValue& operator[](size_t position) const {
    return arguments_[position];
  }
  size_t size() const {
    return arguments_.size();
  }
  bool has_tensor(size_t position) const {
    return arguments_[position].isTensor() && arguments_[position].toTensor().defined();
  }
  const at::Tensor& tensor(size_t position) const {
    return arguments_[position].toTensor();
  }
  int64_t integer(size_t position) const {
    return arguments_[position].toInt();
  }
  c10::DimVector integers(size_t position) const;
  // Whether CPU kernels run on the executor: metadata of some outputs differ from CUDA's.
  bool on_cpu() const;

 private:
  c10::ArrayRef<c10::IValue> arguments_;
  int device_kind_;
};

class RuleOutput {
 public:
  explicit RuleOutput(c10::SmallVector<ReturnValue, 2>& returns) : returns_(returns) {}

  void add(c10::IntArrayRef sizes, c10::ScalarType dtype, at::MemoryFormat format = at::MemoryFormat::Contiguous);
  void add_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides, c10::ScalarType dtype);
  // Shape of `tensor`, and its strides when they are dense, as empty_like does.
  void add_like(const at::Tensor& tensor);
  void add_like(const at::Tensor& tensor, c10::ScalarType dtype);
  void add_undefined();
  // add_like for each tensor of a list argument.
  void add_list_like(const c10::IValue& tensors);
  // A list of 0-dim tensors, one per tensor of a list argument.
  void add_list_of_scalars(const c10::IValue& tensors, c10::ScalarType dtype);

 private:
  c10::SmallVector<ReturnValue, 2>& returns_;
};

using Rule = bool (*)(const RuleInput&, RuleOutput&);

// nullptr: no rule.
Rule find_rule(const std::string& full_name);

struct NamedRule {
  const char* full_name;
  Rule rule;
};

// One table per family, each in its own file.
c10::ArrayRef<NamedRule> convolution_rules();
c10::ArrayRef<NamedRule> foreach_rules();
c10::ArrayRef<NamedRule> normalization_rules();
c10::ArrayRef<NamedRule> pointwise_rules();
c10::ArrayRef<NamedRule> recurrent_rules();

} // namespace remote
