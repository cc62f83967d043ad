//! The live storages of a machine's leases, as the control plane is told: differences against what it has stored, all of it on a new stream.

use std::collections::{BTreeMap, BTreeSet};

use torch_remote_proto::v1::{StorageKey, StorageState};

use crate::link::StorageReport;

/// What lives, and what the control plane knows of it.
#[derive(Debug, Default)]
pub struct Storages {
    live: BTreeMap<Key, Live>,
    /// Gone, and not yet confirmed as stored: with the report that said so, or 0.
    gone: BTreeMap<Key, u64>,
    full: bool,
}

type Key = (String, u64);

#[derive(Debug)]
struct Live {
    report: StorageReport,
    /// The report that carried it; 0 = none yet.
    said: u64,
    stored: bool,
}

/// What one report says.
#[derive(Debug, Default, PartialEq)]
pub struct Difference {
    /// All there is.
    pub full: bool,
    /// New or changed.
    pub appeared: Vec<StorageState>,
    /// Gone.
    pub vanished: Vec<StorageKey>,
}

impl Storages {
    /// A new stream: the next report says everything.
    pub fn restart(&mut self) {
        self.full = true;
        self.gone.clear();
        for live in self.live.values_mut() {
            live.said = 0;
            live.stored = false;
        }
    }

    /// An executor's differences.
    pub fn change(&mut self, lease_uid: &str, appeared: Vec<StorageReport>, vanished: &[u64]) {
        for report in appeared {
            let key = (lease_uid.to_owned(), report.storage);
            self.gone.remove(&key);
            self.live.insert(key, Live { report, said: 0, stored: false });
        }
        for storage in vanished {
            self.vanish((lease_uid.to_owned(), *storage));
        }
    }

    /// The lease is over: nothing of it lives.
    pub fn end(&mut self, lease_uid: &str) {
        let keys: BTreeSet<Key> = self.live.keys().filter(|(lease, _)| lease == lease_uid).cloned().collect();
        keys.into_iter().for_each(|key| self.vanish(key));
    }

    /// What report `seq` says: everything not confirmed yet.
    pub fn say(&mut self, seq: u64) -> Difference {
        let full = std::mem::take(&mut self.full);
        let mut difference = Difference { full, ..Difference::default() };
        for ((lease_uid, storage), live) in self.live.iter_mut().filter(|(_, live)| !live.stored) {
            // The first report that carried it: when that one is stored, so is this.
            if live.said == 0 {
                live.said = seq;
            }
            let report = &live.report;
            difference.appeared.push(StorageState {
                key: Some(StorageKey { lease_uid: lease_uid.clone(), storage: *storage }),
                bytes: report.bytes,
                dtype: report.dtype,
                sizes: report.sizes.clone(),
                label: report.label.clone(),
                age_ms: report.age_ms,
            });
        }
        for ((lease_uid, storage), said) in &mut self.gone {
            if *said == 0 {
                *said = seq;
            }
            difference.vanished.push(StorageKey { lease_uid: lease_uid.clone(), storage: *storage });
        }
        difference
    }

    /// The control plane has stored report `seq`.
    pub fn stored(&mut self, seq: u64) {
        for live in self.live.values_mut().filter(|live| live.said != 0 && live.said <= seq) {
            live.stored = true;
        }
        self.gone.retain(|_, said| *said == 0 || *said > seq);
    }

    fn vanish(&mut self, key: Key) {
        // One that no report has carried is not missed.
        if self.live.remove(&key).is_some_and(|live| live.said != 0) {
            self.gone.insert(key, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(storage: u64) -> StorageReport {
        StorageReport {
            storage,
            bytes: 4,
            dtype: 6,
            sizes: vec![1],
            label: "aten::add.Tensor".to_owned(),
            age_ms: 1000,
        }
    }
    fn ids(difference: &Difference) -> (Vec<u64>, Vec<u64>) {
        let id = |key: &StorageKey| key.storage;
        (
            difference.appeared.iter().filter_map(|state| state.key.as_ref().map(id)).collect(),
            difference.vanished.iter().map(id).collect(),
        )
    }

    #[test]
    fn what_is_not_confirmed_is_said_again() {
        let mut storages = Storages::default();
        storages.change("l", vec![report(1), report(2)], &[]);
        assert_eq!(ids(&storages.say(1)), (vec![1, 2], vec![]));
        storages.change("l", vec![report(3)], &[1]);
        assert_eq!(ids(&storages.say(2)), (vec![2, 3], vec![1]));
        storages.stored(1);
        assert_eq!(ids(&storages.say(3)), (vec![3], vec![1]), "report 1 said 2, and nothing of 1's end or of 3");
        storages.stored(3);
        assert_eq!(ids(&storages.say(4)), (vec![], vec![]));
    }

    #[test]
    fn a_new_stream_says_everything_once() {
        let mut storages = Storages::default();
        storages.change("l", vec![report(1)], &[]);
        storages.say(1);
        storages.stored(1);
        storages.restart();
        let difference = storages.say(2);
        assert!(difference.full);
        assert_eq!(ids(&difference), (vec![1], vec![]));
        assert!(!storages.say(3).full);
    }

    #[test]
    fn the_end_of_a_lease_ends_its_storages_alone() {
        let mut storages = Storages::default();
        storages.change("a", vec![report(1)], &[]);
        storages.change("b", vec![report(1)], &[]);
        storages.say(1);
        storages.stored(1);
        storages.end("a");
        let difference = storages.say(2);
        assert_eq!(difference.vanished, vec![StorageKey { lease_uid: "a".to_owned(), storage: 1 }]);
    }
}
