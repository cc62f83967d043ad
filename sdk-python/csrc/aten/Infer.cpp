#include "aten/Infer.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include <optional>

#include "driver.h"

namespace remote {
namespace {

// The call's tensors as meta tensors: same metadata, no device. Remembers which is which, so that a result that is a view is recognised.
class MetaArguments {
 public:
  explicit MetaArguments(c10::ArrayRef<c10::IValue> arguments) {
    stack.reserve(arguments.size());
    for (size_t position = 0; position < arguments.size(); ++position) {
      stack.push_back(convert(arguments[position], static_cast<int16_t>(position)));
    }
    kept = stack;
  }

  struct Source {
    const c10::StorageImpl* storage;
    int16_t argument;
    int32_t item;
    uint32_t slot;
  };

  const Source* source_of(const at::Tensor& meta) const {
    for (const Source& source : sources_) {
      if (source.storage == meta.storage().unsafeGetStorageImpl()) {
        return &source;
      }
    }
    return nullptr;
  }

  uint32_t slot_of(int16_t argument, int32_t item) const {
    for (const Source& source : sources_) {
      if (source.argument == argument && source.item == item) {
        return source.slot;
      }
    }
    TORCH_INTERNAL_ASSERT(false, "a written argument is not a tensor of the call");
  }

  Stack stack; // what the meta function consumes, and where its results come
  Stack kept;  // the same tensors, to see which of them it resized

 private:
  c10::IValue convert(const c10::IValue& value, int16_t position) {
    if (value.isTensor()) {
      return tensor(value.toTensor(), position, -1);
    }
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      int32_t item = 0;
      for (const c10::IValue& element : value.toListRef()) {
        list.push_back(tensor(element.toTensor(), position, item++));
      }
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      int32_t item = 0;
      for (const c10::IValue& element : value.toListRef()) {
        list.push_back(element.isTensor() ? std::make_optional(tensor(element.toTensor(), position, item)) : std::nullopt);
        ++item;
      }
      return list;
    }
    if (value.isDevice()) {
      return c10::Device(c10::kMeta);
    }
    if (value.isGenerator()) {
      return {};
    }
    return value;
  }

  at::Tensor tensor(const at::Tensor& from, int16_t argument, int32_t item) {
    if (!from.defined() || !from.device().is_privateuseone()) {
      return from;
    }
    auto storage = c10::make_intrusive<c10::StorageImpl>(
        c10::StorageImpl::use_byte_size_t(), from.storage().nbytes(), c10::GetAllocator(c10::kMeta), /*resizable=*/true);
    sources_.push_back({storage.get(), argument, item, static_cast<uint32_t>(sources_.size())});
    at::Tensor meta = at::detail::make_tensor<c10::TensorImpl>(
        c10::Storage(std::move(storage)), c10::DispatchKeySet(c10::DispatchKey::Meta), from.dtype());
    c10::TensorImpl* impl = meta.unsafeGetTensorImpl();
    impl->set_sizes_and_strides(from.sizes(), from.strides(), from.storage_offset());
    if (from.unsafeGetTensorImpl()->is_wrapped_number()) {
      impl->set_wrapped_number(true);
    }
    if (from.is_conj()) {
      meta._set_conj(true);
    }
    if (from.is_neg()) {
      meta._set_neg(true);
    }
    return meta;
  }

