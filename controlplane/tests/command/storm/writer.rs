//! Clients that write machines through whatever happens to the replicas, and remember what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::Client;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::Notify;

use super::watcher::machines;

/// Acknowledged writes, counted over all writers.
#[derive(Default)]
pub struct Tally {
    acknowledged: AtomicUsize,
    news: Notify,
}

impl Tally {
    fn add(&self) {
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
        self.news.notify_waiters();
    }

    pub fn count(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many are.
    pub async fn reaches(&self, count: usize) {
        loop {
            let news = self.news.notified();
            if self.count() >= count {
                return;
            }
            news.await;
        }
    }
}

pub fn machine(name: &str) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "metadata": {"name": name, "annotations": {"count": "0"}},
        "spec": {"provider": "none", "gpu": {"type": "CPU"}, "suspend": true},
    }))
    .unwrap()
}

/// A writer, and what it found wrong.
pub struct Writer {
    pub clients: Vec<Client>,
    pub name: String,
    pub tally: Arc<Tally>,
    pub turn: usize,
    /// Texts of refusals, for whoever judges them.
    pub refusals: Vec<kube::core::Status>,
    pub wrong: Vec<String>,
}

impl Writer {
    pub fn new(clients: &[Client], name: &str, turn: usize, tally: &Arc<Tally>) -> Self {
        let (clients, name, tally) = (clients.to_vec(), name.to_owned(), tally.clone());
        Self { clients, name, tally, turn, refusals: Vec::new(), wrong: Vec::new() }
    }

    /// Makes a machine, counts in its annotation up to `steps`, each write once acknowledged before the next. Every write names the state it expects, so
    /// an acknowledged one that was lost is found by the next.
    pub async fn count(&mut self, name: &str, steps: u32) {
        self.insist(Wish::Create(name.to_owned())).await;
        for step in 1..=steps {
            self.insist(Wish::Count { name: name.to_owned(), to: step }).await;
        }
    }

    /// Deletes it.
    pub async fn delete(&mut self, name: &str) {
        self.insist(Wish::Delete(name.to_owned())).await;
    }

    /// Repeats a call, with the replicas in turn, until it is acknowledged.
    async fn insist(&mut self, wish: Wish) {
        let start = tokio::time::Instant::now();
        loop {
            let api = machines(&self.clients[self.turn % self.clients.len()]);
            self.turn += 1;
            match tokio::time::timeout(ANSWER, wish.call(&api)).await {
                Ok(Ok(lost)) => {
                    self.wrong.extend(lost);
                    return self.tally.add();
                }
                Ok(Err(kube::Error::Api(status))) => self.refusals.push(*status),
                Ok(Err(_)) => {}
                Err(_) => self.wrong.push(format!("{}: no answer to {wish:?} in {ANSWER:?}", self.name)),
            }
            let last = self.refusals.last();
            assert!(start.elapsed() < 2 * ANSWER, "{}: {wish:?} is not done: {last:?}", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(60);

/// A write that is right to repeat.
#[derive(Debug)]
enum Wish {
    Create(String),
    Count { name: String, to: u32 },
    Delete(String),
}

impl Wish {
    /// Does it once. What it returns was found lost.
    async fn call(&self, api: &kube::Api<DynamicObject>) -> Result<Option<String>, kube::Error> {
        let refused = |result: Result<(), kube::Error>, fine: &str| match result {
            Err(kube::Error::Api(status)) if status.reason == fine => Ok(None),
            other => other.map(|()| None),
        };
        match self {
            Self::Create(name) => {
                refused(api.create(&PostParams::default(), &machine(name)).await.map(drop), "AlreadyExists")
            }
            Self::Delete(name) => refused(api.delete(name, &DeleteParams::default()).await.map(drop), "NotFound"),
            Self::Count { name, to } => {
                let path = "/metadata/annotations/count";
                let (from, to) = ((to - 1).to_string(), to.to_string());
                let change =
                    json!([{"op": "test", "path": path, "value": from}, {"op": "replace", "path": path, "value": to}]);
                let patch: Patch<()> = Patch::Json(serde_json::from_value(change).unwrap());
                match api.patch(name, &PatchParams::default(), &patch).await {
                    // The one before may have been done without an answer; then the state is the one wanted.
                    Err(kube::Error::Api(status)) if status.code == 422 => {
                        let found = api.get(name).await?.metadata.annotations.unwrap_or_default().remove("count");
                        let lost = format!("{name} should be at {from} or {to} and is at {found:?}");
                        Ok((found.as_ref() != Some(&to)).then_some(lost))
                    }
                    other => other.map(|_| None),
                }
            }
        }
    }
}
