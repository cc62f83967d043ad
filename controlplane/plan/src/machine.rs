//! One machine: from intent to ready, through failures, to gone.
//!
//! ```text
//!   no attempt ──RecordIntent──▶ Intent ──Create──▶ Created ──(agent heard, slots warm)──▶ ready
//!       ▲                          │                   │
//!       │  back-off, or a new run  │ provider: none    │ End: deleted, suspended, idle, expired, changed, never registered
//!       │                          ▼                   ▼
//!       └───────────────────────  Gone ◀──RecordGone── Ending ──Terminate──▶ (until the provider says gone)
//! ```
//! Invariants: an intent is recorded before a create is asked for; a create is only planned when the provider is known not to have the token; an instance
//! is only terminated when it is known to be there; a provider that did not do what it was asked is asked again after a growing wait; the finalizer is only removed when the last attempt is gone.

mod action;
mod attempt;
mod report;
#[cfg(test)]
mod tests;

use std::time::Duration;

use torch_remote_api::gpu::Gpu;
use torch_remote_api::machine::RemoteMachineStatus;
use torch_remote_api::provider::Price;

use crate::{Observed, Time, backoff};

pub use action::{Action, Intent, Plan};
pub use attempt::{Agent, Asked, Attempt, AttemptState, End, Instance};

/// How long an instance has after being asked to end before it is forced.
pub const TERMINATE_GRACE: Duration = Duration::from_secs(10);
/// Shortest and longest wait before a provider is asked the same thing again: it may be slow to answer, or down.
pub const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// An attempt that was ready this long has paid for the failures before it.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(600);

/// What the owner asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Revision of the spec.
    pub generation: i64,
    /// Deletion was asked for.
    pub deleting: bool,
    /// The owner wants no instance for now.
    pub suspend: bool,
    /// Hash of what an instance is made from; a difference replaces it when no lease is on it.
    pub launch: String,
    /// Whether the provider can make such a machine.
    pub accepted: Result<(), Refusal>,
    /// Longest life of a run.
    pub timeout: Option<Duration>,
    /// No lease for this long ends the run.
    pub idle_timeout: Option<Duration>,
    /// From create to ready.
    pub startup_timeout: Duration,
    /// Failures in a row after which nothing more is tried.
    pub retry_limit: u32,
    /// Its GPUs.
    pub gpu: Gpu,
    /// Slots that must be warm for Ready.
    pub slots: u32,
    /// What its Provider takes for one GPU.
    pub prices: Vec<Price>,
}

/// Why a machine can not be made as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable reason.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// All that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Our finalizer is on the object.
    pub finalizer: bool,
    /// The latest attempt.
    pub attempt: Option<Attempt>,
    /// Its instance at the provider.
    pub instance: Observed<Instance>,
    /// Its agent.
    pub agent: Agent,
    /// Leases that hold a slot.
    pub leases: Vec<String>,
    /// When a slot was last released.
    pub last_release: Option<Time>,
    /// A waiting lease could use this machine.
    pub wanted: bool,
    /// From 0 to 1.
    pub jitter: f64,
    /// What the object's status says.
    pub status: RemoteMachineStatus,
}

/// What the owner's wish comes to at this moment.
enum Goal {
    Present,
    Absent(End, String),
}

/// What to do for one machine.
pub fn plan(desired: &Desired, observed: &Observation, now: Time) -> Plan {
    let (action, wake) = if !desired.deleting && !observed.finalizer {
        (Some(Action::AddFinalizer), None)
    } else {
        next(desired, observed, now)
    };
    let status = report::status(desired, observed, now);
    let mut actions: Vec<Action> = action.into_iter().collect();
    // What is about to end is told of when it is ending: before that an instance that is not wanted any more would be called as asked.
    let ends = matches!(actions.first(), Some(Action::BeginEnd { .. }));
    if status != observed.status && !ends {
        actions.push(Action::Report(Box::new(status)));
    }
    Plan { actions, wake }
}

type Step = (Option<Action>, Option<Time>);

fn next(desired: &Desired, observed: &Observation, now: Time) -> Step {
    match &observed.attempt {
        None => without_attempt(desired, observed, now),
        Some(attempt) => match &attempt.state {
            AttemptState::Gone { at, end, .. } => after_gone(desired, observed, attempt, (*at, *end), now),
            AttemptState::Intent => with_intent(desired, observed, attempt, now),
            AttemptState::Created { .. } => with_instance(desired, observed, attempt, now),
            AttemptState::Ending { since, end, message } => {
                while_ending(observed, attempt, (*since, *end, message), now)
            }
        },
    }
}

