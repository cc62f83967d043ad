#include "aten/Signature.h"

#include <ATen/core/Tensor.h>
#include <c10/core/DefaultDtype.h>

namespace remote {
namespace {

tr_tensor meta_of(c10::ScalarType dtype, c10::IntArrayRef sizes, c10::IntArrayRef strides, uint8_t flags = 0) {
  return {static_cast<uint8_t>(dtype), flags, static_cast<uint32_t>(sizes.size()), sizes.data(), strides.data()};
}

tr_arg tensor_argument(const at::Tensor& tensor) {
  tr_arg arg{};
  if (!tensor.defined()) {
    arg.kind = TR_NONE;
    return arg;
  }
  const c10::TensorImpl& impl = *tensor.unsafeGetTensorImpl();
  const bool is_remote = tensor.device().is_privateuseone();
  auto flags = static_cast<uint8_t>(impl.is_wrapped_number() ? TR_WRAPPED : 0);
  if (is_remote) { // a CPU scalar travels as its value
    flags |= static_cast<uint8_t>((tensor.is_conj() ? TR_CONJ : 0) | (tensor.is_neg() ? TR_NEG : 0));
  }
  arg.kind = is_remote ? TR_TENSOR : TR_CPU_SCALAR;
  arg.tensor = meta_of(tensor.scalar_type(), impl.sizes(), impl.strides(), flags);
  return arg;
}

tr_output output_of(const Output& from) {
  tr_output out{};
  switch (from.kind) {
    case OutputKind::Undefined:
      out.kind = TR_OUT_UNDEFINED;
      return out;
    case OutputKind::Argument:
      out.kind = TR_OUT_ARGUMENT;
      out.slot = static_cast<uint32_t>(from.argument);
      return out;
    case OutputKind::Alias:
      out.kind = TR_OUT_ALIAS;
      out.slot = from.slot;
      out.offset = from.offset;
      break;
    case OutputKind::Fresh:
      out.kind = TR_OUT_FRESH;
      out.bytes = from.bytes;
      break;
  }
  out.meta = meta_of(from.dtype, from.sizes, from.strides);
  return out;
}

} // namespace

Signature::Signature(const Operator& op, const c10::IValue* arguments, const Entry* entry) {
  for (size_t position = 0; position < op.arguments; ++position) {
    arguments_.push_back(argument(op, position, arguments[position]));
  }
  if (entry != nullptr) {
    for (const ReturnValue& value : entry->returns) {
      outputs_.push_back(output(value));
    }
    for (const Resized& resized : entry->resized) {
      const c10::IValue& value = arguments[resized.argument];
      const at::Tensor& tensor = resized.item < 0 ? value.toTensor() : value.toListRef()[resized.item].toTensor();
      resized_.push_back({resized.slot, meta_of(tensor.scalar_type(), resized.sizes, resized.strides)});
    }
  }
  signature_.name = op.name.c_str();
  signature_.overload = op.overload.c_str();
  signature_.args = arguments_.data();
  signature_.nargs = static_cast<uint32_t>(arguments_.size());
  signature_.outputs = outputs_.data();
  signature_.noutputs = static_cast<uint32_t>(outputs_.size());
  signature_.resized = resized_.data();
  signature_.nresized = static_cast<uint32_t>(resized_.size());
  signature_.random = op.random ? 1 : 0;
  signature_.default_dtype = static_cast<uint8_t>(c10::get_default_dtype_as_scalartype());
  written_.assign(op.written.begin(), op.written.end());
  signature_.written = written_.data();
  signature_.nwritten = static_cast<uint32_t>(written_.size());
}

tr_arg Signature::argument(const Operator& op, size_t position, const c10::IValue& value) {
  tr_arg arg{};
  if (value.isTensor()) {
    return tensor_argument(value.toTensor());
  }
  if (value.isInt()) {
    arg.kind = TR_INT;
    arg.i = value.toInt();
  } else if (value.isDouble()) {
    arg.kind = op.constant_floats ? TR_FLOAT_CONST : TR_FLOAT;
    arg.d = value.toDouble();
  } else if (value.isBool()) {
    arg.kind = TR_BOOL;
    arg.i = value.toBool() ? 1 : 0;
  } else if (value.isList()) {
    return list(op, position, value.toListRef());
  } else if (value.isComplexDouble()) {
    arg.kind = TR_COMPLEX;
  } else if (value.isString()) {
    arg.kind = TR_TEXT;
    arg.len = static_cast<uint32_t>(value.toStringRef().size());
    arg.u.text = value.toStringRef().data();
  } else if (value.isDevice()) {
    arg.kind = value.toDevice().is_privateuseone() ? TR_DEVICE : TR_CPU_DEVICE;
  } else if (value.isGenerator()) {
    arg.kind = TR_GENERATOR;
  } else {
    arg.kind = TR_NONE; // Key::build has refused everything that is not None
  }
  return arg;
}

tr_arg Signature::list(const Operator& op, size_t position, c10::ArrayRef<c10::IValue> items) {
  tr_arg arg{};
  arg.len = static_cast<uint32_t>(items.size());
  const ListOf kind = op.lists[position];
  if (kind == ListOf::Floats) {
    std::vector<double>& doubles = doubles_.emplace_back();
    for (const c10::IValue& item : items) {
      doubles.push_back(item.toDouble());
    }
    arg.kind = TR_FLOATS;
    arg.u.doubles = doubles.data();
  } else if (kind == ListOf::Ints || kind == ListOf::Bools) {
    std::vector<int64_t>& ints = ints_.emplace_back();
    for (const c10::IValue& item : items) {
      ints.push_back(kind == ListOf::Ints ? item.toInt() : static_cast<int64_t>(item.toBool()));
    }
    arg.kind = kind == ListOf::Ints ? TR_INTS : TR_BOOLS;
    arg.u.ints = ints.data();
  } else {
    std::vector<tr_arg>& list = argument_lists_.emplace_back();
    for (const c10::IValue& item : items) {
      list.push_back(argument(op, position, item));
    }
    arg.kind = TR_LIST;
    arg.u.items = list.data();
  }
  return arg;
}

tr_output Signature::output(const ReturnValue& value) {
  if (!value.is_list) {
    return output_of(value.outputs[0]);
  }
  std::vector<tr_output>& items = output_lists_.emplace_back();
  for (const Output& item : value.outputs) {
    items.push_back(output_of(item));
  }
  tr_output list{};
  list.kind = TR_OUT_LIST;
  list.len = static_cast<uint32_t>(items.size());
  list.items = items.data();
  return list;
}

} // namespace remote
