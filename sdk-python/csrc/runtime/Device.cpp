#include "runtime/Device.h"

#include <c10/util/Exception.h>

#include "driver.h"
#include "runtime/Exception.h"

namespace remote {
namespace {

constexpr c10::DeviceIndex kUnset = -1;
thread_local c10::DeviceIndex thread_device = kUnset;

} // namespace

c10::DeviceIndex current_device() noexcept {
  if (C10_LIKELY(thread_device != kUnset && tr_device_kind(thread_device) != TR_KIND_NONE)) {
    return thread_device;
  }
  for (c10::DeviceIndex index = 0; index < kMaxDevices; ++index) {
    if (tr_device_kind(index) != TR_KIND_NONE) {
      return index;
    }
  }
  return thread_device != kUnset ? thread_device : 0;
}

c10::DeviceIndex index_or_leased(c10::Device device) {
  const c10::DeviceIndex index = index_or_current(device);
  if (C10_UNLIKELY(device.index() < 0 && tr_device_kind(index) == TR_KIND_NONE)) {
    check(tr_device_check(-1));
  }
  return index;
}

c10::DeviceIndex allocation_device() noexcept {
  return thread_device != kUnset ? thread_device : current_device();
}

void set_current_device(c10::DeviceIndex index) noexcept {
  thread_device = index;
}

void check_device(c10::DeviceIndex index) {
  TORCH_CHECK(
      index >= 0 && index < kMaxDevices, "remote: invalid device index ", static_cast<int>(index), "; indices are 0 to ", kMaxDevices - 1);
  check(tr_device_check(index));
}

DeviceScope::DeviceScope(c10::DeviceIndex index) noexcept : previous_(thread_device) {
  thread_device = index;
}

DeviceScope::~DeviceScope() {
  thread_device = previous_;
}

} // namespace remote

// SAFETY: no duties; touches only this thread's device.
extern "C" int32_t trd_current_device(void) {
  return remote::current_device();
}

// SAFETY: no duties; touches only this thread's device. An index out of range means none.
extern "C" int32_t trd_exchange_device(int32_t device) {
  const int32_t previous = remote::thread_device;
  const bool known = device >= 0 && device < remote::kMaxDevices;
  remote::thread_device = known ? static_cast<c10::DeviceIndex>(device) : remote::kUnset;
  return previous;
}
