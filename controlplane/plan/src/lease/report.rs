//! What the status of a lease says.

use super::{Desired, Observation, Phase, State};
use crate::{Epoch, Fact, Time, Truth};

/// How to reach and trust a slot: architecture, Trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `unix` or `tcp`.
    pub kind: String,
    /// Path, or host:port.
    pub address: String,
    /// `none`, `system`, `spkiSHA256:…` or `caBundle:…`.
    pub tls: String,
}

/// A slot the lease has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// `namespace/name` of the machine.
    pub machine: String,
    /// Its uid.
    pub machine_uid: String,
    /// Index of the GPU.
    pub index: u32,
    /// Index of the slot.
    pub slot: u32,
    /// Fencing number.
    pub epoch: Epoch,
    /// Where it is, once acknowledged.
    pub endpoints: Vec<Endpoint>,
}

/// Place in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// From 1.
    pub position: u32,
    /// Why it waits, stable.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// The status this planner owns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// Generation the facts are about.
    pub observed_generation: i64,
    /// Conditions: Accepted, Bound, Active, Ended.
    pub facts: Vec<Fact>,
    /// While it waits.
    pub queue: Option<Queue>,
    /// While it is bound, and after, what it had.
    pub devices: Vec<Device>,
    /// When its duration is over; known from its first session on.
    pub expires_at: Option<Time>,
}

pub(super) fn status(desired: &Desired, observed: &Observation) -> Status {
    let state = observed.live.as_ref().map(|live| &live.state);
    let all = |wanted: fn(&super::Binding) -> bool| !observed.bindings.is_empty() && observed.bindings.iter().all(wanted);
    let (bound, active, ended) = match state {
        None | Some(State::Waiting) => {
            let reason = observed.queue.as_ref().map_or("Queued", |_| "Waiting");
            let message = observed.queue.as_ref().map(|queue| queue.message.clone()).unwrap_or_default();
            (Fact::new("Bound", Truth::False, reason, message), Fact::new("Active", Truth::False, "NotBound", ""), Fact::new("Ended", Truth::False, "Waiting", ""))
        }
        Some(State::Bound) => {
            let bound = if all(|binding| binding.acked.is_some()) {
                Fact::new("Bound", Truth::True, "Bound", "")
            } else {
                Fact::new("Bound", Truth::False, "Binding", "waiting for the agent to acknowledge")
            };
            (bound, active(observed), ended_fact(observed))
        }
        Some(State::Ended { reason, message }) => {
            let over = |kind: &'static str, truth| Fact { kind: kind.into(), truth, reason: reason.clone().into(), message: message.clone() };
            (over("Bound", Truth::False), over("Active", Truth::False), over("Ended", Truth::True))
        }
    };
    let accepted = match state {
        Some(State::Ended { reason, message }) if reason == "Unsatisfiable" => Fact::new("Accepted", Truth::False, "Unsatisfiable", message.clone()),
        _ => Fact::new("Accepted", Truth::True, "Accepted", ""),
    };
    let started = observed.bindings.iter().filter_map(|binding| binding.session_at).min();
    Status {
        observed_generation: desired.generation,
        facts: vec![accepted, bound, active, ended],
        queue: observed.queue.clone().filter(|_| matches!(state, None | Some(State::Waiting))),
        devices: devices(observed, state),
        expires_at: started.map(|at| at + desired.duration),
    }
}

fn devices(observed: &Observation, state: Option<&State>) -> Vec<Device> {
    if matches!(state, None | Some(State::Waiting)) {
        return vec![];
    }
    let device = |binding: &super::Binding| Device {
        machine: binding.machine.clone(),
        machine_uid: binding.at.machine.0.clone(),
        index: binding.gpu,
        slot: binding.at.slot,
        epoch: binding.at.epoch,
        endpoints: binding.acked.clone().unwrap_or_default(),
    };
    observed.bindings.iter().map(device).collect()
}

fn active(observed: &Observation) -> Fact {
    let phases: Vec<Phase> = observed.bindings.iter().filter(|binding| binding.released.is_none()).map(|binding| binding.phase).collect();
    let before = observed.status.facts.iter().find(|fact| fact.kind == "Active" && fact.truth != Truth::False);
    if phases.contains(&Phase::Disconnected) {
        return Fact::new("Active", Truth::Unknown, "Disconnected", "the client is silent; its tensors are kept until spec.reconnectWindow is over");
    }
    if phases.contains(&Phase::Active) {
        return Fact::new("Active", Truth::True, "Active", "");
    }
    match before {
        // Not heard is not ended: the last word stands.
        Some(before) if phases.contains(&Phase::Unknown) => before.clone(),
        _ => Fact::new("Active", Truth::False, "NoSession", "no session has been opened yet"),
    }
}

fn ended_fact(observed: &Observation) -> Fact {
    let releasing = observed.bindings.iter().any(|binding| binding.revoked || binding.released.is_some() || binding.phase == Phase::Releasing);
    Fact::new("Ended", Truth::False, if releasing { "Releasing" } else { "Bound" }, "")
}
