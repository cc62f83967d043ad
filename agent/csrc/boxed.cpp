#include "boxed.h"
#include "signature.h"
#include <algorithm>
#include <deque>
#include <memory>

namespace trb {
namespace {

using Stack = std::vector<c10::IValue>;
using Fresh = std::vector<c10::intrusive_ptr<c10::StorageImpl>>;

// Kernels' stacks are reused between calls, and emptied whatever happens: a tensor left on one would outlive its Free.
struct Frame {
  Stack stack;
  std::vector<at::Tensor> arguments;
};
struct Clear {
  Frame& frame;
  ~Clear() {
    frame.stack.clear();
    frame.arguments.clear();
  }
};

bool is_argument_storage(const c10::StorageImpl* storage, const std::vector<at::Tensor>& arguments) {
  return std::any_of(arguments.begin(), arguments.end(), [&](const at::Tensor& t) { return t.storage().unsafeGetStorageImpl() == storage; });
}

bool same_flags(const at::Tensor& tensor, const Meta& meta) { return tensor.is_conj() == ((meta.flags & 2) != 0) && tensor.is_neg() == ((meta.flags & 4) != 0); }

void check_assumed(const at::Tensor& tensor, const Meta& meta, size_t position) {
  TORCH_CHECK(tensor.layout() == c10::kStrided, "result ", position, " has the layout ", tensor.layout(), ", which does not travel");
  TORCH_CHECK(tensor.scalar_type() == meta.dtype && tensor.sizes() == c10::IntArrayRef(meta.sizes) && tensor.device().type() == device().type(), "result ", position,
              " is ", tensor.scalar_type(), tensor.sizes(), " on ", tensor.device(), ", the client assumed ", meta.dtype, c10::IntArrayRef(meta.sizes), " on ", device(),
              ". This is a fault of torch-remote's shape rules, not of your program: please report it");
}

// The result's own storage where the client can use it as it is, else a copy in the assumed layout.
c10::intrusive_ptr<c10::StorageImpl> take_over(const at::Tensor& tensor, const Output& assumed, const std::vector<at::Tensor>& arguments) {
  const Meta& meta = *assumed.meta;
  auto* storage = tensor.storage().unsafeGetStorageImpl();
  const uint64_t held = storage->nbytes();
  const bool usable = meta.same_layout(tensor.sizes(), tensor.strides()) && tensor.storage_offset() == 0 && same_flags(tensor, meta) && held >= assumed.bytes &&
                      held <= 2 * assumed.bytes + 4096 && storage->resizable() && !is_argument_storage(storage, arguments) && tensor.storage().use_count() == 1;
  if (usable) return c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(storage);
  auto copy = new_storage(assumed.bytes);
  view(meta, copy.get(), 0).copy_(tensor);
  return copy;
}

void take_output(const Signature& signature, const Output& assumed, const c10::IValue& value, size_t position, const Frame& frame, Fresh& fresh) {
  if (assumed.kind == OutputKind::List) {
    TORCH_CHECK(value.isTensorList() && value.toTensorVector().size() == assumed.items.size(), "result ", position, " is not the list of ", assumed.items.size(),
                " tensors that the client assumed");
    const auto items = value.toTensorVector();
    for (size_t i = 0; i < items.size(); i++) take_output(signature, assumed.items[i], items[i], position, frame, fresh);
    return;
  }
  if (assumed.kind == OutputKind::Undefined) {
    TORCH_CHECK(value.isNone() || (value.isTensor() && !value.toTensor().defined()), "result ", position, " is a tensor, the client assumed none");
    return;
  }
  TORCH_CHECK(value.isTensor() && value.toTensor().defined(), "result ", position, " is no tensor, the client assumed one");
  const at::Tensor& tensor = value.toTensor();
  switch (assumed.kind) {
    case OutputKind::Fresh:
      check_assumed(tensor, *assumed.meta, position);
      fresh.push_back(take_over(tensor, assumed, frame.arguments));
      return;
    case OutputKind::Alias: {
      check_assumed(tensor, *assumed.meta, position);
      TORCH_CHECK(assumed.slot < frame.arguments.size() && tensor.storage().is_alias_of(frame.arguments[assumed.slot].storage()) &&
                      tensor.storage_offset() == assumed.offset && assumed.meta->same_layout(tensor.sizes(), tensor.strides()) && same_flags(tensor, *assumed.meta),
                  "result ", position, " is not the view of its argument that the client assumed");
      return;
    }
    case OutputKind::Argument: {
      const auto is_it = [&](size_t slot) { return signature.tensors[slot].place.argument == assumed.slot && frame.arguments[slot].is_same(tensor); };
      bool found = false;
      for (size_t slot = 0; slot < frame.arguments.size(); slot++) found |= is_it(slot);
      TORCH_CHECK(found, "result ", position, " is not argument ", assumed.slot, " itself, as the client assumed");
      return;
    }
    case OutputKind::Undefined: case OutputKind::List: return;
  }
}

bool shape_changed(const Meta& meta, const at::Tensor& tensor) { return !meta.same_layout(tensor.sizes(), tensor.strides()); }

// Written arguments have the shape that the client assumed. A kernel that resized one chose its strides: converted into those assumed.
void check_arguments(const Signature& signature, const trb_call& call, const std::vector<at::Tensor>& arguments) {
  for (size_t i = 0; i < arguments.size(); i++) {
    if (!signature.uses[i].writes) continue;
    const auto& argument = arguments[i];
    TORCH_CHECK(argument.storage().unsafeGetStorageImpl() == impl(call.storages[i]), "the operator gave an argument another storage");
    const Meta& expected = signature.resized[i] ? *signature.resized[i] : signature.tensors[i].meta;
    if (!shape_changed(expected, argument)) continue;
    TORCH_CHECK(argument.sizes() == c10::IntArrayRef(expected.sizes), "the operator gave an argument the shape ", argument.sizes(), ", the client assumed ",
                c10::IntArrayRef(expected.sizes));
    const auto values = argument.clone();
    view(expected, impl(call.storages[i]), call.offsets[i]).copy_(values);
  }
}

Frame& frame() {
  static thread_local Frame reused;
  return reused;
}

}  // namespace
}  // namespace trb

