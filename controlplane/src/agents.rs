//! The Control client: one stream to each agent whose machine this replica holds.
//!
//! Owns connecting, telling agents what rows say, and writing down what they answer. Leaves deciding to `torch_remote_plan`, rows to the store.
//! Invariants: what an agent is told follows from committed rows, looked at every 100 ms; what it says is written under the claim of its stream, and under an
//! older claim not at all; a slot is free only on the agent's word that the process is reaped.

mod connect;
mod conversation;
mod refusals;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use torch_remote_api::agent::Listen;
use torch_remote_plan::backoff;
use uuid::Uuid;

use crate::apiserver::audit::Trail;
use crate::auth::Keys;
use crate::reconcile::{Parts, Wake};
use crate::store::claim::Claim;
use crate::store::slot::{self, Pending};
use crate::store::{Key, Objects};

/// Between two looks at the rows: the truth about what agents are to be told. A poke makes it sooner.
const POLL: Duration = Duration::from_millis(100);
/// Longest wait between two tries to connect.
const LONGEST: Duration = Duration::from_secs(5);
/// Orders that may wait for a stream; more are found again by the next look.
const ORDERS: usize = 64;

/// An agent to speak with.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Under this claim.
    pub claim: Claim,
    /// Of this attempt.
    pub attempt: u32,
    /// The machine's object.
    pub machine: Key,
    /// Where it listens.
    pub control: Listen,
}

/// The streams of this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Agents(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    objects: Objects,
    keys: Keys,
    wake: Wake,
    trail: Trail,
    heartbeat: Duration,
    streams: Mutex<HashMap<Uuid, Stream>>,
    poked: Notify,
    tasks: tokio_util::task::TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Stream {
    target: Target,
    orders: mpsc::Sender<Pending>,
    stop: CancellationToken,
}

impl Agents {
    pub(crate) fn new(parts: &Parts, wake: Wake) -> Self {
        Self(Arc::new(Shared {
            objects: parts.objects.clone(),
            keys: parts.keys.clone(),
            wake,
            trail: parts.trail.clone(),
            heartbeat: parts.timing.heartbeat,
            streams: Mutex::default(),
            poked: Notify::new(),
            tasks: tokio_util::task::TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Speaks with this agent from now on; with another one of its machine no more.
    pub fn join(&self, target: Target) {
        let mut streams = self.streams();
        if streams.get(&target.claim.machine).is_some_and(|stream| stream.target == target) {
            return;
        }
        let (orders, taken) = mpsc::channel(ORDERS);
        let stop = self.0.stop.child_token();
        let shared = self.0.clone();
        self.0.tasks.spawn(keep(shared, target.clone(), taken, stop.clone()));
        if let Some(before) = streams.insert(target.claim.machine, Stream { target, orders, stop }) {
            before.stop.cancel();
        }
    }

    /// Speaks with no agent of this machine any more.
    pub fn leave(&self, machine: Uuid) {
        if let Some(stream) = self.streams().remove(&machine) {
            stream.stop.cancel();
        }
    }

    /// Looks at the rows now.
    pub fn poke(&self) {
        self.0.poked.notify_one();
    }

    /// Tells agents what the rows say until told to stop, then ends all streams. Leases go on.
    pub async fn run(&self, stop: CancellationToken) {
        // Also when this future is dropped, no stream outlives it.
        let _streams = self.0.stop.clone().drop_guard();
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
                () = self.0.poked.notified() => {}
            }
            let machines: Vec<Uuid> = self.streams().keys().copied().collect();
            if machines.is_empty() {
                continue;
            }
            match slot::pending(self.0.objects.pool(), &machines).await {
                Ok(pending) => self.hand_out(pending),
                Err(error) => tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "could not look at what agents are to be told"
                ),
            }
        }
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn hand_out(&self, pending: Vec<Pending>) {
        let streams = self.streams();
        for order in pending {
            // A stream that is full or gone hears of it at a later look.
            if let Some(stream) = streams.get(&order.machine) {
                drop(stream.orders.try_send(order));
            }
        }
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<Uuid, Stream>> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects, converses, and connects again, until told to stop.
async fn keep(shared: Arc<Shared>, target: Target, mut orders: mpsc::Receiver<Pending>, stop: CancellationToken) {
    let mut failures = 0_u32;
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = conversation::converse(&shared, &target, &mut orders) => ended,
        };
        let greeted = ended.greeted;
        failures = if greeted { 1 } else { failures.saturating_add(1) };
        match &ended.error {
            conversation::Error::NotOurs => {
                tracing::info!(machine = %target.machine, "another replica has taken the machine");
                return;
            }
            conversation::Error::KeysChanged => {
                tracing::info!(machine = %target.machine, "opening the Control stream again: the signing keys are others now")
            }
            // An agent that has just been started is not there yet.
            error if !greeted && failures < 20 => {
                tracing::debug!(%error, machine = %target.machine, "no Control stream yet")
            }
            error => {
                tracing::warn!(error = error as &dyn std::error::Error, machine = %target.machine, "a Control stream ended and is opened again")
            }
        }
        shared.wake.wake(crate::reconcile::Work::Machine(target.machine.clone()));
        let wait = (backoff::delay(failures, rand::random()) / 10).min(LONGEST);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
