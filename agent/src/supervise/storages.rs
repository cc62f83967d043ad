//! The live storages of a machine's leases, as the control plane is told: differences against what it has stored, all of it on a new stream.
//!
//! Invariant: one report carries at most [`ROWS`] of them, so that a tenant with many does not make a report that nobody takes; the rest follows when it is stored.

use std::collections::{BTreeMap, BTreeSet};

use torch_remote_proto::v1::{StorageKey, StorageState};

use crate::link::StorageReport;

/// What lives, and what the control plane knows of it.
#[derive(Debug, Default)]
pub struct Storages {
    live: BTreeMap<Key, Live>,
    /// Came, changed or went, and no report has carried it. One that lives no more was known.
    unsaid: BTreeSet<Key>,
    /// Not confirmed as stored: with the first report that carried it. When that one is stored, so is this.
    unstored: BTreeMap<Key, u64>,
    full: bool,
}

type Key = (String, u64);

/// Most storages in a report. Each takes less than 2 KiB (64 sizes, a label of 1 KiB), so that all stay under
/// [`MAX_EVENT_BYTES`](torch_remote_proto::version::MAX_EVENT_BYTES).
const ROWS: usize = 2_000;

#[derive(Debug)]
struct Live {
    report: StorageReport,
    /// A report of this stream has carried it, or an earlier word of it: its end is to be said.
    known: bool,
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
    /// A new stream: everything is to be said.
    pub fn restart(&mut self) {
        self.full = true;
        self.unstored.clear();
        self.unsaid = self.live.keys().cloned().collect();
        self.live.values_mut().for_each(|live| live.known = false);
    }

    /// An executor's differences.
    pub fn change(&mut self, lease_uid: &str, appeared: Vec<StorageReport>, vanished: &[u64]) {
        for report in appeared {
            let key = (lease_uid.to_owned(), report.storage);
            let known = match self.live.get(&key) {
                Some(live) => live.known,
                // Its end waits to be said.
                None => self.unsaid.contains(&key) || self.unstored.contains_key(&key),
            };
            self.live.insert(key.clone(), Live { report, known });
            self.news(key);
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

    /// What report `seq` says: what is not confirmed yet, and of the news as much as a report holds.
    pub fn say(&mut self, seq: u64) -> Difference {
        while self.unstored.len() < ROWS {
            let Some(key) = self.unsaid.pop_first() else { break };
            if let Some(live) = self.live.get_mut(&key) {
                live.known = true;
            }
            self.unstored.insert(key, seq);
        }
        let mut difference = Difference { full: std::mem::take(&mut self.full), ..Difference::default() };
        for (lease_uid, storage) in self.unstored.keys() {
            let key = StorageKey { lease_uid: lease_uid.clone(), storage: *storage };
            let Some(Live { report, .. }) = self.live.get(&(lease_uid.clone(), *storage)) else {
                difference.vanished.push(key);
                continue;
            };
            difference.appeared.push(StorageState {
                key: Some(key),
                bytes: report.bytes,
                dtype: report.dtype,
                sizes: report.sizes.clone(),
                label: report.label.clone(),
                age_ms: report.age_ms,
            });
        }
        difference
    }

    /// Whether there is something that no report has carried.
    pub fn unsaid(&self) -> bool {
        !self.unsaid.is_empty()
    }

    /// The control plane has stored report `seq`.
    pub fn stored(&mut self, seq: u64) {
        self.unstored.retain(|_, said| *said > seq);
    }

    fn news(&mut self, key: Key) {
        self.unstored.remove(&key);
        self.unsaid.insert(key);
    }

    fn vanish(&mut self, key: Key) {
        match self.live.remove(&key) {
            Some(live) if live.known => self.news(key),
            // One that no report has carried is not missed.
            Some(_) => {
                self.unsaid.remove(&key);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use torch_remote_proto::codec::MAX_LABEL;
    use torch_remote_proto::codec::reader::MAX_DIMENSIONS;
    use torch_remote_proto::v1::Report;
    use torch_remote_proto::version::MAX_EVENT_BYTES;

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
    #[test]
    fn the_end_of_a_storage_that_was_renamed_is_said_though_no_report_carried_the_new_name() {
        let mut storages = Storages::default();
        storages.change("l", vec![report(1)], &[]);
        storages.say(1);
        storages.stored(1);
        storages.change("l", vec![StorageReport { label: "weights".to_owned(), ..report(1) }], &[]);
        storages.change("l", vec![], &[1]);
        assert_eq!(ids(&storages.say(2)), (vec![], vec![1]));
        storages.stored(2);
        storages.change("l", vec![report(2)], &[]);
        storages.change("l", vec![], &[2]);
        assert_eq!(ids(&storages.say(3)), (vec![], vec![]), "of this one nobody has heard");
    }

    #[test]
    fn a_hundred_thousand_storages_are_said_in_reports_that_are_taken_and_each_once() {
        let longest = |storage| StorageReport {
            bytes: u64::MAX,
            dtype: u32::MAX,
            sizes: vec![i64::MAX; MAX_DIMENSIONS],
            label: "n".repeat(MAX_LABEL),
            age_ms: u64::MAX,
            storage,
        };
        let lease = "00000000-0000-4000-8000-000000000000";
        let first = (1 << 62) - 100_000;
        let mut storages = Storages::default();
        storages.change(lease, (first..1 << 62).map(longest).collect(), &[]);
        storages.restart();
        let (mut seq, mut said) = (0, Vec::new());
        while storages.unsaid() {
            seq += 1;
            let Difference { full, appeared, .. } = storages.say(seq);
            assert_eq!(full, seq == 1, "what the control plane had is replaced once");
            said.extend(appeared.iter().filter_map(|state| Some(state.key.as_ref()?.storage)));
            let report = Report { appeared, ..Report::default() };
            assert!(report.encoded_len() < MAX_EVENT_BYTES / 8 * 7, "{} bytes", report.encoded_len());
            storages.stored(seq);
        }
        assert_eq!(said, (first..1 << 62).collect::<Vec<_>>());
        storages.end(lease);
        let mut ended = 0;
        while storages.unsaid() {
            seq += 1;
            ended += storages.say(seq).vanished.len();
            storages.stored(seq);
        }
        assert_eq!(ended, 100_000);
    }
}
