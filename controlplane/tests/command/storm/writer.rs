//! Clients that write machines through whatever happens to the replicas, and remember what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::Client;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
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
        let made = machine(name);
        self.insist("create", async |api, ()| match api.create(&PostParams::default(), &made).await {
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
            other => other.map(drop),
        })
        .await;
        for step in 1..=steps {
            let path = "/metadata/annotations/count";
            let (from, to) = ((step - 1).to_string(), step.to_string());
            let change: Vec<Value> = vec![
                json!({"op": "test", "path": path, "value": from}),
                json!({"op": "replace", "path": path, "value": to}),
            ];
            let patch: Patch<()> = Patch::Json(serde_json::from_value(json!(change)).unwrap());
            let mut lost = None;
            self.insist("patch", async |api, ()| match api.patch(name, &PatchParams::default(), &patch).await {
                // The one before may have been done without an answer; then the state is the one wanted.
                Err(kube::Error::Api(status)) if status.code == 422 => {
                    let found = api.get(name).await?.metadata.annotations.unwrap_or_default().remove("count");
                    if found.as_ref() != Some(&to) {
                        lost = Some(format!("{name} should be at {from} or {to} and is at {found:?}"));
                    }
                    Ok(())
                }
                other => other.map(drop),
            })
            .await;
            self.wrong.extend(lost);
        }
    }

    /// Deletes it.
    pub async fn delete(&mut self, name: &str) {
        self.insist("delete", async |api, ()| match api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop),
        })
        .await;
    }

    /// Repeats a call, with the replicas in turn, until it is acknowledged.
    async fn insist(
        &mut self,
        what: &str,
        mut call: impl AsyncFnMut(kube::Api<DynamicObject>, ()) -> Result<(), kube::Error>,
    ) {
        let start = tokio::time::Instant::now();
        loop {
            let api = machines(&self.clients[self.turn % self.clients.len()]);
            self.turn += 1;
            match tokio::time::timeout(Duration::from_secs(60), call(api, ())).await {
                Ok(Ok(())) => return self.tally.add(),
                Ok(Err(kube::Error::Api(status))) => self.refusals.push(*status),
                Ok(Err(_)) => {}
                Err(_) => self.wrong.push(format!("{} {what}: no answer in 60 s", self.name)),
            }
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "{} {what} is not done in 120 s: {:?}",
                self.name,
                self.refusals.last()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
