//! A slot's life as a machine without IO.
//!
//! Owns epochs, deadlines and which process serves whom. Leaves processes, sockets and the wire to `supervise`. Invariants: the epoch only grows; at most one
//! lease is served, and the next only after the process of the one before is reaped; each lease that was Bound is Released once.

use std::time::Duration;

use torch_remote_proto::v1::SlotPhase;

use crate::link::Pulse;

mod holding;
#[cfg(test)]
mod tests;

pub use holding::Figures;
use holding::{Holding, Revocation, Session};

/// What a lease is bound with. Durations of zero mean "never", save `open_timeout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Fencing number.
    pub epoch: u64,
    /// `metadata.uid`.
    pub lease_uid: String,
    /// `namespace/name`.
    pub lease_name: String,
    /// From the first session on.
    pub duration: Duration,
    /// Silence that ends it.
    pub reconnect_window: Duration,
    /// A lost connection of a process that cannot come back ends it after this.
    pub orphan: Duration,
    /// Can come back.
    pub resumable: bool,
    /// No operator queued or running this long ends it.
    pub idle_timeout: Duration,
    /// No session opened this long after Bind ends it.
    pub open_timeout: Duration,
    /// Limit of device memory, bytes; 0 = the device's.
    pub memory_bytes: u64,
    /// Trace context.
    pub traceparent: String,
}

/// What happens to a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The process has loaded torch.
    Ready,
    /// The control plane gives the slot to a lease.
    Bind(Bind),
    /// The control plane ends what runs at this epoch or a lower one.
    Revoke {
        /// Fencing number.
        epoch: u64,
        /// CamelCase.
        reason: String,
        /// For people.
        message: String,
        /// Until then the session goes on.
        grace: Duration,
    },
    /// The process says how its session stands.
    Pulse(Pulse),
    /// The process says that its session is over.
    Finished {
        /// CamelCase.
        reason: String,
        /// For people.
        message: String,
    },
    /// The process is reaped.
    Reaped {
        /// How it ended.
        status: String,
    },
    /// Time passes.
    Tick,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Start a process.
    Start,
    /// Tell the process that it serves this lease.
    Serve(Bind),
    /// Show the user something.
    Notice {
        /// CamelCase.
        reason: &'static str,
        /// For people.
        message: String,
        /// From now.
        deadline: Duration,
    },
    /// Tell the process to say farewell and exit.
    End {
        /// CamelCase.
        reason: String,
        /// For people.
        message: String,
    },
    /// Kill the process group.
    Kill,
    /// Tell the control plane.
    Say(News),
}

/// What the control plane is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The lease is bound.
    Bound {
        /// Fencing number.
        epoch: u64,
        /// Lease.
        lease_uid: String,
    },
    /// It is not.
    BindRefused {
        /// Fencing number.
        epoch: u64,
        /// CamelCase.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// The process of the epoch is reaped.
    Released {
        /// Fencing number.
        epoch: u64,
        /// Lease, empty where the epoch had none.
        lease_uid: String,
        /// CamelCase.
        reason: String,
        /// For people.
        message: String,
    },
}

/// The machine.
///
/// ```text
///          Ready           Bind             Pulse
/// Warming ───────▶ Free ─────────▶ Held ──────────┐
///  ▲ │ ▲                            │ ▲            │
///  │ │ └─ Tick ── Down ◀─ Reaped    │ └────────────┘
///  │ ▼                              ▼ deadline, Revoke, Finished
///  │ Promised (Bind while warming)  Ending
///  └──────────── Reaped: Released ◀─┘
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    highest: u64,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The process loads torch; killed when it takes too long.
    Warming { since: Duration },
    /// The same, and a lease waits for it.
    Promised { since: Duration, bind: Bind },
    /// Ready, nobody's.
    Free,
    /// A lease's.
    Held(Box<Holding>),
    /// Its process is to end.
    Ending(Ending),
    /// A process failed to start: another is tried later.
    Down { again: Duration },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Ending {
    epoch: u64,
    lease_uid: String,
    reason: String,
    message: String,
    kill_at: Duration,
    /// Revokes that wait for the same process, by epoch.
    owed: Vec<u64>,
}

