//! Ids of storages: one count for the whole process, never used twice.

use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The first of `count` consecutive fresh ids.
#[inline]
pub(crate) fn fresh(count: u64) -> u64 {
    NEXT.fetch_add(count, Ordering::Relaxed)
}

/// From now on ids are `least` or above; returns the first one that may come.
pub(crate) fn reserve_from(least: u64) -> u64 {
    NEXT.fetch_max(least, Ordering::Relaxed).max(least)
}
