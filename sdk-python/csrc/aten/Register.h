// Gives the operators of PyTorch to the remote device.
#pragma once

namespace remote {

// Once, at import.
void register_operators();

} // namespace remote
