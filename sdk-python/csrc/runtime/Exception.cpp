#include "runtime/Exception.h"

#include <torch/csrc/Exceptions.h>
#include <c10/util/Exception.h>

#include <utility>

namespace remote {
namespace {

// Set once while the module is imported, read afterwards; the module keeps the classes alive.
PyObject* remote_lost = nullptr;
PyObject* no_lease = nullptr;

// Throws the Python error that is set on this thread. The caller holds the GIL until persist() has taken it.
[[noreturn]] void throw_python_error() {
  python_error error;
  error.persist();
  throw std::move(error);
}

[[noreturn]] void raise_python(PyObject* type, const std::string& message) {
  pybind11::gil_scoped_acquire gil;
  PyErr_SetString(type != nullptr ? type : PyExc_RuntimeError, message.c_str());
  throw_python_error();
}

} // namespace

void raise(tr_error_class error_class, const std::string& message) {
  switch (error_class) {
    case TR_INDEX_ERROR:
      C10_THROW_ERROR(IndexError, message);
    case TR_VALUE_ERROR:
      C10_THROW_ERROR(ValueError, message);
    case TR_TYPE_ERROR:
      C10_THROW_ERROR(TypeError, message);
    case TR_NOT_IMPLEMENTED_ERROR:
      C10_THROW_ERROR(NotImplementedError, message);
    case TR_OUT_OF_MEMORY_ERROR:
      C10_THROW_ERROR(OutOfMemoryError, message);
    case TR_LINALG_ERROR:
      C10_THROW_ERROR(LinAlgError, message);
    case TR_REMOTE_LOST:
      raise_python(remote_lost, message);
    case TR_NO_LEASE:
      raise_python(no_lease, message);
    case TR_INTERRUPTED: {
      pybind11::gil_scoped_acquire gil;
      if (PyErr_Occurred() == nullptr) {
        PyErr_SetNone(PyExc_KeyboardInterrupt);
      }
      throw_python_error();
    }
    case TR_RUNTIME_ERROR:
      break;
  }
  C10_THROW_ERROR(Error, message);
}

void raise_last_error() {
  const tr_error error = tr_last_error();
  raise(static_cast<tr_error_class>(error.error_class), error.message != nullptr ? error.message : "");
}

} // namespace remote

// SAFETY: called once with the GIL held and two borrowed exception classes that live as long as the module.
extern "C" void trd_set_exceptions(void* remote_lost, void* no_lease) {
  remote::remote_lost = static_cast<PyObject*>(remote_lost);
  remote::no_lease = static_cast<PyObject*>(no_lease);
}