/// Loading torch takes 0.4 s; on a busy machine with a cold disk, much longer.
const WARM_WITHIN: Duration = Duration::from_secs(180);
/// Between two tries to start a process.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// For the farewell to reach the client.
const FAREWELL: Duration = Duration::from_secs(2);
impl Slot {
    /// With its first process started.
    pub fn new(now: Duration) -> (Slot, Vec<Output>) {
        (Slot { highest: 0, state: State::Warming { since: now } }, vec![Output::Start])
    }

    /// Takes one input at `now`.
    pub fn step(self, input: Input, now: Duration) -> (Slot, Vec<Output>) {
        match input {
            Input::Ready => self.ready(now),
            Input::Bind(bind) => self.bind(bind, now),
            Input::Revoke { epoch, reason, message, grace } => {
                let earlier = Vec::new();
                self.revoke(Revocation { at: now + grace, epoch, earlier, reason, message }, now)
            }
            Input::Pulse(pulse) => self.pulse(pulse, now),
            Input::Finished { reason, message } => self.finished(reason, message, now),
            Input::Reaped { status } => self.reaped(status, now),
            Input::Tick => self.tick(now),
        }
    }

    /// Highest epoch seen.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// A lease is bound or its process not reaped.
    pub fn leased(&self) -> bool {
        match self.state {
            State::Held(_) | State::Ending(_) | State::Promised { .. } => true,
            State::Warming { .. } | State::Free | State::Down { .. } => false,
        }
    }

    /// The lease that the slot serves or has just served.
    pub fn lease_uid(&self) -> &str {
        match &self.state {
            State::Held(holding) => &holding.bind.lease_uid,
            State::Promised { bind, .. } => &bind.lease_uid,
            State::Ending(ending) => &ending.lease_uid,
            State::Warming { .. } | State::Free | State::Down { .. } => "",
        }
    }

    /// For reports.
    pub fn phase(&self) -> SlotPhase {
        match &self.state {
            State::Warming { .. } | State::Promised { .. } | State::Down { .. } => SlotPhase::Warming,
            State::Free => SlotPhase::Free,
            State::Ending(_) => SlotPhase::Releasing,
            State::Held(holding) => match &holding.session {
                Session::Awaited { .. } => SlotPhase::Bound,
                Session::Open(opened) if opened.lost() => SlotPhase::Disconnected,
                Session::Open(_) => SlotPhase::Active,
            },
        }
    }

    /// Times and counts for reports.
    pub fn figures(&self, now: Duration) -> Figures {
        match &self.state {
            State::Held(holding) => holding.figures(now),
            State::Warming { .. } | State::Promised { .. } | State::Free | State::Ending(_) | State::Down { .. } => {
                Figures::default()
            }
        }
    }

    fn ready(self, now: Duration) -> (Slot, Vec<Output>) {
        match self.state {
            State::Promised { bind, .. } => hold(self.highest, bind, now),
            State::Warming { .. } => (Slot { state: State::Free, ..self }, Vec::new()),
            state @ (State::Free | State::Held(_) | State::Ending(_) | State::Down { .. }) => {
                (Slot { state, ..self }, Vec::new())
            }
        }
    }

