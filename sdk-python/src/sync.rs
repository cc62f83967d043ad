//! Waiting for a reply: a short look, then sleep, with Ctrl-C seen.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use torch_remote_proto::v1::reply;

use crate::failure::Failure;
use crate::gil::{GLANCE, Released};

/// How long a thread looks for an answer before it sleeps: waking takes 20 to 50 µs. Each look yields, so a core that is wanted is given.
pub(crate) const LOOK: Duration = Duration::from_micros(200);

/// What a waiter gets.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply(reply::Result),
    /// The session is over.
    Over,
}

/// One thread that waits for one reply.
#[derive(Debug)]
pub(crate) struct Waiter {
    filled: AtomicBool,
    answer: Mutex<Option<Answer>>,
    thread: Thread,
}

thread_local! {
    static SPARE: RefCell<Option<Arc<Waiter>>> = const { RefCell::new(None) };
}

impl Waiter {
    /// One for the calling thread: the last one, if nobody else has it any more.
    pub(crate) fn of_this_thread() -> Arc<Self> {
        let spare = SPARE.with_borrow_mut(Option::take).filter(|waiter| Arc::strong_count(waiter) == 1);
        let waiter = spare.unwrap_or_else(|| {
            Arc::new(Waiter {
                filled: AtomicBool::new(false),
                answer: Mutex::new(None),
                thread: std::thread::current(),
            })
        });
        waiter.filled.store(false, Ordering::Relaxed);
        SPARE.with_borrow_mut(|spare| *spare = Some(waiter.clone()));
        waiter
    }

    /// Hands over the answer and wakes the thread.
    pub(crate) fn fill(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        self.filled.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// Waits for the answer without the GIL.
    ///
    /// # Errors
    /// A signal handler raised.
    pub(crate) fn wait(&self) -> Result<Answer, Failure> {
        let released = Released::now();
        let start = Instant::now();
        while !self.filled.load(Ordering::Acquire) && start.elapsed() < LOOK {
            std::thread::yield_now();
        }
        let mut glanced = start;
        loop {
            if let Some(answer) = self.filled() {
                return Ok(answer);
            }
            std::thread::park_timeout(GLANCE);
            if glanced.elapsed() >= GLANCE {
                glanced = Instant::now();
                released.glance()?;
            }
        }
    }

    /// The answer of a waiter that somebody has taken from the table to fill it: it comes at once.
    pub(crate) fn take(&self) -> Answer {
        loop {
            if let Some(answer) = self.filled() {
                return answer;
            }
            std::thread::park_timeout(GLANCE);
        }
    }

    fn filled(&self) -> Option<Answer> {
        if !self.filled.load(Ordering::Acquire) {
            return None;
        }
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some(answer.expect("filled after the answer was put, and taken once"))
    }
}
