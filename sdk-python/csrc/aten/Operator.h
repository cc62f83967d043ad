// What is known of an operator once its schema is known: how its arguments and returns map to the wire, and where its metadata come from.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/util/SmallVector.h>

#include <atomic>
#include <string>
#include <vector>

#include "aten/Cache.h"
#include "aten/Rules.h"

namespace remote {

using Stack = torch::jit::Stack;

// What the items of a list argument are. The schema decides: an empty list does not say.
enum class ListOf : uint8_t { Nothing, Ints, Floats, Bools, Tensors, Scalars, Unsupported };

enum class ReturnKind : uint8_t { Tensor, Tensors, Other };

struct Return {
  ReturnKind kind;
  int16_t argument; // position of the argument that is returned, -1: a value of its own
};

class Operator {
 public:
  explicit Operator(const c10::OperatorHandle& handle);
  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;

  c10::OperatorHandle handle;
  std::string name;      // "aten::add"
  std::string overload;  // "Tensor" or ""
  std::string full_name; // "aten::add.Tensor"
  size_t arguments;
  std::vector<ListOf> lists;                // per argument
  c10::SmallVector<Return, 4> returns;
  c10::SmallVector<int16_t, 4> written;     // arguments that are written, out= included
  bool constant_floats;                     // floats decide the shape: they are part of the signature
  bool always_now;                          // the shape or a plain value depends on data: one round trip, always
  bool now_on_cpu;      // CPU kernels answer other shapes than PyTorch's meta function says, which is of CUDA's
  bool random;
  bool uploads_indices;                     // takes CPU index tensors, as CUDA does
  Rule rule;                                // nullptr: none
  const c10::KernelFunction* meta;          // at::meta function, nullptr: none
  std::atomic<bool> offsets_in_key{false};  // a result is a view, whose offset depends on the argument's
  Cache cache;

  std::atomic<uint64_t> misses{0};
  std::atomic<uint64_t> python_metas{0};
  std::atomic<uint64_t> calls_now{0};

  bool writes(size_t argument) const;
};

// The one Operator of this handle; made at first use.
Operator& operator_of(const c10::OperatorHandle& handle);

// Calls `each` for every Operator made so far.
void for_each_operator(void (*each)(Operator&, void*), void* context);

} // namespace remote
