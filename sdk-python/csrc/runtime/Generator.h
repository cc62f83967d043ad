// The device's random numbers: a seed and a count of random operators, both owned by the client.
//
// Each random operator takes (seed, n) and the executor seeds its generator from them, so reading or setting the state needs no
// round trip, and two runs from the same state draw the same numbers on the same kind of device.
#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/GeneratorImpl.h>

#include <cstdint>

namespace remote {

struct RandomState {
  uint64_t seed;
  uint64_t count;
};

class Generator final : public c10::GeneratorImpl {
 public:
  explicit Generator(c10::DeviceIndex device);

  // The state for one random operator; the next call gets the next count. Takes the generator's mutex.
  RandomState next();

  void set_current_seed(uint64_t seed) override;
  uint64_t current_seed() const override;
  uint64_t seed() override;
  void set_offset(uint64_t offset) override;
  uint64_t get_offset() const override;
  // State: 16 bytes, seed then count, in the machine's byte order.
  void set_state(const c10::TensorImpl& state) override;
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override;
  static c10::DeviceType device_type();

 private:
  Generator* clone_impl() const override;

  RandomState state_;
};

const at::Generator& default_generator(c10::DeviceIndex device);

} // namespace remote
