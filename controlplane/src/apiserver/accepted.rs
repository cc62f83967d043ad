//! [`Accepted`]: credentials that were good a while ago. Whoever has one is looked at though others at its address call without.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Credentials remembered; those of more callers are as if they came for the first time.
const REMEMBERED: usize = 10_000;
/// How long one is remembered after it was last good.
const WHILE: Duration = Duration::from_secs(3600);
/// Between two looks for those that can be forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// Remembers digests alone, under a key of this process. It only decides who is judged first, never whether a credential is good.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    key: RandomState,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When each was good last.
    last: HashMap<u64, Instant>,
    swept: Option<Instant>,
}

impl Seen {
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP) {
            self.last.retain(|_, last| now.saturating_duration_since(*last) < WHILE);
            self.swept = Some(now);
        }
    }
}

impl Accepted {
    /// It is good.
    pub(super) fn note(&self, credential: &[u8], now: Instant) {
        let digest = self.key.hash_one(credential);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.last.len() >= REMEMBERED {
            seen.sweep(now);
        }
        if seen.last.len() < REMEMBERED || seen.last.contains_key(&digest) {
            seen.last.insert(digest, now);
        }
    }

    /// It is good no longer.
    pub(super) fn forget(&self, credential: &[u8]) {
        let digest = self.key.hash_one(credential);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).last.remove(&digest);
    }

    /// Whether it was good a while ago.
    pub(super) fn knows(&self, credential: &[u8], now: Instant) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let last = seen.last.get(&self.key.hash_one(credential));
        last.is_some_and(|last| now.saturating_duration_since(*last) < WHILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_good_is_known_for_a_while_and_no_more_than_so_many() {
        let (accepted, start) = (Accepted::default(), Instant::now());
        accepted.note(b"ana", start);
        assert!(accepted.knows(b"ana", start + WHILE / 2));
        assert!(!accepted.knows(b"bob", start));
        assert!(!accepted.knows(b"ana", start + WHILE));
        accepted.note(b"eve", start);
        accepted.forget(b"eve");
        assert!(!accepted.knows(b"eve", start));
        for other in 0..2 * REMEMBERED {
            accepted.note(&other.to_le_bytes(), start + WHILE / 2);
        }
        assert!(accepted.knows(b"ana", start + WHILE / 2), "the many do not push it out");
        assert_eq!(accepted.seen.lock().unwrap().last.len(), REMEMBERED);
        accepted.note(b"bob", start + 2 * WHILE);
        assert!(accepted.knows(b"bob", start + 2 * WHILE), "old ones make room");
    }
}
