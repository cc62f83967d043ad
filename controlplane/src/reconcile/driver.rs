//! The loop: which key is worked on when.
//!
//! A key that is woken while it is worked on is looked at once more after. A failing key waits longer each time, others are not held up. Every reconcile ends:
//! one that panics has failed, and one that is not done in time is dropped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use torch_remote_plan::backoff;
use tracing::Instrument;

use super::{Again, Error, Reconcilers, Woken, Work};
use crate::store::{Key, Resource, Retry, lease, machine};

/// Keys worked on at once.
const CONCURRENCY: usize = 16;
/// Shortest wait between two looks at one key: a key that always wants more must not starve others.
const SHORTEST: Duration = Duration::from_millis(1);
/// Longest reconcile: a few calls of a provider and a few statements, each with a deadline of its own. What hangs for all that would hold its key for ever.
const LONGEST: Duration = Duration::from_secs(180);
/// For the reconciles under way when told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Between the news of a pool's machine and a look at the pool: each look reads all of its machines, and they often have news together.
const GATHER: Duration = Duration::from_secs(1);

/// Between news and a look at the queue: machines that are made have news by the hundred, and each look asks who waits.
const SETTLE: Duration = Duration::from_millis(20);

/// How long what is woken may wait for more of its kind.
fn patience(work: &Work) -> Duration {
    match work {
        Work::Pool(_) => GATHER,
        Work::Queue => SETTLE,
        _ => Duration::ZERO,
    }
}

/// Runs reconcilers.
#[derive(Debug)]
pub struct Driver {
    reconcilers: Reconcilers,
    woken: Woken,
    due: BTreeMap<(Instant, u64), Work>,
    times: HashMap<Work, (Instant, u64)>,
    running: JoinSet<Result<Again, Error>>,
    /// What each task works on: a task that panicked can not say it.
    busy: HashMap<Id, Work>,
    again: HashSet<Work>,
    failures: HashMap<Work, u32>,
    count: u64,
}

impl Driver {
    pub(super) fn new(reconcilers: Reconcilers, woken: Woken) -> Self {
        Self {
            reconcilers,
            woken,
            due: BTreeMap::new(),
            times: HashMap::new(),
            running: JoinSet::new(),
            busy: HashMap::new(),
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
        loop {
            self.start_due();
            let next = self.due.keys().next().map(|(at, _)| *at);
            let full = self.running.len() >= CONCURRENCY;
            tokio::select! {
                () = stop.cancelled() => break,
                _ = scans.tick() => self.scan().await,
                change = changes.recv() => match change {
                    Ok(key) => self.changed(key),
                    Err(RecvError::Lagged(_)) => self.scan().await,
                    Err(RecvError::Closed) => break,
                },
                woken = self.woken.recv() => woken.into_iter().for_each(|work| self.news(work)),
                Some(done) = self.running.join_next_with_id(), if !self.running.is_empty() => self.joined(done),
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() && !full => {}
            }
        }
        let drain = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drain).await.is_err() {
            self.running.shutdown().await;
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while self.running.len() < CONCURRENCY {
            let Some(first) = self.due.first_entry().filter(|first| first.key().0 <= now) else { return };
            let work = first.remove();
            self.times.remove(&work);
            if self.busy.values().any(|busy| *busy == work) {
                self.again.insert(work);
                continue;
            }
            let reconcilers = self.reconcilers.clone();
            let span = tracing::debug_span!("reconcile", work = ?work);
            let key = work.clone();
            let task = async move {
                let started = Instant::now();
                let result = tokio::time::timeout(LONGEST, reconcilers.reconcile(&key)).await;
                metrics::histogram!("torchremote_reconcile_duration_seconds").record(started.elapsed().as_secs_f64());
                result.unwrap_or(Err(Error::TooLong(LONGEST)))
            };
            let task = self.running.spawn(task.instrument(span));
            self.busy.insert(task.id(), work);
        }
    }

    fn joined(&mut self, done: Result<(Id, Result<Again, Error>), JoinError>) {
        let (id, result) = match done {
            Ok(done) => done,
            Err(error) => (error.id(), Err(Error::Panicked(error))),
        };
        if let Some(work) = self.busy.remove(&id) {
            self.finished(work, result);
        }
    }

    fn finished(&mut self, work: Work, result: Result<Again, Error>) {
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
                self.news(Work::Queue);
            }
            Resource::LEASES => self.at(Work::Lease(key), now),
            Resource::PROVIDERS => self.at(Work::Provider(key), now),
            Resource::POOLS => self.at(Work::Pool(key), now),
            Resource::QUOTAS => self.at(Work::Quota(key), now),
            _ => {}
        }
    }

    /// Everything that is not at rest: alone enough for correctness.
    async fn scan(&mut self) {
        let now = Instant::now();
        match machine::restless(self.reconcilers.objects().pool()).await {
            Ok(machines) => machines.into_iter().for_each(|key| self.at(Work::Machine(key), now)),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not look at every machine; the next scan does"
            ),
        }
        for (resource, work) in [
            (Resource::PROVIDERS, Work::Provider as fn(Key) -> Work),
            (Resource::POOLS, Work::Pool),
            (Resource::QUOTAS, Work::Quota),
        ] {
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

    /// Looks at `work` when more news of its kind had time to come.
    fn news(&mut self, work: Work) {
        let when = Instant::now() + patience(&work);
        self.at(work, when);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_news_of_a_pools_machines_are_gathered_and_those_of_others_are_not() {
        let pool = Work::Pool(Key::new(Resource::POOLS, "default", "train"));
        let machine = Work::Machine(Key::new(Resource::MACHINES, "default", "train-0"));
        assert_eq!([pool, machine, Work::Queue].map(|work| patience(&work)), [GATHER, Duration::ZERO, SETTLE]);
    }
}
