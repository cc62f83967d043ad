//! Compare-and-set of one object in one statement: what reconcilers write, of which there is the most.

use serde_json::Value;

use super::commit::bounded;
use crate::store::{Error, Key, Object, Objects, Resource};

impl Objects {
    /// Puts `after` in the place of `before`, which must still be there as it was read, and not be worked on by another. Returns its version, or `None` when they do not differ.
    ///
    /// For an object's status and its finalizers: labels, spec, owners and the request to delete are as before. Secrets, which are sealed, are not written so.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`], [`Error::TooLarge`]; the database failed: whether it was written is not known.
    pub async fn swap(&self, key: &Key, before: &Object, after: &Object) -> Result<Option<i64>, Error> {
        debug_assert!(key.resource != Resource::SECRETS && kept(&before.body) == kept(&after.body));
        if before == after {
            return Ok(None);
        }
        bounded(key, &after.body)?;
        // First the connection: those who wait for their turn hold theirs, so that there may be none left for whoever has it.
        let mut connection = self.pool().acquire().await.map_err(Error::database("reach the database"))?;
        let turn = self.turn.lock().await;
        // The row is locked before the counter, as by every write; and not waited for, as whoever has it may wait for its turn.
        let version = sqlx::query_scalar!(
            r#"with old as (select from object where grp = $1 and plural = $2 and ns = $3 and name = $4 and rv = $5
                          for no key update skip locked),
             counter as (update cluster_rv set rv = rv + 1 where exists (select from old) returning rv),
             stamped as (select rv, jsonb_set($6::jsonb, '{metadata,resourceVersion}', to_jsonb(rv::text)) as body from counter),
             written as (update object set rv = stamped.rv, body = stamped.body from stamped
                         where grp = $1 and plural = $2 and ns = $3 and name = $4)
             insert into object_log (rv, grp, plural, ns, name, kind, body, prev) select rv, $1, $2, $3, $4, 'M', body, $7 from stamped
             returning rv"#,
            key.resource.group,
            key.resource.plural,
            key.namespace,
            key.name,
            before.resource_version(),
            after.body,
            before.body
        );
        let version = version.fetch_optional(&mut *connection).await.map_err(Error::database("write an object"))?;
        drop((turn, connection));
        if version.is_some() {
            self.committed.notify_one();
            return Ok(version);
        }
        Err(match self.version_of(key).await? {
            Some(found) => Error::Conflict { key: key.clone(), expected: before.resource_version(), found },
            None => Error::NotFound { key: key.clone() },
        })
    }
}

/// What a swap leaves alone.
fn kept(body: &Value) -> [&Value; 5] {
    let metadata = &body["metadata"];
    [&metadata["labels"], &metadata["ownerReferences"], &metadata["deletionTimestamp"], &metadata["uid"], &body["spec"]]
}
