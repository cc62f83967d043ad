// Turns the driver's errors into the exceptions that PyTorch would raise, and into RemoteLost and NoLease.
#pragma once

#include <c10/macros/Macros.h>

#include <string>

#include "driver.h"

namespace remote {

// Throws what the driver's last error on this thread says. Takes the GIL where the exception is a Python class.
[[noreturn]] void raise_last_error();

// Throws `message` as the class that PyTorch raises for `error_class`.
[[noreturn]] void raise(tr_error_class error_class, const std::string& message);

inline void check(tr_status status) {
  if (C10_UNLIKELY(status == TR_ERROR)) {
    raise_last_error();
  }
}

} // namespace remote
