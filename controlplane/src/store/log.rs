//! The history behind watches. [`Tail`] is the one task of a replica that reads it; [`compact`] forgets its old end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::secret::Column;
use super::watch_cache::{Change, WatchCache};
use super::{Error, Key, Objects, POLL, Resource};

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
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.objects.committed() => {}
            }
            match self.advance().await {
                Ok(()) => failing = false,
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

    /// Reads what is new, all of it.
    ///
    /// # Errors
    /// The database failed; what was read before that is in the cache.
    pub async fn advance(&self) -> Result<(), Error> {
        let counter = sqlx::query!("select rv, compacted from cluster_rv");
        let counter = counter.fetch_one(self.objects.pool()).await.map_err(Error::database("read the version"))?;
        let seen = self.cache.version();
        if counter.rv == seen {
            return Ok(());
        }
        if counter.rv < seen || counter.compacted > seen {
            // The database was restored, or history went before this replica read it. Watchers must list again.
            tracing::warn!(
                seen,
                newest = counter.rv,
                compacted = counter.compacted,
                "the log does not continue where this replica stands; watches restart"
            );
            return self.reload().await;
        }
        let mut from = Some(seen);
        while let Some(after) = from {
            let page = read(&self.objects, None, after, counter.rv, BATCH).await?;
            let keys: Vec<Key> = page.changes.iter().map(|change| change.key.clone()).collect();
            self.cache.apply(page.changes, page.next.unwrap_or(counter.rv));
            for key in keys {
                self.objects.announce(key);
            }
            from = page.next;
        }
        Ok(())
    }

    async fn reload(&self) -> Result<(), Error> {
        let mut snapshot = self
            .objects
            .pool()
            .begin_with("begin isolation level repeatable read, read only")
            .await
            .map_err(Error::database("begin a snapshot"))?;
        let version = sqlx::query_scalar!("select rv from cluster_rv");
        let version = version.fetch_one(&mut *snapshot).await.map_err(Error::database("read the version"))?;
        let rows = sqlx::query!(
            "select grp, plural, ns, name, uid, body from object where rv > 0 order by grp, plural, ns, name"
        );
        let rows = rows.fetch_all(&mut *snapshot).await.map_err(Error::database("load all objects"))?;
        snapshot.rollback().await.map_err(Error::database("end a snapshot"))?;
        let objects: Vec<(Key, Value)> = rows
            .into_iter()
            .filter_map(|row| {
                let key = Key::new(Resource::find(&row.grp, &row.plural)?, row.ns, row.name);
                let body = opened(&self.objects, &key, Some(row.uid), Column::Object, row.body)?;
                Some((key, body))
            })
            .collect();
        let keys: Vec<Key> = objects.iter().map(|(key, _)| key.clone()).collect();
        self.cache.reset(objects, version);
        for key in keys {
            self.objects.announce(key);
        }
        Ok(())
    }
}

/// Part of the log.
pub(super) struct Page {
    /// In order; without kinds that only a newer release knows.
    pub(super) changes: Vec<Change>,
    /// Where to read on, if there may be more.
    pub(super) next: Option<i64>,
}

/// Changes in (`from`, `to`], of one resource or of all, from at most `limit` rows.
pub(super) async fn read(
    objects: &Objects,
    resource: Option<Resource>,
    from: i64,
    to: i64,
    limit: i64,
) -> Result<Page, Error> {
    let rows = sqlx::query!(
        "select rv, grp, plural, ns, name, kind, body, prev from object_log
         where rv > $1 and rv <= $2 and ($3::text is null or grp = $3) and ($4::text is null or plural = $4) order by rv limit $5",
        from,
        to,
        resource.map(|resource| resource.group),
        resource.map(|resource| resource.plural),
        limit
    );
    let rows = rows.fetch_all(objects.pool()).await.map_err(Error::database("read the log"))?;
    let next = rows.last().filter(|_| rows.len() as i64 == limit).map(|row| row.rv);
    let changes = rows.into_iter().filter_map(|row| {
        let key = Key::new(Resource::find(&row.grp, &row.plural)?, row.ns, row.name);
        let before = row.prev.map(|prev| {
            let uid = prev["metadata"]["uid"].clone();
            opened(objects, &key, None, Column::Before, prev).unwrap_or_else(|| nothing(&key, &uid, row.rv))
        });
        let uid = row.body["metadata"]["uid"].clone();
        // What cannot be read may no longer be relied on as it was: for who watches, it is gone.
        let (body, deleted) = match opened(objects, &key, None, Column::Log, row.body) {
            Some(body) => (body, row.kind == "D"),
            None => (nothing(&key, &uid, row.rv), true),
        };
        Some(Change::new(key, row.rv, before, body, deleted))
    });
    Ok(Page { changes: changes.collect(), next })
}

/// Stands for a body that cannot be opened.
fn nothing(key: &Key, uid: &Value, version: i64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid, "resourceVersion": version.to_string()},
    })
}

/// A body of the log. One that cannot be opened is left out, for those who watch must see the rest; whoever reads it by name is told.
fn opened(objects: &Objects, key: &Key, uid: Option<Uuid>, column: Column, body: Value) -> Option<Value> {
    match objects.open(key, uid, column, body) {
        Ok(body) => Some(body),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, %key, namespace = key.namespace, "left out of watches");
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
    let gone = sqlx::query!(
        "with horizon as (
             select max(rv) as rv from object_log
             where at < now() - $1 * interval '1 second' and rv <= (select rv from cluster_rv) - $2),
         moved as (update cluster_rv set compacted = horizon.rv from horizon where horizon.rv > compacted)
         delete from object_log using horizon where object_log.rv <= horizon.rv",
        keep_seconds,
        keep_versions
    );
    let gone = gone.execute(objects.pool()).await.map_err(Error::database("forget old history"))?;
    Ok(gone.rows_affected())
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
