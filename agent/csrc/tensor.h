// Shared by this folder's .cpp files: the device, errors, and tensors over storages.
#pragma once
#include "boxed.h"
#include <ATen/core/Tensor.h>
#include <c10/core/StorageImpl.h>
#include <c10/util/Exception.h>
#include <string>
#include <vector>

namespace trb {

// What executes: set once by trb_begin.
c10::Device device();

void set_error(const char* text);
// The class of the exception being handled; its text goes to trb_error_message().
int classify();

template <class F>
int guard(F&& f) {
  try {
    f();
    return 0;
  } catch (...) {
    return classify();
  }
}

// A tensor's metadata, checked and measured once.
struct Meta {
  c10::ScalarType dtype;
  caffe2::TypeMeta type;
  uint8_t flags;
  std::vector<int64_t> sizes, strides;
  int64_t numel;
  int64_t last;       // greatest element index relative to the offset; -1 without elements
  int64_t item;       // bytes
  bool contiguous;    // row-major without gaps
  bool dense;         // some order of its dimensions is contiguous

  explicit Meta(const trb_meta& meta);
  int64_t bytes() const { return numel * item; }
  // Same shape, and the same address for every element.
  bool same_layout(c10::IntArrayRef other_sizes, c10::IntArrayRef other_strides) const;
};

// A tensor over `storage`; throws when it does not lie inside.
at::Tensor view(const Meta& meta, c10::StorageImpl* storage, int64_t offset);
void check_inside(const Meta& meta, const c10::StorageImpl* storage, int64_t offset);

c10::intrusive_ptr<c10::StorageImpl> new_storage(uint64_t bytes);
inline c10::StorageImpl* impl(trb_storage* storage) { return reinterpret_cast<c10::StorageImpl*>(storage); }
inline const c10::StorageImpl* impl(const trb_storage* storage) { return reinterpret_cast<const c10::StorageImpl*>(storage); }
inline trb_storage* hand_over(c10::intrusive_ptr<c10::StorageImpl>&& storage) { return reinterpret_cast<trb_storage*>(storage.release()); }

// Runs one of CUDA's fused RNN cells, which have no CPU kernel, on CPU. False: `name` is none of them.
bool is_fused_cell(const std::string& name);
void run_fused_cell(const std::string& name, std::vector<c10::IValue>& stack);

}  // namespace trb
