//! Owners and dependents: which objects end with which, by uid.

use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Error, Key, Object, Resource};

/// Objects whose `ownerReferences` name this uid, in the order of their keys.
///
/// # Errors
/// The database failed.
pub async fn dependents(connection: &mut PgConnection, owner: Uuid) -> Result<Vec<(Key, Object)>, Error> {
    let rows = sqlx::query!(
        "select o.grp, o.plural, o.ns, o.name, o.body from owner w join object o on o.uid = w.dependent_uid
         where w.owner_uid = $1 order by o.grp, o.plural, o.ns, o.name",
        owner
    );
    let rows = rows.fetch_all(connection).await.map_err(Error::database("look for dependents"))?;
    let found = rows
        .into_iter()
        .filter_map(|row| Some((key(&row.grp, &row.plural, row.ns, row.name)?, Object { body: row.body })));
    Ok(found.collect())
}

/// Names of a kind's objects in a namespace that begin so.
///
/// # Errors
/// The database failed.
pub async fn names(
    connection: &mut PgConnection,
    resource: Resource,
    namespace: &str,
    stem: &str,
) -> Result<Vec<String>, Error> {
    let names = sqlx::query_scalar!(
        "select name from object where grp = $1 and plural = $2 and ns = $3 and starts_with(name, $4)",
        resource.group,
        resource.plural,
        namespace,
        stem
    );
    names.fetch_all(connection).await.map_err(Error::database("look for names"))
}

/// The object of that uid, wherever it lies.
///
/// # Errors
/// The database failed.
pub async fn by_uid(pool: &PgPool, uid: Uuid) -> Result<Option<(Key, Object)>, Error> {
    let row = sqlx::query!("select grp, plural, ns, name, body from object where uid = $1", uid);
    let row = row.fetch_optional(pool).await.map_err(Error::database("look for an owner"))?;
    Ok(row.and_then(|row| Some((key(&row.grp, &row.plural, row.ns, row.name)?, Object { body: row.body }))))
}

