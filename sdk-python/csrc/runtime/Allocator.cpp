#include "runtime/Allocator.h"

#include <ATen/EmptyTensor.h>

#include <array>
#include <atomic>

#include "driver.h"
#include "runtime/Device.h"
#include "runtime/Exception.h"

namespace remote {
namespace {

constexpr c10::DispatchKeySet kRemote(c10::DispatchKey::PrivateUse1);

// 2^62 is not a canonical address on x86-64 nor on AArch64: reading it faults, whatever is mapped.
std::atomic<uint64_t> next_address{uint64_t{1} << 62};

uint64_t fresh_address(uint64_t bytes) {
  return next_address.fetch_add((bytes + 511) & ~uint64_t{255}, std::memory_order_relaxed);
}

// Live and highest sums per device. Counts of this process: the executor may hold more (fragmentation) or less (not run yet).
struct Usage {
  std::atomic<int64_t> storages{0};
  std::atomic<int64_t> bytes{0};
  std::atomic<int64_t> peak_bytes{0};
  std::atomic<int64_t> allocated_bytes{0};

  void grow(int64_t count, int64_t added) {
    storages.fetch_add(count, std::memory_order_relaxed);
    allocated_bytes.fetch_add(added, std::memory_order_relaxed);
    const int64_t now = bytes.fetch_add(added, std::memory_order_relaxed) + added;
    int64_t peak = peak_bytes.load(std::memory_order_relaxed);
    while (now > peak && !peak_bytes.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
    }
  }
  void shrink(int64_t count, int64_t removed) {
    storages.fetch_sub(count, std::memory_order_relaxed);
    bytes.fetch_sub(removed, std::memory_order_relaxed);
  }
};
std::array<Usage, kMaxDevices> usage;

class Allocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::DeviceIndex device = allocation_device();
    const uint64_t id = tr_storage_ids(1);
    check(tr_create(device, id, bytes));
    return own_storage(id, bytes, device);
  }

  // Null says that a plain pointer does not name a storage of this device.
  c10::DeleterFnPtr raw_deleter() const override {
    return nullptr;
  }

  void copy_data(void*, const void*, std::size_t) const override {
    TORCH_CHECK(false, "remote: the memory of a remote tensor is not in this process; use clone() or cpu()");
  }

  bool initialized() override {
    return true;
  }

  void emptyCache(c10::MempoolId_t) override {}

  // All streams of a device are one ordered stream: there is nothing to protect the storage from.
  void recordStream(const c10::DataPtr&, c10::Stream) override {}

  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    const Usage& of = usage.at(device);
    c10::CachingDeviceAllocator::DeviceStats stats;
    c10::CachingAllocator::Stat bytes;
    bytes.current = of.bytes.load(std::memory_order_relaxed);
    bytes.peak = of.peak_bytes.load(std::memory_order_relaxed);
    bytes.allocated = of.allocated_bytes.load(std::memory_order_relaxed);
    bytes.freed = bytes.allocated - bytes.current;
    stats.allocated_bytes[0] = stats.reserved_bytes[0] = stats.active_bytes[0] = stats.requested_bytes[0] = bytes;
    stats.allocation[0].current = stats.active[0].current = of.storages.load(std::memory_order_relaxed);
    return stats;
  }

  void resetAccumulatedStats(c10::DeviceIndex device) override {
    Usage& of = usage.at(device);
    of.allocated_bytes.store(of.bytes.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }

  void resetPeakStats(c10::DeviceIndex device) override {
    Usage& of = usage.at(device);
    of.peak_bytes.store(of.bytes.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
};

} // namespace

c10::DeviceAllocator& allocator() {
  static Allocator instance;
  return instance;
}

// Runs under any lock and on any thread, also while the process ends.
void delete_storage(void* context) {
  auto* record = static_cast<StorageRecord*>(context);
  tr_free(record->device, record->id);
  usage[record->device].shrink(1, static_cast<int64_t>(record->bytes));
  delete record;
}

c10::DataPtr own_storage(uint64_t id, uint64_t bytes, c10::DeviceIndex device) {
  auto* record = new StorageRecord{id, bytes, device};
  usage[device].grow(1, static_cast<int64_t>(bytes));
  return {reinterpret_cast<void*>(fresh_address(bytes)), record, &delete_storage, c10::Device(c10::kPrivateUse1, device)};
}

void refuse_foreign_storage() {
  TORCH_CHECK(
      false,
      "remote: this tensor was made from the address of a remote tensor, whose memory is not in this process (DLPack and from_blob do "
      "that). Move the tensor with .cpu() first");
}

void check_alive(const StorageRecord& record) {
  if (C10_LIKELY(tr_storage_alive(record.device, record.id) != 0)) {
    return;
  }
  check(tr_device_check(record.device));
  raise(
      TR_REMOTE_LOST,
      c10::str(
          "the tensor belongs to a lease that has ended; remote:",
          static_cast<int>(record.device),
          " is another lease now. Make the tensor again there, or load it from a checkpoint"));
}

void resize_storage(c10::StorageImpl& storage, uint64_t bytes, bool tell) {
  c10::DataPtr& pointer = storage._mutable_data_ptr_no_checks();
  record_of(storage);
  auto* record = static_cast<StorageRecord*>(pointer.get_context());
  if (tell) {
    check_alive(*record);
    check(tr_resize(record->device, record->id, bytes));
  }
  if (bytes > record->bytes) {
    usage[record->device].grow(0, static_cast<int64_t>(bytes - record->bytes));
    // The record moves to a new range of addresses, so that no two storages ever share one.
    pointer.release_context();
    storage.set_data_ptr_noswap(
        c10::DataPtr(reinterpret_cast<void*>(fresh_address(bytes)), record, &delete_storage, c10::Device(c10::kPrivateUse1, record->device)));
  } else {
    usage[record->device].shrink(0, static_cast<int64_t>(record->bytes - bytes));
  }
  record->bytes = bytes;
  storage.set_nbytes(bytes);
}

void grow_storage(const at::TensorBase& tensor, c10::IntArrayRef sizes, c10::IntArrayRef strides, bool tell) {
  c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  const size_t needed = at::detail::computeStorageNbytes(sizes, strides, tensor.dtype().itemsize(), impl->storage_offset());
  c10::StorageImpl& storage = *impl->unsafe_storage().unsafeGetStorageImpl();
  if (needed > storage.nbytes()) {
    resize_storage(storage, needed, tell);
  }
}

void resize_tensor(const at::TensorBase& tensor, c10::IntArrayRef sizes, c10::IntArrayRef strides, bool tell) {
  grow_storage(tensor, sizes, strides, tell);
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides);
}

at::TensorBase make_tensor(
    uint64_t id, uint64_t bytes, c10::DeviceIndex device, c10::ScalarType dtype, c10::IntArrayRef sizes, c10::IntArrayRef strides) {
  auto storage = c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), bytes, own_storage(id, bytes, device), &allocator(), /*resizable=*/true);
  auto tensor = at::detail::make_tensor_base<c10::TensorImpl>(std::move(storage), kRemote, c10::scalarTypeToTypeMeta(dtype));
  if (sizes.size() != 1 || sizes[0] != 0) {
    tensor.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides);
  }
  return tensor;
}

} // namespace remote
