// What happens when the Python module is imported: PyTorch learns of the device. No IO, no lease.
#include <c10/core/DeviceType.h>
#include <torch/csrc/Exceptions.h>

#include "aten/Register.h"
#include "driver.h"
#include "runtime/Guard.h"
#include "runtime/Hooks.h"

// SAFETY: called once, with the GIL held. -1 means that a Python error is set.
extern "C" int trd_register(void) {
  HANDLE_TH_ERRORS
  c10::register_privateuse1_backend("remote");
  remote::register_guard();
  remote::register_runtime();
  remote::register_operators();
  return 0;
  END_HANDLE_TH_ERRORS_RET(-1)
}
