// An event is a mark: a place in a device's stream that the executor reports reaching, with its clock.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace remote {

class Event {
 public:
  // Marks the end of what has been issued on `device` so far. Raises NoLease or RemoteLost.
  void record(c10::DeviceIndex device);
  // Whether the executor has reached the mark.
  bool done();
  // Waits until the executor has reached the mark.
  void wait();
  // The executor's monotonic clock at the mark, in nanoseconds. Waits. Raises where it is forgotten.
  uint64_t reached_ns();
  c10::DeviceIndex device() const {
    return device_;
  }
  // Serial number of the session it was recorded in.
  uint64_t session() const {
    return session_;
  }

 private:
  c10::DeviceIndex device_ = 0;
  uint64_t session_ = 0;
  uint64_t mark_ = 0;
  uint64_t ns_ = 0;
  bool done_ = false;
};

} // namespace remote
