#include "aten/Key.h"

#include <c10/core/DefaultDtype.h>

#include <cstring>
#include <memory>

#include "driver.h"
#include "runtime/Allocator.h"
#include "runtime/Device.h"

namespace remote {
namespace {

// First byte of each argument's first word.
enum Tag : uint64_t {
  kNone,
  kUndefined,
  kRemote,
  kCpuScalar,
  kInt,
  kBool,
  kFloat,
  kFloatConst,
  kComplex,
  kList,
  kText,
  kRemoteDevice,
  kCpuDevice,
  kGenerator,
};

uint64_t bits_of(double value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

uint64_t flags_of(const c10::TensorImpl& impl, c10::DispatchKeySet keys) {
  return (impl.is_wrapped_number() ? TR_WRAPPED : 0) | (keys.has(c10::DispatchKey::Conjugate) ? TR_CONJ : 0) |
      (keys.has(c10::DispatchKey::Negative) ? TR_NEG : 0);
}

struct Keys {
  std::vector<std::unique_ptr<Key>> all;
  size_t used = 0;
};
thread_local Keys thread_keys;

} // namespace

void Key::clear() {
  words.clear();
  storages.clear();
  offsets.clear();
  floats.clear();
  scalars.clear();
  device = -1;
  generator = nullptr;
  foreign = nullptr;
}

void Key::build(const Operator& op, const c10::IValue* arguments) {
  clear();
  words.push_back(0);
  for (size_t position = 0; position < op.arguments; ++position) {
    add(op, position, arguments[position]);
  }
  if (device < 0) {
    device = current_device();
  }
  device_kind = tr_device_kind(device);
  words[0] = static_cast<uint64_t>(c10::get_default_dtype_as_scalartype()) | static_cast<uint64_t>(device_kind + 1) << 8;
}

uint64_t Key::hash() const {
  uint64_t hash = words.size();
  for (const uint64_t word : words) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
    hash ^= hash >> 29;
  }
  return hash;
}

void Key::add(const Operator& op, size_t position, const c10::IValue& value) {
  if (value.isTensor()) {
    add_tensor(op, position, value.toTensor());
  } else if (value.isNone()) {
    words.push_back(kNone);
  } else if (value.isInt()) {
    words.push_back(kInt);
    words.push_back(static_cast<uint64_t>(value.toInt()));
  } else if (value.isDouble()) {
    if (op.constant_floats) {
      words.push_back(kFloatConst);
      words.push_back(bits_of(value.toDouble()));
    } else {
      words.push_back(kFloat);
      floats.push_back(value.toDouble());
    }
  } else if (value.isBool()) {
    words.push_back(kBool | static_cast<uint64_t>(value.toBool()) << 8);
  } else if (value.isList()) {
    add_list(op, position, value.toListRef());
  } else if (value.isComplexDouble()) {
    const c10::complex<double> number = value.toComplexDouble();
    words.push_back(kComplex);
    floats.push_back(number.real());
    floats.push_back(number.imag());
  } else if (value.isString()) {
    add_text(value.toStringRef());
  } else if (value.isDevice()) {
    const c10::Device wanted = value.toDevice();
    words.push_back(wanted.is_privateuseone() ? kRemoteDevice : kCpuDevice);
    if (wanted.is_privateuseone()) {
      use_device(index_or_leased(wanted));
    }
  } else if (value.isGenerator()) {
    const at::Generator wanted = value.toGenerator();
    TORCH_CHECK(
        wanted.device().is_privateuseone(), "Expected a 'remote' device type for generator but found '", wanted.device().type(), "'");
    words.push_back(kGenerator);
    generator = static_cast<Generator*>(wanted.unsafeGetGeneratorImpl());
  } else {
    TORCH_CHECK_NOT_IMPLEMENTED(
        false, op.full_name, ": an argument of type ", value.tagKind(), " cannot be sent to a remote device");
  }
}

void Key::add_list(const Operator& op, size_t position, c10::ArrayRef<c10::IValue> items) {
  const ListOf kind = op.lists[position];
  TORCH_CHECK_NOT_IMPLEMENTED(
      kind != ListOf::Unsupported && kind != ListOf::Nothing, op.full_name, ": argument ", position, " cannot be sent to a remote device");
  words.push_back(kList | static_cast<uint64_t>(items.size()) << 8);
  switch (kind) {
    case ListOf::Ints:
      for (const c10::IValue& item : items) {
        words.push_back(static_cast<uint64_t>(item.toInt()));
      }
      break;
    case ListOf::Floats:
      for (const c10::IValue& item : items) {
        words.push_back(bits_of(item.toDouble()));
      }
      break;
    case ListOf::Bools:
      for (const c10::IValue& item : items) {
        words.push_back(item.toBool());
      }
      break;
    default:
      for (const c10::IValue& item : items) {
        add(op, position, item);
      }
  }
}

void Key::add_tensor(const Operator& op, size_t position, const at::Tensor& tensor) {
  if (!tensor.defined()) {
    words.push_back(kUndefined);
    return;
  }
  const c10::TensorImpl& impl = *tensor.unsafeGetTensorImpl();
  const c10::DispatchKeySet keys = impl.key_set();
  const auto dtype = static_cast<uint64_t>(c10::typeMetaToScalarType(impl.dtype()));
  const uint64_t flags = flags_of(impl, keys);
  if (C10_LIKELY(keys.has_backend(c10::BackendComponent::PrivateUse1Bit))) {
    const c10::IntArrayRef sizes = impl.sizes();
    const c10::IntArrayRef strides = impl.strides();
    words.push_back(kRemote | flags << 8 | dtype << 16 | static_cast<uint64_t>(sizes.size()) << 32);
    words.insert(words.end(), sizes.begin(), sizes.end());
    words.insert(words.end(), strides.begin(), strides.end());
    const int64_t offset = impl.storage_offset();
    if (C10_UNLIKELY(op.offsets_in_key.load(std::memory_order_relaxed))) {
      words.push_back(static_cast<uint64_t>(offset));
    }
    const StorageRecord& record = record_of(*impl.unsafe_storage().unsafeGetStorageImpl());
    use_device(record.device);
    check_alive(record);
    storages.push_back(record.id);
    offsets.push_back(offset);
  } else if (impl.dim() == 0 && impl.device().is_cpu() && op.lists[position] == ListOf::Nothing && !op.writes(position)) {
    words.push_back(kCpuScalar | (flags & TR_WRAPPED) << 8 | dtype << 16);
    const at::Tensor plain = flags <= TR_WRAPPED ? tensor : tensor.resolve_conj().resolve_neg();
    uint64_t value[2] = {0, 0};
    std::memcpy(value, plain.const_data_ptr(), impl.dtype().itemsize());
    scalars.push_back(value[0]);
    scalars.push_back(value[1]);
  } else if (foreign == nullptr) {
    foreign = &tensor;
  }
}

void Key::add_text(const std::string& text) {
  words.push_back(kText | static_cast<uint64_t>(text.size()) << 8);
  for (size_t at = 0; at < text.size(); at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + at, std::min(sizeof word, text.size() - at));
    words.push_back(word);
  }
}

void Key::use_device(c10::DeviceIndex index) {
  TORCH_CHECK(
      device < 0 || device == index,
      "Expected all tensors to be on the same device, but found at least two devices, remote:",
      static_cast<int>(device),
      " and remote:",
      static_cast<int>(index),
      "! Each lease is a device of its own; move one with .to()");
  device = index;
}

KeyScope::KeyScope() {
  Keys& keys = thread_keys;
  if (C10_UNLIKELY(keys.used == keys.all.size())) {
    keys.all.push_back(std::make_unique<Key>());
  }
  key_ = keys.all[keys.used++].get();
}

KeyScope::~KeyScope() {
  --thread_keys.used;
}

} // namespace remote
