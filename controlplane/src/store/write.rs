//! [`Write`]: one transaction on objects, and whatever else its caller does in it.
//!
//! Invariants: each touched object is locked before it is judged; versions are taken at commit, as the last lock, one for each object that
//! differs from what was there; an object that does not differ is neither written nor logged; `generation` counts changes of the spec and
//! the request to delete, nothing else; a deleting object without finalizers is gone at commit.

mod commit;
mod delete;
mod record;
pub(super) mod swap;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::{PgConnection, Postgres, Transaction};
use tokio::sync::Notify;
use torch_remote_api::{Kind, by_plural};
use uuid::Uuid;

use delete::held;
pub use delete::{Deletion, FOREGROUND, ORPHAN, Propagation};

use super::object::{Turn, seconds};
use super::secret::{self, Column};
use super::{Error, Key, Object, Resource};
use crate::auth::Sealer;

/// What a caller requires of the stored object. Empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// `metadata.resourceVersion` must be this.
    pub version: Option<i64>,
    /// `metadata.uid` must be this.
    pub uid: Option<String>,
}

impl Preconditions {
    /// Compare-and-set on the version of an object read before.
    pub fn unchanged(object: &Object) -> Self {
        Self { version: Some(object.resource_version()), uid: Some(object.uid().to_owned()) }
    }

    /// Whatever became of it, it is still this object.
    pub fn same(object: &Object) -> Self {
        Self { version: None, uid: Some(object.uid().to_owned()) }
    }
}

/// A transaction. Lock several objects in the order of their keys. Nothing is visible to others, nor has a version, before [`commit`](Self::commit).
#[derive(Debug)]
pub struct Write {
    transaction: Transaction<'static, Postgres>,
    committed: Arc<Notify>,
    turn: Turn,
    sealer: Option<Sealer>,
    touched: BTreeMap<Key, Touched>,
}

#[derive(Debug)]
struct Touched {
    /// As committed; `None` when this transaction made it.
    before: Option<Value>,
    now: Value,
    gone: bool,
}

impl Touched {
    /// Whether there is something to write.
    fn differs(&self) -> bool {
        self.gone || self.before.as_ref() != Some(&self.now)
    }
}

impl Write {
    pub(super) fn new(
        transaction: Transaction<'static, Postgres>,
        committed: Arc<Notify>,
        turn: Turn,
        sealer: Option<Sealer>,
    ) -> Self {
        Self { transaction, committed, turn, sealer, touched: BTreeMap::new() }
    }

    /// The connection inside the transaction, for statements on tables of one's own. Must not write `object`, `object_log` or `cluster_rv`.
    pub fn sql(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// The database's clock at the start of this transaction.
    ///
    /// # Errors
    /// The database failed.
    pub async fn now(&mut self) -> Result<DateTime<Utc>, Error> {
        let now = sqlx::query_scalar!(r#"select clock_now() as "now!""#);
        now.fetch_one(&mut *self.transaction).await.map_err(Error::database("read the clock"))
    }

    /// The object as this transaction sees it, locked until the end; `None` when there is none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lock(&mut self, key: &Key) -> Result<Option<Object>, Error> {
        self.lock_as(key, false).await
    }

    /// As [`lock`](Self::lock), for one who goes on to delete it: of a Secret that cannot be opened, what lies open.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lock_to_delete(&mut self, key: &Key) -> Result<Option<Object>, Error> {
        self.lock_as(key, true).await
    }

    async fn lock_as(&mut self, key: &Key, to_delete: bool) -> Result<Option<Object>, Error> {
        if let Some(touched) = self.touched.get(key) {
            return Ok((!touched.gone).then(|| Object { body: touched.now.clone() }));
        }
        let row = sqlx::query!(
            "select uid, body from object where grp = $1 and plural = $2 and ns = $3 and name = $4 for update",
            key.resource.group,
            key.resource.plural,
            key.namespace,
            key.name
        );
        let row = row.fetch_optional(&mut *self.transaction).await.map_err(Error::database("lock an object"))?;
        let Some(row) = row else { return Ok(None) };
        let half = to_delete.then(|| secret::open_half(key, Some(row.uid), row.body.clone()));
        let body = match (secret::open(self.sealer.as_ref(), key, Some(row.uid), Column::Object, row.body), half) {
            (Err(Error::Seal { .. }), Some(half)) => half,
            (opened, _) => opened?,
        };
        // Nothing is locked by an absent row, so absence is not remembered: another may still create it.
        self.touched.insert(key.clone(), Touched { before: Some(body.clone()), now: body.clone(), gone: false });
        Ok(Some(Object { body }))
    }

