#include "runtime/Generator.h"

#include <ATen/EmptyTensor.h>
#include <torch/csrc/Generator.h>

#include <cstring>
#include <vector>

#include "driver.h"
#include "runtime/Device.h"

namespace remote {
namespace {

constexpr int64_t kStateBytes = sizeof(RandomState);

} // namespace

Generator::Generator(c10::DeviceIndex device)
    : c10::GeneratorImpl(c10::Device(c10::kPrivateUse1, device), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)),
      state_{c10::default_rng_seed_val, 0} {}

RandomState Generator::next() {
  const std::lock_guard<std::mutex> lock(mutex_);
  const RandomState now = state_;
  ++state_.count;
  return now;
}

void Generator::set_current_seed(uint64_t seed) {
  state_ = {seed, 0};
}

uint64_t Generator::current_seed() const {
  return state_.seed;
}

uint64_t Generator::seed() {
  set_current_seed(c10::detail::getNonDeterministicRandom());
  return state_.seed;
}

void Generator::set_offset(uint64_t offset) {
  state_.count = offset;
}

uint64_t Generator::get_offset() const {
  return state_.count;
}

void Generator::set_state(const c10::TensorImpl& state) {
  at::detail::check_rng_state(state);
  TORCH_CHECK(
      state.numel() == kStateBytes, "remote: a generator's state has ", kStateBytes, " bytes (seed and count), this tensor has ", state.numel());
  std::memcpy(&state_, state.data(), kStateBytes);
}

c10::intrusive_ptr<c10::TensorImpl> Generator::get_state() const {
  at::TensorBase state = at::detail::empty_cpu({kStateBytes}, c10::kByte);
  std::memcpy(state.mutable_data_ptr(), &state_, kStateBytes);
  return state.getIntrusivePtr();
}

c10::DeviceType Generator::device_type() {
  return c10::kPrivateUse1;
}

Generator* Generator::clone_impl() const {
  auto* copy = new Generator(device_.index());
  copy->state_ = state_;
  return copy;
}

const at::Generator& default_generator(c10::DeviceIndex device) {
  static const auto* generators = [] {
    auto* made = new std::vector<at::Generator>;
    for (c10::DeviceIndex index = 0; index < kMaxDevices; ++index) {
      made->push_back(at::make_generator<Generator>(index));
    }
    return made;
  }();
  const c10::DeviceIndex index = device < 0 ? current_device() : device;
  TORCH_CHECK(index < kMaxDevices, "remote: invalid device index ", static_cast<int>(index));
  return (*generators)[index];
}

} // namespace remote

// SAFETY: the caller holds the GIL and owns the reference it gets; nullptr means that a Python error is set.
extern "C" void* trd_default_generator(int32_t device) {
  if (device < 0 || device >= remote::kMaxDevices) {
    PyErr_Format(PyExc_ValueError, "remote: invalid device index %d", device);
    return nullptr;
  }
  return THPGenerator_Wrap(remote::default_generator(static_cast<c10::DeviceIndex>(device)));
}
