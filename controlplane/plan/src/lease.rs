//! One lease: from waiting to bound, through the agent's end of it, to ended.
//!
//! ```text
//!   (no row) ──Enqueue──▶ Waiting ──(queue binds)──▶ Bound ──(agent: session)──▶ active … disconnected …
//!                 │  ▲                       │                       │
//!   waiter gone,  │  └──PutBack──────────────┘ no ack in 10 s        │ an executor ended, the machine is gone, or the object is deleted:
//!   unsatisfiable ▼                                                  ▼ Revoke what is left
//!               Ended ◀──────────── End, when every slot is released ┘
//! ```
//! Invariants: a bound lease is never ended because time passed here, the agent judges that; it ends when an agent says that a process of it ended, when
//! its machine is gone, when its owner deletes it, or when its agent says that its client is silent and others wait, and only after each of its slots is
//! released.

mod report;
#[cfg(test)]
mod tests;

use std::time::Duration;

use torch_remote_api::gpu::GpuType;
use torch_remote_api::lease::{BIND_ACK, DeviceLeaseStatus, EndReason, Endpoint, Queue, SILENT_RECLAIM, WAITER_TTL};

use crate::{SlotAt, Time, backoff};

/// Longest wait for the acknowledgement of a bind to a slot that is still warming; [`BIND_ACK`] else.
pub const WARM_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest rest of a lease that was put back.
pub const LONGEST_REST: Duration = Duration::from_secs(30);

/// What the owner asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Revision of the spec.
    pub generation: i64,
    /// Deletion was asked for: the lease is to be given back.
    pub deleting: bool,
    /// Longest wait; `None`: as long as it takes.
    pub wait_timeout: Option<Duration>,
}

/// Where the lease stands, by our own rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// In the queue.
    Waiting,
    /// Slots are given to it.
    Bound,
    /// Over.
    Ended {
        /// Why.
        reason: EndReason,
        /// In words.
        message: String,
    },
}

/// Our row of the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Where it stands.
    pub state: State,
    /// Waiting since; later than its creation if it was put back.
    pub waiting_since: Time,
    /// How often it was put back.
    pub put_back: u32,
    /// Last renewal of its wait; `None`: made without the SDK.
    pub renewed_at: Option<Time>,
}

/// What an agent says of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not heard now.
    Unknown,
    /// Its executor is starting.
    Warming,
    /// Waiting for a lease or for a session.
    Idle,
    /// A session is open.
    Active,
    /// A session without a connection.
    Disconnected,
    /// The process is ending.
    Releasing,
}

/// How a binding ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The agent's reason, or `Lost`.
    pub reason: EndReason,
    /// In words.
    pub message: String,
}

/// One slot of the lease's current round of binding.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// Where, at which epoch.
    pub at: SlotAt,
    /// `namespace/name` of the machine.
    pub machine: String,
    /// Index of its GPU.
    pub gpu: u32,
    /// Type of its GPU, if the machine is still there to tell.
    pub gpu_type: Option<GpuType>,
    /// When it was bound.
    pub bound_at: Time,
    /// Longest life from the first session on, as its agent was told.
    pub duration: Option<Duration>,
    /// The agent has acknowledged it, and can be reached there.
    pub acked: Option<Vec<Endpoint>>,
    /// The agent refuses it, in its words.
    pub refused: Option<String>,
    /// When its first session opened.
    pub session_at: Option<Time>,
    /// Revocation was asked for.
    pub revoked: bool,
    /// It is over.
    pub released: Option<Release>,
    /// What the agent says of it now.
    pub phase: Phase,
    /// How long its client had been silent when the agent said so.
    pub silent: Duration,
    /// How long no operator had been queued or running.
    pub idle: Duration,
}

/// Whether anything there is, now or later, can satisfy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// Something can.
    Possible,
    /// Nothing ever will: what there is instead.
    Never {
        /// For the message.
        exists: String,
    },
}

/// All that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Our finalizer is on the object.
    pub finalizer: bool,
    /// Our row.
    pub live: Option<Live>,
    /// Bindings of the current round.
    pub bindings: Vec<Binding>,
    /// Bindings of earlier rounds that are not released.
    pub older: u32,
    /// Whether it can be satisfied; read only while it waits.
    pub fit: Fit,
    /// Its place, while it waits, and why in words.
    pub queue: Option<(Queue, String)>,
    /// Somebody waits for what it holds.
    pub wanted: bool,
    /// Since when this control plane can hear waiters: no wait is judged by silence before it.
    pub serving_since: Time,
    /// From 0 to 1.
    pub jitter: f64,
    /// What the object's status says.
    pub status: DeviceLeaseStatus,
}

/// What to do. Safe to repeat.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Put our finalizer on the object.
    AddFinalizer,
    /// Make its row, waiting.
    Enqueue,
    /// Back to the head of the queue, in one step with its slots: half of it done would leave a lease bound to fewer slots than it asked for.
    PutBack {
        /// These binds were not acknowledged: release the bindings, raise the epochs, bind nothing there until the agent says that it is empty.
        quarantine: Vec<SlotAt>,
        /// Revoke these.
        revoke: Vec<SlotAt>,
        /// Before it may be bound again, so that a machine that refuses does not spin.
        rest: Duration,
    },
    /// Ask the agents to end these.
    Revoke {
        /// Which.
        slots: Vec<SlotAt>,
        /// Why.
        reason: EndReason,
        /// In words.
        message: String,
    },
    /// It is over.
    End {
        /// Why.
        reason: EndReason,
        /// In words.
        message: String,
    },
    /// Nothing is left: let the object go.
    RemoveFinalizer,
    /// Write the status.
    Report(Box<DeviceLeaseStatus>),
}