  std::vector<Source> sources_;
};

Output output_of(const at::Tensor& meta, const MetaArguments& arguments) {
  Output output;
  if (!meta.defined()) {
    return output;
  }
  TORCH_CHECK_NOT_IMPLEMENTED(meta.layout() == c10::kStrided, "remote: only strided results are supported, not ", meta.layout());
  output.dtype = meta.scalar_type();
  output.sizes.assign(meta.sizes().begin(), meta.sizes().end());
  output.strides.assign(meta.strides().begin(), meta.strides().end());
  if (const MetaArguments::Source* source = arguments.source_of(meta)) {
    output.kind = OutputKind::Alias;
    output.argument = source->argument;
    output.item = source->item;
    output.slot = source->slot;
    output.offset = meta.storage_offset();
  } else {
    output.kind = OutputKind::Fresh;
    output.bytes = at::detail::computeStorageNbytes(meta.sizes(), meta.strides(), meta.dtype().itemsize());
  }
  return output;
}

ReturnValue return_of(const c10::IValue& value, const MetaArguments& arguments) {
  ReturnValue result;
  if (value.isTensor()) {
    result.outputs.push_back(output_of(value.toTensor(), arguments));
  } else if (value.isTensorList()) {
    result.is_list = true;
    for (const c10::IValue& item : value.toListRef()) {
      result.outputs.push_back(output_of(item.toTensor(), arguments));
    }
  } else {
    TORCH_CHECK_NOT_IMPLEMENTED(value.isNone(), "remote: a result that is not a tensor");
    result.outputs.emplace_back();
  }
  return result;
}

ReturnValue returned_argument(int16_t position) {
  ReturnValue value;
  Output& output = value.outputs.emplace_back();
  output.kind = OutputKind::Argument;
  output.argument = position;
  return value;
}

void note_resized(Entry& entry, const at::Tensor& before, const at::Tensor& after, int16_t argument, int32_t item, uint32_t slot) {
  if (before.sizes() != after.sizes() || before.strides() != after.strides()) {
    const c10::IntArrayRef sizes = after.sizes();
    const c10::IntArrayRef strides = after.strides();
    entry.resized.push_back({argument, item, slot, {sizes.begin(), sizes.end()}, {strides.begin(), strides.end()}});
  }
}

bool is_remote(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() && value.toTensor().device().is_privateuseone();
}

void find_resized(Entry& entry, const Operator& op, c10::ArrayRef<c10::IValue> arguments, const MetaArguments& metas) {
  for (const int16_t position : op.written) {
    const c10::IValue& before = arguments[position];
    const c10::IValue& after = metas.kept[position];
    if (is_remote(before)) {
      note_resized(entry, before.toTensor(), after.toTensor(), position, -1, metas.slot_of(position, -1));
    } else if (before.isList()) {
      for (size_t item = 0; item < before.toListRef().size(); ++item) {
        const c10::IValue& tensor = before.toListRef()[item];
        if (is_remote(tensor)) {
          const auto index = static_cast<int32_t>(item);
          note_resized(entry, tensor.toTensor(), after.toListRef()[item].toTensor(), position, index, metas.slot_of(position, index));
        }
      }
    }
  }
}

bool from_rule(const Operator& op, c10::ArrayRef<c10::IValue> arguments, int device_kind, Entry& entry) {
  c10::SmallVector<ReturnValue, 2> own;
  RuleOutput output(own);
  if (op.rule == nullptr || !op.rule(RuleInput(arguments, device_kind), output)) {
    return false;
  }
  size_t next = 0;
  for (const Return& value : op.returns) {
    if (value.argument >= 0) {
      entry.returns.push_back(returned_argument(value.argument));
    } else {
      TORCH_INTERNAL_ASSERT(next < own.size(), op.full_name, ": its rule gives too few results");
      entry.returns.push_back(std::move(own[next++]));
    }
  }
  TORCH_INTERNAL_ASSERT(next == own.size(), op.full_name, ": its rule gives too many results");
  return true;
}

void from_meta(Operator& op, c10::ArrayRef<c10::IValue> arguments, Entry& entry) {
  MetaArguments metas(arguments);
  {
    // Autocast would cast meta tensors again; autograd must not see them.
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const c10::DispatchKeySet meta(c10::DispatchKey::Meta);
    if (op.meta != nullptr) {
      op.meta->callBoxed(op.handle, meta, &metas.stack);
    } else {
      op.python_metas.fetch_add(1, std::memory_order_relaxed);
      op.handle.redispatchBoxed(meta, &metas.stack);
    }
  }
  TORCH_INTERNAL_ASSERT(metas.stack.size() == op.returns.size(), op.full_name, ": its meta function gives another number of results");
  find_resized(entry, op, arguments, metas);
  for (size_t index = 0; index < op.returns.size(); ++index) {
    const int16_t argument = op.returns[index].argument;
    entry.returns.push_back(argument >= 0 ? returned_argument(argument) : return_of(metas.stack[index], metas));
  }
}

// How PyTorch's Python metas say "this depends on data" or "I do not know".
bool says_dynamic(PyObject* type) {
  if (PyErr_GivenExceptionMatches(type, PyExc_NotImplementedError) != 0) {
    return true;
  }
  const std::string name = PyType_Check(type) ? reinterpret_cast<PyTypeObject*>(type)->tp_name : "";
  for (const char* dynamic : {"DynamicOutputShape", "DataDependent", "UnsupportedOperator", "UnsupportedFake"}) {
    if (name.find(dynamic) != std::string::npos) {
      return true;
    }
  }
  return false;
}

// False: nobody but the executor knows.
bool from_meta_if_known(Operator& op, c10::ArrayRef<c10::IValue> arguments, Entry& entry) {
  try {
    from_meta(op, arguments, entry);
    return true;
  } catch (const c10::NotImplementedError&) {
    return false;
  } catch (python_error& error) {
    const pybind11::gil_scoped_acquire gil;
    error.restore();
    if (says_dynamic(PyErr_Occurred())) {
      PyErr_Clear();
      return false;
    }
    error.persist();
    throw;
  } catch (const pybind11::error_already_set& error) {
    const pybind11::gil_scoped_acquire gil;
    if (says_dynamic(error.type().ptr())) {
      return false;
    }
    throw;
  }
}

} // namespace

std::shared_ptr<Entry> infer(Operator& op, c10::ArrayRef<c10::IValue> arguments, const Key& key) {
  auto entry = std::make_shared<Entry>();
  if (!from_rule(op, arguments, key.device_kind, *entry) && !from_meta_if_known(op, arguments, *entry)) {
    return nullptr;
  }
  for (const ReturnValue& value : entry->returns) {
    for (const Output& output : value.outputs) {
      entry->fresh += output.kind == OutputKind::Fresh ? 1 : 0;
      if (output.kind == OutputKind::Alias && !op.offsets_in_key.exchange(true)) {
        return entry; // its key did not say the offset: from_meta of the next call does
      }
    }
  }
  entry->key = key.words;
  return entry;
}

} // namespace remote
