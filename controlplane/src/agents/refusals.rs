//! Credentials that agents refused, on their way into the audit.
//!
//! Owns the row, and how many an agent may have: it says little by itself, but it may be another's by now. Leaves writing to the [`Trail`], which never waits.

use std::time::{Duration, Instant};

use torch_remote_proto::v1::Denied;

use crate::apiserver::audit::Trail;
use crate::store::Key;
use crate::store::audit::Entry;

/// Rows of one stream in a second. An agent says four, and two seconds' worth may come in one.
const AT_ONCE: u32 = 8;
/// What they are counted over.
const SECOND: Duration = Duration::from_secs(1);
/// Of one that waited for the control plane; an agent that says more is not believed.
const LONGEST_AGO: Duration = Duration::from_secs(24 * 3600);
/// Of an agent's refusals: nobody has shown believably who it is.
const UNAUTHORIZED: u16 = 401;

/// The rows of one stream.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Since when, and how many.
    counted: Option<(Instant, u32)>,
}

impl Refusals {
    /// Has the row written, if there is room.
    pub(super) fn tell(&mut self, trail: &Trail, machine: &Key, denied: Denied) {
        let now = Instant::now();
        if self.take(now) {
            trail.tell(entry(machine, denied, now));
        } else {
            trail.drop_one();
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let (since, count) = match self.counted {
            Some((since, count)) if now.saturating_duration_since(since) < SECOND => (since, count + 1),
            Some(_) | None => (now, 1),
        };
        if count <= AT_ONCE {
            self.counted = Some((since, count));
        }
        count <= AT_ONCE
    }
}

fn entry(machine: &Key, denied: Denied, now: Instant) -> Entry {
    let (part, path) = match denied.slot {
        Some(slot) => (format!("slots/{slot}"), "/torchremote.agent.v1.DataPlane/Session"),
        None => ("control".to_owned(), "/torchremote.agent.v1.Control/Connect"),
    };
    // What the supervisor knows comes first: the rest is the word of an executor, which runs what its client says.
    let mut reason = cut(denied.reason, 64);
    if denied.times > 1 {
        reason += &format!(" {} times since it was told last", denied.times);
    }
    if !denied.lease_name.is_empty() {
        reason += &format!(", at a slot that serves the lease {}", cut(denied.lease_name, 320));
    }
    reason += &format!(": {}", cut(denied.message, 512));
    Entry {
        verb: "connect".to_owned(),
        group: machine.resource.group.to_owned(),
        resource: machine.resource.plural.to_owned(),
        subresource: part,
        namespace: machine.namespace.clone(),
        name: machine.name.clone(),
        path: path.to_owned(),
        peer: cut(denied.peer, 64),
        denied: true,
        reason,
        code: UNAUTHORIZED,
        // As it was told: the clocks of a machine and of the database are two.
        received: now.checked_sub(Duration::from_millis(denied.ago_ms).min(LONGEST_AGO)),
        ..Entry::default()
    }
}

fn cut(mut text: String, characters: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(characters) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Resource;

    fn denied(slot: Option<u32>, times: u32) -> Denied {
        let lease_name = slot.map(|_| "team/train".to_owned()).unwrap_or_default();
        let (reason, message) = ("TokenExpired".to_owned(), "it is over".to_owned());
        Denied { slot, lease_name, reason, message, peer: "192.0.2.7:4000".to_owned(), times, ago_ms: 2000 }
    }

    #[test]
    fn a_row_says_where_at_what_door_and_why_and_believes_nobody_s_name() {
        let (machine, now) = (Key::new(Resource::MACHINES, "team", "a100"), Instant::now());
        let at_slot = entry(&machine, denied(Some(3), 5), now);
        assert_eq!((at_slot.who.as_str(), at_slot.peer.as_str(), at_slot.code), ("", "192.0.2.7:4000", 401));
        assert_eq!((at_slot.name.as_str(), at_slot.subresource.as_str()), ("a100", "slots/3"));
        let reason =
            "TokenExpired 5 times since it was told last, at a slot that serves the lease team/train: it is over";
        assert_eq!((at_slot.denied, at_slot.reason.as_str()), (true, reason));
        assert_eq!(at_slot.received, Some(now - Duration::from_secs(2)), "when it was refused, not when it was told");
        let at_control = entry(&machine, denied(None, 1), now);
        assert_eq!(
            (at_control.subresource.as_str(), at_control.reason.as_str()),
            ("control", "TokenExpired: it is over")
        );
    }

    #[test]
    fn what_an_agent_says_at_length_or_of_an_age_that_cannot_be_is_cut() {
        let (machine, now) = (Key::new(Resource::MACHINES, "team", "a100"), Instant::now());
        let long = || "é".repeat(1 << 20);
        let said = Denied {
            reason: long(),
            message: long(),
            lease_name: long(),
            peer: long(),
            ago_ms: u64::MAX,
            ..denied(Some(0), 2)
        };
        let row = entry(&machine, said, now);
        assert!(row.reason.chars().count() < 1024 && row.peer.chars().count() == 64, "{}", row.reason.len());
        assert!(row.reason.contains("2 times") && row.received.is_none_or(|at| now - at <= LONGEST_AGO));
    }

    #[test]
    fn an_agent_that_says_more_than_it_should_has_a_few_rows_a_second() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let mut rows =
            |from: u64| (0..1000).filter(|step| refusals.take(start + Duration::from_millis(from + step / 2))).count();
        assert_eq!((rows(0), rows(500), rows(1000)), (8, 0, 8));
    }
}
