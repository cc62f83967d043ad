#include "runtime/Hooks.h"

#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <torch/csrc/utils/device_lazy_init.h>

#include "driver.h"
#include "runtime/Allocator.h"
#include "runtime/Device.h"
#include "runtime/Generator.h"
#include "runtime/HostAllocator.h"

namespace remote {
namespace {

class Hooks final : public at::PrivateUse1HooksInterface {
 public:
  bool isBuilt() const override {
    return true;
  }
  bool isAvailable() const override {
    return tr_device_count() > 0;
  }
  bool hasPrimaryContext(c10::DeviceIndex device) const override {
    return tr_device_kind(device) != TR_KIND_NONE;
  }
  void init() const override {}

  c10::DeviceIndex deviceCount() const override {
    return static_cast<c10::DeviceIndex>(tr_device_count());
  }
  void setCurrentDevice(c10::DeviceIndex device) const override {
    check_device(device);
    set_current_device(device);
  }
  c10::DeviceIndex getCurrentDevice() const override {
    return current_device();
  }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override {
    const c10::DeviceIndex previous = current_device();
    setCurrentDevice(device);
    return previous;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override {
    const c10::DeviceIndex previous = current_device();
    if (device >= 0 && device < kMaxDevices) {
      set_current_device(device);
    }
    return previous;
  }

  bool isPinnedPtr(const void* data) const override {
    return is_host_allocation(data);
  }
  at::Allocator* getPinnedMemoryAllocator() const override {
    return &host_allocator();
  }

  // Asked by from_blob, which legacy pickle and DLPack import use: an address alone never names a remote storage.
  at::Device getDeviceFromPtr(void*) const override {
    refuse_foreign_storage();
    return {c10::kPrivateUse1, 0};
  }

  const at::Generator& getDefaultGenerator(c10::DeviceIndex device) const override {
    return default_generator(device);
  }
  at::Generator getNewGenerator(c10::DeviceIndex device) const override {
    return at::make_generator<Generator>(device < 0 ? current_device() : device);
  }

  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    resize_storage(*storage.unsafeGetStorageImpl(), bytes, /*tell=*/true);
  }
};

} // namespace

void register_runtime() {
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  c10::SetAllocator(c10::kPrivateUse1, &allocator());
  at::setHostAllocator(c10::kPrivateUse1, &host_allocator());
  torch::utils::register_fork_handler_for_device_init(c10::kPrivateUse1);
}

} // namespace remote
