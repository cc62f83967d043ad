//! The audit: who did what, on its way into the table.
//!
//! The row of a call that changes an object goes with the change, in its transaction ([`Record::commit`]): what was acknowledged has its row, whenever this process
//! is killed. A client that goes away while its change is being committed may leave two rows: that of the change, if it came to be, and one with code 499 that says
//! that nobody was told. All other rows are written in batches from a bounded queue: of calls that failed, changed nothing, or gave a token, and of refusals; what waits
//! there when the process is killed, a moment's worth, is lost. A call that writes takes its place in the queue before it is made; with no place free it waits
//! a moment and is then refused. A refusal takes a place if there is one, and is counted if not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::StatusCode;
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use torch_remote_api::audit::{AuditEvent, AuditObject};
use torch_remote_api::object::API_VERSION;
use torch_remote_api::selector::FieldSelector;
use torch_remote_api::status::Status;

use super::VirtualKind;
use super::failure::Failure;
use super::virtual_kind::{Page, Part};
use crate::store::audit::{self, Entry, Only, Row};
use crate::store::object::{micros, seconds};
use crate::store::{Error, List, Object, Write};

/// Rows waiting to be written.
const QUEUE: usize = 4096;
/// Rows of one statement.
const BATCH: usize = 256;
/// How long a write waits for its place.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries of a batch that the database did not take.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two looks for old rows.
const SWEEP: Duration = Duration::from_secs(3600);
/// For what is queued when told to stop.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Rows shown at once, whatever limit is asked for; a client reads on.
const MOST_SHOWN: usize = 5000;
/// Rows shown when no limit is asked for.
const SHOWN: usize = 500;

/// Takes rows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Trail(mpsc::Sender<Entry>);

/// Name of the object that a call has made, for its row: an extension of the response.
#[derive(Debug, Clone)]
pub struct Made(pub String);

impl Trail {
    /// A trail, and the writer that must be run beside it.
    pub fn new(pool: PgPool, keep_days: u32) -> (Self, Writer) {
        let (queue, entries) = mpsc::channel(QUEUE);
        (Self(queue), Writer { pool, entries, keep_days })
    }

    /// A place for the row of a write that is about to be made.
    ///
    /// # Errors
    /// 503: the database does not take the rows that wait.
    pub(super) async fn place(&self, entry: Entry) -> Result<Pending, Failure> {
        match tokio::time::timeout(PATIENCE, self.0.clone().reserve_owned()).await {
            Ok(Ok(place)) => {
                let record = Record(Arc::new(Mutex::new(Draft { entry, written: false })));
                Ok(Pending { place: Some(place), record })
            }
            _ => {
                Err(Status::unavailable("the audit cannot be written at the moment, so nothing else is; try again", 2)
                    .into())
            }
        }
    }

    /// Takes the row of a refusal, if there is room; half of it is kept for writes, which cannot be made without their rows.
    pub(crate) fn tell(&self, entry: Entry) {
        let entry = Entry { answered: Some(Instant::now()), ..entry };
        if self.0.capacity() <= QUEUE / 2 || self.0.try_send(entry).is_err() {
            self.drop_one();
        }
    }

    /// Counts a refusal that has no row.
    pub(crate) fn drop_one(&self) {
        metrics::counter!("torchremote_audit_dropped_total").increment(1);
    }
}

/// The row of a write under way, shared between the guard, which sends it with the answer, and the handler, whose transaction takes it along.
#[derive(Debug, Clone)]
pub struct Record(Arc<Mutex<Draft>>);

#[derive(Debug)]
struct Draft {
    entry: Entry,
    /// It is in the table.
    written: bool,
}

impl Record {
    /// Nothing is to be kept of the call, says its body; what its URL says of that is known before.
    pub(super) fn dry_run(&self) {
        self.draft().entry.dry_run = true;
    }

    /// Commits a change of the object of this name with its row, which says that the answer is `code`. A call may change several objects: each has its own.
    ///
    /// # Errors
    /// The database failed; see [`Write::commit`].
    pub(super) async fn commit(&self, mut write: Write, code: StatusCode, name: &str) -> Result<Option<i64>, Error> {
        let mut entry = self.draft().entry.clone();
        entry.code = code.as_u16();
        name.clone_into(&mut entry.name);
        let taken = write.record(&entry).await?;
        let version = write.commit().await?;
        self.draft().written |= taken;
        Ok(version)
    }

