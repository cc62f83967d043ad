//! Batches on their way to the executor's thread.
//!
//! Bounded by the protocol: the server's machine ends a session that sends more than it was allowed. The executor looks for a short while before it sleeps: a
//! client that reads a value sends its next batch within microseconds, and waking a thread takes longer than that.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use torch_remote_agent::clock;
use torch_remote_proto::server::Incarnation;

use crate::look::LOOK;

/// Work for the executor.
#[derive(Debug)]
pub enum Work {
    /// Drop everything; what follows is of this incarnation.
    Begin(Incarnation),
    /// Run a batch.
    Batch {
        /// Whose.
        incarnation: Incarnation,
        /// Number.
        seq: u64,
        /// Whole commands.
        commands: Bytes,
    },
}

/// The queue, and when it was last busy.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<VecDeque<Work>>,
    arrived: Condvar,
    length: AtomicUsize,
    running: AtomicBool,
    active_ms: AtomicU64,
}

impl Queue {
    /// Adds work. A Begin drops what waits of the incarnation before.
    pub fn push(&self, work: Work) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(work, Work::Begin(_)) {
            waiting.clear();
        }
        waiting.push_back(work);
        self.length.store(waiting.len(), Ordering::Release);
        drop(waiting);
        self.touch();
        self.arrived.notify_one();
    }

    /// The next work, or `None` after `patience`. What was taken before counts as done.
    pub fn pop(&self, patience: Duration) -> Option<Work> {
        if self.running.swap(false, Ordering::AcqRel) {
            self.touch();
            let start = Instant::now();
            while self.length.load(Ordering::Acquire) == 0 && start.elapsed() < LOOK {
                std::thread::yield_now();
            }
        }
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, _) = self
            .arrived
            .wait_timeout_while(waiting, patience, |waiting| waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let work = waiting.pop_front()?;
        self.running.store(true, Ordering::Release);
        self.length.store(waiting.len(), Ordering::Release);
        Some(work)
    }

    /// Whether work waits or runs.
    pub fn busy(&self) -> bool {
        self.running.load(Ordering::Acquire) || self.length.load(Ordering::Acquire) > 0
    }

    /// Boot time in milliseconds when work last waited or ran.
    pub fn active_ms(&self) -> u64 {
        if self.busy() { milliseconds(clock::boot()) } else { self.active_ms.load(Ordering::Acquire) }
    }

    fn touch(&self) {
        self.active_ms.store(milliseconds(clock::boot()), Ordering::Release);
    }
}

/// Whole milliseconds.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
