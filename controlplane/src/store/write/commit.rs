//! The end of a [`Write`]: versions are taken, rows and history are written, and all of it becomes visible.

use std::borrow::Cow;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Touched, Write};
use crate::store::bounds::{DEEPEST, LARGEST, depth, weight};
use crate::store::secret::{self, Column};
use crate::store::{Error, Key, Object};

impl Write {
    /// Makes it all visible. Returns the version of the last change, or `None` when nothing differed (statements of the caller's own count not).
    ///
    /// # Errors
    /// [`Error::TooLarge`]. The database failed; nothing was written, unless the connection broke during the commit itself.
    pub async fn commit(mut self) -> Result<Option<i64>, Error> {
        let touched = std::mem::take(&mut self.touched);
        for (key, object) in touched.iter().filter(|(_, object)| !object.gone && object.differs()) {
            bounded(key, &object.now)?;
        }
        let turn = self.turn.clone();
        let differs = touched.values().any(Touched::differs);
        let _turn = if differs { Some(turn.lock().await) } else { None };
        let mut version = None;
        for (key, Touched { before, now, gone }) in touched {
            version = match (before, gone) {
                (None, true) => {
                    self.forget(&key).await?;
                    version
                }
                (Some(before), true) => Some(self.erase(&key, before, now).await?),
                (Some(before), false) if before == now => version,
                (before, false) => Some(self.stamp(&key, before, now).await?),
            };
        }
        self.transaction.commit().await.map_err(Error::database("commit"))?;
        if version.is_some() {
            self.committed.notify_one();
        }
        Ok(version)
    }

    /// Takes the next version and writes the object and its history under it. One statement: the counter is held for as little as can be.
    async fn stamp(&mut self, key: &Key, before: Option<Value>, body: Value) -> Result<i64, Error> {
        let kind = if before.is_some() { "M" } else { "A" };
        let object = Object { body };
        self.own(&object, before.as_ref()).await?;
        let (stored, logged) =
            (self.close(key, Column::Object, &object.body)?, self.close(key, Column::Log, &object.body)?);
        // Only what is sealed for each column differs between them.
        let logged = matches!(logged, Cow::Owned(_)).then_some(&*logged);
        let before = before.as_ref().map(|before| self.close(key, Column::Before, before)).transpose()?;
        let version = sqlx::query_scalar!(
            r#"with counter as (update cluster_rv set rv = rv + 1 returning rv),
             stamped as (select rv, jsonb_set($5::jsonb, '{metadata,resourceVersion}', to_jsonb(rv::text)) as body,
                           jsonb_set(coalesce($10::jsonb, $5::jsonb), '{metadata,resourceVersion}', to_jsonb(rv::text)) as logged from counter),
             written as (update object set rv = stamped.rv, body = stamped.body, labels = $6, deleting = $7 from stamped
                         where grp = $1 and plural = $2 and ns = $3 and name = $4)
             insert into object_log (rv, grp, plural, ns, name, kind, body, prev) select rv, $1, $2, $3, $4, $8, logged, $9 from stamped
             returning rv"#,
            key.resource.group,
            key.resource.plural,
            key.namespace,
            key.name,
            &*stored,
            object.body.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({})),
            object.deleting(),
            kind,
            before.as_deref(),
            logged
        );
        version.fetch_one(&mut *self.transaction).await.map_err(Error::database("write an object"))
    }

    async fn erase(&mut self, key: &Key, before: Value, last: Value) -> Result<i64, Error> {
        let (before, last) = (self.close(key, Column::Before, &before)?, self.close(key, Column::Log, &last)?);
        let version = sqlx::query_scalar!(
            r#"with counter as (update cluster_rv set rv = rv + 1 returning rv),
             stamped as (select rv, jsonb_set($5::jsonb, '{metadata,resourceVersion}', to_jsonb(rv::text)) as body from counter),
             gone as (delete from object where grp = $1 and plural = $2 and ns = $3 and name = $4)
             insert into object_log (rv, grp, plural, ns, name, kind, body, prev) select rv, $1, $2, $3, $4, 'D', body, $6 from stamped
             returning rv"#,
            key.resource.group,
            key.resource.plural,
            key.namespace,
            key.name,
            &*last,
            &*before
        );
        version.fetch_one(&mut *self.transaction).await.map_err(Error::database("remove an object"))
    }

    /// Takes back an object created and removed in the same transaction.
    async fn forget(&mut self, key: &Key) -> Result<(), Error> {
        let gone = sqlx::query!(
            "delete from object where grp = $1 and plural = $2 and ns = $3 and name = $4",
            key.resource.group,
            key.resource.plural,
            key.namespace,
            key.name
        );
        gone.execute(&mut *self.transaction).await.map_err(Error::database("take back an object")).map(drop)
    }

    fn close<'a>(&self, key: &Key, column: Column, body: &'a Value) -> Result<Cow<'a, Value>, Error> {
        secret::close(self.sealer.as_ref(), key, column, body)
    }

    async fn own(&mut self, object: &Object, before: Option<&Value>) -> Result<(), Error> {
        let current = owners(&object.body);
        if before.map(owners).unwrap_or_default() == current {
            return Ok(());
        }
        let Ok(uid) = Uuid::parse_str(object.uid()) else { return Ok(()) };
        let written = sqlx::query!(
            "with gone as (delete from owner where dependent_uid = $1 and owner_uid <> all($2))
             insert into owner (owner_uid, dependent_uid) select unnest($2::uuid[]), $1 on conflict do nothing",
            uid,
            &current
        );
        written.execute(&mut *self.transaction).await.map_err(Error::database("write an object's owners")).map(drop)
    }
}

pub(super) fn bounded(key: &Key, body: &Value) -> Result<(), Error> {
    match weight(body, LARGEST) > LARGEST || depth(body) > DEEPEST {
        true => Err(Error::TooLarge { key: key.clone() }),
        false => Ok(()),
    }
}

fn owners(body: &Value) -> Vec<Uuid> {
    let references = body.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let uids = references.into_iter().flatten().filter_map(|reference| reference["uid"].as_str());
    uids.filter_map(|uid| Uuid::parse_str(uid).ok()).collect()
}