    /// Creates an object: fills in uid, creationTimestamp, generation, and that nobody has observed one. `body` has its name, and its namespace if the kind has one.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::NamespaceMissing`] or [`Error::NamespaceTerminating`]; the database failed.
    pub async fn create(&mut self, resource: Resource, mut body: Value) -> Result<Object, Error> {
        let object = Object { body: body.clone() };
        let key = Key::new(resource, object.namespace(), object.name());
        let uid = Uuid::new_v4();
        let now = self.insert(&key, uid).await?;
        let metadata = metadata(&mut body);
        for server_owned in
            ["deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "generation", "managedFields"]
        {
            metadata.remove(server_owned);
        }
        metadata.insert("uid".into(), json!(uid.to_string()));
        metadata.insert("creationTimestamp".into(), json!(seconds(now)));
        if resource.has_generation() {
            metadata.insert("generation".into(), json!(1));
        }
        if by_plural(resource.group, resource.plural).is_some_and(Kind::observed) {
            // Of no generation yet: no tool takes it for one that is as asked.
            object_in(&mut body, "status").entry("observedGeneration").or_insert(json!(0));
        }
        self.touched.insert(key, Touched { before: None, now: body.clone(), gone: false });
        Ok(Object { body })
    }

    /// Replaces everything but status and what the server owns. A deleting object that loses its last finalizer is gone.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`], [`Error::OtherUid`], [`Error::FinalizerAdded`]; the database failed.
    pub async fn update(&mut self, key: &Key, body: Value, require: &Preconditions) -> Result<Object, Error> {
        let old = self.required(key, require).await?;
        let mut body = body;
        keep_server_owned(&old.body, &mut body);
        if key.resource.has_status() {
            keep_field(&old.body, &mut body, "status");
        }
        if key.resource.has_generation() && body["spec"] != old.body["spec"] {
            metadata(&mut body).insert("generation".into(), json!(old.generation() + 1));
        }
        let new = Object { body };
        if old.deleting() {
            let before = old.finalizers();
            if new.finalizers().iter().any(|name| !before.contains(name)) {
                return Err(Error::FinalizerAdded { key: key.clone() });
            }
        }
        self.put(key, new)
    }

    /// Replaces `status` alone.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`], [`Error::OtherUid`]; the database failed.
    pub async fn update_status(&mut self, key: &Key, status: Value, require: &Preconditions) -> Result<Object, Error> {
        let object = self.required(key, require).await?;
        self.put(key, object.with_status(status))
    }

    /// Says who owns the fields of an object that this transaction touched.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn attribute(&mut self, key: &Key, managed_fields: Option<Value>) -> Result<Object, Error> {
        let touched = self.touched.get_mut(key).ok_or_else(|| Error::NotFound { key: key.clone() })?;
        let metadata = metadata(&mut touched.now);
        match managed_fields {
            Some(owners) => metadata.insert("managedFields".into(), owners),
            None => metadata.remove("managedFields"),
        };
        Ok(Object { body: touched.now.clone() })
    }

    async fn required(&mut self, key: &Key, require: &Preconditions) -> Result<Object, Error> {
        let object = self.lock(key).await?.ok_or_else(|| Error::NotFound { key: key.clone() })?;
        if let Some(uid) = require.uid.as_deref().filter(|uid| *uid != object.uid()) {
            return Err(Error::OtherUid { key: key.clone(), expected: uid.into(), found: object.uid().into() });
        }
        match require.version {
            Some(expected) if expected != object.resource_version() => {
                Err(Error::Conflict { key: key.clone(), expected, found: object.resource_version() })
            }
            _ => Ok(object),
        }
    }

    fn put(&mut self, key: &Key, object: Object) -> Result<Object, Error> {
        let touched = self.touched.get_mut(key).ok_or_else(|| Error::NotFound { key: key.clone() })?;
        touched.gone = object.deleting() && !held(&object.body);
        touched.now = object.body.clone();
        Ok(object)
    }

    /// Takes the name, with nothing in its row before the commit, and holds the namespace until the end of this transaction, so that it cannot go while
    /// something is made in it. Returns what [`now`](Self::now) does.
    async fn insert(&mut self, key: &Key, uid: Uuid) -> Result<DateTime<Utc>, Error> {
        let inserted = sqlx::query!(
            r#"with space as (select deleting from object where grp = '' and plural = 'namespaces' and ns = '' and name = $3 for share),
             made as (insert into object (grp, plural, ns, name, uid, rv, labels, body) select $1, $2, $3, $4, $5, 0, '{}', '{}'
                      where not $6 or exists (select from space where not deleting)
                      on conflict (grp, plural, ns, name) do nothing returning uid)
             select (select deleting from space) as terminating, exists (select from made) as "made!",
                    now() + offset_ms * interval '1 millisecond' as "now!" from clock"#,
            key.resource.group,
            key.resource.plural,
            key.namespace,
            key.name,
            uid,
            key.resource.namespaced()
        );
        let inserted = inserted.fetch_one(&mut *self.transaction).await.map_err(Error::database("create an object"))?;
        let namespace = || key.namespace.clone();
        match inserted.terminating {
            _ if inserted.made => Ok(inserted.now),
            None if key.resource.namespaced() => Err(Error::NamespaceMissing { namespace: namespace() }),
            Some(true) => Err(Error::NamespaceTerminating { namespace: namespace() }),
            _ => {
                let deleting = self.lock_to_delete(key).await?.is_some_and(|there| there.deleting());
                Err(Error::AlreadyExists { key: key.clone(), deleting })
            }
        }
    }
}

fn metadata(body: &mut Value) -> &mut Map<String, Value> {
    object_in(body, "metadata")
}

fn object_in<'a>(body: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !body.is_object() {
        *body = json!({});
    }
    let object = &mut body[field];
    if !object.is_object() {
        *object = json!({});
    }
    object.as_object_mut().expect("made an object above")
}

fn keep_server_owned(old: &Value, new: &mut Value) {
    let old = old["metadata"].as_object().cloned().unwrap_or_default();
    let new = metadata(new);
    let kept = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        // Written by `attribute` alone.
        "managedFields",
    ];
    for field in kept {
        match old.get(field) {
            Some(value) => new.insert(field.to_owned(), value.clone()),
            None => new.remove(field),
        };
    }
}

fn keep_field(old: &Value, new: &mut Value, field: &str) {
    let Some(fields) = new.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => fields.insert(field.to_owned(), value.clone()),
        None => fields.remove(field),
    };
}
