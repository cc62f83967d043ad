// Storages: making, resizing and exchanging them.
#include <ATen/EmptyTensor.h>
#include <c10/core/DefaultDtype.h>
#include <c10/util/strides.h>

#include "aten/Call.h"
#include "aten/Kernels.h"
#include "runtime/Allocator.h"
#include "runtime/Device.h"

namespace remote {
namespace {

constexpr c10::DispatchKeySet kRemote(c10::DispatchKey::PrivateUse1);

c10::DeviceIndex checked_device(std::optional<c10::Layout> layout, std::optional<c10::Device> device, std::optional<bool> pin_memory) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      c10::layout_or_default(layout) == c10::kStrided, "remote: only strided tensors are supported, not ", c10::layout_or_default(layout));
  TORCH_CHECK(!c10::pinned_memory_or_default(pin_memory), "Only dense CPU tensors can be pinned");
  const c10::DeviceIndex index = index_or_leased(c10::device_or_default(device));
  TORCH_CHECK(index < kMaxDevices, "remote: invalid device index ", static_cast<int>(index), "; indices are 0 to ", kMaxDevices - 1);
  return index;
}

} // namespace

at::Tensor empty_memory_format(
    c10::IntArrayRef size,
    std::optional<c10::ScalarType> dtype,
    std::optional<c10::Layout> layout,
    std::optional<c10::Device> device,
    std::optional<bool> pin_memory,
    std::optional<c10::MemoryFormat> memory_format) {
  const DeviceScope scope(checked_device(layout, device, pin_memory));
  return at::Tensor(at::detail::empty_generic(size, &allocator(), kRemote, c10::dtype_or_default(dtype), memory_format));
}

at::Tensor empty_strided(
    c10::IntArrayRef size,
    c10::IntArrayRef stride,
    std::optional<c10::ScalarType> dtype,
    std::optional<c10::Layout> layout,
    std::optional<c10::Device> device,
    std::optional<bool> pin_memory) {
  const DeviceScope scope(checked_device(layout, device, pin_memory));
  return at::Tensor(at::detail::empty_strided_generic(size, stride, &allocator(), kRemote, c10::dtype_or_default(dtype)));
}

// Ordinary zeros: the ZeroTensor key would recurse through _copy_from.
at::Tensor efficient_zero_tensor(
    c10::IntArrayRef size,
    std::optional<c10::ScalarType> dtype,
    std::optional<c10::Layout> layout,
    std::optional<c10::Device> device,
    std::optional<bool> pin_memory) {
  at::Tensor tensor = empty_memory_format(size, dtype, layout, device, pin_memory, std::nullopt);
  return tensor.zero_();
}

const at::Tensor& resize_(const at::Tensor& self, c10::IntArrayRef size, std::optional<c10::MemoryFormat> memory_format) {
  if (self.sizes() == size && !memory_format.has_value()) {
    return self;
  }
  at::MemoryFormat format = memory_format.value_or(at::MemoryFormat::Contiguous);
  if (format == at::MemoryFormat::Preserve) {
    format = at::MemoryFormat::Contiguous;
  }
  resize_tensor(self, size, c10::contiguous_strides(size), /*tell=*/true);
  if (format != at::MemoryFormat::Contiguous) {
    self.unsafeGetTensorImpl()->empty_tensor_restride(format);
  }
  return self;
}

const at::Tensor& resize_output_(const at::Tensor& self, c10::IntArrayRef size, c10::Device) {
  return resize_(self, size, std::nullopt);
}

at::Tensor& set_tensor(at::Tensor& self, const at::Tensor& source) {
  if (self.unsafeGetTensorImpl() == source.unsafeGetTensorImpl()) {
    return self;
  }
  TORCH_CHECK(source.device() == self.device(), "set_: the source is on ", source.device(), ", this tensor on ", self.device());
  c10::TensorImpl* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(source.storage());
  impl->set_sizes_and_strides(source.sizes(), source.strides(), source.storage_offset());
  return self;
}

at::Tensor& set_storage_view(
    at::Tensor& self, at::Storage source, int64_t storage_offset, c10::IntArrayRef size, c10::IntArrayRef stride) {
  TORCH_CHECK(source.device() == self.device(), "set_: the storage is on ", source.device(), ", this tensor on ", self.device());
  const c10::DimVector strides = stride.size() == size.size() ? c10::DimVector(stride.begin(), stride.end()) : c10::contiguous_strides(size);
  const size_t needed = at::detail::computeStorageNbytes(size, strides, self.dtype().itemsize(), storage_offset);
  if (needed > source.nbytes()) {
    resize_storage(*source.unsafeGetStorageImpl(), needed, /*tell=*/true);
  }
  c10::TensorImpl* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(source);
  impl->set_sizes_and_strides(size, strides, storage_offset);
  return self;
}

at::Tensor& set_storage(at::Tensor& self, at::Storage source) {
  const auto count = static_cast<int64_t>(source.nbytes() / self.dtype().itemsize());
  return set_storage_view(self, std::move(source), 0, {count}, {1});
}

at::Tensor& set_(at::Tensor& self) {
  const DeviceScope scope(self.device().index());
  auto empty = c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), 0, allocator().allocate(0), &allocator(), /*resizable=*/true);
  return set_storage_view(self, at::Storage(std::move(empty)), 0, {0}, {1});
}

void register_factories(torch::Library& library) {
  library.impl("empty.memory_format", &empty_memory_format);
  library.impl("empty_strided", &empty_strided);
  library.impl("_efficientzerotensor", &efficient_zero_tensor);
  library.impl("resize_", &resize_);
  library.impl("_resize_output_", &resize_output_);
  library.impl("set_", &set_);
  library.impl("set_.source_Tensor", &set_tensor);
  library.impl("set_.source_Storage", &set_storage);
  library.impl("set_.source_Storage_storage_offset", &set_storage_view);
}

} // namespace remote
