//! What the status of a machine says.

use chrono::SecondsFormat;

use super::{Agent, AttemptState, Desired, End, Instance, Observation, failures};
use crate::{Fact, Observed, Time, Truth, backoff};

/// The status this planner owns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// Generation the facts are about.
    pub observed_generation: i64,
    /// Conditions: Accepted, Launched, Registered, Ready.
    pub facts: Vec<Fact>,
    /// Number of the latest attempt.
    pub attempt: Option<u32>,
    /// Name of the instance at the provider.
    pub provider_id: Option<String>,
    /// Boot of its agent.
    pub boot_id: Option<String>,
    /// Version of its agent.
    pub agent_version: Option<String>,
    /// When `spec.timeout` is over.
    pub expires_at: Option<Time>,
    /// Ready and without a lease since.
    pub idle_since: Option<Time>,
    /// Leases that keep it from being idle.
    pub kept_alive_by: Vec<String>,
}

pub(super) fn status(desired: &Desired, observed: &Observation, now: Time) -> Status {
    let accepted = match &desired.accepted {
        Ok(()) => Fact::new("Accepted", Truth::True, "Accepted", ""),
        Err(refusal) => Fact::new("Accepted", Truth::False, refusal.reason, refusal.message.clone()),
    };
    let launched = launched(desired, observed, now);
    let registered = registered(observed, &launched);
    let ready = ready(desired, observed, &registered);
    let live = observed.attempt.as_ref().filter(|attempt| !matches!(attempt.state, AttemptState::Gone { .. }));
    let (boot_id, agent_version) = match (&observed.agent, live) {
        (Agent::Heard { boot_id, version, .. }, Some(_)) => (Some(boot_id.clone()), Some(version.clone())),
        (Agent::Silent { boot_id, .. }, Some(_)) => (Some(boot_id.clone()), observed.status.agent_version.clone()),
        (Agent::Unknown, Some(_)) => (observed.status.boot_id.clone(), observed.status.agent_version.clone()),
        _ => (None, None),
    };
    Status {
        observed_generation: desired.generation,
        facts: vec![accepted, launched, registered, ready],
        attempt: observed.attempt.as_ref().map(|attempt| attempt.number),
        provider_id: match live.map(|attempt| &attempt.state) {
            Some(AttemptState::Created { provider_id }) => Some(provider_id.clone()),
            Some(AttemptState::Ending { .. }) => observed.status.provider_id.clone(),
            _ => None,
        },
        boot_id,
        agent_version,
        expires_at: live.and_then(|attempt| super::expires_at(desired, attempt)),
        idle_since: idle_since(observed),
        kept_alive_by: observed.leases.clone(),
    }
}

/// Since when a ready machine has had no lease.
pub(super) fn idle_since(observed: &Observation) -> Option<Time> {
    let attempt = observed.attempt.as_ref().filter(|attempt| matches!(attempt.state, AttemptState::Created { .. }))?;
    let ready = attempt.ready_at.filter(|_| observed.leases.is_empty())?;
    Some(observed.last_release.map_or(ready, |release| release.max(ready)))
}

fn launched(desired: &Desired, observed: &Observation, now: Time) -> Fact {
    let no = |reason: &'static str, message: String| Fact::new("Launched", Truth::False, reason, message);
    let Some(attempt) = &observed.attempt else {
        return match (&desired.accepted, desired.suspend) {
            _ if desired.deleting => no("Deleted", "the object is being deleted".to_owned()),
            (Err(refusal), _) => no(refusal.reason, refusal.message.clone()),
            (Ok(()), true) => no("Suspended", "spec.suspend is true; set it to false to start the machine".to_owned()),
            (Ok(()), false) => no("Launching", String::new()),
        };
    };
    match (&attempt.state, &observed.instance) {
        (AttemptState::Intent, Observed::Unknown) => Fact::new("Launched", Truth::Unknown, "ProviderUnknown", "the provider does not say whether the instance exists; nothing is created until it does"),
        (AttemptState::Intent, Observed::Known(_)) => no("Launching", String::new()),
        (AttemptState::Created { .. }, Observed::Known(Instance::Running { .. })) => Fact::new("Launched", Truth::True, "Launched", ""),
        (AttemptState::Created { .. }, Observed::Known(Instance::Absent { why })) => no("Lost", why.clone()),
        (AttemptState::Created { .. }, Observed::Unknown) => Fact::new("Launched", Truth::Unknown, "ProviderUnknown", "the provider does not answer; nothing is ended until it does"),
        (AttemptState::Ending { end, message, .. }, _) => no("Terminating", format!("{}: {message}", end.as_str())),
        (AttemptState::Gone { at, end, message }, _) => gone(desired, observed, (attempt, *at, *end, message), now),
    }
}

fn gone(desired: &Desired, observed: &Observation, last: (&super::Attempt, Time, End, &String), now: Time) -> Fact {
    let no = |reason: &'static str, message: String| Fact::new("Launched", Truth::False, reason, message);
    let (attempt, at, end, message) = last;
    if desired.deleting {
        return no("Deleted", "the object is being deleted".to_owned());
    }
    if desired.suspend {
        return no("Suspended", "spec.suspend is true; set it to false to start the machine".to_owned());
    }
    if let Err(refusal) = &desired.accepted {
        return no(refusal.reason, refusal.message.clone());
    }
    match end {
        End::Idle if !observed.wanted => no("Idle", message.clone()),
        End::Expired if super::expires_at(desired, attempt).is_some_and(|at| now >= at) => no("Expired", message.clone()),
        _ if end.is_failure() => {
            let failures = failures(desired, attempt, (at, end));
            if failures > desired.retry_limit {
                let text = format!(
                    "{failures} attempts in a row failed, the last with {}: {message}; change the spec, or suspend and resume, to try again",
                    end.as_str()
                );
                return no("RetriesExhausted", text);
            }
            let next = (at + backoff::delay(failures, observed.jitter)).to_rfc3339_opts(SecondsFormat::Secs, true);
            no("BackOff", format!("attempt {} failed with {}: {message}; the next one starts at {next}", attempt.number, end.as_str()))
        }
        _ => no("Launching", String::new()),
    }
}

fn registered(observed: &Observation, launched: &Fact) -> Fact {
    match (launched.truth, &observed.agent) {
        (Truth::False, _) => Fact { kind: "Registered".into(), message: String::new(), ..launched.clone() },
        (_, Agent::Heard { .. }) => Fact::new("Registered", Truth::True, "Registered", ""),
        (_, Agent::Unheard { .. }) => Fact::new("Registered", Truth::False, "WaitingForAgent", "the agent has not answered yet"),
        (_, Agent::Silent { since, .. }) => {
            let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
            let text = format!("the agent was last heard at {since}; leases on it go on, and nothing new is bound until it is heard");
            Fact::new("Registered", Truth::Unknown, "AgentSilent", text)
        }
        (_, Agent::Unknown) => Fact::new("Registered", Truth::Unknown, "AgentUnknown", "this control plane has not listened to the agent yet"),
    }
}

fn ready(desired: &Desired, observed: &Observation, registered: &Fact) -> Fact {
    match (registered.truth, &observed.agent) {
        (Truth::True, Agent::Heard { warm, .. }) if *warm < desired.slots => {
            Fact::new("Ready", Truth::False, "Warming", format!("{warm} of {} slots are warm", desired.slots))
        }
        (Truth::True, _) => Fact::new("Ready", Truth::True, "Ready", ""),
        _ => Fact { kind: "Ready".into(), ..registered.clone() },
    }
}
