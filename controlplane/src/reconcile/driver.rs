//! The loop: which key is worked on when.
//!
//! A key that is woken while it is worked on is looked at once more after. A failing key waits longer each time, others are not held up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use torch_remote_plan::backoff;
use tracing::Instrument;

use super::{Again, Error, Reconcilers, Work};
use crate::store::{Key, Resource, Retry, lease};

/// Keys worked on at once.
const CONCURRENCY: usize = 16;
/// Shortest wait between two looks at one key: a key that always wants more must not starve others.
const SHORTEST: Duration = Duration::from_millis(1);
/// For the reconciles under way when told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs reconcilers.
#[derive(Debug)]
pub struct Driver {
    reconcilers: Reconcilers,
    woken: mpsc::UnboundedReceiver<Work>,
    due: BTreeMap<(Instant, u64), Work>,
    times: HashMap<Work, (Instant, u64)>,
    busy: HashSet<Work>,
    again: HashSet<Work>,
    failures: HashMap<Work, u32>,
    count: u64,
}

impl Driver {
    pub(super) fn new(reconcilers: Reconcilers, woken: mpsc::UnboundedReceiver<Work>) -> Self {
        Self {
            reconcilers,
            woken,
            due: BTreeMap::new(),
            times: HashMap::new(),
            busy: HashSet::new(),
            again: HashSet::new(),
            failures: HashMap::new(),
            count: 0,
        }
    }

    /// Works until told to stop, then lets what is under way end.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.reconcilers.objects().changes();
        let mut scans = tokio::time::interval(self.reconcilers.timing().scan);
        scans.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut running: JoinSet<(Work, Result<Again, Error>)> = JoinSet::new();
        loop {
            self.start_due(&mut running);
            let next = self.due.keys().next().map(|(at, _)| *at);
            let full = running.len() >= CONCURRENCY;
            tokio::select! {
                () = stop.cancelled() => break,
                _ = scans.tick() => self.scan().await,
                change = changes.recv() => match change {
                    Ok(key) => self.changed(key),
                    Err(RecvError::Lagged(_)) => self.scan().await,
                    Err(RecvError::Closed) => break,
                },
                Some(work) = self.woken.recv() => self.at(work, Instant::now()),
                Some(done) = running.join_next(), if !running.is_empty() => match done {
                    Ok((work, result)) => self.finished(work, result),
                    // Only our own bug; the key is looked at again at the next scan.
                    Err(error) => tracing::error!(%error, "a reconcile panicked"),
                },
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() && !full => {}
            }
        }
        let drain = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drain).await.is_err() {
            running.shutdown().await;
        }
    }

    fn start_due(&mut self, running: &mut JoinSet<(Work, Result<Again, Error>)>) {
        let now = Instant::now();
        while running.len() < CONCURRENCY {
            let Some(first) = self.due.first_entry().filter(|first| first.key().0 <= now) else { return };
            let work = first.remove();
            self.times.remove(&work);
            if self.busy.contains(&work) {
                self.again.insert(work);
                continue;
            }
            self.busy.insert(work.clone());
            let reconcilers = self.reconcilers.clone();
            let span = tracing::debug_span!("reconcile", work = ?work);
            let task = async move {
                let started = Instant::now();
                let result = reconcilers.reconcile(&work).await;
                metrics::histogram!("torchremote_reconcile_duration_seconds").record(started.elapsed().as_secs_f64());
                (work, result)
            };
            running.spawn(task.instrument(span));
        }
    }

    fn finished(&mut self, work: Work, result: Result<Again, Error>) {
        self.busy.remove(&work);
        let mut wait = match result {
            Ok(again) => {
                self.failures.remove(&work);
                again
            }
            Err(error) => {
                metrics::counter!("torchremote_reconcile_errors_total", "reason" => error.reason()).increment(1);
                let failures = self.failures.entry(work.clone()).or_default();
                *failures += 1;
                match error.retry() {
                    // Another writer came first: that is how it should be.
                    Retry::Now if *failures < 5 => Some(SHORTEST),
                    _ => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            ?work,
                            failures = *failures,
                            "reconcile failed and is tried again"
                        );
                        Some(backoff::delay(*failures, rand::random()))
                    }
                }
            }
        };
        if self.again.remove(&work) {
            wait = Some(SHORTEST);
        }
        if let Some(wait) = wait {
            self.at(work, Instant::now() + wait.max(SHORTEST));
        }
    }

    fn changed(&mut self, key: Key) {
        let now = Instant::now();
        match key.resource {
            Resource::MACHINES => {
                self.at(Work::Machine(key), now);
                self.at(Work::Queue, now);
            }
            Resource::LEASES => self.at(Work::Lease(key), now),
            Resource::PROVIDERS => self.at(Work::Provider(key), now),
            _ => {}
        }
    }

    /// Everything there is: alone enough for correctness.
    async fn scan(&mut self) {
        let now = Instant::now();
        for (resource, work) in
            [(Resource::MACHINES, Work::Machine as fn(Key) -> Work), (Resource::PROVIDERS, Work::Provider)]
        {
            match self.reconcilers.objects().list(resource, None).await {
                Ok(list) => {
                    for object in list.items {
                        self.at(work(Key::new(resource, object.namespace(), object.name())), now);
                    }
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not look at everything; the next scan does"
                ),
            }
        }
        match lease::open(self.reconcilers.objects().pool()).await {
            Ok(leases) => leases.into_iter().for_each(|key| self.at(Work::Lease(key), now)),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not look at every lease; the next scan does"
            ),
        }
        self.at(Work::Queue, now);
        self.at(Work::Sweep, now);
    }

    /// Looks at `work` then, or sooner if that was planned.
    fn at(&mut self, work: Work, when: Instant) {
        if let Some(planned) = self.times.get(&work) {
            if planned.0 <= when {
                return;
            }
            self.due.remove(planned);
        }
        self.count += 1;
        self.times.insert(work.clone(), (when, self.count));
        self.due.insert((when, self.count), work);
    }
}
