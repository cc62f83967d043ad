//! Reconcilers: observe, plan, apply, for one key, with no hint of what changed.
//!
//! Owns the loop ([`driver`]), claims, and what is observed and applied for machines, pools, quotas, leases and the queue. Leaves every decision to `torch_remote_plan`,
//! instances to [`crate::provider`] and agents to [`crate::agents`]. Invariants: one key is worked on by one task at a time; news only wakes, the periodic
//! scan alone suffices; whatever is written for a machine names the claim it follows from.

pub mod claims;
pub mod driver;
pub mod garbage;
mod lease;
mod machine;
mod metrics;
mod pool;
mod provider;
mod queue;
mod quota;
mod sweep;
mod wake;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use torch_remote_api::lease::Queue;
use torch_remote_plan::lease::Fit;
use uuid::Uuid;

use crate::agents::Agents;
use crate::apiserver::audit::Trail;
use crate::auth::Keys;
use crate::provider::Providers;
use crate::store::event::Recorder;
use crate::store::{self, Key, Objects, Retry};

pub use claims::Claims;
pub use driver::Driver;
pub use sweep::stop_local;
pub use wake::{Wake, Woken};

/// What reconcilers are made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The store.
    pub objects: Objects,
    /// For events.
    pub recorder: Recorder,
    /// For what agents refused.
    pub trail: Trail,
    /// Signs tokens for agents.
    pub keys: Keys,
    /// What this process can speak to.
    pub providers: Providers,
    /// Name of this replica. A restart under the same name takes its machines over at once, so only one process may bear it at a time.
    pub replica: String,
    /// OTLP endpoint for agents.
    pub otlp: Option<String>,
    /// Times.
    pub timing: Timing,
}

/// Times that tests shorten.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Between two looks at everything.
    pub scan: Duration,
    /// Between two reports of an agent.
    pub heartbeat: Duration,
    /// An agent without contact and lease exits after this.
    pub dead_man: Duration,
    /// Longest call of a provider.
    pub provider: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            scan: Duration::from_secs(15),
            heartbeat: Duration::from_secs(1),
            dead_man: Duration::from_secs(600),
            provider: Duration::from_secs(30),
        }
    }
}

/// What is reconciled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    /// A RemoteMachine.
    Machine(Key),
    /// A DeviceLease.
    Lease(Key),
    /// A Provider.
    Provider(Key),
    /// A MachinePool.
    Pool(Key),
    /// A GPUQuota.
    Quota(Key),
    /// All that waits.
    Queue,
    /// Instances and leases without an object.
    Sweep,
}

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A status did not become JSON.
    #[error("could not write a status as JSON")]
    Json(#[source] serde_json::Error),
    /// Only our own bug.
    #[error("the reconcile ended before its time")]
    Panicked(#[source] tokio::task::JoinError),
    /// It was dropped; what it had not committed is undone.
    #[error("the reconcile was not done within {} s", .0.as_secs())]
    TooLong(Duration),
}

impl Error {
    /// What the driver may do.
    pub fn retry(&self) -> Retry {
        match self {
            Error::Store(error) => error.retry(),
            Error::Json(_) | Error::Panicked(_) | Error::TooLong(_) => Retry::Never,
        }
    }

    /// For metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Store(store::Error::Conflict { .. }) => "Conflict",
            Error::Store(store::Error::Database { .. }) => "Database",
            Error::Store(_) => "Store",
            Error::Json(_) => "Json",
            Error::Panicked(_) => "Panicked",
            Error::TooLong(_) => "TooLong",
        }
    }
}

/// When to look at a key again without being woken; `None`: at the next scan.
pub type Again = Option<Duration>;

/// What the queue has made of a waiting lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    fit: Fit,
    place: Option<(Queue, String)>,
}

/// The reconcilers of this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reconcilers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: Parts,
    claims: Claims,
    agents: Agents,
    wake: Wake,
    serving_since: DateTime<Utc>,
    verdicts: Mutex<HashMap<Uuid, Verdict>>,
    wanted: Mutex<BTreeSet<String>>,
}

impl Reconcilers {
    /// Reconcilers of these parts, and the driver that runs them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn new(parts: Parts) -> Result<(Self, Driver), Error> {
        let (wake, woken) = Wake::channel();
        let claims = Claims::new(parts.objects.pool().clone(), parts.replica.clone());
        let agents = Agents::new(&parts, wake.clone());
        let serving_since = parts.objects.now().await?;
        let shared =
            Shared { parts, claims, agents, wake, serving_since, verdicts: Mutex::default(), wanted: Mutex::default() };
        let reconcilers = Self(Arc::new(shared));
        let driver = Driver::new(reconcilers.clone(), woken);
        Ok((reconcilers, driver))
    }

    /// Runs driver, claims and agents until told to stop; then gives the claims back. Leases go on without it.
    pub async fn run(parts: Parts, stop: CancellationToken) -> Result<(), Error> {
        let (reconcilers, driver) = Self::new(parts).await?;
        tokio::join!(
            driver.run(stop.clone()),
            reconcilers.0.claims.run(reconcilers.0.agents.clone(), stop.clone()),
            reconcilers.0.agents.run(stop)
        );
        Ok(())
    }

    /// One reconcile.
    ///
    /// # Errors
    /// [`Error`]: to be tried again.
    pub async fn reconcile(&self, work: &Work) -> Result<Again, Error> {
        let done = match work {
            Work::Machine(key) => machine::reconcile(&self.0, key).await,
            Work::Lease(key) => lease::reconcile(&self.0, key).await,
            Work::Provider(key) => provider::reconcile(&self.0, key).await,
            Work::Pool(key) => pool::reconcile(&self.0, key).await,
            Work::Quota(key) => quota::reconcile(&self.0, key).await,
            Work::Queue => queue::reconcile(&self.0).await,
            Work::Sweep => sweep::reconcile(&self.0).await,
        };
        match done {
            // The object went away meanwhile, by our own last step or by another's: nothing is left to do.
            Err(Error::Store(store::Error::NotFound { .. })) => Ok(None),
            done => done,
        }
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.0.parts.objects
    }

    pub(crate) fn timing(&self) -> Timing {
        self.0.parts.timing
    }
}

impl Shared {
    fn pool(&self) -> &sqlx::PgPool {
        self.parts.objects.pool()
    }

    fn verdicts(&self) -> MutexGuard<'_, HashMap<Uuid, Verdict>> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From a moment of the database's clock to a wait from now.
fn until(wake: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Again {
    wake.map(|at| (at - now).to_std().unwrap_or_default())
}

/// A key from `namespace/name`.
pub(crate) fn key(resource: store::Resource, text: &str) -> Option<Key> {
    text.split_once('/').map(|(namespace, name)| Key::new(resource, namespace, name))
}
