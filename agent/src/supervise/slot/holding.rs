//! A lease that a slot serves: its session as the executor's pulses show it, and its deadlines.

use std::time::Duration;

use super::{Bind, Output};
use crate::link::{Pulse, Standing};

/// The user is told this long before the lease's duration ends.
const END_NOTICE: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) bind: Bind,
    pub(super) session: Session,
    /// Last pulse, for reports.
    pulse: Pulse,
    /// A revoke with grace.
    pub(super) revoked: Option<Revocation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revocation {
    pub(super) at: Duration,
    pub(super) epoch: u64,
    /// Of revokes before this one, which are owed an answer too.
    pub(super) earlier: Vec<u64>,
    pub(super) reason: String,
    pub(super) message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Session {
    /// None yet.
    Awaited { since: Duration },
    /// Opened.
    Open(Opened),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    started: Duration,
    heard: Stamp,
    active: Stamp,
    /// Connection lost; `None` while there is one.
    lost: Option<Stamp>,
    idle_noticed: bool,
    end_noticed: bool,
}

/// A time of the executor's clock (`raw`, milliseconds) and what it was on ours when first seen. The two clocks differ in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    raw: u64,
    at: Duration,
}

/// Times and counts of a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// The last pulse.
    pub pulse: Pulse,
    /// Since the last sign of life.
    pub silent: Duration,
    /// Since an operator was queued or ran.
    pub idle: Duration,
    /// Of the duration.
    pub remaining: Duration,
    /// Since the first session opened.
    pub since_open: Duration,
}

impl Holding {
    pub(super) fn new(bind: Bind, now: Duration) -> Holding {
        Holding { bind, session: Session::Awaited { since: now }, pulse: Pulse::default(), revoked: None }
    }

    /// The process says how its session stands.
    pub(super) fn pulse(&mut self, pulse: Pulse, now: Duration) {
        self.pulse = pulse;
        if pulse.standing == Standing::Waiting {
            return;
        }
        self.session = Session::Open(match &self.session {
            Session::Awaited { .. } => Opened::first(pulse, now),
            Session::Open(opened) => opened.seen(pulse, now),
        });
    }

    pub(super) fn figures(&self, now: Duration) -> Figures {
        let Session::Open(opened) = &self.session else { return Figures { pulse: self.pulse, ..Figures::default() } };
        Figures {
            pulse: self.pulse,
            silent: now.saturating_sub(opened.heard.at),
            idle: if self.pulse.busy { Duration::ZERO } else { now.saturating_sub(opened.active.at) },
            remaining: (opened.started + self.bind.duration).saturating_sub(now),
            since_open: now.saturating_sub(opened.started),
        }
    }

    /// Why the lease ends now, if it does.
    pub(super) fn due(&self, now: Duration) -> Option<(&'static str, String)> {
        if let Some(revocation) = &self.revoked
            && now >= revocation.at
        {
            return Some(("Revoked", revocation.text()));
        }
        let bind = &self.bind;
        let opened = match &self.session {
            Session::Awaited { since } => {
                let over = now.saturating_sub(*since) >= bind.open_timeout;
                return over
                    .then(|| ("NeverOpened", format!("no session was opened within {}", seconds(bind.open_timeout))));
            }
            Session::Open(opened) => opened,
        };
        let passed = |since: Duration, limit: Duration| !limit.is_zero() && now.saturating_sub(since) >= limit;
        if passed(opened.started, bind.duration) {
            return Some((
                "Expired",
                format!("its duration of {} is over: lease again, with a longer duration", seconds(bind.duration)),
            ));
        }
        if let Some(lost) = opened.lost
            && !bind.resumable
            && passed(lost.at, bind.orphan)
        {
            return Some((
                "Orphaned",
                format!("its process lost the connection and did not come back within {}", seconds(bind.orphan)),
            ));
        }
        if passed(opened.heard.at, bind.reconnect_window) {
            return Some(("Silent", format!("its client was silent for {}", seconds(bind.reconnect_window))));
        }
        if !self.pulse.busy && passed(opened.active.at, bind.idle_timeout) {
            return Some((
                "Idle",
                format!(
                    "no operator ran for {}: lease again, or with a longer idleTimeout",
                    seconds(bind.idle_timeout)
                ),
            ));
        }
        None
    }

