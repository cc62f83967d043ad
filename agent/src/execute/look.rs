//! Looking before sleeping: a thread that sleeps takes 20 to 50 µs to wake, and a client that reads in a loop is back sooner.
//!
//! A read passes six threads: Python's, the client's reactor, the executor's reactor, the executor's thread, and back. Each that still looks when its turn
//! comes saves a wake-up. Bounded to [`LOOK`] after an answer, and every look yields, so a core that is wanted is given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::session::Session;

/// How long threads look after an answer.
pub const LOOK: Duration = Duration::from_micros(200);

/// Keeps the reactor from sleeping for a while after each answer, until the runtime ends.
pub async fn out(session: Arc<Session>) {
    loop {
        session.answered.notified().await;
        let start = Instant::now();
        while start.elapsed() < LOOK {
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }
}
