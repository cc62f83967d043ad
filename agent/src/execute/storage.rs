//! The session's storages: which exist, what they hold, and which are poisoned.
//!
//! Owns ids, sizes and poison. Leaves what an operator reads and writes to `executor`. Invariants: an id is used once; the sum of sizes is that of the storages
//! in the table that have memory; a poisoned storage's bytes are never handed out.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::time::Duration;

use torch_remote_agent::link::StorageReport;
use torch_remote_proto::command::{StorageId, TensorMeta};
use torch_remote_proto::v1;

use crate::boxed::{self, Storage};

/// Why a storage holds no value.
#[derive(Debug)]
pub struct Failure {
    /// As it is answered.
    pub failure: v1::Failure,
    /// Some reply has carried it.
    pub reported: Cell<bool>,
}

/// What made a storage: shared by all that one output of a signature made.
#[derive(Debug, PartialEq, Eq)]
pub struct Made {
    /// Operator, or the name given.
    pub label: String,
    /// `c10::ScalarType`; `None` for bytes that nothing has given a shape yet.
    pub dtype: Option<u8>,
    /// Shape.
    pub sizes: Vec<i64>,
}

/// What a storage holds.
#[derive(Debug)]
pub enum Content {
    /// Values.
    Held(Storage),
    /// Memory without meaning.
    Spoiled(Storage, Rc<Failure>),
    /// Nothing: what should have made it failed.
    Missing(Rc<Failure>),
}

/// A storage.
#[derive(Debug)]
pub struct Entry {
    /// What it holds.
    pub content: Content,
    /// Its size, also when the memory is missing.
    pub bytes: u64,
    made: Rc<Made>,
    born: Duration,
    report: Report,
}

/// What a report has said of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    /// Nothing: its end is not missed.
    None,
    /// Something that is true no more.
    Outdated,
    /// What is.
    Current,
}

/// How bytes without a shape are reported: `torch.uint8`.
const BYTE: u8 = 0;

/// All storages of a session.
#[derive(Debug, Default)]
pub struct Table {
    entries: HashMap<u64, Entry, BuildHasherDefault<IdHasher>>,
    bytes: u64,
    highest: u64,
    vanished: Vec<u64>,
}

/// Storage ids count up: a multiplication spreads them well enough.
#[derive(Debug, Default, Clone, Copy)]
pub struct IdHasher(u64);

/// Younger storages are not reported: most live for milliseconds.
const REPORTED_AFTER: Duration = Duration::from_secs(1);

impl Failure {
    /// Not reported yet.
    pub fn new(failure: v1::Failure) -> Rc<Failure> {
        Rc::new(Failure { failure, reported: Cell::new(false) })
    }

    /// For a reply that carries it.
    pub fn report(&self) -> v1::Failure {
        self.reported.set(true);
        self.failure.clone()
    }
}

impl Made {
    /// By operator `label`, with an output of this shape.
    pub fn by(label: &str, meta: &TensorMeta) -> Rc<Made> {
        Rc::new(Made { label: label.to_owned(), dtype: Some(meta.dtype), sizes: meta.sizes.clone() })
    }

    /// Bytes that no operator has given a shape yet.
    pub fn bytes(label: &str, bytes: u64) -> Rc<Made> {
        Rc::new(Made { label: label.to_owned(), dtype: None, sizes: vec![i64::try_from(bytes).unwrap_or(i64::MAX)] })
    }
}

impl Content {
    /// Why it holds no value.
    pub fn poison(&self) -> Option<&Rc<Failure>> {
        match self {
            Content::Held(_) => None,
            Content::Spoiled(_, failure) | Content::Missing(failure) => Some(failure),
        }
    }
}

impl Content {
    /// The memory, whether it has a meaning or not.
    pub fn storage(&self) -> Option<&Storage> {
        match self {
            Content::Held(storage) | Content::Spoiled(storage, _) => Some(storage),
            Content::Missing(_) => None,
        }
    }
}

impl Entry {
    /// Whether a write of `covers` bytes from the start on (or -1) leaves nothing of what was there.
    pub fn covered_by(&self, covers: i64, offset: i64) -> bool {
        offset == 0 && covers >= 0 && covers as u64 >= self.bytes
    }

    /// Every byte was overwritten.
    pub fn clear(&mut self) {
        self.replace(|content| match content {
            Content::Held(storage) | Content::Spoiled(storage, _) => Content::Held(storage),
            missing @ Content::Missing(_) => missing,
        });
    }

    /// A command that would have written here failed.
    pub fn spoil(&mut self, failure: &Rc<Failure>) {
        self.replace(|content| match content {
            Content::Held(storage) | Content::Spoiled(storage, _) => Content::Spoiled(storage, Rc::clone(failure)),
            Content::Missing(_) => Content::Missing(Rc::clone(failure)),
        });
    }

    fn replace(&mut self, change: impl FnOnce(Content) -> Content) {
        let nothing = match &self.content {
            Content::Held(_) => Failure::new(v1::Failure::default()),
            Content::Spoiled(_, failure) | Content::Missing(failure) => Rc::clone(failure),
        };
        let content = std::mem::replace(&mut self.content, Content::Missing(nothing));
        self.content = change(content);
    }

    /// Gives it another name for reports.
    pub fn label(&mut self, made: Rc<Made>) {
        if self.made != made {
            self.made = made;
            self.outdate();
        }
    }

    fn outdate(&mut self) {
        if self.report == Report::Current {
            self.report = Report::Outdated;
        }
    }

    /// What made it.
    pub fn made(&self) -> &Rc<Made> {
        &self.made
    }
}

impl Table {
    /// The storage `id`.
    pub fn get(&self, id: StorageId) -> Option<&Entry> {
        self.entries.get(&id.0)
    }