fn without_attempt(desired: &Desired, observed: &Observation, now: Time) -> Step {
    if desired.deleting {
        return (observed.finalizer.then_some(Action::RemoveFinalizer), None);
    }
    match goal(desired, None, now) {
        Goal::Present if desired.accepted.is_ok() => (Some(intent(desired, 1, 1, None, 0)), None),
        _ => (None, None),
    }
}

fn with_intent(desired: &Desired, observed: &Observation, attempt: &Attempt, now: Time) -> Step {
    let number = attempt.number;
    let why = match &observed.instance {
        Observed::Unknown => return (None, None),
        Observed::Known(Instance::Running { provider_id }) => {
            return (Some(Action::RecordCreated { number, provider_id: provider_id.clone() }), None);
        }
        Observed::Known(Instance::Absent { why }) => why,
    };
    let gone = |end, message| (Some(Action::RecordGone { number, end, message }), None);
    if let Goal::Absent(end, message) = goal(desired, Some(attempt), now) {
        return gone(end, message);
    }
    // A provider that can say how it ended has had it: it came and went before it was seen.
    if !why.is_empty() {
        return gone(End::Lost, why.clone());
    }
    if let Err(refusal) = &desired.accepted {
        return gone(End::CreateFailed, refusal.message.clone());
    }
    let deadline = attempt.intended_at + desired.startup_timeout;
    if now >= deadline {
        let (times, limit) = (attempt.asked.map_or(0, |asked| asked.times), desired.startup_timeout.as_secs());
        let message = format!(
            "not made within spec.startupTimeout ({limit} s), in which the provider was asked {times} times; see whether the provider is up"
        );
        return gone(End::StartupTimeout, message);
    }
    match ask_again(observed, attempt) {
        Some(at) if now < at => (None, Some(at.min(deadline))),
        _ => (Some(Action::Create { number }), Some(deadline)),
    }
}

/// When the provider may be asked again what it was asked already in this state of the attempt.
fn ask_again(observed: &Observation, attempt: &Attempt) -> Option<Time> {
    let asked = attempt.asked?;
    Some(asked.last + backoff::delay(asked.times, observed.jitter).clamp(ASK_AGAIN.0, ASK_AGAIN.1))
}

fn with_instance(desired: &Desired, observed: &Observation, attempt: &Attempt, now: Time) -> Step {
    let number = attempt.number;
    match &observed.instance {
        // Our own wish may be recorded without looking; ending the instance waits until it is seen.
        Observed::Unknown => match goal(desired, Some(attempt), now) {
            Goal::Absent(end, message) => (Some(Action::BeginEnd { number, end, message }), None),
            Goal::Present => (None, expires_at(desired, attempt)),
        },
        Observed::Known(Instance::Absent { why }) => {
            let message = if why.is_empty() { "the provider says that it is gone".to_owned() } else { why.clone() };
            let (end, message) = match goal(desired, Some(attempt), now) {
                Goal::Absent(end, _) => (end, message),
                Goal::Present => (End::Lost, message),
            };
            (Some(Action::RecordGone { number, end, message }), None)
        }
        Observed::Known(Instance::Running { .. }) => running(desired, observed, attempt, now),
    }
}

fn running(desired: &Desired, observed: &Observation, attempt: &Attempt, now: Time) -> Step {
    let number = attempt.number;
    if let Goal::Absent(end, message) = goal(desired, Some(attempt), now) {
        return (Some(Action::BeginEnd { number, end, message }), None);
    }
    let mut wake = expires_at(desired, attempt);
    match &observed.agent {
        Agent::Heard { warm, .. } if attempt.ready_at.is_none() && *warm >= desired.slots => {
            return (Some(Action::RecordReady { number }), None);
        }
        Agent::Heard { .. } | Agent::Unheard { .. } | Agent::Silent { .. } if attempt.ready_at.is_none() => {
            let since = match &observed.agent {
                Agent::Unheard { since } => (*since).max(attempt.intended_at),
                // It had begun: from its last word, or from when somebody listened for the next.
                Agent::Silent { since, listening, .. } => (*since).max(*listening).max(attempt.intended_at),
                _ => attempt.intended_at,
            };
            let deadline = since + desired.startup_timeout;
            if now >= deadline {
                let message = format!("not ready within spec.startupTimeout ({} s)", desired.startup_timeout.as_secs());
                return (Some(Action::BeginEnd { number, end: End::StartupTimeout, message }), None);
            }
            wake = earliest(wake, Some(deadline));
        }
        Agent::Heard { .. } | Agent::Unheard { .. } | Agent::Silent { .. } | Agent::Unknown => {}
    }
    if observed.leases.is_empty() && matches!(observed.agent, Agent::Heard { .. }) {
        if attempt.launch != desired.launch && desired.accepted.is_ok() {
            let message = "the spec asks for another instance".to_owned();
            return (Some(Action::BeginEnd { number, end: End::SpecChanged, message }), None);
        }
        if let (Some(since), Some(idle), false) = (report::idle_since(observed), desired.idle_timeout, observed.wanted)
        {
            if now >= since + idle {
                let message = format!("no lease for {} s; it starts again when a lease asks for it", idle.as_secs());
                return (Some(Action::BeginEnd { number, end: End::Idle, message }), None);
            }
            wake = earliest(wake, Some(since + idle));
        }
    }
    (None, wake)
}

