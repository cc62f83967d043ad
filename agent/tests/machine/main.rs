//! A real `torch-remote-agent supervise`, spoken to over its sockets.
#![allow(clippy::unwrap_used, missing_docs)]
#![cfg_attr(not(feature = "torch"), allow(dead_code))]

mod fixture;
#[cfg(feature = "torch")]
mod lease;
#[cfg(feature = "torch")]
mod pinned;
#[cfg(feature = "torch")]
mod reports;
mod supervisor;
