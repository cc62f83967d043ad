// Lists of tensors, as optimisers use them: in place there is nothing to say, else each result has the shape of its input.
#include "aten/Rules.h"

namespace remote {
namespace {

// In place: the call returns nothing new.
bool in_place(const RuleInput&, RuleOutput&) {
  return true;
}

bool all_floating(const c10::IValue& tensors) {
  for (const c10::IValue& tensor : tensors.toListRef()) {
    if (!c10::isFloatingType(tensor.toTensor().scalar_type())) {
      return false;
    }
  }
  return true;
}

bool is_complex(const c10::IValue& value) {
  if (!value.isList()) {
    return value.isComplexDouble();
  }
  for (const c10::IValue& item : value.toListRef()) {
    if (item.isComplexDouble()) {
      return true;
    }
  }
  return false;
}

// Each list of tensors has the shapes and dtypes of the first.
bool lists_agree(const RuleInput& in) {
  const c10::ArrayRef<c10::IValue> first = in[0].toListRef();
  for (size_t position = 1; position < in.size(); ++position) {
    if (!in[position].isList() || (!in[position].toListRef().empty() && !in[position].toListRef()[0].isTensor())) {
      continue;
    }
    const c10::ArrayRef<c10::IValue> other = in[position].toListRef();
    if (other.size() != first.size()) {
      return false;
    }
    for (size_t item = 0; item < first.size(); ++item) {
      const at::Tensor &a = first[item].toTensor(), &b = other[item].toTensor();
      if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) {
        return false;
      }
    }
  }
  return true;
}

// The first argument is the list. Integers and complex numbers promote: not here.
bool like_first(const RuleInput& in, RuleOutput& out) {
  if (!in[0].isList() || !all_floating(in[0]) || !lists_agree(in)) {
    return false;
  }
  for (size_t position = 1; position < in.size(); ++position) {
    const bool wider_tensor = in.has_tensor(position) && in.tensor(position).dim() != 0;
    if (wider_tensor || is_complex(in[position])) {
      return false;
    }
    if (in.has_tensor(position)) {
      for (const c10::IValue& item : in[0].toListRef()) {
        if (c10::promoteTypes(item.toTensor().scalar_type(), in.tensor(position).scalar_type()) != item.toTensor().scalar_type()) {
          return false;
        }
      }
    }
  }
  out.add_list_like(in[0]);
  return true;
}

// _foreach_norm.Scalar(tensors, ord, dtype)
bool norms(const RuleInput& in, RuleOutput& out) {
  if (!all_floating(in[0]) || in[0].toListRef().empty() || !in[2].isNone()) {
    return false;
  }
  const c10::ScalarType dtype = in[0].toListRef()[0].toTensor().scalar_type();
  for (const c10::IValue& tensor : in[0].toListRef()) {
    if (tensor.toTensor().scalar_type() != dtype) {
      return false;
    }
  }
  out.add_list_of_scalars(in[0], dtype);
  return true;
}

constexpr NamedRule kRules[] = {
    {"aten::_foreach_norm.Scalar", &norms},
    {"aten::_foreach_add.Scalar", &like_first},
    {"aten::_foreach_add.List", &like_first},
    {"aten::_foreach_add.ScalarList", &like_first},
    {"aten::_foreach_add.Tensor", &like_first},
    {"aten::_foreach_sub.Scalar", &like_first},
    {"aten::_foreach_sub.List", &like_first},
    {"aten::_foreach_sub.ScalarList", &like_first},
    {"aten::_foreach_mul.Scalar", &like_first},
    {"aten::_foreach_mul.List", &like_first},
    {"aten::_foreach_mul.ScalarList", &like_first},
    {"aten::_foreach_mul.Tensor", &like_first},
    {"aten::_foreach_div.Scalar", &like_first},
    {"aten::_foreach_div.List", &like_first},
    {"aten::_foreach_div.ScalarList", &like_first},
    {"aten::_foreach_div.Tensor", &like_first},
    {"aten::_foreach_pow.Scalar", &like_first},
    {"aten::_foreach_pow.ScalarList", &like_first},
    {"aten::_foreach_addcdiv.Scalar", &like_first},
    {"aten::_foreach_addcdiv.ScalarList", &like_first},
    {"aten::_foreach_addcmul.Scalar", &like_first},
    {"aten::_foreach_addcmul.ScalarList", &like_first},
    {"aten::_foreach_lerp.List", &like_first},
    {"aten::_foreach_lerp.Scalar", &like_first},
    {"aten::_foreach_lerp.ScalarList", &like_first},
    {"aten::_foreach_maximum.List", &like_first},
    {"aten::_foreach_maximum.Scalar", &like_first},
    {"aten::_foreach_minimum.List", &like_first},
    {"aten::_foreach_minimum.Scalar", &like_first},
    {"aten::_foreach_abs", &like_first},
    {"aten::_foreach_exp", &like_first},
    {"aten::_foreach_log", &like_first},
    {"aten::_foreach_neg", &like_first},
    {"aten::_foreach_reciprocal", &like_first},
    {"aten::_foreach_rsqrt", &like_first},
    {"aten::_foreach_sign", &like_first},
    {"aten::_foreach_sqrt", &like_first},
    {"aten::_foreach_abs_", &in_place},
    {"aten::_foreach_add_.Scalar", &in_place},
    {"aten::_foreach_add_.List", &in_place},
    {"aten::_foreach_add_.ScalarList", &in_place},
    {"aten::_foreach_add_.Tensor", &in_place},
    {"aten::_foreach_addcdiv_.Scalar", &in_place},
    {"aten::_foreach_addcdiv_.ScalarList", &in_place},
    {"aten::_foreach_addcmul_.Scalar", &in_place},
    {"aten::_foreach_addcmul_.ScalarList", &in_place},
    {"aten::_foreach_copy_", &in_place},
    {"aten::_foreach_div_.Scalar", &in_place},
    {"aten::_foreach_div_.List", &in_place},
    {"aten::_foreach_div_.ScalarList", &in_place},
    {"aten::_foreach_div_.Tensor", &in_place},
    {"aten::_foreach_exp_", &in_place},
    {"aten::_foreach_lerp_.List", &in_place},
    {"aten::_foreach_lerp_.Scalar", &in_place},
    {"aten::_foreach_lerp_.ScalarList", &in_place},
    {"aten::_foreach_maximum_.List", &in_place},
    {"aten::_foreach_maximum_.Scalar", &in_place},
    {"aten::_foreach_minimum_.List", &in_place},
    {"aten::_foreach_minimum_.Scalar", &in_place},
    {"aten::_foreach_mul_.Scalar", &in_place},
    {"aten::_foreach_mul_.List", &in_place},
    {"aten::_foreach_mul_.ScalarList", &in_place},
    {"aten::_foreach_mul_.Tensor", &in_place},
    {"aten::_foreach_neg_", &in_place},
    {"aten::_foreach_pow_.Scalar", &in_place},
    {"aten::_foreach_reciprocal_", &in_place},
    {"aten::_foreach_rsqrt_", &in_place},
    {"aten::_foreach_sign_", &in_place},
    {"aten::_foreach_sqrt_", &in_place},
    {"aten::_foreach_sub_.Scalar", &in_place},
    {"aten::_foreach_sub_.List", &in_place},
    {"aten::_foreach_sub_.ScalarList", &in_place},
    {"aten::_foreach_zero_", &in_place},
    {"aten::_fused_adagrad_", &in_place},
    {"aten::_fused_adam_", &in_place},
    {"aten::_fused_adam_.tensor_lr", &in_place},
    {"aten::_fused_adamw_", &in_place},
    {"aten::_fused_adamw_.tensor_lr", &in_place},
    {"aten::_fused_sgd_", &in_place},
    {"aten::_fused_sgd_.tensor_lr", &in_place},
};

} // namespace

c10::ArrayRef<NamedRule> foreach_rules() {
  return kRules;
}

} // namespace remote
