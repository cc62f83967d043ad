//! Marks: places in the stream, and when the executor reached them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::failure::Failure;
use crate::gil::{GLANCE, Released};

/// Times of this many marks are remembered; of older ones it is only known that they were reached.
const REMEMBERED: usize = 1 << 16;

/// The marks of one session. The executor reaches them in order.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: VecDeque<u64>,
    reached: VecDeque<(u64, u64)>,
    over: bool,
}

/// Where a mark stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Pending,
    /// At this time of the executor's monotonic clock.
    Reached(u64),
    /// Reached so long ago that the time is forgotten.
    Forgotten,
    /// The session ended before.
    Never,
}

impl Marks {
    /// A mark was put into the stream as this request.
    pub(crate) fn put(&self, request: u64) {
        self.lock().pending.push_back(request);
    }

    /// A Done came; false if it is not of a mark.
    pub(crate) fn reached(&self, request: u64, executor_ns: u64) -> bool {
        let mut state = self.lock();
        if state.pending.front() != Some(&request) {
            return false;
        }
        state.pending.pop_front();
        state.reached.push_back((request, executor_ns));
        if state.reached.len() > REMEMBERED {
            state.reached.pop_front();
        }
        self.changed.notify_all();
        true
    }

    /// The session is over.
    pub(crate) fn finish(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Where a mark stands now.
    pub(crate) fn look(&self, request: u64) -> Mark {
        let state = self.lock();
        if state.pending.front().is_some_and(|first| request >= *first) {
            return if state.over { Mark::Never } else { Mark::Pending };
        }
        match state.reached.binary_search_by_key(&request, |(reached, _)| *reached) {
            Ok(place) => Mark::Reached(state.reached[place].1),
            Err(_) => Mark::Forgotten,
        }
    }

    /// Waits until a mark is reached or never will be. The GIL is released meanwhile.
    ///
    /// # Errors
    /// A signal handler raised.
    pub(crate) fn wait(&self, request: u64) -> Result<Mark, Failure> {
        let released = Released::now();
        loop {
            let mark = self.look(request);
            if mark != Mark::Pending {
                return Ok(mark);
            }
            let state = self.lock();
            let still = state.pending.front().is_some_and(|first| request >= *first) && !state.over;
            if still {
                drop(self.changed.wait_timeout(state, GLANCE).unwrap_or_else(PoisonError::into_inner));
                released.glance()?;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
