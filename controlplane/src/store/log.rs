//! The history behind watches. [`Tail`] is the one task of a replica that reads it; [`compact`] forgets its old end.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::secret::Column;
use super::watch_cache::{Logged, WatchCache};
use super::{Error, Key, Objects, POLL, Resource, State, lineage, pool};

/// Between two readings, at least.
const PACE: Duration = Duration::from_millis(4);
/// Between two readings under load, when each of them finds several changes.
const SLOWEST: Duration = Duration::from_millis(16);
/// For the database to say how far it is.
const ANSWER: Duration = Duration::from_secs(10);
/// Log rows read in one statement.
const BATCH: i64 = 1000;
/// History younger than this is kept, in seconds.
const KEEP_SECONDS: f64 = 600.0;
/// At least so many versions of history are kept.
const KEEP_VERSIONS: i64 = 10_000;

/// Reads the log in order and hands each change to the cache and to those who listen for keys.
#[derive(Debug)]
pub struct Tail {
    objects: Objects,
    cache: Arc<WatchCache>,
}

impl Tail {
    /// Loads the present state into a new cache.
    ///
    /// # Errors
    /// The database failed.
    pub async fn start(objects: Objects) -> Result<Self, Error> {
        let cache = Arc::new(WatchCache::new());
        let tail = Self { objects, cache };
        tail.reload().await?;
        Ok(tail)
    }

    /// The cache this tail feeds.
    pub fn cache(&self) -> Arc<WatchCache> {
        self.cache.clone()
    }

    /// Follows the log until told to stop. A failing database is tried again; watchers meanwhile see nothing new.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        let (mut next, mut pace) = (tokio::time::Instant::now(), PACE);
        loop {
            tokio::time::sleep_until(next).await;
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.objects.committed() => {}
            }
            next = tokio::time::Instant::now() + pace;
            match self.advance().await {
                Ok(found) => {
                    failing = false;
                    pace = if found > 1 { SLOWEST.min(2 * pace) } else { PACE };
                }
                Err(error) if failing => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "still cannot read the log")
                }
                Err(error) => {
                    failing = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot read the log; watches stand still until the database answers"
                    );
                }
            }
        }
    }

    /// Reads what is new, all of it. Returns how many changes it was.
    ///
    /// # Errors
    /// The database failed; what was read before that is in the cache.
    pub async fn advance(&self) -> Result<usize, Error> {
        let mut connection = self.objects.pool().acquire().await.map_err(Error::database("reach the database"))?;
        let counter = sqlx::query!(
            r#"select rv, compacted, lineage is not distinct from coalesce(lineage_now(), lineage) as "continues!" from cluster_rv"#
        );
        // A server that is gone without a word would never answer.
        let counter = tokio::time::timeout(ANSWER, counter.fetch_one(&mut *connection)).await;
        let counter = counter.unwrap_or_else(|_| Err(sqlx::Error::Protocol("no answer in time".to_owned())));
        let counter = counter.map_err(Error::database("read the version"))?;
        let seen = self.cache.version();
        if !counter.continues {
            drop(connection);
            lineage::take(self.objects.pool()).await?;
            return self.reload().await.map(|()| 0);
        }
        if counter.rv == seen {
            return Ok(0);
        }
        if counter.rv < seen || counter.compacted > seen {
            // The database was restored, or history went before this replica read it. Watchers must list again.
            tracing::warn!(
                seen,
                newest = counter.rv,
                compacted = counter.compacted,
                "the log does not continue where this replica stands; watches restart"
            );
            drop(connection);
            lineage::leap_beyond(self.objects.pool(), seen).await?;
            return self.reload().await.map(|()| 0);
        }
        let (mut from, mut found) = (Some(seen), 0);
        while let Some(after) = from {
            let rows = Rows { resource: None, before: false };
            let page = read(&self.objects, &mut connection, rows, (after, counter.rv), BATCH).await?;
            let news: Vec<_> = page.logged.iter().map(|logged| (logged.after.key().clone(), logged.version)).collect();
            found += news.len();
            self.cache.apply(page.logged, page.next.unwrap_or(counter.rv));
            for (key, version) in news {
                self.objects.news.tell(key, version);
            }
            from = page.next;
        }
        Ok(found)
    }

    async fn reload(&self) -> Result<(), Error> {
        let mut snapshot = pool::snapshot(self.objects.pool()).await?;
        let version = sqlx::query_scalar!("select rv from cluster_rv");
        let version = version.fetch_one(&mut *snapshot).await.map_err(Error::database("read the version"))?;
        let rows = sqlx::query!(r#"select grp, plural, ns, name, uid, body::text as "body!" from object where rv > 0"#);
        let mut rows = rows.fetch(&mut *snapshot);
        let mut states = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(Error::database("load all objects"))? {
            let Some(resource) = Resource::find(&row.grp, &row.plural) else { continue };
            let key = Key::new(resource, row.ns, row.name);
            states.extend(state(&self.objects, key, Some(row.uid), Column::Object, row.body));
        }
        drop(rows);
        snapshot.rollback().await.map_err(Error::database("end a snapshot"))?;
        let keys: Vec<Key> = states.iter().map(|state| state.key().clone()).collect();
        self.cache.reset(states, version);
        self.objects.news.restart(keys, version);
        Ok(())
    }
}