fn while_ending(observed: &Observation, attempt: &Attempt, ending: (Time, End, &String), now: Time) -> Step {
    let number = attempt.number;
    let (since, end, message) = ending;
    match &observed.instance {
        Observed::Unknown => (None, None),
        Observed::Known(Instance::Absent { why }) => {
            // What the provider knows of it is wanted where the end is a failure to be understood.
            let message = match end.is_failure() && !why.is_empty() {
                true => format!("{message}; {why}"),
                false => message.clone(),
            };
            (Some(Action::RecordGone { number, end, message }), None)
        }
        Observed::Known(Instance::Running { .. }) => {
            let force_at = since + TERMINATE_GRACE;
            let (force, forced) = (now >= force_at, attempt.asked.is_some_and(|asked| asked.last >= force_at));
            match ask_again(observed, attempt) {
                Some(at) if now < at && (forced || !force) => (None, Some(if forced { at } else { at.min(force_at) })),
                _ => (Some(Action::Terminate { number, force }), (!force).then_some(force_at)),
            }
        }
    }
}

fn after_gone(desired: &Desired, observed: &Observation, attempt: &Attempt, gone: (Time, End), now: Time) -> Step {
    if desired.deleting {
        return (observed.finalizer.then_some(Action::RemoveFinalizer), None);
    }
    if desired.accepted.is_err()
        || matches!(goal(desired, new_run(observed, gone.1).is_none().then_some(attempt), now), Goal::Absent(..))
    {
        return (None, None);
    }
    if let Some(ready) = new_run(observed, gone.1) {
        return (ready.then(|| intent(desired, attempt.number + 1, attempt.run + 1, None, 0)), None);
    }
    let failures = failures(desired, attempt, gone);
    if failures > desired.retry_limit {
        return (None, None);
    }
    let at = gone.0 + backoff::delay(failures, observed.jitter);
    if now < at {
        return (None, Some(at));
    }
    (Some(intent(desired, attempt.number + 1, attempt.run, Some(attempt.run_at), failures)), None)
}

/// After an end that was no failure a new run begins: `Some(whether now)`. `None`: the run goes on.
fn new_run(observed: &Observation, end: End) -> Option<bool> {
    match end {
        End::Idle => Some(observed.wanted),
        End::Suspended | End::Deleted | End::Stopped => Some(true),
        End::Expired | End::SpecChanged | End::StartupTimeout | End::CreateFailed | End::Lost => None,
    }
}

/// Failures in a row, this end counted. A new generation and ten good minutes start from none.
fn failures(desired: &Desired, attempt: &Attempt, gone: (Time, End)) -> u32 {
    let healthy = attempt.ready_at.is_some_and(|ready| {
        gone.0 - ready >= chrono::TimeDelta::from_std(HEALTHY_AFTER).unwrap_or(chrono::TimeDelta::MAX)
    });
    match gone.1.is_failure() {
        _ if desired.generation > attempt.generation => 0,
        false => 0,
        true if healthy => 1,
        true => attempt.failures + 1,
    }
}

fn goal(desired: &Desired, attempt: Option<&Attempt>, now: Time) -> Goal {
    if desired.deleting {
        return Goal::Absent(End::Deleted, "the object is being deleted".to_owned());
    }
    if desired.suspend {
        return Goal::Absent(End::Suspended, "spec.suspend is true".to_owned());
    }
    match attempt.and_then(|attempt| expires_at(desired, attempt)) {
        Some(at) if now >= at => Goal::Absent(
            End::Expired,
            "spec.timeout is over; delete the machine and apply it again, or raise spec.timeout".to_owned(),
        ),
        _ => Goal::Present,
    }
}

fn expires_at(desired: &Desired, attempt: &Attempt) -> Option<Time> {
    desired.timeout.map(|timeout| attempt.run_at + timeout)
}

fn intent(desired: &Desired, number: u32, run: u32, run_at: Option<Time>, failures: u32) -> Action {
    Action::RecordIntent(Intent {
        number,
        run,
        run_at,
        failures,
        generation: desired.generation,
        launch: desired.launch.clone(),
    })
}

fn earliest(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
