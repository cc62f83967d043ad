// A name for a tensor's storage, by which `kubectl get tensors` shows it.
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_variable.h>

#include "driver.h"
#include "runtime/Allocator.h"
#include "runtime/Exception.h"

// SAFETY: the caller holds the GIL; `tensor` is a live Python object and `name` NUL-terminated UTF-8. -1 means that a Python error is set.
extern "C" int trd_label(void* tensor, const char* name) {
  HANDLE_TH_ERRORS
  auto* object = static_cast<PyObject*>(tensor);
  TORCH_CHECK_TYPE(THPVariable_Check(object), "expected a tensor, not ", Py_TYPE(object)->tp_name);
  const at::Tensor& labelled = THPVariable_Unpack(object);
  TORCH_CHECK_VALUE(labelled.device().is_privateuseone(), "only a remote tensor can be kept under a name; this one is on ", labelled.device());
  const remote::StorageRecord& record = remote::record_of(labelled);
  remote::check_alive(record);
  remote::check(tr_label(record.device, record.id, name));
  return 0;
  END_HANDLE_TH_ERRORS_RET(-1)
}