/// Which rows of the log, and how much of each.
pub(super) struct Rows {
    /// Of one kind, or of all.
    pub(super) resource: Option<Resource>,
    /// With the states before.
    pub(super) before: bool,
}

/// Part of the log.
pub(super) struct Page {
    /// In order; without kinds that only a newer release knows.
    pub(super) logged: Vec<Logged>,
    /// Where to read on, if there may be more.
    pub(super) next: Option<i64>,
}

/// Changes in (`from`, `to`], from at most `limit` rows.
pub(super) async fn read(
    objects: &Objects,
    connection: &mut PgConnection,
    rows: Rows,
    (from, to): (i64, i64),
    limit: i64,
) -> Result<Page, Error> {
    let Rows { resource, before } = rows;
    let rows = sqlx::query!(
        r#"select rv, grp, plural, ns, name, kind, body::text as "body!", case when $6 then prev::text end as prev from object_log
         where rv > $1 and rv <= $2 and ($3::text is null or grp = $3) and ($4::text is null or plural = $4) order by rv limit $5"#,
        from,
        to,
        resource.map(|resource| resource.group),
        resource.map(|resource| resource.plural),
        limit,
        before
    );
    let rows = rows.fetch_all(connection).await.map_err(Error::database("read the log"))?;
    let next = rows.last().filter(|_| rows.len() as i64 == limit).map(|row| row.rv);
    let logged = rows.into_iter().filter_map(|row| {
        let key = Key::new(Resource::find(&row.grp, &row.plural)?, row.ns, row.name);
        let read = |text: String, column| {
            let uid = if key.resource == Resource::SECRETS { uid(&text) } else { String::new() };
            match state(objects, key.clone(), None, column, text) {
                Some(state) => (state, true),
                None => (nothing(key.clone(), &uid, row.rv), false),
            }
        };
        let before = row.prev.map(|prev| read(prev, Column::Before).0);
        let (after, opened) = read(row.body, Column::Log);
        // What cannot be read may no longer be relied on as it was: for who watches, it is gone.
        let deleted = !opened || row.kind == "D";
        Some(Logged { version: row.rv, before, after: Arc::new(after), deleted })
    });
    Ok(Page { logged: logged.collect(), next })
}

/// Stands for a body that cannot be opened.
fn nothing(key: Key, uid: &str, version: i64) -> State {
    let body = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid, "resourceVersion": version.to_string()},
    });
    State::from_body(key, &body)
}

fn uid(text: &str) -> String {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    body["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// A body of the log. One that cannot be opened is left out, for those who watch must see the rest; whoever reads it by name is told.
fn state(objects: &Objects, key: Key, uid: Option<Uuid>, column: Column, text: String) -> Option<State> {
    let (name, namespace) = (key.to_string(), key.namespace.clone());
    let state = if key.resource == Resource::SECRETS {
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        objects.open(&key, uid, column, body).map(|body| State::from_body(key, &body))
    } else {
        State::of(key, text)
    };
    match state {
        Ok(state) => Some(state),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, key = name, namespace, "left out of watches");
            None
        }
    }
}

/// Forgets history that is both old and beyond the newest versions kept. Returns how many rows went.
///
/// # Errors
/// The database failed.
pub async fn compact(objects: &Objects) -> Result<u64, Error> {
    compact_beyond(objects, KEEP_SECONDS, KEEP_VERSIONS).await
}

/// [`compact`] with other limits.
///
/// # Errors
/// The database failed.
pub async fn compact_beyond(objects: &Objects, keep_seconds: f64, keep_versions: i64) -> Result<u64, Error> {
    // First what may be asked for, then what is there; and not in one transaction, for all writers wait for the counter's row.
    let moved = sqlx::query!(
        "update cluster_rv set compacted = horizon.rv from (
             select max(rv) as rv from object_log
             where at < now() - $1 * interval '1 second' and rv <= (select rv from cluster_rv) - $2) horizon
         where horizon.rv > compacted",
        keep_seconds,
        keep_versions
    );
    moved.execute(objects.pool()).await.map_err(Error::database("move the end of history"))?;
    let mut gone = 0;
    loop {
        let some = sqlx::query!(
            "delete from object_log where rv in (select rv from object_log where rv <= (select compacted from cluster_rv) order by rv limit $1)",
            BATCH
        );
        let some = some.execute(objects.pool()).await.map_err(Error::database("forget old history"))?.rows_affected();
        gone += some;
        if some < BATCH.unsigned_abs() {
            return Ok(gone);
        }
    }
}

/// Compacts every minute until told to stop. Replicas may all do it.
pub async fn keep_compact(objects: Objects, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(60));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = compact(&objects).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not forget old history; trying again in a minute"
            );
        }
    }
}
