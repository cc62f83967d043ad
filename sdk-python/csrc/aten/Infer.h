// Where the metadata of a call's results come from on a cache miss.
#pragma once

#include <memory>

#include "aten/Key.h"

namespace remote {

// Hand rule, else at::meta, else PyTorch's Python meta. Null: none knows, only the executor can say. Throws PyTorch's own error when
// the arguments do not fit together.
std::shared_ptr<Entry> infer(Operator& op, c10::ArrayRef<c10::IValue> arguments, const Key& key);

} // namespace remote
