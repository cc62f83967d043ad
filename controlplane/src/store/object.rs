//! [`Object`], one stored object, and [`Objects`], the store's front: reads, the start of a write, and the news of changes.
//!
//! Invariant: what a read returns was committed; a caller that must act on it takes it again with [`Write::lock`].

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

use super::news::News;
use super::secret::{self, Column};
use super::write::swap::Swaps;
use super::{Key, List, Query, Resource, Write, pool};
use crate::auth::Sealer;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named by the texts")]
pub enum Error {
    #[error("{key} not found")]
    NotFound { key: Key },
    #[error("{}{key} already exists", if *.deleting { "object is being deleted: " } else { "" })]
    AlreadyExists { key: Key, deleting: bool },
    #[error("{key} has been modified: the caller's version is {expected}, the stored one {found}")]
    Conflict { key: Key, expected: i64, found: i64 },
    #[error("{key} is another object by now: its uid is {found}, not {expected}")]
    OtherUid { key: Key, expected: Box<str>, found: Box<str> },
    #[error("{key} is being deleted, so finalizers can only be removed")]
    FinalizerAdded { key: Key },
    #[error("{key} would be larger than {} MiB or more than {} levels deep, its managedFields counted; make it smaller", super::bounds::LARGEST >> 20, super::bounds::DEEPEST)]
    TooLarge { key: Key },
    #[error("namespace \"{namespace}\" not found")]
    NamespaceMissing { namespace: String },
    #[error("namespace \"{namespace}\" is being terminated")]
    NamespaceTerminating { namespace: String },
    #[error("resource version {version} is too old: history up to {compacted} is gone; list again")]
    Expired { version: i64, compacted: i64 },
    #[error("resource version {version} is ahead of the newest, {newest}")]
    Future { version: i64, newest: i64 },
    #[error("stored object {key} does not have the form expected of it")]
    Malformed {
        key: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "could not bring the database to this release's schema; look at the cause, and restore or upgrade the database"
    )]
    Migrate {
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    #[error(
        "a newer release has taken away what this one needs: the database is for programs with migration {floor}, and this one's newest is {newest}"
    )]
    Outgrown { newest: i64, floor: i64 },
    #[error("secrets cannot be kept: this program was started without a key to seal them with")]
    NoKey,
    #[error("a secret cannot be sealed or opened")]
    Seal {
        #[source]
        source: crate::auth::seal::Error,
    },
    #[error("the database failed to {operation}")]
    Database {
        operation: &'static str,
        /// Shared by all whose statement it was.
        #[source]
        source: Arc<sqlx::Error>,
    },
}

/// What a caller may do after an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same call fails again.
    Never,
    /// Read again and repeat at once.
    Now,
    /// Repeat after this time.
    After(Duration),
}

impl Error {
    /// For `map_err`: names the operation that failed.
    pub fn database(operation: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { operation, source: Arc::new(source) }
    }

    /// Whether the database refuses the data themselves, whenever they come: SQLSTATE classes 22, 23 and 54.
    pub fn is_of_the_data(&self) -> bool {
        let Self::Database { source, .. } = self else { return false };
        let code = source.as_database_error().and_then(|error| error.code());
        code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
    }

    /// Whether the caller should try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Conflict { .. } => Retry::Now,
            Self::Database { source, .. } => match source.as_database_error().and_then(|error| error.code()).as_deref()
            {
                // Deadlock and serialization failure.
                Some("40P01" | "40001") => Retry::Now,
                _ => Retry::After(Duration::from_secs(1)),
            },
            _ => Retry::Never,
        }
    }
}

/// One object as JSON, with metadata the server has filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// All of it: apiVersion, kind, metadata, spec, status.
    pub body: Value,
}

impl Object {
    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `metadata.namespace`; empty for cluster-scoped kinds.
    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// Where it is stored.
    pub fn key(&self, resource: Resource) -> Key {
        Key::new(resource, self.namespace(), self.name())
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// `metadata.uid` as what it is.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn id(&self) -> Result<Uuid, Error> {
        Uuid::parse_str(self.uid()).map_err(|source| self.malformed(serde::de::Error::custom(source)))
    }

    /// `metadata.resourceVersion`; 0 before the first commit.
    pub fn resource_version(&self) -> i64 {
        self.text("/metadata/resourceVersion").parse().unwrap_or(0)
    }

