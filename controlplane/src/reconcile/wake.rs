//! News for the driver: which keys are to be looked at soon. A key that is woken twice is looked at once, so there are never more than there are keys.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Work;

/// Wakes keys. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Pending>);

#[derive(Debug, Default)]
struct Pending {
    keys: Mutex<HashSet<Work>>,
    news: Notify,
}

impl Wake {
    /// Looks at this soon.
    pub fn wake(&self, work: Work) {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(work);
        self.0.news.notify_one();
    }

    /// A sender, and what it feeds.
    pub fn channel() -> (Self, Woken) {
        let wake = Self::default();
        let woken = Woken(wake.0.clone());
        (wake, woken)
    }
}

/// What was woken.
#[derive(Debug)]
pub struct Woken(Arc<Pending>);

impl Woken {
    /// All that was woken since the last time; waits for the first.
    ///
    /// # Cancel safety
    /// Nothing is lost: keys are taken only when they are returned.
    pub async fn recv(&mut self) -> HashSet<Work> {
        loop {
            let keys = std::mem::take(&mut *self.0.keys.lock().unwrap_or_else(PoisonError::into_inner));
            if !keys.is_empty() {
                return keys;
            }
            self.0.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_that_is_woken_often_is_told_once() {
        let (wake, mut woken) = Wake::channel();
        for _ in 0..1000 {
            wake.wake(Work::Queue);
            wake.wake(Work::Sweep);
        }
        assert_eq!(woken.recv().await, HashSet::from([Work::Queue, Work::Sweep]));
        wake.wake(Work::Queue);
        assert_eq!(woken.recv().await, HashSet::from([Work::Queue]));
    }
}
