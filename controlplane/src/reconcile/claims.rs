//! The machines this replica holds.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::agents::Agents;
use crate::store::Error;
use crate::store::claim::{self, Claim};

/// Between two renewals.
const RENEW: Duration = Duration::from_secs(5);

/// Claims in hand. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Claims {
    pool: PgPool,
    replica: Arc<str>,
    held: Arc<Mutex<HashMap<Uuid, Claim>>>,
}

impl Claims {
    /// None yet.
    pub fn new(pool: PgPool, replica: String) -> Self {
        Self { pool, replica: replica.into(), held: Arc::default() }
    }

    /// The claim on a machine: that in hand, or a new one, or `None` when another replica has it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn hold(&self, machine: Uuid) -> Result<Option<Claim>, Error> {
        if let Some(claim) = self.held().get(&machine) {
            return Ok(Some(*claim));
        }
        let taken = claim::acquire(&self.pool, &self.replica, &[machine]).await?;
        self.held().extend(taken.iter().map(|claim| (claim.machine, *claim)));
        Ok(taken.into_iter().next())
    }

    /// Gives back the claim on a machine at rest, if it is in hand.
    ///
    /// # Errors
    /// The database failed; the claim ends by itself.
    pub async fn give_back(&self, machine: Uuid) -> Result<(), Error> {
        let held = self.held().remove(&machine);
        match held {
            Some(claim) => claim::release(&self.pool, &self.replica, &[claim]).await,
            None => Ok(()),
        }
    }

    /// Lets a machine go that is no more.
    pub fn forget(&self, machine: Uuid) {
        self.held().remove(&machine);
    }

    /// Renews until told to stop, then gives all back. A lost claim ends its Control stream.
    pub async fn run(&self, agents: Agents, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(RENEW);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => self.renew(&agents).await,
            }
        }
        let held: Vec<Claim> = self.held().drain().map(|(_, claim)| claim).collect();
        if let Err(error) = claim::release(&self.pool, &self.replica, &held).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "claims not given back; they end by themselves");
        }
    }

    async fn renew(&self, agents: &Agents) {
        let held: Vec<Claim> = self.held().values().copied().collect();
        if held.is_empty() {
            return;
        }
        match claim::renew(&self.pool, &self.replica, &held).await {
            Ok(renewed) => {
                let renewed: HashSet<Uuid> = renewed.into_iter().collect();
                for lost in held.iter().filter(|claim| !renewed.contains(&claim.machine)) {
                    tracing::info!(machine = %lost.machine, "another replica has taken the machine");
                    self.forget(lost.machine);
                    agents.leave(lost.machine);
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "claims not renewed; tried again in 5 s")
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Uuid, Claim>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