    fn draft(&self) -> std::sync::MutexGuard<'_, Draft> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue for the row of a write, should it be needed. Dropped before [`done`](Self::done), the row says that the client went away, or that the
/// handler failed.
pub(super) struct Pending {
    place: Option<mpsc::OwnedPermit<Entry>>,
    record: Record,
}

impl Pending {
    /// For the handler.
    pub(super) fn record(&self) -> Record {
        self.record.clone()
    }

    /// The write is answered. Without need of a row, should one be in the table that says so.
    pub(super) fn done(mut self, success: bool, finish: impl FnOnce(&mut Entry)) {
        let Some(place) = self.place.take() else { return };
        let mut draft = self.record.draft();
        if !(draft.written && success) {
            finish(&mut draft.entry);
            send(place, std::mem::take(&mut draft.entry));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let mut draft = self.record.draft();
        if !draft.written {
            draft.entry.code = if std::thread::panicking() { 500 } else { 499 };
            send(place, std::mem::take(&mut draft.entry));
        }
    }
}

fn send(place: mpsc::OwnedPermit<Entry>, entry: Entry) {
    place.send(Entry { answered: Some(Instant::now()), ..entry });
}

/// Writes what a [`Trail`] takes.
#[derive(Debug)]
pub struct Writer {
    pool: PgPool,
    entries: mpsc::Receiver<Entry>,
    keep_days: u32,
}

impl Writer {
    /// Writes rows, and forgets old ones each hour, until told to stop; what is queued by then is still written, as far as a moment allows.
    pub async fn run(mut self, stop: CancellationToken) {
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        let forgetting = forget_now_and_then(self.pool.clone(), self.keep_days);
        tokio::select! {
            () = self.write_all(&stop) => {}
            () = forgetting => {}
            () = late => tracing::error!("the database does not take the last rows of the audit; they are lost"),
        }
    }

    async fn write_all(&mut self, stop: &CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                taken = self.entries.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    self.write(&batch).await;
                    batch.clear();
                }
                () = stop.cancelled(), if !self.entries.is_closed() => self.entries.close(),
            }
        }
    }

    async fn add(&self, entries: &[Entry]) -> Result<(), Error> {
        let mut connection = self.pool.acquire().await.map_err(Error::database("write the audit"))?;
        audit::add(&mut connection, entries).await
    }

    /// Until it is written. What the database will never take is written row by row, and the row that it does not take is logged instead.
    async fn write(&self, batch: &[Entry]) {
        let mut failing = false;
        loop {
            match self.add(batch).await {
                Ok(()) => return,
                Err(error) if error.is_of_the_data() => break,
                Err(error) if failing => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the audit is still not written")
                }
                Err(error) => {
                    failing = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the audit is not written; writes are refused when its queue is full"
                    );
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
        for entry in batch {
            if let Err(error) = self.add(std::slice::from_ref(entry)).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    ?entry,
                    "a row of the audit could not be written"
                );
            }
        }
    }
}

/// Forgets old rows each hour, beside the writing: there may be so many that it takes minutes. Never returns.
async fn forget_now_and_then(pool: PgPool, keep_days: u32) {
    let mut sweeps = tokio::time::interval(SWEEP);
    sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        sweeps.tick().await;
        loop {
            match audit::forget(&pool, keep_days).await {
                Ok(0) => break,
                Ok(gone) => tracing::debug!(gone, "old rows of the audit forgotten"),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "old rows of the audit are not forgotten; trying again in an hour"
                    );
                    break;
                }
            }
        }
    }
}

/// The kind AuditEvent, by plural.
pub fn events(pool: &PgPool) -> HashMap<&'static str, Arc<dyn VirtualKind>> {
    HashMap::from([("auditevents", Arc::new(Events(pool.clone())) as Arc<dyn VirtualKind>)])
}

struct Events(PgPool);

impl VirtualKind for Events {
    fn list<'a>(&'a self, namespace: Option<&'a str>) -> BoxFuture<'a, Result<List, Error>> {
        Box::pin(async move { Ok(self.page(Page { namespace, ..Page::default() }).await?.list) })
    }

