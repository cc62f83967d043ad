//! [`News`]: which objects have changed, for whoever in this replica has to look at them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast;

use super::Key;

/// Changes kept for a receiver that lags; one that lags further gets `Lagged` and must look at everything.
const CHANGES: usize = 4096;
/// Versions remembered that are no news; each is forgotten when the tail comes by.
const SETTLED: usize = 4096;

/// Told by the one tail of the replica, in the order of versions.
#[derive(Debug)]
pub(super) struct News {
    changes: broadcast::Sender<Key>,
    settled: Mutex<Settled>,
}

#[derive(Debug, Default)]
struct Settled {
    /// Versions to come whose writers have looked already.
    versions: BTreeSet<i64>,
    /// The newest version told.
    told: i64,
}

impl Default for News {
    fn default() -> Self {
        Self { changes: broadcast::Sender::new(CHANGES), settled: Mutex::default() }
    }
}

impl News {
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Key> {
        self.changes.subscribe()
    }

    /// Nobody needs to look at what this version wrote. Too late, when it was told before.
    pub(super) fn settled(&self, version: i64) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if version > settled.told && settled.versions.len() < SETTLED {
            settled.versions.insert(version);
        }
    }

    /// This version changed that object.
    pub(super) fn tell(&self, key: Key, version: i64) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.told = version;
        if !settled.versions.remove(&version) {
            // An error means that nobody listens.
            drop(self.changes.send(key));
        }
    }

    /// Everything is to be looked at: all there is at this version, whatever came before it.
    pub(super) fn restart(&self, keys: impl IntoIterator<Item = Key>, version: i64) {
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner) =
            Settled { versions: BTreeSet::new(), told: version };
        for key in keys {
            drop(self.changes.send(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Resource;
    use super::*;

    fn told(changes: &mut broadcast::Receiver<Key>) -> Vec<String> {
        std::iter::from_fn(|| changes.try_recv().ok()).map(|key| key.name).collect()
    }

    #[test]
    fn a_version_whose_writer_has_looked_is_no_news_and_each_other_one_is() {
        let news = News::default();
        let mut changes = news.subscribe();
        let key = |name: &str| Key::new(Resource::MACHINES, "default", name);
        news.settled(6);
        news.tell(key("five"), 5);
        news.tell(key("six"), 6);
        news.tell(key("seven"), 7);
        assert_eq!(told(&mut changes), ["five", "seven"]);
        news.settled(7);
        assert!(news.settled.lock().unwrap().versions.is_empty(), "it was told before: nothing would ever forget it");
    }

    #[test]
    fn after_the_database_was_restored_its_versions_are_news_though_their_numbers_were_settled_before() {
        let news = News::default();
        let mut changes = news.subscribe();
        let key = |name: &str| Key::new(Resource::MACHINES, "default", name);
        news.tell(key("nine"), 9);
        news.settled(10);
        news.restart([key("old")], 4);
        news.tell(key("ten"), 10);
        assert_eq!(told(&mut changes), ["nine", "old", "ten"]);
        news.settled(11);
        assert_eq!(news.settled.lock().unwrap().versions.len(), 1);
    }
}
