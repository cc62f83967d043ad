// One call as the wire sees it: a key (all that decides the signature) and what travels with every call.
//
// In the key: the executor's device kind, the default dtype, and per argument its kind and metadata; for tensors dtype, flags (wrapped
// number, conjugate, negative), sizes and strides; for a 0-dim CPU tensor its dtype; ints, bools and text whole.
// Not in the key: storages and their offsets, floats, the values of 0-dim CPU tensors, which lease it is.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "aten/Operator.h"
#include "runtime/Generator.h"

namespace remote {

class Key {
 public:
  // Reads `arguments`. Throws on tensors of two leases and on generators of another device.
  void build(const Operator& op, const c10::IValue* arguments);
  uint64_t hash() const;

  std::vector<uint64_t> words;
  std::vector<uint64_t> storages; // per tensor slot
  std::vector<int64_t> offsets;
  std::vector<double> floats;
  std::vector<uint64_t> scalars; // two words per 0-dim CPU tensor
  c10::DeviceIndex device = -1;
  int device_kind = 0;
  Generator* generator = nullptr;
  const at::Tensor* foreign = nullptr; // a tensor that cannot take part: not remote, and not a 0-dim CPU tensor that is only read (in a list there are none)

 private:
  void clear();
  void add(const Operator& op, size_t position, const c10::IValue& value);
  void add_list(const Operator& op, size_t position, c10::ArrayRef<c10::IValue> items);
  void add_tensor(const Operator& op, size_t position, const at::Tensor& tensor);
  void add_text(const std::string& text);
  void use_device(c10::DeviceIndex index);
};

// A Key of this thread, reused from call to call: a hit allocates nothing. Calls nest (a meta function may run operators).
class KeyScope {
 public:
  KeyScope();
  ~KeyScope();
  KeyScope(const KeyScope&) = delete;
  KeyScope& operator=(const KeyScope&) = delete;

  Key& operator*() {
    return *key_;
  }
  Key* operator->() {
    return key_;
  }

 private:
  Key* key_;
};

} // namespace remote