    /// Newest first, from below the name that the page before ended with. One with few rows, or none, may have another after it: so many are looked through.
    fn page<'a>(&'a self, page: Page<'a>) -> BoxFuture<'a, Result<Part, Error>> {
        Box::pin(async move {
            let before = page.after.and_then(|name| name.parse().ok()).unwrap_or(i64::MAX);
            let limit = page.limit.unwrap_or(SHOWN).min(MOST_SHOWN);
            let only: Vec<Only> = page.fields.into_iter().flat_map(FieldSelector::tests).map(Only::from).collect();
            let limit_of_rows = i64::try_from(limit).unwrap_or(i64::MAX);
            let audit::Page { rows, version, next } = audit::page(&self.0, before, limit_of_rows, &only).await?;
            // Without a limit the answer ends where it ends: a client that does not know pages gets the newest.
            let next = next.filter(|_| page.limit.is_some()).map(|next| next.to_string());
            let items = rows.into_iter().filter_map(event).collect();
            let list = List { items, resource_version: version, more: next.is_some(), remaining: None };
            Ok(Part { list, next })
        })
    }

    fn get<'a>(&'a self, _: Option<&'a str>, name: &'a str) -> BoxFuture<'a, Result<Option<Object>, Error>> {
        Box::pin(async move {
            let Ok(id) = name.parse::<i64>() else { return Ok(None) };
            let page = audit::page(&self.0, id.saturating_add(1), 1, &[]).await?;
            Ok(page.rows.into_iter().find(|row| row.id == id).and_then(event))
        })
    }
}

fn event(row: Row) -> Option<Object> {
    let Row { id, received, at, entry } = row;
    let object = AuditObject {
        group: entry.group,
        resource: entry.resource,
        subresource: entry.subresource,
        namespace: entry.namespace,
        name: entry.name,
    };
    let event = AuditEvent {
        user: entry.who,
        groups: entry.groups,
        impersonated_by: entry.impersonator,
        verb: entry.verb,
        object: (!object.resource.is_empty()).then_some(object),
        path: entry.path,
        decision: if entry.denied { "Deny" } else { "Allow" }.to_owned(),
        reason: entry.reason,
        code: entry.code.into(),
        from: entry.peer,
        trace_id: entry.trace,
        dry_run: entry.dry_run,
        request_received_timestamp: micros(received),
        stage_timestamp: micros(at),
    };
    let mut body = serde_json::to_value(event).ok()?;
    body["apiVersion"] = API_VERSION.into();
    body["kind"] = "AuditEvent".into();
    body["metadata"] = json!({"name": id.to_string(), "creationTimestamp": seconds(received)});
    body.is_object().then_some(Object { body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere() -> PgPool {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = silent.local_addr().expect("its address").port();
        let options = sqlx::postgres::PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
        crate::store::pool::options().connect_lazy_with(options)
    }

    #[tokio::test]
    async fn with_no_place_in_the_queue_a_write_waits_and_is_then_refused_and_a_refusal_is_not_held_up() {
        let (trail, _writer) = Trail::new(nowhere(), 90);
        let mut held = Vec::new();
        for _ in 0..QUEUE {
            held.push(trail.place(Entry::default()).await.expect("a place"));
        }
        trail.tell(Entry::default());
        let refused = trail.place(Entry::default()).await.err().expect("no place");
        assert_eq!(refused.status().http_code(), 503);
        held.pop().expect("one").done(true, |_| {});
        assert!(trail.place(Entry::default()).await.is_err(), "what is sent still waits in the queue");
    }

    #[tokio::test]
    async fn a_write_whose_client_goes_away_has_its_row_all_the_same() {
        let (trail, mut writer) = Trail::new(nowhere(), 90);
        drop(trail.place(Entry { who: "ana".into(), ..Entry::default() }).await.expect("a place"));
        let entry = writer.entries.recv().await.expect("a row");
        assert_eq!((entry.who.as_str(), entry.code), ("ana", 499));
        let pending = trail.place(Entry::default()).await.expect("a place");
        pending.done(true, |entry| entry.code = 201);
        assert_eq!(writer.entries.recv().await.expect("a row").code, 201);
        assert!(writer.entries.try_recv().is_err(), "one row each");
    }
}
