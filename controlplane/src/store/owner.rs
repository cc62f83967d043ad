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

/// Of these objects those that the collector has to look at: they have owners, or their deletion waits for dependents. And whether any of them is gone.
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
        r#"select k.grp as "grp!", k.plural as "plural!", k.ns as "ns!", k.name as "name!", o.uid is null as "gone!"
           from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as k (grp, plural, ns, name) left join object o using (grp, plural, ns, name)
           where o.uid is null or exists (select from owner where dependent_uid = o.uid)
           or (o.deleting and (o.body #> '{metadata,finalizers}') ?| array['foregroundDeletion', 'orphan'])"#,
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
           where not exists (select from object owner where owner.uid = w.owner_uid)
           union
           select grp, plural, ns, name from object where deleting and (body #> '{metadata,finalizers}') ?| array['foregroundDeletion', 'orphan']"#
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("look for what was left behind"))?;
    Ok(rows.into_iter().filter_map(|row| key(&row.grp, &row.plural, row.ns, row.name)).collect())
}

/// Every object with owners, and every one whose deletion waits for dependents.
///
/// # Errors
/// The database failed.
pub async fn all_concerned(pool: &PgPool) -> Result<Vec<Key>, Error> {
    let rows = sqlx::query!(
        r#"select o.grp as "grp!", o.plural as "plural!", o.ns as "ns!", o.name as "name!" from object o where exists (select from owner where dependent_uid = o.uid)
           union
           select grp, plural, ns, name from object where deleting and (body #> '{metadata,finalizers}') ?| array['foregroundDeletion', 'orphan']"#
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("look at all that has owners"))?;
    Ok(rows.into_iter().filter_map(|row| key(&row.grp, &row.plural, row.ns, row.name)).collect())
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
