//! The agent beside the GPU: what its two binaries share, and the supervisor.
//!
//! Owns slots, their sockets and the processes that serve them. Leaves decisions about leases to the control plane and tensors to the executor
//! (`torch-remote-executor`, `src/execute`). Invariant: nothing here links libtorch.

pub mod clock;
pub mod guest;
pub mod link;
pub mod pinned;
pub mod refusal;
pub mod socket;
pub mod supervise;
pub mod token;
pub mod traces;

/// Servers and clients of both services, over the messages of torch-remote-proto.
#[allow(missing_docs, clippy::all)]
pub mod services {
    include!(concat!(env!("OUT_DIR"), "/torchremote.agent.v1.rs"));
}
