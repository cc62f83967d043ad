//! What the status of a machine says.

use chrono::SecondsFormat;
use torch_remote_api::condition::{self, Fact, RECONCILING, STALLED, Truth};
use torch_remote_api::machine::{EXPIRED, FAILED, LAUNCHED, READY, REGISTERED, RemoteMachineStatus, SUSPENDED};
use torch_remote_api::money::Money;

use super::{Agent, Attempt, AttemptState, Desired, End, Instance, Observation, failures};
use crate::{Observed, Time, backoff};

/// The spec is one that its Provider can make.
pub const ACCEPTED: &str = "Accepted";

pub(super) fn status(desired: &Desired, observed: &Observation, now: Time) -> RemoteMachineStatus {
    let mut status = observed.status.clone();
    let launched = launched(desired, observed, now);
    let registered = registered(observed, &launched);
    let ready = ready(desired, observed, &registered);
    let accepted = match &desired.accepted {
        Ok(()) => Fact::new(ACCEPTED, Truth::True, "Accepted", ""),
        Err(refusal) => Fact::new(ACCEPTED, Truth::False, refusal.reason, refusal.message.clone()),
    };
    // What is suspended is as asked, also where it could not be made.
    let refused = matches!(&desired.accepted, Err(refusal) if refusal.reason == launched.reason);
    let over = |kind, holds: bool| {
        let (reason, message) = if holds {
            (launched.reason.clone(), launched.message.clone())
        } else {
            (format!("Not{kind}"), String::new())
        };
        Fact::new(kind, if holds { Truth::True } else { Truth::False }, reason, message)
    };
    let off = launched.status == Truth::False;
    let suspended = over(SUSPENDED, off && launched.reason == "Suspended");
    let expired = over(EXPIRED, off && (launched.reason == "Idle" || launched.reason == "Expired"));
    let failed = over(FAILED, off && (launched.reason == "RetriesExhausted" || refused));
    // Off as its spec asks: `Ready=False` would be read as still to come, and waited for for ever.
    let resting = suspended.status == Truth::True || expired.status == Truth::True;
    let stalled = unchangeable(desired, observed, &launched).unwrap_or_else(|| failed.clone());
    let stalled = Fact { condition_type: STALLED, ..stalled };
    let reconciling = reconciling(&ready, [&suspended, &expired, &stalled]);
    for fact in [accepted, launched, registered, ready, suspended, expired, failed, reconciling, stalled] {
        condition::set(&mut status.conditions, fact, desired.generation, now.into());
    }
    if resting {
        condition::clear(&mut status.conditions, READY);
    }
    status.observed_generation = Some(desired.generation);
    status.attempt = observed.attempt.as_ref().map(|attempt| attempt.number.into());
    fill(&mut status, desired, observed);
    status.phase = Some(status.derive_phase(desired.deleting));
    status
}

/// What belongs to the live attempt; nothing of one that is gone stays.
fn fill(status: &mut RemoteMachineStatus, desired: &Desired, observed: &Observation) {
    let live = observed.attempt.as_ref().filter(|attempt| !matches!(attempt.state, AttemptState::Gone { .. }));
    status.idle_since = idle_since(observed).map(Into::into);
    status.kept_alive_by = observed.leases.clone();
    status.expires_at = live.and_then(|attempt| super::expires_at(desired, attempt)).map(Into::into);
    status.launched_at = live.map(|attempt| attempt.intended_at.into());
    status.gpu = live.map(|_| desired.gpu);
    status.price_per_hour = live.and_then(|_| price(desired));
    match live.map(|attempt| &attempt.state) {
        Some(AttemptState::Created { provider_id }) => status.provider_id = Some(provider_id.clone()),
        Some(AttemptState::Ending { .. }) => {}
        _ => status.provider_id = None,
    }
    match (&observed.agent, live) {
        (Agent::Heard { boot_id, version, torch, .. }, Some(_)) => {
            status.boot_id = Some(boot_id.clone());
            status.agent_version = Some(version.clone());
            status.torch_version = Some(torch.clone()).filter(|torch| !torch.is_empty());
        }
        (Agent::Silent { .. } | Agent::Unknown, Some(_)) => {}
        _ => {
            status.boot_id = None;
            status.agent_version = None;
            status.torch_version = None;
        }
    }
}

/// Of all of its GPUs; `None` where its Provider names no price.
fn price(desired: &Desired) -> Option<Money> {
    let one = desired.prices.iter().find(|price| price.gpu_type == desired.gpu.gpu_type)?.per_hour;
    Some(Money::from_micros(one.micros().saturating_mul(desired.gpu.count.into())))
}

/// Since when a ready machine has had no lease.
pub(super) fn idle_since(observed: &Observation) -> Option<Time> {
    let attempt = observed.attempt.as_ref().filter(|attempt| matches!(attempt.state, AttemptState::Created { .. }))?;
    let ready = attempt.ready_at.filter(|_| observed.leases.is_empty())?;
    Some(observed.last_release.map_or(ready, |release| release.max(ready)))
}

fn no(reason: &str, message: impl Into<String>) -> Fact {
    Fact::new(LAUNCHED, Truth::False, reason, message)
}

