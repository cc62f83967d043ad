// Crossings: CPU to remote, remote to CPU, remote to remote. Only the bytes of a view travel, in the narrower dtype of the two.
#include <ATen/ExpandUtils.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_local_scalar_dense.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "aten/Call.h"
#include "aten/Kernels.h"
#include "driver.h"
#include "runtime/Allocator.h"
#include "runtime/Device.h"
#include "runtime/Exception.h"

namespace remote {
namespace {

// The tensor's place on the executor, as plain values: conjugate and negative bits stay here.
tr_view place_of(const at::Tensor& tensor, c10::IntArrayRef sizes, c10::IntArrayRef strides) {
  tr_view view{};
  view.storage = record_of(tensor).id;
  view.offset = tensor.storage_offset();
  view.meta = {static_cast<uint8_t>(tensor.scalar_type()), 0, static_cast<uint32_t>(sizes.size()), sizes.data(), strides.data()};
  return view;
}

bool is_plain(const at::Tensor& tensor) {
  return !tensor.is_conj() && !tensor.is_neg();
}

// What must be stored so that `tensor`, read through its bits, has the values of `values`.
at::Tensor stored_values(const at::Tensor& tensor, at::Tensor values) {
  if (tensor.is_conj()) {
    values = values.conj();
  }
  if (tensor.is_neg()) {
    values = values.neg();
  }
  return values.resolve_conj().resolve_neg();
}

void copy_on_executor(const at::Tensor& destination, const at::Tensor& source, bool non_blocking) {
  static Operator& copy = operator_of(c10::Dispatcher::singleton().findSchemaOrThrow("aten::copy_", ""));
  Stack stack;
  stack.reserve(3);
  stack.emplace_back(destination);
  stack.emplace_back(source);
  stack.emplace_back(non_blocking);
  call(copy, &stack);
}

// Sizes with each broadcast dimension (stride 0) as one element: its bytes need not travel again and again.
c10::DimVector distinct_sizes(const at::Tensor& tensor) {
  c10::DimVector sizes(tensor.sizes().begin(), tensor.sizes().end());
  for (size_t dim = 0; dim < sizes.size(); ++dim) {
    if (tensor.stride(static_cast<int64_t>(dim)) == 0 && sizes[dim] > 1) {
      sizes[dim] = 1;
    }
  }
  return sizes;
}

// `source`: CPU, of the destination's sizes and dtype.
void write(const at::Tensor& destination, const at::Tensor& source) {
  const at::Tensor values = stored_values(destination, source).contiguous();
  const StorageRecord& record = record_of(destination);
  check_alive(record);
  const tr_view view = place_of(destination, destination.sizes(), destination.strides());
  counters().writes.fetch_add(1, std::memory_order_relaxed);
  check(tr_write(record.device, &view, values.const_data_ptr(), values.nbytes()));
  wait_if_blocking(record.device);
}

void copy_up(const at::Tensor& destination, at::Tensor source) {
  TORCH_CHECK(source.is_cpu(), "remote: a tensor on ", source.device(), " must be moved to the CPU before it can go to ", destination.device());
  TORCH_CHECK_NOT_IMPLEMENTED(source.layout() == c10::kStrided, "remote: only strided tensors can be moved, not ", source.layout());
  const bool same_dtype = source.scalar_type() == destination.scalar_type();
  if (!same_dtype && source.dtype().itemsize() >= destination.dtype().itemsize()) {
    source = source.to(destination.scalar_type());
  }
  source = source.as_strided(distinct_sizes(source), source.strides());
  if (source.scalar_type() == destination.scalar_type() && source.sizes() == destination.sizes()) {
    write(destination, source);
    return;
  }
  // Fewer bytes travel before the broadcast or the conversion than after: the executor does those.
  at::Tensor staged = empty_memory_format(
      source.sizes(), source.scalar_type(), c10::kStrided, destination.device(), std::nullopt, at::MemoryFormat::Contiguous);
  write(staged, source);
  copy_on_executor(destination, staged, false);
}

void read_into(const at::Tensor& source, c10::IntArrayRef sizes, const at::Tensor& destination) {
  const StorageRecord& record = record_of(source);
  check_alive(record);
  const tr_view view = place_of(source, sizes, source.strides());
  counters().reads.fetch_add(1, std::memory_order_relaxed);
  check(tr_read(record.device, &view, destination.mutable_data_ptr(), destination.nbytes()));
}

void copy_down(const at::Tensor& destination, at::Tensor source) {
  TORCH_CHECK(destination.is_cpu(), "remote: cannot copy from ", source.device(), " to ", destination.device(), "; go through the CPU");
  if (destination.dtype().itemsize() < source.dtype().itemsize() && !source.is_complex()) {
    source = source.to(destination.scalar_type());
  }
  const c10::DimVector sizes = distinct_sizes(source);
  const bool direct = source.scalar_type() == destination.scalar_type() && destination.sizes() == source.sizes() &&
      c10::IntArrayRef(sizes) == source.sizes() && destination.is_contiguous() && is_plain(source) && is_plain(destination);
  if (direct) {
    read_into(source, sizes, destination);
    return;
  }
  at::Tensor values = at::empty(sizes, at::TensorOptions().dtype(source.scalar_type()).device(c10::kCPU));
  read_into(source, sizes, values);
  values._set_conj(source.is_conj());
  values._set_neg(source.is_neg());
  destination.copy_(values.expand(source.sizes()));
}

} // namespace

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& destination, bool non_blocking) {
  const bool from_remote = self.device().is_privateuseone();
  const bool to_remote = destination.device().is_privateuseone();
  if (from_remote && to_remote) {
    if (self.device() == destination.device()) {
      copy_on_executor(destination, self, non_blocking);
    } else {
      copy_up(destination, self.to(c10::kCPU)); // another lease, another executor: through this process
    }
  } else if (to_remote) {
    copy_up(destination, self);
  } else {
    copy_down(destination, self);
  }
  return destination;
}

