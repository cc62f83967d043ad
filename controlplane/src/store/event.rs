//! Events: what happened to an object, for people. Written from a bounded queue, outside the transactions they tell of, and gone after an hour.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::object::seconds;
use super::{Error, Key, Object, Objects, Preconditions, Resource};

/// Events waiting to be written; more are dropped and counted.
const QUEUE: usize = 1024;
/// Events written in one transaction.
const BATCH: usize = 32;
/// For what is queued when told to stop: each event may wait for a database that is down.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long an event stays after it last happened.
const LIFE: TimeDelta = TimeDelta::hours(1);
/// Events looked at in one statement.
const LOOKED_AT: i64 = 1000;
/// Events removed in one round.
const SWEPT: usize = 500;

/// Whether an event is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Things go their way.
    Normal,
    /// Something to look at.
    Warning,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// apiVersion, kind, name, namespace, uid and resourceVersion of the object.
    pub involved: Value,
    /// Normal or Warning.
    pub severity: Severity,
    /// CamelCase, for machines.
    pub reason: String,
    /// One sentence, for people.
    pub message: String,
    /// Which part of the control plane saw it.
    pub component: &'static str,
}

/// Takes events without waiting. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    component: &'static str,
    queue: mpsc::Sender<Happening>,
}

impl Recorder {
    /// A recorder, and the writer that must be run beside it.
    pub fn new(objects: Objects, component: &'static str) -> (Self, Writer) {
        let (queue, happenings) = mpsc::channel(QUEUE);
        (Self { component, queue }, Writer { objects, happenings })
    }

    /// The same queue under another component's name.
    pub fn named(&self, component: &'static str) -> Self {
        Self { component, ..self.clone() }
    }

    /// Something that goes its way.
    pub fn normal(&self, object: &Object, reason: &str, message: impl Into<String>) {
        self.record(object, Severity::Normal, reason, message.into());
    }

    /// Something to look at.
    pub fn warning(&self, object: &Object, reason: &str, message: impl Into<String>) {
        self.record(object, Severity::Warning, reason, message.into());
    }

    fn record(&self, object: &Object, severity: Severity, reason: &str, message: String) {
        let metadata = &object.body["metadata"];
        let mut involved = json!({
            "apiVersion": object.body["apiVersion"], "kind": object.body["kind"], "name": metadata["name"],
            "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
        });
        if !object.namespace().is_empty() {
            involved["namespace"] = metadata["namespace"].clone();
        }
        let happening = Happening { involved, severity, reason: reason.to_owned(), message, component: self.component };
        if let Err(mpsc::error::TrySendError::Full(lost)) = self.queue.try_send(happening) {
            metrics::counter!("torchremote_events_dropped_total").increment(1);
            tracing::debug!(reason = lost.reason, "event dropped: the queue is full");
        }
    }
}

/// Writes what a [`Recorder`] takes.
#[derive(Debug)]
pub struct Writer {
    objects: Objects,
    happenings: mpsc::Receiver<Happening>,
}

impl Writer {
    /// Writes events, and removes old ones each minute, until told to stop; what is queued by then is still written, as far as a moment allows.
    pub async fn run(mut self, stop: CancellationToken) {
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            () = self.write_all(&stop) => {}
            () = late => tracing::warn!("the database does not take the last events; they are dropped"),
        }
    }

    async fn write_all(&mut self, stop: &CancellationToken) {
        let mut sweeps = tokio::time::interval(Duration::from_secs(60));
        sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                taken = self.happenings.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    for happening in batch.drain(..) {
                        // One each: an event whose namespace went away must not take others with it.
                        if let Err(error) = write(&self.objects, &happening).await {
                            tracing::debug!(error = &error as &dyn std::error::Error, reason = happening.reason, "event not written");
                        }
                    }
                }
                _ = sweeps.tick() => {
                    if let Err(error) = sweep(&self.objects).await {
                        tracing::warn!(error = &error as &dyn std::error::Error, "old events not removed");
                    }
                }
                () = stop.cancelled() => self.happenings.close(),
            }
        }
    }
}

