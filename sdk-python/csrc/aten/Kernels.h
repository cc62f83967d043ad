// The few operators with kernels of their own: storages, views and crossings between this process and the executor. All others are the
// boxed call (Call.h).
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <string>

namespace remote {

// Factories.cpp: storages.
at::Tensor empty_memory_format(
    c10::IntArrayRef size,
    std::optional<c10::ScalarType> dtype,
    std::optional<c10::Layout> layout,
    std::optional<c10::Device> device,
    std::optional<bool> pin_memory,
    std::optional<c10::MemoryFormat> memory_format);
at::Tensor empty_strided(
    c10::IntArrayRef size,
    c10::IntArrayRef stride,
    std::optional<c10::ScalarType> dtype,
    std::optional<c10::Layout> layout,
    std::optional<c10::Device> device,
    std::optional<bool> pin_memory);
at::Tensor efficient_zero_tensor(
    c10::IntArrayRef size,
    std::optional<c10::ScalarType> dtype,
    std::optional<c10::Layout> layout,
    std::optional<c10::Device> device,
    std::optional<bool> pin_memory);
const at::Tensor& resize_(const at::Tensor& self, c10::IntArrayRef size, std::optional<c10::MemoryFormat> memory_format);
const at::Tensor& resize_output_(const at::Tensor& self, c10::IntArrayRef size, c10::Device device);
at::Tensor& set_(at::Tensor& self);
at::Tensor& set_tensor(at::Tensor& self, const at::Tensor& source);
at::Tensor& set_storage(at::Tensor& self, at::Storage source);
at::Tensor& set_storage_view(
    at::Tensor& self, at::Storage source, int64_t storage_offset, c10::IntArrayRef size, c10::IntArrayRef stride);

// Copy.cpp: crossings. Only the bytes of a view travel.
at::Tensor copy_from(const at::Tensor& self, const at::Tensor& destination, bool non_blocking);
at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& destination);
at::Scalar local_scalar_dense(const at::Tensor& self);
void foreach_copy_(at::TensorList self, at::TensorList source, bool non_blocking);

// Views.cpp, Factories.cpp, Copy.cpp, Recurrent.cpp: forwards from the operators' names.
void register_views(torch::Library& library);
void register_factories(torch::Library& library);
void register_copies(torch::Library& library);
void register_recurrent_cells(torch::Library& library);
void register_rms_norm(torch::Library& library);
// Attention.cpp: which kernel scaled_dot_product_attention takes.
void register_attention_choice();
// Autocast.cpp
void register_autocast(torch::Library& library);

// Whether an operator has a kernel of its own. `name` is "add.Tensor".
bool has_own_kernel(const std::string& name);

} // namespace remote
