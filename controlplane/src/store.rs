//! What Postgres holds: objects, their history, and the caches over it. One file per noun.
//!
//! Owns every SQL statement on objects. Leaves what an object may say to `torch_remote_api` and who may write it to the callers.
//! Invariants: a write takes the row of `cluster_rv` as its last lock, so a reader that has seen version N has seen all up to N; a write that
//! changes nothing has no version; nobody is told of a version before it is on disk; one task per replica reads the log, however many watch.

pub mod agent;
pub mod audit;
pub mod bounds;
pub mod claim;
pub mod device;
pub mod event;
pub mod key;
pub mod lease;
mod lineage;
mod list;
pub mod log;
pub mod machine;
pub mod namespace;
mod news;
pub mod object;
pub mod owner;
pub mod pool;
pub mod role;
pub mod schema;
pub mod sealed;
mod secret;
pub mod signing_key;
pub mod slot;
pub mod state;
pub mod tensor;
pub mod watch_cache;
pub mod write;

use std::time::Duration;

pub use key::{Key, Resource};
pub use list::{List, Query, Version};
pub use object::{Error, Object, Objects, Retry};
pub use schema::migrate;
pub use state::State;
pub use write::{Deletion, Preconditions, Propagation, Write};

/// How often the log's counter is read when nothing wakes the tail.
pub const POLL: Duration = Duration::from_millis(100);