/// Writes one event, or counts it on the one already there.
///
/// # Errors
/// The namespace is not there; the database failed.
pub async fn write(objects: &Objects, happening: &Happening) -> Result<(), Error> {
    let namespace = happening.involved["namespace"].as_str().unwrap_or("default").to_owned();
    let key = Key::new(Resource::EVENTS, namespace, name(happening));
    // A second replica may make the event between the look and the write.
    for _ in 0..3 {
        let mut write = objects.begin().await?;
        let now = write.now().await?;
        let written = match write.lock(&key).await? {
            Some(event) => {
                let mut body = event.body;
                body["count"] = json!(body["count"].as_i64().unwrap_or(1) + 1);
                body["lastTimestamp"] = json!(seconds(now));
                write.update(&key, body, &Preconditions::default()).await
            }
            None => write.create(Resource::EVENTS, body(&key, happening, now)).await,
        };
        match written {
            Ok(_) => return write.commit().await.map(drop),
            Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::AlreadyExists { key, deleting: false })
}

/// Removes events whose last time is more than an hour ago. Clients say when in several ways, and it is not always a time.
///
/// # Errors
/// The database failed.
pub async fn sweep(objects: &Objects) -> Result<usize, Error> {
    let (mut removed, mut after) = (0, Some((String::new(), String::new())));
    while let Some((ns, name)) = after.filter(|_| removed < SWEPT) {
        let events = sqlx::query!(
            r#"select ns, name, clock_now() as "now!", array[body->>'lastTimestamp', body#>>'{series,lastObservedTime}', body->>'eventTime',
                 body#>>'{metadata,creationTimestamp}'] as "times!: Vec<Option<String>>"
             from object where grp = '' and plural = 'events' and (ns, name) > ($1, $2) order by ns, name limit $3"#,
            ns,
            name,
            LOOKED_AT
        );
        let events = events.fetch_all(objects.pool()).await.map_err(Error::database("find old events"))?;
        after = events.last().map(|last| (last.ns.clone(), last.name.clone()));
        let old = events.into_iter().filter(|event| {
            let times = event.times.iter().flatten().filter_map(|time| DateTime::parse_from_rfc3339(time).ok());
            times.max().is_none_or(|last| event.now.signed_duration_since(last) > LIFE)
        });
        for event in old.take(SWEPT - removed) {
            removed += usize::from(remove(objects, Key::new(Resource::EVENTS, event.ns, event.name)).await?);
        }
    }
    Ok(removed)
}

/// False when it is gone already.
async fn remove(objects: &Objects, key: Key) -> Result<bool, Error> {
    let mut write = objects.begin().await?;
    match write.delete(&key, &Preconditions::default()).await {
        Ok(_) => write.commit().await.map(|_| true),
        Err(Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The same happening has the same name, so that it is counted and not repeated.
fn name(happening: &Happening) -> String {
    let mut hash = Sha256::new();
    for part in
        [happening.involved["uid"].as_str().unwrap_or(""), happening.component, &happening.reason, &happening.message]
    {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash = hex::encode(&hash.finalize()[..8]);
    let involved: String = happening.involved["name"].as_str().unwrap_or("unknown").chars().take(200).collect();
    format!("{involved}.{hash}")
}

fn body(key: &Key, happening: &Happening, now: DateTime<Utc>) -> Value {
    let severity = match happening.severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    };
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": key.name, "namespace": key.namespace},
        "involvedObject": happening.involved,
        "type": severity, "reason": happening.reason, "message": happening.message,
        "source": {"component": happening.component}, "reportingComponent": happening.component, "reportingInstance": "",
        "firstTimestamp": seconds(now), "lastTimestamp": seconds(now), "count": 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::pool;

    #[tokio::test]
    async fn the_writer_ends_soon_after_it_is_told_to_although_the_database_does_not_answer() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = silent.local_addr().expect("its address").port();
        let nowhere = sqlx::postgres::PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
        let (recorder, writer) = Recorder::new(Objects::new(pool::options().connect_lazy_with(nowhere)), "test");
        let object = Object { body: json!({"kind": "Thing", "metadata": {"name": "a", "uid": "u"}}) };
        for place in 0..100 {
            recorder.normal(&object, "Happened", format!("for the {place}th time"));
        }
        let stop = CancellationToken::new();
        stop.cancel();
        let one = pool::ACQUIRE;
        tokio::time::timeout(one, writer.run(stop)).await.expect("sooner than it gives up one of its events");
    }
}
