//! The wire: messages, the compact codec of commands, and both state machines that speak it. The protocol in prose is `proto/README.md`.
//!
//! Owns what is said and in which order. Leaves sockets, time and torch to the SDK and the agent. Invariant: no IO, no clock.

pub mod chunk;
pub mod client;
pub mod codec;
pub mod command;
pub mod history;
pub mod server;
pub mod version;
pub mod violation;

/// Generated protobuf messages (`torchremote.agent.v1`).
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/torchremote.agent.v1.rs"));
}