    /// The storage `id`.
    pub fn get_mut(&mut self, id: StorageId) -> Option<&mut Entry> {
        self.entries.get_mut(&id.0)
    }

    /// Whether the id is in use.
    pub fn contains(&self, id: u64) -> bool {
        self.entries.contains_key(&id)
    }

    /// The memory of a storage, poisoned or not; made now if it is missing and so many bytes more fit `limit` (0 = none). `None`: there is no such storage.
    ///
    /// # Errors
    /// Out of memory.
    pub fn memory(&mut self, id: StorageId, limit: u64) -> Result<Option<&Storage>, boxed::Error> {
        let Some(entry) = self.entries.get_mut(&id.0) else { return Ok(None) };
        if let Content::Missing(failure) = &entry.content {
            room(self.bytes, entry.bytes, limit)?;
            entry.content = Content::Spoiled(Storage::new(entry.bytes)?, Rc::clone(failure));
            self.bytes += entry.bytes;
        }
        Ok(entry.content.storage())
    }

    /// Adds a storage under an id that is not in use.
    pub fn insert(&mut self, id: u64, content: Content, bytes: u64, made: Rc<Made>, now: Duration) {
        if content.storage().is_some() {
            self.bytes += bytes;
        }
        self.highest = self.highest.max(id);
        self.entries.insert(id, Entry { content, bytes, made, born: now, report: Report::None });
    }

    /// Drops a storage; false if there is none.
    pub fn remove(&mut self, id: StorageId) -> bool {
        let Some(entry) = self.entries.remove(&id.0) else { return false };
        if entry.content.storage().is_some() {
            self.bytes -= entry.bytes;
        }
        if entry.report != Report::None {
            self.vanished.push(id.0);
        }
        true
    }

    /// Notes that a storage's memory has another size now.
    pub fn resized(&mut self, id: StorageId, bytes: u64) {
        if let Some(entry) = self.entries.get_mut(&id.0) {
            if entry.content.storage().is_some() {
                self.bytes = self.bytes - entry.bytes + bytes;
            }
            if entry.bytes != bytes {
                entry.bytes = bytes;
                entry.outdate();
            }
        }
    }

    /// Sum of sizes of those that have memory.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Highest id ever used.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Drops all; ids stay used.
    pub fn clear(&mut self) {
        self.vanished.extend(self.entries.iter().filter(|(_, entry)| entry.report != Report::None).map(|(id, _)| *id));
        self.entries.clear();
        self.bytes = 0;
    }

    /// What changed since the last call, of storages older than a second.
    pub fn differences(&mut self, now: Duration) -> (Vec<StorageReport>, Vec<u64>) {
        let mut appeared = Vec::new();
        for (id, entry) in &mut self.entries {
            let age = now.saturating_sub(entry.born);
            if entry.report != Report::Current && age >= REPORTED_AFTER {
                entry.report = Report::Current;
                appeared.push(StorageReport {
                    storage: *id,
                    bytes: entry.bytes,
                    dtype: u32::from(entry.made.dtype.unwrap_or(BYTE)),
                    sizes: entry.made.sizes.clone(),
                    label: entry.made.label.clone(),
                    age_ms: age.as_millis() as u64,
                });
            }
        }
        (appeared, std::mem::take(&mut self.vanished))
    }
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte) ^ self.0);
        }
    }
    fn write_u64(&mut self, id: u64) {
        let product = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

/// Whether `asked` bytes more fit.
///
/// # Errors
/// Out of memory: they do not.
pub fn room(used: u64, asked: u64, limit: u64) -> Result<(), boxed::Error> {
    if limit == 0 || used.saturating_add(asked) <= limit {
        return Ok(());
    }
    let message = format!(
        "out of memory: {asked} bytes were asked for, tensors take {used} and the lease may use {limit}. Free tensors, or lease more memory"
    );
    Err(boxed::Error::Torch { class: v1::ErrorClass::OutOfMemoryError, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(2);

    fn table() -> Table {
        let mut table = Table::default();
        let missing = Content::Missing(Failure::new(v1::Failure::default()));
        table.insert(1, missing, 4, Made::bytes("aten::empty", 4), Duration::ZERO);
        table
    }

    fn said((appeared, vanished): (Vec<StorageReport>, Vec<u64>)) -> (Vec<(u64, u64, String)>, Vec<u64>) {
        (appeared.into_iter().map(|report| (report.storage, report.bytes, report.label)).collect(), vanished)
    }

    #[test]
    fn the_end_of_a_storage_that_was_reported_is_reported_though_it_was_renamed_since() {
        let mut table = table();
        assert_eq!(said(table.differences(LATER)), (vec![(1, 4, "aten::empty".to_owned())], vec![]));
        table.get_mut(StorageId(1)).expect("it is there").label(Made::bytes("weights", 4));
        assert!(table.remove(StorageId(1)));
        assert_eq!(said(table.differences(LATER)), (vec![], vec![1]));
        table.insert(2, Content::Missing(Failure::new(v1::Failure::default())), 4, Made::bytes("a", 4), LATER);
        assert!(table.remove(StorageId(2)));
        assert_eq!(said(table.differences(LATER * 2)), (vec![], vec![]), "nobody has heard of it");
    }

    #[test]
    fn a_storage_that_was_resized_is_reported_again() {
        let mut table = table();
        table.differences(LATER);
        table.resized(StorageId(1), 4);
        assert_eq!(said(table.differences(LATER)), (vec![], vec![]), "it is as it was");
        table.resized(StorageId(1), 8);
        assert_eq!(said(table.differences(LATER)), (vec![(1, 8, "aten::empty".to_owned())], vec![]));
    }
}
