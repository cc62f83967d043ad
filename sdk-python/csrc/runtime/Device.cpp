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
  if (C10_LIKELY(thread_device != kUnset)) {
    return thread_device;
  }
  for (c10::DeviceIndex index = 0; index < kMaxDevices; ++index) {
    if (tr_device_kind(index) != TR_KIND_NONE) {
      return index;
    }
  }
  return 0;
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

// SAFETY: no duties; touches only this thread's device. Answers -1 with no change when the index is out of range.
extern "C" int trd_set_device(int32_t device) {
  if (device < 0 || device >= remote::kMaxDevices) {
    return -1;
  }
  remote::set_current_device(static_cast<c10::DeviceIndex>(device));
  return 0;
}
