// Streams of the device: all of them are the lease's one ordered stream.
#pragma once

#include <c10/core/Stream.h>

#include "runtime/Device.h"

namespace remote {

inline c10::Stream stream_of(c10::Device device) noexcept {
  return c10::Stream(c10::Stream::DEFAULT, c10::Device(c10::kPrivateUse1, index_or_current(device)));
}

} // namespace remote
