// PyTorch's view of current devices, streams and events of the remote device.
#pragma once

namespace remote {

// Once, at import.
void register_guard();

} // namespace remote