    /// What the user should know before it happens, once each.
    pub(super) fn notices(&mut self, now: Duration) -> Vec<Output> {
        let mut notices = Vec::new();
        let Session::Open(opened) = &mut self.session else { return notices };
        let (duration, idle_timeout) = (self.bind.duration, self.bind.idle_timeout);
        let left = (opened.started + duration).saturating_sub(now);
        if !duration.is_zero() && !opened.end_noticed && left <= END_NOTICE.min(duration / 2) {
            opened.end_noticed = true;
            let message = format!("lease {} ends in {}: save what you need", self.bind.lease_name, seconds(left));
            notices.push(Output::Notice { reason: "Expiring", message, deadline: left });
        }
        let left = (opened.active.at + idle_timeout).saturating_sub(now);
        if !idle_timeout.is_zero() && !self.pulse.busy && !opened.idle_noticed && left <= idle_timeout / 10 {
            opened.idle_noticed = true;
            let message =
                format!("lease {} is idle and ends in {}: any operator keeps it", self.bind.lease_name, seconds(left));
            notices.push(Output::Notice { reason: "Idle", message, deadline: left });
        }
        notices
    }
}

impl Revocation {
    /// This one where there may have been others before: a repeat does not put the end off, and each is answered.
    pub(super) fn after(mut self, before: Option<Revocation>) -> Revocation {
        let Some(before) = before else { return self };
        self.at = self.at.min(before.at);
        let epochs = before.owed().into_iter().filter(|epoch| *epoch != self.epoch);
        self.earlier = epochs.collect();
        self
    }

    /// Epochs whose revokes wait for an answer.
    pub(super) fn owed(&self) -> Vec<u64> {
        self.earlier.iter().copied().chain([self.epoch]).collect()
    }

    pub(super) fn text(&self) -> String {
        match (self.reason.as_str(), self.message.as_str()) {
            ("", message) => message.to_owned(),
            (reason, "") => reason.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

impl Opened {
    pub(super) fn lost(&self) -> bool {
        self.lost.is_some()
    }

    fn first(pulse: Pulse, now: Duration) -> Opened {
        let stamp = |raw| Stamp::new(raw, pulse.now_ms, now);
        Opened {
            started: stamp(pulse.opened_ms).at,
            heard: stamp(pulse.heard_ms),
            active: stamp(pulse.active_ms),
            lost: (pulse.standing == Standing::Disconnected).then(|| stamp(pulse.lost_ms)),
            idle_noticed: false,
            end_noticed: false,
        }
    }

    fn seen(self, pulse: Pulse, now: Duration) -> Opened {
        let again = |old: Stamp, raw| if old.raw == raw { old } else { Stamp::new(raw, pulse.now_ms, now) };
        let active =
            if pulse.busy { Stamp { raw: pulse.active_ms, at: now } } else { again(self.active, pulse.active_ms) };
        Opened {
            heard: again(self.heard, pulse.heard_ms),
            active,
            lost: (pulse.standing == Standing::Disconnected).then(|| {
                self.lost
                    .map_or_else(|| Stamp::new(pulse.lost_ms, pulse.now_ms, now), |lost| again(lost, pulse.lost_ms))
            }),
            idle_noticed: self.idle_noticed && active == self.active,
            ..self
        }
    }
}

impl Stamp {
    fn new(raw: u64, raw_now: u64, now: Duration) -> Stamp {
        Stamp { raw, at: now.saturating_sub(Duration::from_millis(raw_now.saturating_sub(raw))) }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}
