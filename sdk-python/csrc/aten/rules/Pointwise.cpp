// dropout, where, copies, and in-place fills: operators of one value per element.
#include "aten/Rules.h"

#include <ATen/ExpandUtils.h>

namespace remote {
namespace {

// native_dropout(input, p, train) -> (output, mask)
bool dropout(const RuleInput& in, RuleOutput& out) {
  out.add_like(in.tensor(0));
  out.add_like(in.tensor(0), c10::kBool);
  return true;
}

// native_dropout_backward(grad_output, mask, scale)
bool dropout_backward(const RuleInput& in, RuleOutput& out) {
  if (in.tensor(0).sizes() != in.tensor(1).sizes()) {
    return false;
  }
  out.add_like(in.tensor(0));
  return true;
}

// where.self(condition, self, other), for tensors of one dtype and layout
bool where(const RuleInput& in, RuleOutput& out) {
  const at::Tensor &condition = in.tensor(0), &self = in.tensor(1), &other = in.tensor(2);
  if (condition.scalar_type() != c10::kBool || self.scalar_type() != other.scalar_type() || self.device() != other.device() ||
      condition.device() != self.device()) {
    return false;
  }
  const bool contiguous = condition.is_contiguous() && self.is_contiguous() && other.is_contiguous();
  const bool same = condition.sizes() == self.sizes() && self.sizes() == other.sizes() && self.strides() == other.strides() &&
      condition.strides() == self.strides() && self.is_non_overlapping_and_dense();
  if (same) {
    out.add_like(self);
    return true;
  }
  if (!contiguous) {
    return false;
  }
  out.add(at::infer_size_dimvector(condition.sizes(), at::infer_size_dimvector(self.sizes(), other.sizes())), self.scalar_type());
  return true;
}

// embedding_dense_backward(grad_output, indices, num_weights, padding_idx, scale_grad_by_freq)
bool embedding_backward(const RuleInput& in, RuleOutput& out) {
  const at::Tensor& gradient = in.tensor(0);
  if (gradient.dim() == 0) {
    return false;
  }
  out.add({in.integer(2), gradient.size(-1)}, gradient.scalar_type());
  return true;
}

// copy_(self, src, non_blocking)
bool copy(const RuleInput& in, RuleOutput&) {
  const at::Tensor &self = in.tensor(0), &source = in.tensor(1);
  const c10::DimVector sizes = at::infer_size_dimvector(self.sizes(), source.sizes());
  TORCH_CHECK(
      self.sizes() == c10::IntArrayRef(sizes), "output with shape ", self.sizes(), " doesn't match the broadcast shape ", c10::IntArrayRef(sizes));
  return true;
}

// In place, on tensors that fit by construction: nothing to check and nothing new.
bool fill(const RuleInput&, RuleOutput&) {
  return true;
}

// masked_fill_(self, mask, value)
bool masked_fill(const RuleInput& in, RuleOutput&) {
  return in.tensor(1).scalar_type() == c10::kBool && at::is_expandable_to(in.tensor(1).sizes(), in.tensor(0).sizes());
}

// Like the first argument: one value per element.
bool like_first(const RuleInput& in, RuleOutput& out) {
  out.add_like(in.tensor(0));
  return true;
}

constexpr NamedRule kRules[] = {
    {"aten::native_dropout", &dropout},
    {"aten::native_dropout_backward", &dropout_backward},
    {"aten::where.self", &where},
    {"aten::embedding_dense_backward", &embedding_backward},
    {"aten::copy_", &copy},
    {"aten::masked_fill_.Scalar", &masked_fill},
    {"aten::_logcumsumexp", &like_first},
    {"aten::_cummax_helper", &fill},
    {"aten::_cummin_helper", &fill},
    {"aten::fill_.Scalar", &fill},
    {"aten::zero_", &fill},
    {"aten::relu_", &fill},
    {"aten::bernoulli_.float", &fill},
    {"aten::exponential_", &fill},
    {"aten::normal_", &fill},
    {"aten::random_", &fill},
    {"aten::random_.from", &fill},
    {"aten::random_.to", &fill},
    {"aten::uniform_", &fill},
};

} // namespace

c10::ArrayRef<NamedRule> pointwise_rules() {
  return kRules;
}

} // namespace remote
