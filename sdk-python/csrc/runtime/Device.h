// Which remote device a thread means when it names none.
#pragma once

#include <c10/core/Device.h>

namespace remote {

// PyTorch's autograd engine sizes its queues once, at the first backward: the guard reports this many devices from import on,
// whatever is leased.
constexpr c10::DeviceIndex kMaxDevices = 16;

// The device this thread has set if its lease lives, else the first with a live lease. With none live: what this thread has set, else 0.
// A guard that is left sets the index it found, and that lease may end: an index set is a wish, not a promise.
c10::DeviceIndex current_device() noexcept;
// Makes `index` this thread's device. Any index below kMaxDevices: whether it is leased is found when it is used.
void set_current_device(c10::DeviceIndex index) noexcept;
// Raises NoLease or RemoteLost unless `index` has a live lease.
void check_device(c10::DeviceIndex index);

inline c10::DeviceIndex index_or_current(c10::Device device) noexcept {
  return device.index() >= 0 ? device.index() : current_device();
}

// As index_or_current, for a new tensor. Raises NoLease when the index is left open and no lease lives.
c10::DeviceIndex index_or_leased(c10::Device device);

// Where storage is allocated: exactly the device this thread has set, else the current one. A tensor asked for on a lease that has ended
// must not come to lie on another.
c10::DeviceIndex allocation_device() noexcept;

// Sets this thread's device for a scope.
class DeviceScope {
 public:
  explicit DeviceScope(c10::DeviceIndex index) noexcept;
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  c10::DeviceIndex previous_;
};

} // namespace remote
