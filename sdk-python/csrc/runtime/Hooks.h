// What PyTorch asks of an accelerator outside of operators.
#pragma once

namespace remote {

// Hooks, allocators and fork handler. Once, at import.
void register_runtime();

} // namespace remote
