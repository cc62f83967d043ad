#include "runtime/Event.h"

#include <c10/util/Exception.h>

#include "driver.h"
#include "runtime/Device.h"
#include "runtime/Exception.h"

namespace remote {

void Event::record(c10::DeviceIndex device) {
  check_device(device);
  uint64_t session = 0;
  const uint64_t mark = tr_mark(device, &session);
  if (mark == 0) {
    check_device(device);
  }
  TORCH_CHECK(mark != 0, "remote: remote:", static_cast<int>(device), " has no session to record an event in");
  device_ = device;
  session_ = session;
  mark_ = mark;
  ns_ = 0;
  done_ = false;
}

bool Event::done() {
  if (!done_ && mark_ != 0) {
    const tr_status status = tr_mark_done(device_, session_, mark_, &ns_);
    check(status);
    done_ = status == TR_OK;
  }
  return done_ || mark_ == 0;
}

void Event::wait() {
  if (!done_ && mark_ != 0) {
    check(tr_mark_wait(device_, session_, mark_, &ns_));
    done_ = true;
  }
}

uint64_t Event::reached_ns() {
  wait();
  TORCH_CHECK(
      ns_ != 0,
      "remote: the time of this event is forgotten: the session keeps those of the last 65536 events. Ask for elapsed_time before recording "
      "that many more");
  return ns_;
}

} // namespace remote
