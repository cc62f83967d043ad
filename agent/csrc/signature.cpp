#include "signature.h"
#include <ATen/Context.h>
#include <ATen/core/Generator.h>
#include <ATen/ops/empty.h>
#include <c10/core/DefaultDtype.h>
#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <string_view>

namespace trb {
namespace {

enum ArgKind : uint8_t {
  kNone = 0, kTensor = 1, kCpuScalar = 2, kInt = 3, kBool = 4, kFloat = 5, kFloatConst = 6, kComplex = 7, kInts = 8, kFloats = 9, kBools = 10,
  kText = 11, kDevice = 12, kCpuDevice = 13, kGenerator = 14, kList = 15,
};

// In-place operators that write all of `self` and read nothing of it.
bool fills_self(std::string_view name) {
  static constexpr std::array names{"aten::copy_", "aten::fill_", "aten::zero_", "aten::normal_", "aten::uniform_", "aten::bernoulli_", "aten::exponential_",
                                    "aten::cauchy_", "aten::geometric_", "aten::log_normal_", "aten::random_", "aten::_foreach_zero_", "aten::_foreach_copy_"};
  return std::find(names.begin(), names.end(), name) != names.end();
}

// out= overloads that leave their result uninitialised, or keep a part of what was there.
bool keeps_out(std::string_view name) {
  return name.starts_with("aten::empty") || name.starts_with("aten::new_empty") || name.starts_with("aten::resize") || name.starts_with("aten::_resize") ||
         name == "aten::_efficientzerotensor";
}

// What kernels write though their schemas do not mark it, as their sources do it: running statistics move in training, and a recurrent layer works in its
// dropout state and its reserve. `when` names the boolean argument that must be true for it, where there is one.
struct HiddenWrite {
  std::string_view op, argument, when;
};
constexpr std::array hidden_writes{
    HiddenWrite{"aten::batch_norm", "running_mean", "training"},
    HiddenWrite{"aten::batch_norm", "running_var", "training"},
    HiddenWrite{"aten::_batch_norm_impl_index", "running_mean", "training"},
    HiddenWrite{"aten::_batch_norm_impl_index", "running_var", "training"},
    HiddenWrite{"aten::native_batch_norm", "running_mean", "training"},
    HiddenWrite{"aten::native_batch_norm", "running_var", "training"},
    HiddenWrite{"aten::cudnn_batch_norm", "running_mean", "training"},
    HiddenWrite{"aten::cudnn_batch_norm", "running_var", "training"},
    HiddenWrite{"aten::miopen_batch_norm", "running_mean", "training"},
    HiddenWrite{"aten::miopen_batch_norm", "running_var", "training"},
    HiddenWrite{"aten::instance_norm", "running_mean", "use_input_stats"},
    HiddenWrite{"aten::instance_norm", "running_var", "use_input_stats"},
    HiddenWrite{"aten::batch_norm_update_stats", "running_mean", ""},
    HiddenWrite{"aten::batch_norm_update_stats", "running_var", ""},
    HiddenWrite{"aten::batch_norm_gather_stats", "running_mean", ""},
    HiddenWrite{"aten::batch_norm_gather_stats", "running_var", ""},
    HiddenWrite{"aten::batch_norm_gather_stats_with_counts", "running_mean", ""},
    HiddenWrite{"aten::batch_norm_gather_stats_with_counts", "running_var", ""},
    HiddenWrite{"aten::_cudnn_rnn", "dropout_state", "train"},
    HiddenWrite{"aten::miopen_rnn", "dropout_state", "train"},
    HiddenWrite{"aten::_cudnn_rnn_backward", "reserve", ""},
    HiddenWrite{"aten::miopen_rnn_backward", "reserve", ""},
};

bool writes(const c10::Argument& declared) { return declared.alias_info() != nullptr && declared.alias_info()->isWrite(); }

const c10::Type& unwrap(const c10::TypePtr& type, bool& optional) {
  optional = type->kind() == c10::TypeKind::OptionalType;
  return optional ? *type->castRaw<c10::OptionalType>()->getElementType() : *type;
}

bool takes_int(c10::TypeKind kind) {
  switch (kind) {
    case c10::TypeKind::IntType: case c10::TypeKind::SymIntType: case c10::TypeKind::ScalarTypeType: case c10::TypeKind::LayoutType:
    case c10::TypeKind::MemoryFormatType: return true;
    default: return false;
  }
}
bool takes_float(c10::TypeKind kind) { return kind == c10::TypeKind::FloatType || kind == c10::TypeKind::SymFloatType; }
bool takes_bool(c10::TypeKind kind) { return kind == c10::TypeKind::BoolType || kind == c10::TypeKind::SymBoolType; }

[[noreturn]] void mismatch(const c10::Argument& declared, uint8_t kind) {
  TORCH_CHECK_TYPE(false, "argument '", declared.name(), "' is declared ", declared.real_type()->repr_str(), " and came as wire kind ", static_cast<int>(kind));
}

c10::IValue integer(int64_t value, bool boolean, c10::TypeKind kind, const c10::Argument& declared) {
  if (kind == c10::TypeKind::NumberType) return boolean ? c10::IValue(c10::Scalar(value != 0)) : c10::IValue(c10::Scalar(value));
  if (takes_int(kind)) return value;
  if (takes_bool(kind)) return value != 0;
  if (takes_float(kind)) return static_cast<double>(value);
  mismatch(declared, boolean ? kBool : kInt);
}

template <class T>
c10::List<T> list_of(const T* items, uint32_t count) {
  c10::List<T> list;
  list.reserve(count);
  for (uint32_t i = 0; i < count; i++) list.push_back(items[i]);
  return list;
}

}  // namespace

Output::Output(const trb_output& output) : kind(static_cast<OutputKind>(output.kind)), slot(output.slot), offset(output.offset), bytes(output.bytes) {
  if (kind == OutputKind::Fresh || kind == OutputKind::Alias) meta.emplace(output.meta);
  TORCH_CHECK_VALUE(kind != OutputKind::Fresh || meta->last < 0 || static_cast<uint64_t>((meta->last + 1) * meta->item) <= bytes,
                    "an assumed output does not lie inside its assumed storage of ", bytes, " bytes");
  for (uint32_t i = 0; i < output.len; i++) items.emplace_back(output.items[i]);
}

Signature::Signature(const trb_description& description)
    : op(c10::Dispatcher::singleton().findSchemaOrThrow(description.name, description.overload)), now(description.now != 0), random(description.random != 0),
      fused_cell(device().is_cpu() && is_fused_cell(description.name)), default_dtype(static_cast<c10::ScalarType>(description.default_dtype)) {
  TORCH_CHECK_TYPE(c10::isFloatingType(default_dtype), "the default dtype must be a floating point one, and number ", static_cast<int>(description.default_dtype), " came");
  const auto& schema = op.schema();
  TORCH_CHECK_TYPE(description.nargs == schema.arguments().size(), name(), " takes ", schema.arguments().size(), " arguments and ", description.nargs, " came");
  TORCH_CHECK_TYPE(now || description.noutputs == schema.returns().size(), name(), " returns ", schema.returns().size(), " values and ", description.noutputs,
                   " were assumed");
  constants.resize(description.nargs);
  for (uint32_t i = 0; i < description.nargs; i++) take_argument(i, description.args[i], schema.arguments()[i]);
  for (uint32_t i = 0; i < description.noutputs; i++) outputs.emplace_back(description.outputs[i]);
  take_hidden_writes();
  resized.resize(tensors.size());
  for (uint32_t i = 0; i < description.nresized; i++) {
    const auto& entry = description.resized[i];
    TORCH_CHECK_VALUE(entry.slot < tensors.size() && uses[entry.slot].writes, "a resized argument must be a tensor that ", name(), " writes");
    resized[entry.slot].emplace(entry.meta);
    if (uses[entry.slot].covers >= 0 || !uses[entry.slot].reads) uses[entry.slot].covers = resized[entry.slot]->dense ? resized[entry.slot]->bytes() : -1;
  }
}

std::string Signature::name() const {
  return op.schema().overload_name().empty() ? op.schema().name() : op.schema().name() + "." + op.schema().overload_name();
}

void Signature::take_tensor(Place place, const trb_meta& meta, const c10::Argument& declared) {
  const bool written = writes(declared);
  const bool whole = written && ((declared.is_out() && !keeps_out(op.schema().name())) || (place.argument == 0 && fills_self(op.schema().name())));
  Meta parsed(meta);
  uses.push_back({static_cast<uint8_t>(!whole), static_cast<uint8_t>(written), whole && parsed.dense ? parsed.bytes() : -1});
  tensors.push_back({place, std::move(parsed), written});
}

void Signature::take_hidden_writes() {
  const auto& schema = op.schema();
  for (const auto& hidden : hidden_writes) {
    if (schema.name() != hidden.op) continue;
    const auto when = hidden.when.empty() ? std::nullopt : schema.argumentIndexWithName(hidden.when);
    if (when && constants[static_cast<size_t>(*when)].isBool() && !constants[static_cast<size_t>(*when)].toBool()) continue;
    for (size_t slot = 0; slot < tensors.size(); slot++)
      if (schema.arguments()[tensors[slot].place.argument].name() == hidden.argument) uses[slot].writes = 1;
  }
}

void Signature::take_list(uint32_t position, const trb_arg& arg, const c10::Type& item_type, const c10::Argument& declared) {
  bool optional = false;
  const c10::Type* inner = &item_type;
  if (item_type.kind() == c10::TypeKind::OptionalType) {
    optional = true;
    inner = item_type.castRaw<c10::OptionalType>()->getElementType().get();
  }
  ListArgument list{position, ListArgument::Kind::Numbers, {}};
  if (inner->kind() == c10::TypeKind::TensorType) list.kind = optional ? ListArgument::Kind::OptionalTensors : ListArgument::Kind::Tensors;
  else if (inner->kind() != c10::TypeKind::NumberType) mismatch(declared, arg.kind);
  const auto* items = static_cast<const trb_arg*>(arg.p);
  for (uint32_t i = 0; i < arg.len; i++) {
    const auto& item = items[i];
    const Place place{position, static_cast<int32_t>(i)};
    const bool number = list.kind == ListArgument::Kind::Numbers;
    list.items.emplace_back();
    if (item.kind == kTensor && !number) take_tensor(place, item.tensor, declared);
    else if (item.kind == kNone && list.kind != ListArgument::Kind::Numbers) continue;
    else if ((item.kind == kInt || item.kind == kBool) && number) list.items.back() = integer(item.i, item.kind == kBool, inner->kind(), declared);
    else if ((item.kind == kFloat || item.kind == kComplex) && number) floats.push_back({place, item.kind == kComplex, true});
    else mismatch(declared, item.kind);
  }
  lists.push_back(std::move(list));
}

void Signature::take_argument(uint32_t position, const trb_arg& arg, const c10::Argument& declared) {
  bool optional = false;
  const c10::Type& type = unwrap(declared.real_type(), optional);
  const auto kind = type.kind();
  const Place place{position, -1};
  auto& constant = constants[position];
  const c10::Type* item = kind == c10::TypeKind::ListType ? type.castRaw<c10::ListType>()->getElementType().get() : nullptr;
  switch (arg.kind) {
    case kNone: if (optional) return; break;
    case kTensor: if (kind == c10::TypeKind::TensorType) return take_tensor(place, arg.tensor, declared); break;
    case kCpuScalar: {
      if (kind != c10::TypeKind::TensorType || writes(declared)) break;
      trb_meta meta = arg.tensor;
      meta.flags &= 1, meta.ndim = 0;
      scalars.push_back({place, Meta(meta)});
      return;
    }
    case kInt: case kBool:
      if (item != nullptr && takes_int(item->kind()) && arg.kind == kInt) constant = list_of(&arg.i, 1);
      else constant = integer(arg.i, arg.kind == kBool, kind, declared);
      return;
    case kFloat:
      if (takes_float(kind) || kind == c10::TypeKind::NumberType) return floats.push_back({place, false, kind == c10::TypeKind::NumberType});
      break;
    case kFloatConst:
      if (takes_float(kind)) return static_cast<void>(constant = arg.d);
      if (kind == c10::TypeKind::NumberType) return static_cast<void>(constant = c10::Scalar(arg.d));
      break;
    case kComplex: if (kind == c10::TypeKind::NumberType) return floats.push_back({place, true, true}); break;
    case kInts: if (item != nullptr && takes_int(item->kind())) return static_cast<void>(constant = list_of(static_cast<const int64_t*>(arg.p), arg.len)); break;
    case kFloats: if (item != nullptr && takes_float(item->kind())) return static_cast<void>(constant = list_of(static_cast<const double*>(arg.p), arg.len)); break;
    case kBools: {
      if (item == nullptr || !takes_bool(item->kind())) break;
      c10::List<bool> list;
      for (uint32_t i = 0; i < arg.len; i++) list.push_back(static_cast<const uint8_t*>(arg.p)[i] != 0);
      constant = std::move(list);
      return;
    }
    case kText: if (kind == c10::TypeKind::StringType) return static_cast<void>(constant = std::string(static_cast<const char*>(arg.p), arg.len)); break;
    case kDevice: if (kind == c10::TypeKind::DeviceObjType) return static_cast<void>(constant = device()); break;
    case kCpuDevice: if (kind == c10::TypeKind::DeviceObjType) return static_cast<void>(constant = c10::Device(c10::kCPU)); break;
    case kGenerator: if (kind == c10::TypeKind::GeneratorType) return static_cast<void>(constant = at::globalContext().defaultGenerator(device())); break;
    case kList:
      if (item == nullptr) break;
      // An empty list carries no kind of item: take it for what is declared.
      if (arg.len == 0 && takes_int(item->kind())) return static_cast<void>(constant = c10::List<int64_t>());
      if (arg.len == 0 && takes_float(item->kind())) return static_cast<void>(constant = c10::List<double>());
      if (arg.len == 0 && takes_bool(item->kind())) return static_cast<void>(constant = c10::List<bool>());
      return take_list(position, arg, *item, declared);
  }
  mismatch(declared, arg.kind);
}

void Signature::fill(const trb_call& call, std::vector<c10::IValue>& stack, std::vector<at::Tensor>& arguments) const {
  stack.assign(constants.begin(), constants.end());
  arguments.clear();
  for (size_t i = 0; i < tensors.size(); i++) {
    arguments.push_back(view(tensors[i].meta, impl(call.storages[i]), call.offsets[i]));
    if (tensors[i].place.item < 0) stack[tensors[i].place.argument] = arguments.back();
  }
  for (size_t i = 0; i < scalars.size(); i++) {
    auto value = at::empty({}, at::TensorOptions().dtype(scalars[i].meta.dtype));
    std::memcpy(value.mutable_data_ptr(), call.scalars + 16 * i, static_cast<size_t>(scalars[i].meta.item));
    if (scalars[i].meta.flags & 1) value.unsafeGetTensorImpl()->set_wrapped_number(true);
    stack[scalars[i].place.argument] = std::move(value);
  }
  const double* next = call.floats;
  std::vector<std::pair<Place, c10::Scalar>> numbers;  // of lists
  for (const auto& slot : floats) {
    const c10::Scalar value = slot.complex ? c10::Scalar(c10::complex<double>(next[0], next[1])) : c10::Scalar(next[0]);
    if (slot.place.item >= 0) numbers.emplace_back(slot.place, value);
    else if (slot.number) stack[slot.place.argument] = value;
    else stack[slot.place.argument] = next[0];
    next += slot.complex ? 2 : 1;
  }
  for (const auto& list : lists) {
    auto item_tensor = [&, slot = size_t{0}](size_t item) mutable -> at::Tensor {
      while (slot < tensors.size() && (tensors[slot].place.argument != list.argument || tensors[slot].place.item < static_cast<int32_t>(item))) slot++;
      return slot < tensors.size() && tensors[slot].place.item == static_cast<int32_t>(item) ? arguments[slot] : at::Tensor();
    };
    switch (list.kind) {
      case ListArgument::Kind::Tensors: {
        c10::List<at::Tensor> filled;
        filled.reserve(list.items.size());
        for (size_t i = 0; i < list.items.size(); i++) filled.push_back(item_tensor(i));
        stack[list.argument] = std::move(filled);
        break;
      }
      case ListArgument::Kind::OptionalTensors: {
        c10::List<std::optional<at::Tensor>> filled;
        filled.reserve(list.items.size());
        for (size_t i = 0; i < list.items.size(); i++) {
          auto tensor = item_tensor(i);
          filled.push_back(tensor.defined() ? std::optional(std::move(tensor)) : std::nullopt);
        }
        stack[list.argument] = std::move(filled);
        break;
      }
      case ListArgument::Kind::Numbers: {
        c10::List<c10::Scalar> filled;
        filled.reserve(list.items.size());
        for (const auto& item : list.items) filled.push_back(item.isNone() ? c10::Scalar(0) : item.toScalar());
        for (const auto& [place, value] : numbers)
          if (place.argument == list.argument) filled.set(static_cast<size_t>(place.item), value);
        stack[list.argument] = std::move(filled);
        break;
      }
    }
  }
}

void Signature::execute(const trb_call& call, std::vector<c10::IValue>& stack) const {
  // One for the whole process, and only this thread runs operators.
  if (c10::get_default_dtype_as_scalartype() != default_dtype) c10::set_default_dtype(c10::scalarTypeToTypeMeta(default_dtype));
  if (random) {
    auto generator = at::globalContext().defaultGenerator(device());
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_current_seed(call.seed);
  }
  if (fused_cell) run_fused_cell(op.schema().name(), stack);
  else op.callBoxed(stack);
}

}  // namespace trb
