// What happens when an operator is called on the remote device.
#pragma once

#include "aten/Key.h"

namespace remote {

// Consumes the operator's arguments from the stack and leaves its results there. The hot path: on a cache hit no Python, no wait.
void call(Operator& op, Stack* stack);

// A call whose results only the executor knows: one round trip.
void call_now(Operator& op, Key& key, Stack* stack);

// Waits for the executor when each operator is to wait (TORCH_REMOTE_LAUNCH_BLOCKING), and raises what it reports.
void wait_if_blocking(c10::DeviceIndex device);

// (seed, n) for one random operator of this call.
RandomState next_random(const Key& key);

struct Counters {
  std::atomic<uint64_t> hits{0};
  std::atomic<uint64_t> misses{0};
  std::atomic<uint64_t> uncached{0};
  std::atomic<uint64_t> calls_now{0};
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> writes{0};
};
Counters& counters();

} // namespace remote
