// "Pinned" memory for DataLoader(pin_memory=True): page-aligned CPU memory that is_pinned() recognises.
#pragma once

#include <ATen/core/CachingHostAllocator.h>

namespace remote {

at::HostAllocator& host_allocator();
bool is_host_allocation(const void* pointer);

} // namespace remote