/// Of these objects those that the collector has to look at: an owner of theirs may be gone, or a deletion waits for dependents, be it their own or their
/// owner's. And whether any of them is gone.
///
/// # Errors
/// The database failed.
pub async fn concerned(pool: &PgPool, keys: &[Key]) -> Result<(Vec<Key>, bool), Error> {
    let (mut groups, mut plurals, mut namespaces, mut names) = (vec![], vec![], vec![], vec![]);
    for key in keys {
        groups.push(key.resource.group.to_owned());
        plurals.push(key.resource.plural.to_owned());
        namespaces.push(key.namespace.clone());
        names.push(key.name.clone());
    }
    let rows = sqlx::query!(
        r#"with changed as (
             select k.*, o.uid, o.deleting, o.body
             from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as k (grp, plural, ns, name) left join object o using (grp, plural, ns, name))
           select o.grp as "grp!", o.plural as "plural!", o.ns as "ns!", o.name as "name!", o.uid is null as "gone!" from changed o
           where o.uid is null or (o.deleting and (o.body #> '{metadata,finalizers}') ?| array['foregroundDeletion', 'orphan'])
           or (not o.deleting and exists (
             select from owner w left join object p on p.uid = w.owner_uid
             where w.dependent_uid = o.uid and (p.uid is null or p.ns not in ('', o.ns)
             or (p.deleting and (p.body #> '{metadata,finalizers}') ? 'foregroundDeletion')
             or (o.body #> '{metadata,ownerReferences}' @>
                 jsonb_build_array(jsonb_build_object('uid', p.uid::text, 'name', p.name, 'kind', p.body -> 'kind'))) is not true)))
           union
           select p.grp, p.plural, p.ns, p.name, false from changed o join owner w on w.dependent_uid = o.uid join object p on p.uid = w.owner_uid
           where p.deleting and (p.body #> '{metadata,finalizers}') ? 'foregroundDeletion'"#,
        &groups,
        &plurals,
        &namespaces,
        &names
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("look for what has owners"))?;
    let gone = rows.iter().any(|row| row.gone);
    let found = rows.into_iter().filter(|row| !row.gone);
    Ok((found.filter_map(|row| key(&row.grp, &row.plural, row.ns, row.name)).collect(), gone))
}

/// What the end of some object may have left to do: dependents of owners that are no more, and objects whose deletion waits for dependents.
///
/// # Errors
/// The database failed.
pub async fn left_behind(pool: &PgPool) -> Result<Vec<Key>, Error> {
    let rows = sqlx::query!(
        r#"select o.grp as "grp!", o.plural as "plural!", o.ns as "ns!", o.name as "name!" from owner w join object o on o.uid = w.dependent_uid
           where not o.deleting and not exists (select from object owner where owner.uid = w.owner_uid)
           union
           select grp, plural, ns, name from object where deleting and (body #> '{metadata,finalizers}') ?| array['foregroundDeletion', 'orphan']"#
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("look for what was left behind"))?;
    Ok(rows.into_iter().filter_map(|row| key(&row.grp, &row.plural, row.ns, row.name)).collect())
}

/// Every object with an owner that is not there as its reference says, or that is being deleted after those it owns; and every one whose deletion waits for
/// dependents.
///
/// # Errors
/// The database failed.
pub async fn all_concerned(pool: &PgPool) -> Result<Vec<Key>, Error> {
    let rows = sqlx::query!(
        r#"select o.grp as "grp!", o.plural as "plural!", o.ns as "ns!", o.name as "name!"
           from owner w join object o on o.uid = w.dependent_uid left join object p on p.uid = w.owner_uid
           where not o.deleting and (p.uid is null or p.ns not in ('', o.ns)
           or (p.deleting and (p.body #> '{metadata,finalizers}') ? 'foregroundDeletion')
           or (o.body #> '{metadata,ownerReferences}' @>
               jsonb_build_array(jsonb_build_object('uid', p.uid::text, 'name', p.name, 'kind', p.body -> 'kind'))) is not true)
           union
           select grp, plural, ns, name from object where deleting and (body #> '{metadata,finalizers}') ?| array['foregroundDeletion', 'orphan']"#
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("look at all that has owners"))?;
    Ok(rows.into_iter().filter_map(|row| key(&row.grp, &row.plural, row.ns, row.name)).collect())
}

/// What an object owns. Namespaced owners own in their namespace alone, whatever others say of them.
#[derive(Debug, Clone, Copy)]
pub struct Owned<'a> {
    pool: &'a PgPool,
    uid: Uuid,
    namespace: &'a str,
}

impl<'a> Owned<'a> {
    /// By this object.
    ///
    /// # Errors
    /// It has no uid.
    pub fn by(owner: &'a Object, pool: &'a PgPool) -> Result<Self, Error> {
        Ok(Self { pool, uid: owner.id()?, namespace: owner.namespace() })
    }

    /// Their keys; those that are being deleted already only when asked for.
    ///
    /// # Errors
    /// The database failed.
    pub async fn keys(self, deleting: bool) -> Result<Vec<Key>, Error> {
        let rows = sqlx::query!(
            "select o.grp, o.plural, o.ns, o.name from owner w join object o on o.uid = w.dependent_uid
             where w.owner_uid = $1 and $2 in ('', o.ns) and ($3 or not o.deleting) order by o.grp, o.plural, o.ns, o.name",
            self.uid,
            self.namespace,
            deleting
        );
        let rows = rows.fetch_all(self.pool).await.map_err(Error::database("look for dependents"))?;
        Ok(rows.into_iter().filter_map(|row| key(&row.grp, &row.plural, row.ns, row.name)).collect())
    }

    /// Whether there are any; and whether any of them is itself being deleted after those it owns, which may be a circle.
    ///
    /// # Errors
    /// The database failed.
    pub async fn any(self) -> Result<(bool, bool), Error> {
        let row = sqlx::query!(
            r#"select count(*) > 0 as "any!",
               coalesce(bool_or(o.deleting and (o.body #> '{metadata,finalizers}') ? 'foregroundDeletion'), false) as "waiting!"
               from owner w join object o on o.uid = w.dependent_uid where w.owner_uid = $1 and $2 in ('', o.ns)"#,
            self.uid,
            self.namespace
        );
        let row = row.fetch_one(self.pool).await.map_err(Error::database("look for dependents"))?;
        Ok((row.any, row.waiting))
    }

    /// Whether any of them is to be gone before their owner, also of kinds that only a newer release knows.
    ///
    /// # Errors
    /// The database failed.
    pub async fn block(self) -> Result<bool, Error> {
        let row = sqlx::query_scalar!(
            r#"select exists (select from owner w join object o on o.uid = w.dependent_uid where w.owner_uid = $1 and $2 in ('', o.ns)
               and o.body #> '{metadata,ownerReferences}' @> jsonb_build_array(jsonb_build_object('uid', w.owner_uid::text, 'blockOwnerDeletion', true))) as "block!""#,
            self.uid,
            self.namespace
        );
        row.fetch_one(self.pool).await.map_err(Error::database("look for dependents"))
    }
}

/// `None` for kinds that only a newer release knows.
fn key(group: &str, plural: &str, namespace: String, name: String) -> Option<Key> {
    Some(Key::new(Resource::find(group, plural)?, namespace, name))
}

/// The uid of the object's controller, if it is of this kind.
pub fn controller(body: &Value, kind: &str) -> Option<Uuid> {
    reference(body, kind)?["uid"].as_str().and_then(|uid| Uuid::parse_str(uid).ok())
}

/// The name of the object's controller, if it is of this kind.
pub fn controller_name<'a>(body: &'a Value, kind: &str) -> Option<&'a str> {
    reference(body, kind)?["name"].as_str()
}

fn reference<'a>(body: &'a Value, kind: &str) -> Option<&'a Value> {
    let owners = body["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true && owner["kind"] == kind)
}