using namespace trb;

extern "C" {

// SAFETY: after trb_begin; all in `description` has the length that stands beside it; `out` is writable, and on success holds what the caller frees once.
int trb_prepare(const trb_description* description, trb_signature** out) {
  return guard([&] { *out = reinterpret_cast<trb_signature*>(new Signature(*description)); });
}

// SAFETY: `signature` is of trb_prepare and used no more.
void trb_signature_free(trb_signature* signature) { delete reinterpret_cast<Signature*>(signature); }

// SAFETY: `signature` is live, and outlives what `slots` is set to.
uint32_t trb_signature_slots(const trb_signature* signature, const trb_slot** slots) {
  const auto& uses = reinterpret_cast<const Signature*>(signature)->uses;
  *slots = uses.data();
  return static_cast<uint32_t>(uses.size());
}

// SAFETY: on the thread of trb_thread_begin; `call` has a live storage and an offset for each slot, a float and a scalar for each place, and they outlive the
// call; `fresh` has room for all new storages, and on success holds references of the caller's.
int trb_run(trb_signature* prepared, const trb_call* call, trb_storage** fresh) {
  return guard([&] {
    const auto& signature = *reinterpret_cast<const Signature*>(prepared);
    Frame& f = frame();
    const Clear clear{f};
    signature.fill(*call, f.stack, f.arguments);
    signature.execute(*call, f.stack);
    TORCH_CHECK(f.stack.size() == signature.outputs.size(), "the operator returned ", f.stack.size(), " values, the client assumed ", signature.outputs.size());
    Fresh made;
    for (size_t i = 0; i < f.stack.size(); i++) {
      // One reference only, so that take_over sees whether anything else holds the storage.
      const c10::IValue value = std::move(f.stack[i]);
      take_output(signature, signature.outputs[i], value, i, f, made);
    }
    check_arguments(signature, *call, f.arguments);
    for (size_t i = 0; i < made.size(); i++) fresh[i] = hand_over(std::move(made[i]));
  });
}

}  // extern "C"

// ---- results whose shape depends on values

struct trb_now {
  std::vector<trb_value> values;
  std::vector<trb_storage*> fresh;
  std::vector<trb_now_resized> resized;
  // What the pointers above point into; deques, so that they stay where they are.
  std::deque<std::vector<int64_t>> integers;
  std::deque<std::string> texts;
  std::deque<std::vector<trb_result_tensor>> tensors;

  const int64_t* keep(c10::IntArrayRef values_to_keep) { return integers.emplace_back(values_to_keep.vec()).data(); }
};