    fn bind(self, bind: Bind, now: Duration) -> (Slot, Vec<Output>) {
        let repeated = match &self.state {
            State::Held(holding) => holding.bind.epoch == bind.epoch && holding.bind.lease_uid == bind.lease_uid,
            State::Promised { bind: promised, .. } => {
                if promised.epoch == bind.epoch && promised.lease_uid == bind.lease_uid {
                    return (self, Vec::new());
                }
                false
            }
            State::Warming { .. } | State::Free | State::Ending(_) | State::Down { .. } => false,
        };
        if repeated {
            let news = News::Bound { epoch: bind.epoch, lease_uid: bind.lease_uid };
            return (self, vec![Output::Say(news)]);
        }
        if bind.epoch <= self.highest {
            let message = format!("epoch {} is not above {}, the highest this slot has seen", bind.epoch, self.highest);
            return self.refuse(bind.epoch, "StaleEpoch", message);
        }
        match self.state {
            State::Free => hold(bind.epoch, bind, now),
            State::Warming { since } => {
                (Slot { highest: bind.epoch, state: State::Promised { since, bind } }, Vec::new())
            }
            State::Down { .. } => self.refuse(
                bind.epoch,
                "ExecutorDown",
                "no executor starts on this slot: see the agent's log".to_owned(),
            ),
            State::Held(_) | State::Promised { .. } => {
                self.refuse(bind.epoch, "SlotBusy", "the slot serves another lease".to_owned())
            }
            State::Ending(_) => {
                self.refuse(bind.epoch, "NotReaped", "the process of the lease before is not reaped yet".to_owned())
            }
        }
    }

    fn refuse(self, epoch: u64, reason: &'static str, message: String) -> (Slot, Vec<Output>) {
        (self, vec![Output::Say(News::BindRefused { epoch, reason, message })])
    }

    fn revoke(self, revocation: Revocation, now: Duration) -> (Slot, Vec<Output>) {
        let epoch = revocation.epoch;
        let highest = self.highest.max(epoch);
        let gone = |lease_uid: String| {
            Output::Say(News::Released {
                epoch,
                lease_uid,
                reason: "Revoked".to_owned(),
                message: "nothing of this epoch runs here".to_owned(),
            })
        };
        match self.state {
            State::Held(holding) if epoch >= holding.bind.epoch => {
                let mut holding = holding;
                let known = holding.revoked.as_ref().map(|before| before.at);
                let revocation = revocation.after(holding.revoked.take());
                if revocation.at <= now {
                    let (message, owed) = (revocation.text(), revocation.owed());
                    let (state, outputs) = end(*holding, "Revoked".to_owned(), message, owed, now);
                    return (Slot { highest, state }, outputs);
                }
                let notice = Output::Notice {
                    reason: "Revoked",
                    message: revocation.text(),
                    deadline: revocation.at.saturating_sub(now),
                };
                // The user was told of this deadline before.
                let outputs = if known == Some(revocation.at) { Vec::new() } else { vec![notice] };
                holding.revoked = Some(revocation);
                (Slot { highest, state: State::Held(holding) }, outputs)
            }
            State::Promised { since, bind } if epoch >= bind.epoch => {
                let mut outputs = vec![gone(bind.lease_uid.clone())];
                if bind.epoch != epoch {
                    let message = revocation.text();
                    outputs.push(Output::Say(News::Released {
                        epoch: bind.epoch,
                        lease_uid: bind.lease_uid,
                        reason: "Revoked".to_owned(),
                        message,
                    }));
                }
                (Slot { highest, state: State::Warming { since } }, outputs)
            }
            State::Ending(mut ending) if epoch >= ending.epoch => {
                if !ending.owed.contains(&epoch) {
                    ending.owed.push(epoch);
                }
                (Slot { highest, state: State::Ending(ending) }, Vec::new())
            }
            // An older epoch's process was reaped before the present one was bound.
            state => (Slot { highest, state }, vec![gone(String::new())]),
        }
    }

    fn pulse(self, pulse: Pulse, now: Duration) -> (Slot, Vec<Output>) {
        let State::Held(mut holding) = self.state else { return (self, Vec::new()) };
        holding.pulse(pulse, now);
        (Slot { state: State::Held(holding), ..self }, Vec::new())
    }

    fn finished(self, reason: String, message: String, now: Duration) -> (Slot, Vec<Output>) {
        match self.state {
            State::Held(holding) => {
                let (epoch, lease_uid) = (holding.bind.epoch, holding.bind.lease_uid);
                let owed = holding.revoked.as_ref().map(Revocation::owed).unwrap_or_default();
                // It exits by itself; the deadline is for one that does not.
                let ending = Ending { epoch, lease_uid, reason, message, kill_at: now + FAREWELL, owed };
                (Slot { state: State::Ending(ending), ..self }, Vec::new())
            }
            state => (Slot { state, ..self }, Vec::new()),
        }
    }

