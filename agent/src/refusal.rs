//! A credential that was refused, on its way from the door that refused it to the control plane's audit.
//!
//! Owns what is said of it, and that many take one place: of those that were not passed on yet the latest is kept, and their number. Leaves when they are told to
//! the supervisor. Invariant: no credential is in one.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The latest of so many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Where it came from; a Unix socket does not say.
    pub peer: Option<SocketAddr>,
    /// How many it stands for.
    pub times: u32,
}

impl Refusal {
    /// One.
    pub fn new(reason: impl Into<String>, message: impl Into<String>, peer: Option<SocketAddr>) -> Refusal {
        Refusal { reason: reason.into(), message: message.into(), peer, times: 1 }
    }

    /// This one, and those before it.
    pub fn after(mut self, before: &Refusal) -> Refusal {
        self.times = self.times.saturating_add(before.times);
        self
    }
}

/// Where one door leaves its refusals until somebody asks.
#[derive(Debug, Default)]
pub struct Latest(Mutex<Option<Refusal>>);

impl Latest {
    /// One more.
    pub fn note(&self, refusal: Refusal) {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = Some(match latest.take() {
            Some(before) => refusal.after(&before),
            None => refusal,
        });
    }

    /// Those since the last call.
    pub fn take(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::{Latest, Refusal};

    #[test]
    fn of_many_the_latest_is_kept_with_their_number() {
        let latest = Latest::default();
        let peer = "192.0.2.7:4000".parse().ok();
        latest.note(Refusal::new("TokenMalformed", "first", None));
        latest.note(Refusal::new("TokenSignature", "second", peer));
        let expected = Refusal { times: 2, ..Refusal::new("TokenSignature", "second", peer) };
        assert_eq!((latest.take(), latest.take()), (Some(expected), None));
    }
}