namespace trb {
namespace {

trb_result_tensor describe(trb_now& now, at::Tensor tensor, const std::vector<at::Tensor>& arguments) {
  if (!tensor.defined()) return trb_result_tensor{1, 0, -1, 0, 0, nullptr, nullptr, 0, 0};
  TORCH_CHECK_NOT_IMPLEMENTED(tensor.layout() == c10::kStrided && !tensor.is_quantized(), "the result has the layout ", tensor.layout(), ", which does not travel");
  if (tensor.is_conj() || tensor.is_neg()) tensor = tensor.resolve_conj().resolve_neg();
  if (tensor.device().type() != device().type()) tensor = tensor.to(device());
  trb_result_tensor out{0, static_cast<uint8_t>(tensor.scalar_type()), -1, 0, static_cast<uint32_t>(tensor.dim()), now.keep(tensor.sizes()), now.keep(tensor.strides()),
                        tensor.storage_offset(), 0};
  for (size_t i = 0; i < arguments.size(); i++)
    if (arguments[i].storage().is_alias_of(tensor.storage())) out.slot = static_cast<int32_t>(i);
  if (out.slot < 0) {
    auto* storage = tensor.storage().unsafeGetStorageImpl();
    const auto found = std::find_if(now.fresh.begin(), now.fresh.end(), [&](trb_storage* made) { return impl(made) == storage; });
    out.fresh = static_cast<uint32_t>(found - now.fresh.begin());
    if (found == now.fresh.end()) now.fresh.push_back(hand_over(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(storage)));
  }
  out.storage_bytes = tensor.storage().nbytes();
  return out;
}

trb_value describe_value(trb_now& now, const Signature& signature, const c10::IValue& value, size_t position, const Frame& frame) {
  trb_value out{};
  if (value.isTensor()) {
    const auto& tensor = value.toTensor();
    for (size_t i = 0; tensor.defined() && i < frame.arguments.size(); i++) {
      if (!frame.arguments[i].is_same(tensor)) continue;
      out.kind = 8;
      out.i = signature.tensors[i].place.argument;
      return out;
    }
    out.kind = 1, out.len = 1;
    out.tensors = now.tensors.emplace_back(std::vector{describe(now, tensor, frame.arguments)}).data();
  } else if (value.isTensorList()) {
    std::vector<trb_result_tensor> items;
    for (const at::Tensor& tensor : value.toTensorVector()) items.push_back(describe(now, tensor, frame.arguments));
    out.kind = 2, out.len = static_cast<uint32_t>(items.size());
    out.tensors = now.tensors.emplace_back(std::move(items)).data();
  } else if (value.isInt()) {
    out.kind = 3, out.i = value.toInt();
  } else if (value.isDouble()) {
    out.kind = 4, out.d = value.toDouble();
  } else if (value.isBool()) {
    out.kind = 5, out.i = value.toBool();
  } else if (value.isString()) {
    out.kind = 6, out.text = now.texts.emplace_back(value.toStringRef()).c_str();
  } else if (value.isIntList()) {
    out.kind = 7, out.len = static_cast<uint32_t>(value.toIntVector().size()), out.ints = now.keep(value.toIntVector());
  } else if (value.isComplexDouble()) {
    out.kind = 9, out.d = value.toComplexDouble().real(), out.im = value.toComplexDouble().imag();
  } else {
    TORCH_CHECK_NOT_IMPLEMENTED(value.isNone(), "result ", position, " is a ", value.tagKind(), ", which does not travel");
  }
  return out;
}

}  // namespace
}  // namespace trb

extern "C" {

// SAFETY: as trb_run; on success `shown` points into `out`, which the caller frees once, and its fresh storages are the caller's.
int trb_run_now(trb_signature* prepared, const trb_call* call, trb_now** out, trb_now_view* shown) {
  return guard([&] {
    std::unique_ptr<trb_now, void (*)(trb_now*)> now(new trb_now, [](trb_now* p) {
      for (auto* storage : p->fresh) trb_storage_release(storage);
      delete p;
    });
    const auto& signature = *reinterpret_cast<const Signature*>(prepared);
    Frame& f = frame();
    const Clear clear{f};
    signature.fill(*call, f.stack, f.arguments);
    signature.execute(*call, f.stack);
    for (size_t i = 0; i < f.stack.size(); i++) now->values.push_back(describe_value(*now, signature, f.stack[i], i, f));
    for (size_t i = 0; i < f.arguments.size(); i++) {
      if (!signature.uses[i].writes || !shape_changed(signature.tensors[i].meta, f.arguments[i])) continue;
      TORCH_CHECK(f.arguments[i].storage().unsafeGetStorageImpl() == impl(call->storages[i]), "the operator gave an argument another storage");
      now->resized.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(f.arguments[i].dim()), now->keep(f.arguments[i].sizes()), now->keep(f.arguments[i].strides()),
                              f.arguments[i].storage().nbytes()});
    }
    *shown = {now->values.data(), static_cast<uint32_t>(now->values.size()), now->fresh.data(), static_cast<uint32_t>(now->fresh.size()), now->resized.data(),
              static_cast<uint32_t>(now->resized.size())};
    *out = now.release();
  });
}

// SAFETY: `now` is of trb_run_now, and what was shown of it is used no more.
void trb_now_free(trb_now* now) { delete now; }

}  // extern "C"
