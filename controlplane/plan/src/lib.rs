//! The decisions: pure planners from desired and observed to actions.
//!
//! Owns what is done next, for a machine ([`machine`]), for a lease ([`lease`]), for a pool
//! ([`pool`]) and for all that wait ([`queue`]). Leaves observing and applying to the
//! control plane's `reconcile`. Invariants: no IO, no clock and no randomness (`now` and jitter come in); an action is plain data and carries its
//! precondition (attempt number or epoch), so applying it twice is applying it once; nothing destructive is planned on what is [`Observed::Unknown`].

pub mod backoff;
pub mod lease;
pub mod machine;
pub mod observed;
pub mod pool;
pub mod queue;
pub mod slot;

pub use observed::Observed;
pub use slot::{Epoch, SlotAt, Uid};

/// The database's clock.
pub type Time = chrono::DateTime<chrono::Utc>;
