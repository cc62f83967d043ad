//! A time without a connection: how often to try, and when to give up.

use std::time::Duration;

use super::{Ending, GREETING, LIFE_SIGN, Loss};

/// Between two attempts at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// An address where nobody listens for this long will not come back: the agent is gone, and device memory with it.
const NOBODY: Duration = Duration::from_secs(2);

/// Since when, and what was tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    since: Duration,
    attempts: u32,
    nobody_since: Option<Duration>,
    closed: bool,
}

impl Outage {
    /// Begins at `now`; `attempts` failed in a row before it.
    pub(super) fn new(now: Duration, attempts: u32) -> Self {
        Outage { since: now, attempts, nobody_since: None, closed: false }
    }

    /// Failures in a row.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether it began with, or met, a [`Loss::Closed`].
    pub(super) fn closed(&self) -> bool {
        self.closed
    }

    /// How long a connection and its Welcome are waited for.
    pub(super) fn patience(&self) -> Duration {
        if self.closed { LIFE_SIGN } else { GREETING }
    }

    /// After one more loss: when to try again, or why not. The first attempt comes at once, then after 10 ms, 20 ms, ... 1 s.
    pub(super) fn after(mut self, loss: Loss, now: Duration, window: Duration) -> Result<(Duration, Outage), Ending> {
        let (why, nobody) = match loss {
            Loss::Broken(why) => (why, false),
            Loss::NobodyListens(why) => (why, true),
            Loss::Closed(why) => {
                self.closed = true;
                (why, false)
            }
        };
        self.nobody_since = if nobody { Some(self.nobody_since.unwrap_or(now)) } else { None };
        if self.nobody_since.is_some_and(|since| now.saturating_sub(since) >= NOBODY) {
            let message = format!("the agent on the machine is gone, and the memory of its devices with it ({why})");
            return Err(Ending { reason: "AgentGone".to_owned(), message });
        }
        let silent = now.saturating_sub(self.since);
        if silent >= window {
            let message = format!("no connection to the machine for {} s (last: {why})", silent.as_secs());
            return Err(Ending { reason: "Unreachable".to_owned(), message });
        }
        let pause = match self.attempts {
            0 => Duration::ZERO,
            attempts => (Duration::from_millis(5) * (1 << attempts.min(8))).min(LONGEST_PAUSE),
        };
        self.attempts += 1;
        Ok((now + pause, self))
    }
}
