//! The nouns of torch-remote: resources of `torchremote.dev/v1alpha1` with their schemas, defaults and validation; agent configuration; token claims.
//!
//! Owns what things are and which values are allowed. Leaves storage, transport and decisions to others. Invariant: no IO, no clock, no randomness.

pub mod agent;
pub mod token;
