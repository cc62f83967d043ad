//! A caller's memory, lent for the time of one call; a copy goes on in its place when the call is interrupted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::failure::Failure;

/// Memory that a transfer reads or fills while its owner waits. The owner takes it back before it returns: from then on nobody touches it.
#[derive(Debug)]
pub(crate) struct Lent {
    memory: Mutex<Option<Memory>>,
    length: u64,
    /// Bytes filled from the start on.
    filled: AtomicU64,
    finished: AtomicBool,
    staged: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

#[derive(Debug)]
enum Memory {
    Lent(*mut u8),
    /// What the lender had there when it went.
    Kept(Bytes),
}

// SAFETY: the pointer is only used under the lock around it, while its owner keeps the memory alive and does not touch it.
unsafe impl Send for Memory {}

/// What became of a piece to fill in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    Yes,
    /// The lender's call is over.
    TakenBack,
    /// It does not begin where the last one ended, or is too long.
    Misplaced,
}

impl Lent {
    /// Lends memory to read from.
    ///
    /// # Safety
    /// `length` bytes at `first` can be read until [`Lent::take_back`] returns.
    pub(crate) unsafe fn to_read(first: *const u8, length: u64) -> Self {
        Self::new(first.cast_mut(), length)
    }

    /// Lends memory to fill.
    ///
    /// # Safety
    /// `length` bytes at `first` can be written, and are not used by others, until [`Lent::take_back`] returns.
    pub(crate) unsafe fn to_fill(first: *mut u8, length: u64) -> Self {
        Self::new(first, length)
    }

    fn new(first: *mut u8, length: u64) -> Self {
        Lent {
            memory: Mutex::new(Some(Memory::Lent(first))),
            length,
            filled: AtomicU64::new(0),
            finished: AtomicBool::new(false),
            staged: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes filled from the start on.
    pub(crate) fn filled(&self) -> u64 {
        self.filled.load(Ordering::Acquire)
    }

    /// A copy of `length` bytes from `offset` on; `None` once taken back.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Option<Bytes> {
        assert!(offset + length as u64 <= self.length, "a transfer stays inside what was lent");
        let start = offset as usize;
        match self.lock().as_ref()? {
            Memory::Lent(first) => {
                // SAFETY: inside what was lent, and not taken back, since the lock is held.
                let lent = unsafe { std::slice::from_raw_parts(first.add(start), length) };
                Some(Bytes::copy_from_slice(lent))
            }
            Memory::Kept(copy) => Some(copy.slice(start..start + length)),
        }
    }

    /// Copies `data` to `offset`, which is where the last piece ended.
    pub(super) fn fill(&self, offset: u64, data: &[u8]) -> Placed {
        let memory = self.lock();
        let Some(Memory::Lent(first)) = memory.as_ref() else { return Placed::TakenBack };
        if offset != self.filled() || data.len() as u64 > self.length - offset {
            return Placed::Misplaced;
        }
        // SAFETY: inside what was lent, and not taken back, since the lock is held; `data` is somebody else's memory.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), first.add(offset as usize), data.len()) };
        self.filled.store(offset + data.len() as u64, Ordering::Release);
        Placed::Yes
    }

    /// Ends the loan.
    pub(crate) fn take_back(&self) {
        *self.lock() = None;
    }

    /// Ends the loan of memory to read from, and lets the transfer go on from a copy. False where there is no memory for one.
    pub(crate) fn keep_copy(&self) -> bool {
        let mut memory = self.lock();
        let Some(Memory::Lent(first)) = memory.as_ref() else { return false };
        let Ok(length) = usize::try_from(self.length) else { return false };
        let mut copy = Vec::new();
        if copy.try_reserve_exact(length).is_err() {
            return false;
        }
        // SAFETY: all of what was lent, and not taken back, since the lock is held.
        copy.extend_from_slice(unsafe { std::slice::from_raw_parts(*first, length) });
        *memory = Some(Memory::Kept(Bytes::from(copy)));
        true
    }

    /// Its copy counts among those on their way. Set and read under the lock of who counts.
    pub(super) fn set_staged(&self) {
        self.staged.store(true, Ordering::Relaxed);
    }

    pub(super) fn staged(&self) -> bool {
        self.staged.load(Ordering::Relaxed)
    }

    /// The transfer is done with it, one way or the other.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }

    pub(crate) fn finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Remembers why it failed.
    pub(crate) fn fail(&self, failure: Failure) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// Why it failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
