// PyTorch's C++ meta functions by operator name. The Meta dispatch key would reach Python: since 2.13 PyTorch registers Python metas over
// these even for add and mm.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>

#include <string>

namespace remote {

// `full_name` is "aten::add.Tensor". nullptr: none.
const c10::KernelFunction* find_meta(const std::string& full_name);

} // namespace remote
