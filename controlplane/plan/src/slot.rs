//! Names of machines, leases and slots, and the number that fences a slot.

use std::fmt;

/// `metadata.uid` of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub String);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fencing number of a slot. Only grows, with each bind and each quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A slot of a machine at an epoch: the precondition of whatever is done to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotAt {
    /// The machine.
    pub machine: Uid,
    /// Index of the slot on it.
    pub slot: u32,
    /// Its epoch when this was planned.
    pub epoch: Epoch,
}
