//! What the status of a lease says.

use std::time::Duration;

use chrono::TimeDelta;
use torch_remote_api::condition::{self, Fact, RECONCILING, STALLED, Truth};
use torch_remote_api::lease::{
    BOUND, DeviceLeaseStatus, ENDED, EndReason, LeasePhase, LeasedDevice, RELEASED, RESERVED, reason,
};

use super::{Binding, Desired, Observation, Phase, State};
use crate::Time;

/// Shorter idleness is not shown.
const IDLE_SHOWN: Duration = Duration::from_secs(60);
/// Differences between two reports of the same idleness.
const FLICKER: TimeDelta = TimeDelta::seconds(30);

/// A session is open. `Unknown` when its client is silent.
pub const ACTIVE: &str = "Active";

pub(super) fn status(desired: &Desired, observed: &Observation, now: Time) -> DeviceLeaseStatus {
    let mut status = observed.status.clone();
    let facts = match observed.live.as_ref().map(|live| &live.state) {
        None | Some(State::Waiting) => waiting(observed),
        Some(State::Bound) => bound(desired, observed),
        Some(State::Ended { reason, message }) => ended(*reason, message, observed),
    };
    for fact in facts {
        condition::set(&mut status.conditions, fact, desired.generation, now.into());
    }
    let waits = matches!(observed.live.as_ref().map(|live| &live.state), None | Some(State::Waiting));
    let opened = observed.bindings.iter().filter_map(|binding| binding.session_at).min();
    status.observed_generation = Some(desired.generation);
    status.queue = observed.queue.as_ref().map(|(queue, _)| queue.clone()).filter(|_| waits);
    status.devices = if waits { vec![] } else { observed.bindings.iter().map(device).collect() };
    status.bound_at = observed.bindings.iter().map(|binding| binding.bound_at).min().filter(|_| !waits).map(Into::into);
    status.opened_at = opened.map(Into::into);
    let duration = observed.bindings.iter().filter_map(|binding| binding.duration).min();
    status.expires_at = opened.zip(duration).map(|(at, duration)| (at + duration).into());
    status.idle_since = idle_since(observed, now).map(Into::into);
    for fact in standing(&status) {
        condition::set(&mut status.conditions, fact, desired.generation, now.into());
    }
    status.phase = Some(status.derive_phase());
    status
}

/// The lease as tools read it that know no more than Kubernetes' status conventions.
fn standing(status: &DeviceLeaseStatus) -> [Fact; 2] {
    let of = |kind| {
        let fact = condition::find(&status.conditions, kind);
        fact.map(|fact| (fact.reason.clone(), fact.message.clone())).unwrap_or_default()
    };
    let (moves, stuck) = match status.derive_phase() {
        LeasePhase::Bound | LeasePhase::Ended => (false, false),
        LeasePhase::Lost | LeasePhase::Failed => (false, true),
        _ => (true, false),
    };
    let fact = |kind, holds, (reason, message): (String, String)| match holds {
        true => Fact::new(kind, Truth::True, reason, message),
        false => Fact::new(kind, Truth::False, format!("Not{kind}"), ""),
    };
    [fact(RECONCILING, moves, of(BOUND)), fact(STALLED, stuck, of(ENDED))]
}

/// Since when no operator has been queued or running on any of its executors, once that is a minute. Reports come at intervals, so a difference of a few
/// seconds is none.
fn idle_since(observed: &Observation, now: Time) -> Option<Time> {
    let open = |binding: &Binding| matches!(binding.phase, Phase::Active | Phase::Disconnected);
    let idle =
        observed.bindings.iter().map(|binding| if open(binding) { binding.idle } else { Duration::ZERO }).min()?;
    let before = observed.status.idle_since.map(torch_remote_api::time::Time::get);
    if observed.bindings.iter().any(|binding| binding.phase == Phase::Unknown) {
        return before;
    }
    let since = (idle >= IDLE_SHOWN).then(|| now - idle)?;
    Some(before.filter(|before| (*before - since).abs() <= FLICKER).unwrap_or(since))
}

fn waiting(observed: &Observation) -> Vec<Fact> {
    let (reason, message) = match &observed.queue {
        Some((queue, message)) => (queue.reason.as_str(), message.as_str()),
        None => (reason::WAITING, "not looked at yet"),
    };
    vec![
        Fact::new(RESERVED, Truth::False, reason, message),
        Fact::new(BOUND, Truth::False, reason, message),
        Fact::new(ACTIVE, Truth::False, "NotBound", ""),
        Fact::new(ENDED, Truth::False, "Waiting", ""),
    ]
}

fn bound(desired: &Desired, observed: &Observation) -> Vec<Fact> {
    let reserved = Fact::new(RESERVED, Truth::True, "Reserved", "");
    if let Some((reason, message)) = super::over(desired, observed) {
        let mut facts = vec![reserved, Fact::new(BOUND, Truth::False, reason.as_str(), message.clone())];
        facts.extend(over(reason, &message));
        facts.push(released(observed));
        return facts;
    }
    let acked = !observed.bindings.is_empty() && observed.bindings.iter().all(|binding| binding.acked.is_some());
    let bound = match acked {
        true => Fact::new(BOUND, Truth::True, "Bound", ""),
        false => Fact::new(BOUND, Truth::False, reason::BINDING, "waiting for the agent to acknowledge"),
    };
    vec![reserved, bound, active(observed), Fact::new(ENDED, Truth::False, "Bound", "")]
}

fn ended(reason: EndReason, message: &str, observed: &Observation) -> Vec<Fact> {
    let mut facts = vec![Fact::new(BOUND, Truth::False, reason.as_str(), message)];
    facts.extend(over(reason, message));
    facts.push(released(observed));
    facts
}

fn released(observed: &Observation) -> Fact {
    if observed.older == 0 && observed.bindings.iter().all(|binding| binding.released.is_some()) {
        return Fact::new(RELEASED, Truth::True, "Reaped", "");
    }
    Fact::new(RELEASED, Truth::False, "Reaping", "its slots are free once the agent has reaped the processes")
}

fn over(reason: EndReason, message: &str) -> [Fact; 2] {
    [Fact::new(ACTIVE, Truth::False, reason.as_str(), ""), Fact::new(ENDED, Truth::True, reason.as_str(), message)]
}

fn device(binding: &Binding) -> LeasedDevice {
    LeasedDevice {
        machine: binding.machine.clone(),
        machine_uid: binding.at.machine.0.clone(),
        index: binding.gpu,
        slot: binding.at.slot,
        epoch: binding.at.epoch.0,
        gpu: binding.gpu_type,
        endpoints: binding.acked.clone().unwrap_or_default(),
    }
}

fn active(observed: &Observation) -> Fact {
    let phases: Vec<Phase> = observed.bindings.iter().map(|binding| binding.phase).collect();
    if phases.contains(&Phase::Disconnected) {
        return Fact::new(
            ACTIVE,
            Truth::Unknown,
            "Disconnected",
            "the client is silent; its tensors are kept until spec.reconnectWindow is over",
        );
    }
    if phases.contains(&Phase::Active) {
        return Fact::new(ACTIVE, Truth::True, "Active", "");
    }
    match condition::find(&observed.status.conditions, ACTIVE) {
        // Not heard is not ended: the last word stands.
        Some(before) if before.status != Truth::False && phases.contains(&Phase::Unknown) => {
            Fact::new(ACTIVE, before.status, before.reason.clone(), before.message.clone())
        }
        _ => Fact::new(ACTIVE, Truth::False, "NoSession", "no session has been opened yet"),
    }
}
