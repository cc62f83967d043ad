#include "aten/Operator.h"

#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "meta/MetaTable.h"

namespace remote {
namespace {

// The result's shape, or the result, depends on values.
const std::unordered_set<std::string>& data_dependent() {
  static const std::unordered_set<std::string> names = {
      "aten::nonzero",
      "aten::nonzero.out",
      "aten::masked_select",
      "aten::masked_select.out",
      "aten::_unique",
      "aten::_unique2",
      "aten::unique_dim",
      "aten::unique_consecutive",
      "aten::unique_dim_consecutive",
      "aten::repeat_interleave.Tensor",
      "aten::bincount",
      "aten::equal",
  };
  return names;
}

// Shapes of what is saved for backward differ between CPU and CUDA kernels, and on the CPU even between its own kernels.
bool differs_on_cpu(const std::string& full_name) {
  static const std::unordered_set<std::string> names = {
      "aten::_embedding_bag",
      "aten::_embedding_bag_forward_only",
      "aten::native_batch_norm.out",
      "aten::_native_batch_norm_legit.out",
      "aten::_native_batch_norm_legit.no_stats_out",
  };
  return names.count(full_name) != 0;
}

bool shape_from_floats(const std::string& name) {
  static const std::unordered_set<std::string> names = {
      "aten::arange", "aten::range", "aten::linspace", "aten::logspace", "aten::histc"};
  return names.count(name) != 0;
}

bool takes_cpu_indices(const std::string& name) {
  static const std::unordered_set<std::string> names = {
      "aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index", "aten::_unsafe_index_put"};
  return names.count(name) != 0;
}

c10::TypePtr without_optional(const c10::TypePtr& type) {
  return type->kind() == c10::TypeKind::OptionalType ? type->castRaw<c10::OptionalType>()->getElementType() : type;
}

ListOf list_of(const c10::Argument& argument) {
  const c10::TypePtr type = without_optional(argument.type());
  if (type->kind() != c10::TypeKind::ListType) {
    return ListOf::Nothing;
  }
  switch (without_optional(type->castRaw<c10::ListType>()->getElementType())->kind()) {
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      return ListOf::Ints;
    case c10::TypeKind::FloatType:
      return ListOf::Floats;
    case c10::TypeKind::BoolType:
      return ListOf::Bools;
    case c10::TypeKind::TensorType:
      return ListOf::Tensors;
    case c10::TypeKind::NumberType:
      return ListOf::Scalars;
    default:
      return ListOf::Unsupported;
  }
}

ReturnKind return_kind(const c10::Argument& value) {
  const c10::TypePtr& type = value.type();
  if (type->kind() == c10::TypeKind::TensorType) {
    return ReturnKind::Tensor;
  }
  if (type->kind() == c10::TypeKind::ListType &&
      type->castRaw<c10::ListType>()->getElementType()->kind() == c10::TypeKind::TensorType) {
    return ReturnKind::Tensors;
  }
  return ReturnKind::Other;
}

bool is_written(const c10::Argument& argument) {
  return argument.alias_info() != nullptr && argument.alias_info()->isWrite();
}

int16_t returned_argument(const c10::FunctionSchema& schema, const c10::Argument& value) {
  if (!is_written(value)) {
    return -1;
  }
  for (size_t position = 0; position < schema.arguments().size(); ++position) {
    const auto* alias = schema.arguments()[position].alias_info();
    if (alias != nullptr && *alias == *value.alias_info()) {
      return static_cast<int16_t>(position);
    }
  }
  return -1;
}

// Operators live as long as the process: registered functors and threads that end late refer to them.
struct Registry {
  std::mutex mutex;
  std::unordered_map<std::string, std::unique_ptr<Operator>> operators;
};

Registry& registry() {
  static auto* instance = new Registry;
  return *instance;
}

std::string full_name_of(const c10::OperatorName& name) {
  return name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
}

} // namespace

Operator::Operator(const c10::OperatorHandle& handle)
    : handle(handle),
      name(handle.operator_name().name),
      overload(handle.operator_name().overload_name),
      full_name(full_name_of(handle.operator_name())),
      arguments(handle.schema().arguments().size()),
      constant_floats(shape_from_floats(name)),
      always_now(data_dependent().count(full_name) != 0),
      now_on_cpu(differs_on_cpu(full_name)),
      random(handle.hasTag(at::Tag::nondeterministic_seeded)),
      uploads_indices(takes_cpu_indices(name)),
      rule(find_rule(full_name)),
      meta(find_meta(full_name)) {
  const c10::FunctionSchema& schema = handle.schema();
  for (size_t position = 0; position < arguments; ++position) {
    lists.push_back(list_of(schema.arguments()[position]));
    if (is_written(schema.arguments()[position])) {
      written.push_back(static_cast<int16_t>(position));
    }
  }
  for (const c10::Argument& value : schema.returns()) {
    returns.push_back({return_kind(value), returned_argument(schema, value)});
    always_now = always_now || (returns.back().kind == ReturnKind::Other && rule == nullptr);
  }
}

bool Operator::writes(size_t argument) const {
  for (const int16_t position : written) {
    if (static_cast<size_t>(position) == argument) {
      return true;
    }
  }
  return false;
}

Operator& operator_of(const c10::OperatorHandle& handle) {
  const std::string name = full_name_of(handle.operator_name());
  const std::lock_guard<std::mutex> lock(registry().mutex);
  std::unique_ptr<Operator>& found = registry().operators[name];
  if (found == nullptr) {
    found = std::make_unique<Operator>(handle);
  }
  return *found;
}

void for_each_operator(void (*each)(Operator&, void*), void* context) {
  std::vector<Operator*> all;
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    for (const auto& [name, op] : registry().operators) {
      all.push_back(op.get());
    }
  }
  for (Operator* op : all) {
    each(*op, context);
  }
}

} // namespace remote
