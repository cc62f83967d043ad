//! Refused credentials that the control plane is to hear of.
//!
//! Owns how often, and of how many doors at once: a flood on one of them, or on all, costs a few words a second. Leaves refusing to sessions and to the Control
//! service. Invariants: one place for each door, also while no control plane listens; every refusal is counted in one that is said, or still waits.

use std::collections::VecDeque;
use std::time::Duration;

use torch_remote_proto::v1::Denied;

use crate::refusal::Refusal;

/// Between two times that the control plane is told.
const EVERY: Duration = Duration::from_secs(1);
/// Doors told of at once; those that wait longest come first.
const AT_ONCE: usize = 4;
/// Characters kept of a text: an executor, which runs what its client says, has a part in it.
const LONGEST: usize = 512;

/// What is not told yet.
#[derive(Debug, Default)]
pub struct Refusals {
    waiting: VecDeque<Waiting>,
    told: Option<Duration>,
}

#[derive(Debug)]
struct Waiting {
    /// None: the Control service.
    slot: Option<u32>,
    lease_name: String,
    refusal: Refusal,
    at: Duration,
}

impl Refusals {
    /// Some more at this slot, which serves that lease; without a slot, at the Control service.
    pub fn note(&mut self, slot: Option<u32>, lease_name: &str, refusal: Refusal, now: Duration) {
        let refusal = Refusal { reason: cut(&refusal.reason), message: cut(&refusal.message), ..refusal };
        let waiting = |refusal| Waiting { slot, lease_name: lease_name.to_owned(), refusal, at: now };
        match self.waiting.iter_mut().find(|waiting| waiting.slot == slot) {
            Some(before) => *before = waiting(refusal.after(&before.refusal)),
            None => self.waiting.push_back(waiting(refusal)),
        }
    }

    /// What is to be told now.
    pub fn due(&mut self, now: Duration) -> Vec<Denied> {
        if self.waiting.is_empty() || self.told.is_some_and(|told| now.saturating_sub(told) < EVERY) {
            return Vec::new();
        }
        self.told = Some(now);
        let some = self.waiting.len().min(AT_ONCE);
        self.waiting.drain(..some).map(|waiting| waiting.say(now)).collect()
    }
}

impl Waiting {
    fn say(self, now: Duration) -> Denied {
        let Refusal { reason, message, peer, times } = self.refusal;
        Denied {
            slot: self.slot,
            lease_name: self.lease_name,
            reason,
            message,
            peer: peer.map(|peer| peer.to_string()).unwrap_or_default(),
            times,
            ago_ms: now.saturating_sub(self.at).as_millis() as u64,
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(message: &str) -> Refusal {
        Refusal::new("TokenSignature", message, None)
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_first_is_told_at_once_and_those_of_the_next_second_as_one_with_their_number() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.due(at(0)), []);
        refusals.note(Some(1), "team/a", Refusal::new("TokenLease", "why", "192.0.2.7:4000".parse().ok()), at(10));
        let first = Denied {
            slot: Some(1),
            lease_name: "team/a".to_owned(),
            reason: "TokenLease".to_owned(),
            message: "why".to_owned(),
            peer: "192.0.2.7:4000".to_owned(),
            times: 1,
            ago_ms: 5,
        };
        assert_eq!(refusals.due(at(15)), [first]);
        refusals.note(Some(1), "team/a", Refusal { times: 7, ..refusal("some") }, at(20));
        refusals.note(Some(1), "team/b", refusal("the latest"), at(30));
        assert_eq!(refusals.due(at(1014)), [], "told less than a second ago");
        let told = refusals.due(at(1015));
        let [denied] = told.as_slice() else { panic!("one door, one word: {told:?}") };
        let (lease, message) = (denied.lease_name.as_str(), denied.message.as_str());
        assert_eq!((lease, message, denied.times, denied.ago_ms), ("team/b", "the latest", 8, 985));
        assert_eq!(refusals.due(at(9000)), []);
    }

    #[test]
    fn a_flood_on_every_door_is_four_words_a_second_and_every_door_has_its_turn() {
        let mut refusals = Refusals::default();
        let (mut told, mut most, mut doors) = (0, 0, std::collections::BTreeSet::new());
        for step in 0..1000_u64 {
            for slot in (0..8).map(Some).chain([None]) {
                refusals.note(slot, "", refusal("again"), at(step * 10));
            }
            let due = refusals.due(at(step * 10));
            most = most.max(due.len());
            told += due.iter().map(|denied| denied.times).sum::<u32>();
            doors.extend(due.iter().map(|denied| denied.slot));
        }
        assert_eq!((most, doors.len(), refusals.waiting.len()), (AT_ONCE, 9, 9));
        let waiting: u32 = refusals.waiting.iter().map(|waiting| waiting.refusal.times).sum();
        assert_eq!(told + waiting, 9000, "each is counted once");
    }

    #[test]
    fn what_an_executor_says_at_length_is_cut() {
        let mut refusals = Refusals::default();
        refusals.note(None, "", Refusal::new("x".repeat(1 << 20), "é".repeat(1 << 20), None), at(0));
        let denied = refusals.due(at(0)).remove(0);
        assert_eq!((denied.reason.chars().count(), denied.message.chars().count()), (LONGEST, LONGEST));
    }
}
