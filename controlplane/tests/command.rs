//! The program as people meet it: `up` with real kubectl, the client, and every wrong way to call them. One program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "command/client.rs"]
mod client;
#[path = "command/durable.rs"]
mod durable;
#[path = "command/explained.rs"]
mod explained;
#[path = "command/golden.rs"]
mod golden;
#[path = "command/harness.rs"]
mod harness;
#[path = "command/replica.rs"]
mod replica;
#[path = "command/serve.rs"]
mod serve;
#[path = "command/storm.rs"]
mod storm;
#[path = "command/trace.rs"]
mod trace;
#[path = "command/up.rs"]
mod up;