at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& destination) {
  if (destination.sizes() != self.sizes()) {
    destination.resize_(self.sizes());
  }
  return copy_from(self, destination, false);
}

at::Scalar local_scalar_dense(const at::Tensor& self) {
  TORCH_CHECK(self.numel() == 1, "a Tensor with ", self.numel(), " elements cannot be converted to Scalar");
  at::Tensor value = at::empty({}, at::TensorOptions().dtype(self.scalar_type()).device(c10::kCPU));
  const StorageRecord& record = record_of(self);
  check_alive(record);
  const tr_view view = place_of(self, {}, {});
  counters().reads.fetch_add(1, std::memory_order_relaxed);
  check(tr_read(record.device, &view, value.mutable_data_ptr(), value.nbytes()));
  value._set_conj(self.is_conj());
  value._set_neg(self.is_neg());
  return value.resolve_conj().resolve_neg().item();
}

void foreach_copy_(at::TensorList self, at::TensorList source, bool non_blocking) {
  bool crosses = self.size() != source.size();
  for (size_t index = 0; index < self.size() && !crosses; ++index) {
    crosses = self[index].device() != source[index].device();
  }
  if (!crosses) {
    static Operator& copy = operator_of(c10::Dispatcher::singleton().findSchemaOrThrow("aten::_foreach_copy_", ""));
    Stack stack;
    stack.emplace_back(self.vec());
    stack.emplace_back(source.vec());
    stack.emplace_back(non_blocking);
    call(copy, &stack);
    return;
  }
  TORCH_CHECK(self.size() == source.size(), "Tensor lists must have the same number of tensors, got ", self.size(), " and ", source.size());
  for (size_t index = 0; index < self.size(); ++index) {
    self[index].copy_(source[index], non_blocking);
  }
}

void register_copies(torch::Library& library) {
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("_local_scalar_dense", &local_scalar_dense);
  library.impl("_foreach_copy_", &foreach_copy_);
}

} // namespace remote
