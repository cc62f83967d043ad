#include "runtime/Guard.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include "driver.h"
#include "runtime/Device.h"
#include "runtime/Event.h"
#include "runtime/Exception.h"
#include "runtime/Stream.h"

namespace remote {
namespace {

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override {
    return c10::kPrivateUse1;
  }

  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device previous = getDevice();
    uncheckedSetDevice(device);
    return previous;
  }

  c10::Device getDevice() const override {
    return {c10::kPrivateUse1, current_device()};
  }

  // No check for a lease: the autograd engine sets the device of each of its threads, leased or not.
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(
        device.index() < kMaxDevices, "remote: invalid device index ", static_cast<int>(device.index()), "; indices are 0 to ", kMaxDevices - 1);
    uncheckedSetDevice(device);
  }

  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.index() >= 0) {
      set_current_device(device.index());
    }
  }

  c10::Stream getStream(c10::Device device) const override {
    return stream_of(device);
  }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return stream_of(device);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    return stream_of(device);
  }
  c10::Stream getNewStream(c10::Device device, int) const override {
    return stream_of(device);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    return stream_of(stream.device());
  }

  // A constant, not the number of leases: the autograd engine asks once.
  c10::DeviceIndex deviceCount() const noexcept override {
    return kMaxDevices;
  }

  c10::DeviceCapability getDeviceCapability(c10::Device) const override {
    return {};
  }

  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex, const c10::EventFlag) const override {
    if (*event == nullptr) {
      *event = new Event;
    }
    static_cast<Event*>(*event)->record(index_or_current(stream.device()));
  }

  // Within one device the order of the stream is the order of issue. Across devices the host waits.
  void block(void* event, const c10::Stream& stream) const override {
    if (event != nullptr && static_cast<Event*>(event)->device() != index_or_current(stream.device())) {
      static_cast<Event*>(event)->wait();
    }
  }

  bool queryEvent(void* event) const override {
    return event == nullptr || static_cast<Event*>(event)->done();
  }

  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<Event*>(event);
  }

  void synchronizeEvent(void* event) const override {
    if (event != nullptr) {
      static_cast<Event*>(event)->wait();
    }
  }

  // Milliseconds between two marks on the executor's clock.
  double elapsedTime(void* first, void* second, const c10::DeviceIndex) const override {
    TORCH_CHECK(first != nullptr && second != nullptr, "remote: both events must be recorded before the time between them is asked");
    auto* start = static_cast<Event*>(first);
    auto* end = static_cast<Event*>(second);
    TORCH_CHECK(
        start->session() == end->session(), "remote: the events were recorded on different leases, whose clocks cannot be compared");
    return (static_cast<double>(end->reached_ns()) - static_cast<double>(start->reached_ns())) / 1e6;
  }

  bool queryStream(const c10::Stream& stream) const override {
    Event event;
    event.record(index_or_current(stream.device()));
    return event.done();
  }

  void synchronizeStream(const c10::Stream& stream) const override {
    check(tr_synchronize(index_or_current(stream.device())));
  }

  void synchronizeDevice(const c10::DeviceIndex device) const override {
    check(tr_synchronize(device < 0 ? current_device() : device));
  }
};

} // namespace

// Explicit, not a static object: a linker drops an object file of a static library that nothing refers to.
void register_guard() {
  const c10::impl::DeviceGuardImplRegistrar registrar(c10::kPrivateUse1, new Guard);
}

} // namespace remote