fn launched(desired: &Desired, observed: &Observation, now: Time) -> Fact {
    let unknown = |message: &str| Fact::new(LAUNCHED, Truth::Unknown, "ProviderUnknown", message);
    let Some(attempt) = &observed.attempt else { return unwanted(desired).unwrap_or_else(|| no("Launching", "")) };
    match (&attempt.state, &observed.instance) {
        (AttemptState::Intent, Observed::Unknown) => {
            unknown("the provider does not say whether the instance exists; nothing is created until it does")
        }
        (AttemptState::Intent, Observed::Known(_)) => no("Launching", ""),
        (AttemptState::Created { .. }, Observed::Known(Instance::Running { .. })) => {
            Fact::new(LAUNCHED, Truth::True, "Launched", "")
        }
        (AttemptState::Created { .. }, Observed::Known(Instance::Absent { why })) => no("Lost", why.clone()),
        (AttemptState::Created { .. }, Observed::Unknown) => {
            unknown("the provider does not answer; nothing is ended until it does")
        }
        (AttemptState::Ending { end, message, .. }, _) => no("Terminating", format!("{}: {message}", end.as_str())),
        (AttemptState::Gone { at, end, message }, _) => {
            unwanted(desired).unwrap_or_else(|| gone(desired, observed, (attempt, *at, *end, message), now))
        }
    }
}

/// Why there is none and none is wanted, by the spec alone.
fn unwanted(desired: &Desired) -> Option<Fact> {
    match &desired.accepted {
        _ if desired.deleting => Some(no("Deleted", "the object is being deleted")),
        _ if desired.suspend => Some(no("Suspended", "spec.suspend is true; set it to false to start the machine")),
        Err(refusal) => Some(no(refusal.reason, refusal.message.clone())),
        Ok(()) => None,
    }
}

fn gone(desired: &Desired, observed: &Observation, last: (&Attempt, Time, End, &String), now: Time) -> Fact {
    let (attempt, at, end, message) = last;
    match end {
        End::Idle if !observed.wanted => no("Idle", message.clone()),
        End::Expired if super::expires_at(desired, attempt).is_some_and(|at| now >= at) => {
            no("Expired", message.clone())
        }
        _ if !end.is_failure() => no("Launching", ""),
        _ => {
            let failures = failures(desired, attempt, (at, end));
            if failures > desired.retry_limit {
                let text = format!(
                    "{failures} attempts in a row failed, the last with {}: {message}; change the spec, or delete the machine and apply it again, to start anew",
                    end.as_str()
                );
                return no("RetriesExhausted", text);
            }
            let next = (at + backoff::delay(failures, observed.jitter)).to_rfc3339_opts(SecondsFormat::Secs, true);
            no(
                "BackOff",
                format!(
                    "attempt {} ended with {}: {message}; the next one starts at {next}",
                    attempt.number,
                    end.as_str()
                ),
            )
        }
    }
}

fn registered(observed: &Observation, launched: &Fact) -> Fact {
    match (launched.status, &observed.agent) {
        (Truth::False, _) => Fact::new(REGISTERED, Truth::False, launched.reason.clone(), ""),
        (_, Agent::Heard { .. } | Agent::Silent { .. }) => Fact::new(REGISTERED, Truth::True, "Registered", ""),
        (_, Agent::Unheard { .. }) => {
            Fact::new(REGISTERED, Truth::False, "WaitingForAgent", "the agent has not answered yet")
        }
        (_, Agent::Unknown) => Fact::new(
            REGISTERED,
            Truth::Unknown,
            "AgentUnknown",
            "this control plane has not listened to the agent yet",
        ),
    }
}

/// What runs goes on as it was made: the spec has changed since to one that its Provider refuses. Without the Provider, `desired.launch` says nothing of
/// what it made; but then nobody knows either whether the instance runs.
fn unchangeable(desired: &Desired, observed: &Observation, launched: &Fact) -> Option<Fact> {
    let refusal = desired.accepted.as_ref().err()?;
    let changed = observed.attempt.as_ref().is_some_and(|attempt| attempt.launch != desired.launch);
    (changed && launched.status == Truth::True)
        .then(|| Fact::new(STALLED, Truth::True, refusal.reason, refusal.message.clone()))
}

/// Not ready yet, and nothing says that it will not be by itself.
fn reconciling(ready: &Fact, ends: [&Fact; 3]) -> Fact {
    match ends.iter().find(|end| end.status == Truth::True) {
        Some(end) => Fact::new(RECONCILING, Truth::False, end.reason.clone(), ""),
        None if ready.status == Truth::False => {
            Fact::new(RECONCILING, Truth::True, ready.reason.clone(), ready.message.clone())
        }
        None => Fact::new(RECONCILING, Truth::False, ready.reason.clone(), ""),
    }
}

fn ready(desired: &Desired, observed: &Observation, registered: &Fact) -> Fact {
    match (registered.status, &observed.agent) {
        (Truth::True, Agent::Silent { since, .. }) => {
            let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
            let text = format!(
                "the agent was last heard at {since}; leases on it go on, and nothing new is bound until it is heard"
            );
            Fact::new(READY, Truth::Unknown, "AgentSilent", text)
        }
        (Truth::True, Agent::Heard { warm, .. }) if *warm < desired.slots => {
            Fact::new(READY, Truth::False, "Warming", format!("{warm} of {} slots are warm", desired.slots))
        }
        (Truth::True, _) => Fact::new(READY, Truth::True, "Ready", ""),
        (truth, _) => Fact::new(READY, truth, registered.reason.clone(), registered.message.clone()),
    }
}
