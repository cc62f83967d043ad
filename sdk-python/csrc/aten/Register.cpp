// Registration only: every line forwards. What the operators do is in Call.cpp and in the kernels that Kernels.h lists.
#include "aten/Register.h"

#include <torch/library.h>

#include <memory>
#include <unordered_set>

#include "aten/Call.h"
#include "aten/Kernels.h"

namespace remote {
namespace {

// Operators with a CPU or CUDA kernel, taken from a PyTorch with CUDA when this file was made: a CPU wheel does not know them all, and
// without a registration of its own an operator with a CompositeExplicitAutograd kernel would be taken apart here.
constexpr const char* kOperators[] = {
#include "aten/Operators.generated.inc"
};

class BoxedCall final : public c10::OperatorKernel {
 public:
  explicit BoxedCall(Operator& op) : op_(op) {}

  void operator()(const c10::OperatorHandle&, c10::DispatchKeySet, Stack* stack) {
    call(op_, stack);
  }

 private:
  Operator& op_;
};

// Operators of other libraries, and those PyTorch has gained since the list was made.
void call_unlisted(const c10::OperatorHandle& handle, Stack* stack) {
  call(operator_of(handle), stack);
}

// Registrations live as long as the process.
torch::Library& library(const char* ns, c10::DispatchKey key) {
  return *new torch::Library(torch::Library::IMPL, ns, key, __FILE__, __LINE__);
}

void register_boxed(torch::Library& aten) {
  for (const char* name : kOperators) {
    const std::string text(name);
    const size_t dot = text.find('.');
    const std::string base = "aten::" + text.substr(0, dot);
    const std::string overload = dot == std::string::npos ? "" : text.substr(dot + 1);
    const auto handle = c10::Dispatcher::singleton().findSchema({base, overload});
    if (handle.has_value() && !has_own_kernel(text)) {
      aten.impl(name, torch::CppFunction::makeFromBoxedFunctor(std::make_unique<BoxedCall>(operator_of(*handle))));
    }
  }
}

} // namespace

bool has_own_kernel(const std::string& name) {
  static const std::unordered_set<std::string> names = {
      "empty.memory_format",
      "empty_strided",
      "_efficientzerotensor",
      "resize_",
      "_resize_output_",
      "set_",
      "set_.source_Tensor",
      "set_.source_Storage",
      "set_.source_Storage_storage_offset",
      "as_strided",
      "view",
      "_reshape_alias",
      "unfold",
      "view_as_real",
      "view_as_complex",
      "is_set_to",
      "_has_compatible_shallow_copy_type",
      "record_stream",
      "_copy_from",
      "_copy_from_and_resize",
      "_local_scalar_dense",
      "_foreach_copy_",
      "_thnn_fused_lstm_cell",
      "_thnn_fused_lstm_cell_backward_impl",
      "_thnn_fused_gru_cell",
      "_thnn_fused_gru_cell_backward",
      "_fused_rms_norm_backward",
      // PyTorch's own kernels end in the ones above.
      "copy_",
      "is_pinned",
      "_pin_memory",
      "to_dense_backward",
      "_fused_sdp_choice",
  };
  return names.count(name) != 0;
}

void register_operators() {
  torch::Library& aten = library("aten", c10::DispatchKey::PrivateUse1);
  register_factories(aten);
  register_views(aten);
  register_copies(aten);
  register_boxed(aten);
  register_recurrent_cells(aten);
  register_rms_norm(aten);
  register_attention_choice();
  library("_", c10::DispatchKey::PrivateUse1).fallback(torch::CppFunction::makeFromBoxedFunction<&call_unlisted>());

  // A copy reads the bits itself; resolving them first would call the copy again, without end.
  for (const c10::DispatchKey key : {c10::DispatchKey::Conjugate, c10::DispatchKey::Negative}) {
    library("aten", key).impl("_copy_from", torch::CppFunction::makeFallthrough());
  }
  library("_", c10::DispatchKey::AutocastPrivateUse1).fallback(torch::CppFunction::makeFallthrough());
  register_autocast(library("aten", c10::DispatchKey::AutocastPrivateUse1));
}

} // namespace remote
