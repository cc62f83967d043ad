//! [`Flush`]: which versions are on disk.
//!
//! Commits wait for the disk themselves, so that this finds all done: it is there for commits that do not (ADR 2), and is not enough for them yet. It may run on
//! another connection than the commit, and so after a crash of the database that has lost what it is to keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::PgPool;
use tokio::sync::Mutex;

use super::Error;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Flush(Arc<State>);

#[derive(Debug)]
struct State {
    pool: PgPool,
    /// The newest version known to be committed.
    committed: AtomicI64,
    /// All up to this one are on disk.
    flushed: AtomicI64,
    /// Held by the one who asks the database: the others wait for the end of that, and most find theirs done.
    asking: Mutex<()>,
}

impl Flush {
    /// Nothing is known to be on disk.
    pub(super) fn new(pool: PgPool) -> Self {
        let (committed, flushed) = (AtomicI64::new(0), AtomicI64::new(0));
        Self(Arc::new(State { pool, committed, flushed, asking: Mutex::new(()) }))
    }

    /// Waits until a version that is committed, and with it all before, is on disk.
    ///
    /// # Errors
    /// The database failed: whether it is on disk is not known.
    ///
    /// # Cancel safety
    /// Safe: whoever waits next asks anew.
    pub(super) async fn reach(&self, version: i64) -> Result<(), Error> {
        let state = &*self.0;
        if self.reached(version) {
            return Ok(());
        }
        state.committed.fetch_max(version, Ordering::AcqRel);
        let _asking = state.asking.lock().await;
        if self.reached(version) {
            return Ok(());
        }
        let committed = state.committed.load(Ordering::Acquire);
        // A commit of its own, and the log of commits is one: when this is on disk, so are those before it. (A commit that changes nothing waits for nothing.)
        let flush = sqlx::query_scalar!(r#"select pg_logical_emit_message(true, 'torch-remote', '')::text as "at!""#);
        flush.fetch_one(&state.pool).await.map_err(Error::database("wait for its disk"))?;
        state.flushed.fetch_max(committed, Ordering::AcqRel);
        Ok(())
    }

    fn reached(&self, version: i64) -> bool {
        self.0.flushed.load(Ordering::Acquire) >= version
    }
}