/// Actions, and when to look again without being woken.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In order.
    pub actions: Vec<Action>,
    /// The next moment at which time alone changes the plan.
    pub wake: Option<Time>,
}

/// What to do for one lease.
pub fn plan(desired: &Desired, observed: &Observation, now: Time) -> Plan {
    let (mut actions, wake) = if !desired.deleting && !observed.finalizer {
        (vec![Action::AddFinalizer], None)
    } else {
        next(desired, observed, now)
    };
    let status = report::status(desired, observed, now);
    if status != observed.status {
        actions.push(Action::Report(Box::new(status)));
    }
    Plan { actions, wake }
}

fn next(desired: &Desired, observed: &Observation, now: Time) -> (Vec<Action>, Option<Time>) {
    match observed.live.as_ref().map(|live| (live, &live.state)) {
        None if desired.deleting => (observed.finalizer.then_some(Action::RemoveFinalizer).into_iter().collect(), None),
        None => (vec![Action::Enqueue], None),
        Some((live, State::Waiting)) => waiting(desired, observed, live, now),
        Some((live, State::Bound)) => bound(desired, observed, live, now),
        Some((_, State::Ended { .. })) => {
            let left = observed.older > 0 || observed.bindings.iter().any(|binding| binding.released.is_none());
            (
                (desired.deleting && observed.finalizer && !left)
                    .then_some(Action::RemoveFinalizer)
                    .into_iter()
                    .collect(),
                None,
            )
        }
    }
}

fn waiting(desired: &Desired, observed: &Observation, live: &Live, now: Time) -> (Vec<Action>, Option<Time>) {
    if desired.deleting {
        return (vec![end(EndReason::Goodbye, "given back while it waited".to_owned())], None);
    }
    if let Fit::Never { exists } = &observed.fit {
        return (vec![end(EndReason::Unsatisfiable, exists.clone())], None);
    }
    let renewal = live.renewed_at.map(|renewed| renewed.max(observed.serving_since) + WAITER_TTL.get());
    if renewal.is_some_and(|at| now >= at) {
        let message = format!("the process that waited has not renewed its wait for {} s", WAITER_TTL.as_secs());
        return (vec![end(EndReason::Abandoned, message)], None);
    }
    let limit = desired.wait_timeout.map(|limit| live.waiting_since + limit);
    if limit.is_some_and(|at| now >= at) {
        let seconds = desired.wait_timeout.unwrap_or_default().as_secs();
        return (
            vec![end(
                EndReason::WaitTimeout,
                format!(
                    "no slot became free in spec.waitTimeout ({seconds} s); ask again with a longer one, or for another GPU"
                ),
            )],
            None,
        );
    }
    (vec![], [renewal, limit].into_iter().flatten().min())
}

fn bound(desired: &Desired, observed: &Observation, live: &Live, now: Time) -> (Vec<Action>, Option<Time>) {
    let bindings = &observed.bindings;
    let rest = backoff::delay(live.put_back.saturating_add(1), observed.jitter).min(LONGEST_REST);
    let refused = |binding: &Binding| binding.acked.is_none() && binding.refused.is_some();
    // Before its owner's wish: where the machine is gone too, nobody is left to revoke it.
    if bindings.iter().any(refused) && bindings.iter().all(|binding| binding.released.is_none()) {
        let revoke = select(bindings, |binding| !refused(binding) && !binding.revoked);
        return (vec![Action::PutBack { quarantine: select(bindings, refused), revoke, rest }], None);
    }
    if let Some((reason, message)) = over(desired, observed) {
        if bindings.iter().all(|binding| binding.released.is_some()) {
            return (vec![Action::End { reason, message }], None);
        }
        let slots = select(bindings, |binding| binding.released.is_none() && !binding.revoked);
        let revoke = Action::Revoke { slots: slots.clone(), reason, message };
        return ((!slots.is_empty()).then_some(revoke).into_iter().collect(), None);
    }
    let silent = |binding: &Binding| binding.phase == Phase::Disconnected && binding.silent >= SILENT_RECLAIM.get();
    if observed.wanted && bindings.iter().any(silent) {
        let slots = select(bindings, |binding| !binding.revoked);
        let message = format!("its client was silent for {} s while others waited", SILENT_RECLAIM.as_secs());
        let revoke = Action::Revoke { slots: slots.clone(), reason: EndReason::Silent, message };
        return ((!slots.is_empty()).then_some(revoke).into_iter().collect(), None);
    }
    let late = |binding: &Binding| binding.acked.is_none() && now >= ack_deadline(binding);
    if bindings.iter().any(late) {
        let revoke = select(bindings, |binding| !late(binding) && !binding.revoked);
        return (vec![Action::PutBack { quarantine: select(bindings, late), revoke, rest }], None);
    }
    (vec![], bindings.iter().filter(|binding| binding.acked.is_none()).map(ack_deadline).min())
}

/// Why a bound lease is over: what an agent said first, else its owner's wish.
fn over(desired: &Desired, observed: &Observation) -> Option<(EndReason, String)> {
    match observed.bindings.iter().find_map(|binding| binding.released.as_ref()) {
        Some(release) => Some((release.reason, release.message.clone())),
        None => desired.deleting.then(|| (EndReason::Goodbye, "given back by its owner".to_owned())),
    }
}

fn ack_deadline(binding: &Binding) -> Time {
    binding.bound_at + if binding.phase == Phase::Warming { WARM_TIMEOUT } else { BIND_ACK.get() }
}

fn select(bindings: &[Binding], wanted: impl Fn(&Binding) -> bool) -> Vec<SlotAt> {
    bindings.iter().filter(|binding| wanted(binding)).map(|binding| binding.at.clone()).collect()
}

fn end(reason: EndReason, message: String) -> Action {
    Action::End { reason, message }
}