    /// `metadata.generation`; 0 for kinds without one.
    pub fn generation(&self) -> i64 {
        self.body.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0)
    }

    /// Whether deletion was asked for.
    pub fn deleting(&self) -> bool {
        self.body.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
    }

    /// The same with another status; null: with none.
    pub fn with_status(mut self, status: Value) -> Self {
        if let Some(fields) = self.body.as_object_mut() {
            match status {
                Value::Null => fields.remove("status"),
                status => fields.insert("status".into(), status),
            };
        }
        self
    }

    /// The same with one more finalizer, unless it is there.
    pub fn with_finalizer(mut self, finalizer: &str) -> Self {
        let mut finalizers = self.finalizers();
        if !finalizers.contains(&finalizer) {
            finalizers.push(finalizer);
            let finalizers = finalizers.into();
            self.body["metadata"]["finalizers"] = finalizers;
        }
        self
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> Vec<&str> {
        let list = self.body.pointer("/metadata/finalizers").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The whole object as a type.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the stored JSON is not a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.body).map_err(|source| self.malformed(source))
    }

    /// `spec` as a type.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the stored JSON is not a `T`.
    pub fn spec<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.body["spec"]).map_err(|source| self.malformed(source))
    }

    /// `status` as a type; `None` when nobody has written one.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the stored JSON is not a `T`.
    pub fn status<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        match &self.body["status"] {
            Value::Null => Ok(None),
            status => T::deserialize(status).map(Some).map_err(|source| self.malformed(source)),
        }
    }

    fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }

    fn malformed(&self, source: serde_json::Error) -> Error {
        let key = format!("{} {}/{}", self.text("/kind"), self.namespace(), self.name());
        Error::Malformed { key, source }
    }
}

/// All stored objects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Objects {
    pool: PgPool,
    pub(super) news: Arc<News>,
    pub(super) committed: Arc<Notify>,
    pub(super) turn: Turn,
    pub(super) swaps: Swaps,
    sealer: Option<Sealer>,
}

/// Who of this replica's writers takes versions. They would wait for each other at the counter's row all the same; there each of them costs the
/// database a lock, and a look at what became of the row.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

impl Objects {
    /// A front to the objects in this database. The news of [`changes`](Self::changes) comes from the one [`Tail`](super::log::Tail) made of it.
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            news: Arc::default(),
            committed: Arc::new(Notify::new()),
            turn: Turn::default(),
            swaps: Swaps::default(),
            sealer: None,
        }
    }

    /// The same, able to keep Secrets.
    pub fn sealed_by(self, sealer: Sealer) -> Self {
        Self { sealer: Some(sealer), ..self }
    }

    /// The pool beneath, for statements on tables of one's own.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The object, if it exists.
    ///
    /// # Errors
    /// The database failed.
    pub async fn get(&self, key: &Key) -> Result<Option<Object>, Error> {
        let row = sqlx::query!(
            "select uid, body from object where grp = $1 and plural = $2 and ns = $3 and name = $4",
            key.resource.group,
            key.resource.plural,
            key.namespace,
            key.name
        );
        let row = row.fetch_optional(&self.pool).await.map_err(Error::database("read an object"))?;
        row.map(|row| Ok(Object { body: self.open(key, Some(row.uid), Column::Object, row.body)? })).transpose()
    }

    /// The version of the object, if it exists.
    ///
    /// # Errors
    /// The database failed.
    pub async fn version_of(&self, key: &Key) -> Result<Option<i64>, Error> {
        let version = sqlx::query_scalar!(
            "select rv from object where grp = $1 and plural = $2 and ns = $3 and name = $4",
            key.resource.group,
            key.resource.plural,
            key.namespace,
            key.name
        );
        version.fetch_optional(&self.pool).await.map_err(Error::database("read an object's version"))
    }

    /// All objects of a kind, of one namespace or of all, at one version.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, resource: Resource, namespace: Option<&str>) -> Result<List, Error> {
        self.query(&Query { namespace: namespace.map(str::to_owned), ..Query::all(resource) }).await
    }

    /// The database's clock, with the offset tests set: judges waits, durations and leases.
    ///
    /// # Errors
    /// The database failed.
    pub async fn now(&self) -> Result<DateTime<Utc>, Error> {
        let now = sqlx::query_scalar!(r#"select clock_now() as "now!""#);
        now.fetch_one(&self.pool).await.map_err(Error::database("read the clock"))
    }

    /// The newest version there is.
    ///
    /// # Errors
    /// The database failed.
    pub async fn version(&self) -> Result<i64, Error> {
        let version = sqlx::query_scalar!("select rv from cluster_rv");
        version.fetch_one(&self.pool).await.map_err(Error::database("read the version"))
    }

    /// Starts a transaction. Dropping the [`Write`] undoes it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin(&self) -> Result<Write, Error> {
        let transaction = pool::begin(&self.pool).await?;
        Ok(Write::new(transaction, self.committed.clone(), self.turn.clone(), self.sealer.clone()))
    }

    /// Keys of objects that changed, on any replica, in the order of their versions. A hint to look: also look at everything now and then.
    pub fn changes(&self) -> broadcast::Receiver<Key> {
        self.news.subscribe()
    }

    /// The writer of this version, who is of this replica, has looked at the object as it is since: no one else of this replica has to.
    pub fn settled(&self, version: i64) {
        self.news.settled(version);
    }

    /// For what reads rows: the body that lies in a column.
    pub(super) fn open(&self, key: &Key, uid: Option<Uuid>, column: Column, body: Value) -> Result<Value, Error> {
        secret::open(self.sealer.as_ref(), key, uid, column, body)
    }

    /// For the tail: returns when a write of this replica has committed.
    pub(super) async fn committed(&self) {
        self.committed.notified().await;
    }
}

/// A time as metadata writes it.
pub fn seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// RFC 3339 with microseconds, as Kubernetes' `MicroTime`.
pub fn micros(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