    fn reaped(self, status: String, now: Duration) -> (Slot, Vec<Output>) {
        let highest = self.highest;
        let start = |mut outputs: Vec<Output>| {
            outputs.push(Output::Start);
            (Slot { highest, state: State::Warming { since: now } }, outputs)
        };
        match self.state {
            State::Free => start(Vec::new()),
            State::Warming { .. } | State::Down { .. } => {
                (Slot { highest, state: State::Down { again: now + AGAIN_AFTER } }, Vec::new())
            }
            State::Promised { bind, .. } => {
                let message = format!("the executor ended while it loaded torch: {status}");
                Slot { highest, state: State::Down { again: now + AGAIN_AFTER } }.refuse(
                    bind.epoch,
                    "ExecutorDown",
                    message,
                )
            }
            State::Held(holding) => {
                let owed = holding.revoked.as_ref().map(Revocation::owed).unwrap_or_default();
                let ending = Ending {
                    epoch: holding.bind.epoch,
                    lease_uid: holding.bind.lease_uid,
                    reason: "Crashed".to_owned(),
                    message: format!("the executor ended: {status}"),
                    kill_at: now,
                    owed,
                };
                start(released(ending))
            }
            State::Ending(ending) => start(released(ending)),
        }
    }

    fn tick(self, now: Duration) -> (Slot, Vec<Output>) {
        let highest = self.highest;
        match self.state {
            State::Down { again } if now >= again => {
                (Slot { highest, state: State::Warming { since: now } }, vec![Output::Start])
            }
            State::Ending(ref ending) if now >= ending.kill_at => (self, vec![Output::Kill]),
            State::Warming { since } | State::Promised { since, .. } if now >= since + WARM_WITHIN => {
                (self, vec![Output::Kill])
            }
            State::Held(holding) => match holding.due(now) {
                Some((reason, message)) => {
                    let owed = holding.revoked.as_ref().map(Revocation::owed).unwrap_or_default();
                    let (state, outputs) = end(*holding, reason.to_owned(), message, owed, now);
                    (Slot { highest, state }, outputs)
                }
                None => {
                    let mut holding = holding;
                    let outputs = holding.notices(now);
                    (Slot { highest, state: State::Held(holding) }, outputs)
                }
            },
            state @ (State::Down { .. }
            | State::Ending(_)
            | State::Warming { .. }
            | State::Promised { .. }
            | State::Free) => (Slot { highest, state }, Vec::new()),
        }
    }
}

fn hold(highest: u64, bind: Bind, now: Duration) -> (Slot, Vec<Output>) {
    let bound = News::Bound { epoch: bind.epoch, lease_uid: bind.lease_uid.clone() };
    let outputs = vec![Output::Serve(bind.clone()), Output::Say(bound)];
    (Slot { highest, state: State::Held(Box::new(Holding::new(bind, now))) }, outputs)
}

fn end(holding: Holding, reason: String, message: String, owed: Vec<u64>, now: Duration) -> (State, Vec<Output>) {
    let outputs = vec![Output::End { reason: reason.clone(), message: message.clone() }];
    let ending = Ending {
        epoch: holding.bind.epoch,
        lease_uid: holding.bind.lease_uid,
        reason,
        message,
        kill_at: now + FAREWELL,
        owed,
    };
    (State::Ending(ending), outputs)
}

/// The news of a reaped process: its own epoch, and those of revokes that waited for it.
fn released(ending: Ending) -> Vec<Output> {
    let mut epochs = vec![ending.epoch];
    epochs.extend(ending.owed.iter().filter(|epoch| **epoch != ending.epoch));
    epochs.dedup();
    let news = |epoch| News::Released {
        epoch,
        lease_uid: ending.lease_uid.clone(),
        reason: ending.reason.clone(),
        message: ending.message.clone(),
    };
    epochs.into_iter().map(|epoch| Output::Say(news(epoch))).collect()
}
