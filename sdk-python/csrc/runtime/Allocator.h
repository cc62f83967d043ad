// Storages of the remote device: an id on the executor and an address that nobody can read.
//
// No memory of this process stands behind a remote storage. Its DataPtr holds an address out of a range that the processor refuses
// (each storage has its own, so that code which compares addresses still tells storages apart), and as context a StorageRecord.
// Invariant: a DataPtr on the remote device is ours exactly when its deleter is ours. A pointer that someone wrapped again (legacy
// pickle, DLPack) carries another deleter and is refused, never taken for a new storage.
#pragma once

#include <ATen/core/TensorBase.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/StorageImpl.h>

#include <cstdint>

namespace remote {

struct StorageRecord {
  uint64_t id;
  uint64_t bytes;
  c10::DeviceIndex device;
};

// The allocator registered for the device: each allocate() is a Create in the stream of allocation_device().
c10::DeviceAllocator& allocator();

// A DataPtr for storage `id`, which the executor has or will have made. Its deleter sends the Free.
c10::DataPtr own_storage(uint64_t id, uint64_t bytes, c10::DeviceIndex device);

void refuse_foreign_storage();
void delete_storage(void* record);

// What the storage is on the executor. Throws when the pointer is not one of ours.
inline const StorageRecord& record_of(const c10::StorageImpl& storage) {
  const c10::DataPtr& pointer = const_cast<c10::StorageImpl&>(storage)._mutable_data_ptr_no_checks();
  if (C10_UNLIKELY(pointer.get_deleter() != &delete_storage)) {
    refuse_foreign_storage();
  }
  return *static_cast<const StorageRecord*>(pointer.get_context());
}

inline const StorageRecord& record_of(const at::TensorBase& tensor) {
  return record_of(*tensor.unsafeGetTensorImpl()->unsafe_storage().unsafeGetStorageImpl());
}

// Raises RemoteLost when the lease of the storage has ended.
void check_alive(const StorageRecord& record);

// Gives the storage `bytes` here; `tell` also sends the Resize (else the executor resizes it as part of a call).
void resize_storage(c10::StorageImpl& storage, uint64_t bytes, bool tell);

// Grows the tensor's storage where a shape does not fit; the tensor keeps its own.
void grow_storage(const at::TensorBase& tensor, c10::IntArrayRef sizes, c10::IntArrayRef strides, bool tell);

// Gives the tensor this shape, growing its storage where it does not fit.
void resize_tensor(const at::TensorBase& tensor, c10::IntArrayRef sizes, c10::IntArrayRef strides, bool tell);

// A tensor over a new storage `id` that the executor has made or will have made by then.
at::TensorBase make_tensor(
    uint64_t id, uint64_t bytes, c10::DeviceIndex device, c10::ScalarType dtype, c10::IntArrayRef sizes, c10::IntArrayRef strides);

} // namespace remote
