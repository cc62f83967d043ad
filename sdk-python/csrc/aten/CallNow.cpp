// Calls whose results only the executor knows: nonzero, unique, and operators nobody can infer.
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <memory>
#include <unordered_map>

#include "aten/Call.h"
#include "aten/Signature.h"
#include "driver.h"
#include "runtime/Allocator.h"
#include "runtime/Exception.h"

namespace remote {
namespace {

using Results = std::unique_ptr<tr_results, decltype(&tr_results_free)>;

// The storages that results may be views of: the call's own, and those it has made.
class ResultStorages {
 public:
  ResultStorages(const Operator& op, const c10::IValue* arguments, c10::DeviceIndex device) : device_(device) {
    for (size_t position = 0; position < op.arguments; ++position) {
      add(arguments[position]);
    }
  }

  at::Tensor tensor(const tr_value_tensor& value) {
    if (value.undefined != 0) {
      return {};
    }
    const tr_tensor& meta = value.view.meta;
    const auto dtype = static_cast<c10::ScalarType>(meta.dtype);
    const c10::IntArrayRef sizes(meta.sizes, meta.ndim);
    const c10::IntArrayRef strides(meta.strides, meta.ndim);
    const auto found = by_id_.find(value.view.storage);
    if (found == by_id_.end()) {
      at::Tensor made(make_tensor(value.view.storage, value.storage_bytes, device_, dtype, sizes, strides));
      made.unsafeGetTensorImpl()->set_storage_offset(value.view.offset);
      by_id_.emplace(value.view.storage, made.storage());
      return made;
    }
    auto view = at::detail::make_tensor<c10::TensorImpl>(
        c10::TensorImpl::VIEW,
        c10::Storage(found->second),
        c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
        c10::scalarTypeToTypeMeta(dtype));
    view.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides, value.view.offset);
    return view;
  }

  // The call's tensors by slot, for what it resized.
  std::vector<at::Tensor> slots;

 private:
  void add(const c10::IValue& value) {
    if (value.isTensor()) {
      const at::Tensor& tensor = value.toTensor();
      if (tensor.defined() && tensor.device().is_privateuseone()) {
        slots.push_back(tensor);
        by_id_.emplace(record_of(tensor).id, tensor.storage());
      }
    } else if (value.isList()) {
      for (const c10::IValue& item : value.toListRef()) {
        add(item);
      }
    }
  }

  c10::DeviceIndex device_;
  std::unordered_map<uint64_t, c10::Storage> by_id_;
};

c10::IValue value_of(const tr_value& value, const c10::IValue* arguments, ResultStorages& storages) {
  switch (value.kind) {
    case TR_V_TENSOR:
      return storages.tensor(value.tensors[0]);
    case TR_V_TENSORS: {
      c10::List<at::Tensor> list;
      for (uint32_t index = 0; index < value.len; ++index) {
        list.push_back(storages.tensor(value.tensors[index]));
      }
      return list;
    }
    case TR_V_INT:
      return value.i;
    case TR_V_FLOAT:
      return value.d;
    case TR_V_BOOL:
      return value.i != 0;
    case TR_V_TEXT:
      return std::string(value.text, value.len);
    case TR_V_INTS:
      return c10::IValue(c10::IntArrayRef(value.ints, value.len));
    case TR_V_ARGUMENT:
      return arguments[value.i];
    case TR_V_COMPLEX:
      return c10::complex<double>(value.d, value.im);
    default:
      return {};
  }
}

Results run(const Operator& op, const Key& key, const c10::IValue* arguments) {
  const Signature signature(op, arguments, nullptr);
  tr_call_args call{};
  call.nviews = static_cast<uint32_t>(key.storages.size());
  call.storages = key.storages.data();
  call.offsets = key.offsets.data();
  call.nfloats = static_cast<uint32_t>(key.floats.size());
  call.floats = key.floats.data();
  call.nscalars = static_cast<uint32_t>(key.scalars.size());
  call.scalars = key.scalars.data();
  call.first_output = tr_storage_ids(TR_NOW_IDS);
  if (op.random) {
    const RandomState state = next_random(key);
    call.seed = state.seed;
    call.count = state.count;
  }
  tr_results* results = nullptr;
  check(tr_call_now(key.device, signature.get(), &call, &results));
  return {results, &tr_results_free};
}

} // namespace

void call_now(Operator& op, Key& key, Stack* stack) {
  counters().calls_now.fetch_add(1, std::memory_order_relaxed);
  op.calls_now.fetch_add(1, std::memory_order_relaxed);
  const c10::IValue* arguments = stack->data() + (stack->size() - op.arguments);
  ResultStorages storages(op, arguments, key.device);
  const Results results = run(op, key, arguments);
  TORCH_CHECK(
      results->nvalues == op.returns.size(), op.full_name, ": the executor answered ", results->nvalues, " results, not ", op.returns.size());
  for (uint32_t index = 0; index < results->nresized; ++index) {
    const tr_now_resized& resized = results->resized[index];
    const at::Tensor& tensor = storages.slots.at(resized.slot);
    c10::StorageImpl& storage = *tensor.storage().unsafeGetStorageImpl();
    if (resized.storage_bytes > storage.nbytes()) {
      resize_storage(storage, resized.storage_bytes, /*tell=*/false);
    }
    tensor.unsafeGetTensorImpl()->set_sizes_and_strides(
        c10::IntArrayRef(resized.meta.sizes, resized.meta.ndim), c10::IntArrayRef(resized.meta.strides, resized.meta.ndim));
  }
  Stack answers;
  for (uint32_t index = 0; index < results->nvalues; ++index) {
    const int16_t argument = op.returns[index].argument;
    answers.push_back(argument >= 0 ? arguments[argument] : value_of(results->values[index], arguments, storages));
  }
  torch::jit::drop(*stack, op.arguments);
  for (c10::IValue& answer : answers) {
    stack->push_back(std::move(answer));
  }
}

} // namespace remote
