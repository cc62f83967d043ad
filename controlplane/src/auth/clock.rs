//! [`Clock`]: the time that tokens are made and judged by.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::Utc;

/// The system's clock. Tests move it on; all clones move together.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead: Arc<AtomicI64>,
}

impl Clock {
    /// Seconds since the epoch.
    pub fn now(&self) -> i64 {
        Utc::now().timestamp() + self.ahead.load(Ordering::Relaxed)
    }

    /// Lets seconds pass at once.
    pub fn pass(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
    }
}
