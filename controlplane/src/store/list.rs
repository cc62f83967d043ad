//! Lists: a whole kind, or a page of it, as of one version. Every page of a listing shows the same version, however much has changed since.

use serde_json::Value;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::secret::{self, Column};
use super::{Error, Key, Object, Objects, Resource, pool};

/// Rows fetched at a time while looking for those that match.
const CHUNK: i64 = 500;

/// Which state of the store to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The newest.
    Latest,
    /// The newest, and at least this one.
    AtLeast(i64),
    /// This one.
    Exactly(i64),
}

/// Whether an object is wanted.
pub type Filter = Box<dyn Fn(&Value) -> bool + Send + Sync>;

/// What to list.
pub struct Query {
    /// The kind.
    pub resource: Resource,
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// As of when.
    pub version: Version,
    /// At most this many items.
    pub limit: Option<usize>,
    /// Only items after this (namespace, name).
    pub after: Option<(String, String)>,
    /// Only items this accepts.
    pub filter: Option<Filter>,
    /// They are to be deleted: of Secrets that cannot be opened, what lies open, where others are told of the error.
    pub to_delete: bool,
}

impl Query {
    /// Everything of a kind, newest.
    pub fn all(resource: Resource) -> Self {
        Self {
            resource,
            namespace: None,
            version: Version::Latest,
            limit: None,
            after: None,
            filter: None,
            to_delete: false,
        }
    }
}

/// Items in the order of (namespace, name).
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// What was found.
    pub items: Vec<Object>,
    /// The version of the store they show.
    pub resource_version: i64,
    /// There are more after the last item.
    pub more: bool,
    /// How many more; known only without a filter.
    pub remaining: Option<i64>,
}

impl Objects {
    /// Lists as of one version, from one snapshot.
    ///
    /// # Errors
    /// [`Error::Future`] for a version that is not yet, [`Error::Expired`] for one whose history is gone; the database failed.
    pub async fn query(&self, query: &Query) -> Result<List, Error> {
        let mut snapshot = pool::snapshot(self.pool()).await?;
        let counter = sqlx::query!("select rv, compacted from cluster_rv");
        let counter = counter.fetch_one(&mut *snapshot).await.map_err(Error::database("read the version"))?;
        let at = match query.version {
            Version::Latest => counter.rv,
            Version::AtLeast(version) | Version::Exactly(version) if version > counter.rv => {
                return Err(Error::Future { version, newest: counter.rv });
            }
            Version::AtLeast(_) => counter.rv,
            Version::Exactly(version) if version < counter.compacted => {
                return Err(Error::Expired { version, compacted: counter.compacted });
            }
            Version::Exactly(version) => version,
        };
        let mut list = List { items: Vec::new(), resource_version: at, more: false, remaining: None };
        let mut after = query.after.clone();
        'rows: loop {
            let chunk = rows(&mut snapshot, query, at, counter.rv, after.as_ref()).await?;
            let last = chunk.len() < CHUNK as usize;
            for row in chunk {
                let column = if row.logged { Column::Before } else { Column::Object };
                let key = Key::new(query.resource, row.ns.as_str(), row.name.as_str());
                let half = query.to_delete.then(|| secret::open_half(&key, row.uid, row.body.clone()));
                let body = match (self.open(&key, row.uid, column, row.body), half) {
                    (Err(Error::Seal { .. }), Some(half)) => half,
                    (opened, _) => opened?,
                };
                if query.filter.as_ref().is_some_and(|accepts| !accepts(&body)) {
                    after = Some((row.ns, row.name));
                    continue;
                }
                if query.limit.is_some_and(|limit| list.items.len() >= limit) {
                    list.more = true;
                    break 'rows;
                }
                after = Some((row.ns, row.name));
                list.items.push(Object { body });
            }
            if last {
                break;
            }
        }
        if list.more && query.filter.is_none() {
            list.remaining = Some(count(&mut snapshot, query, at, after.as_ref()).await?);
        }
        snapshot.rollback().await.map_err(Error::database("end a snapshot"))?;
        Ok(list)
    }
}

struct Row {
    ns: String,
    name: String,
    /// Unknown of a state in the log.
    uid: Option<Uuid>,
    body: Value,
    /// It is the state before a change in the log.
    logged: bool,
}

/// The next rows as of version `at`: objects unchanged since, and the state before their first change after it of those that changed.
async fn rows(
    snapshot: &mut Transaction<'_, Postgres>,
    query: &Query,
    at: i64,
    newest: i64,
    after: Option<&(String, String)>,
) -> Result<Vec<Row>, Error> {
    let (namespace, name) = after.map_or(("", ""), |(namespace, name)| (namespace, name));
    let Resource { group, plural } = query.resource;
    let rows = if at == newest {
        let rows = sqlx::query_as!(
            Row,
            r#"select ns, name, uid as "uid?", body, false as "logged!" from object
             where grp = $1 and plural = $2 and ($3::text is null or ns = $3) and (ns, name) > ($4, $5) order by ns, name limit $6"#,
            group,
            plural,
            query.namespace,
            namespace,
            name,
            CHUNK
        );
        rows.fetch_all(&mut **snapshot).await
    } else {
        let rows = sqlx::query_as!(
            Row,
            r#"select ns as "ns!", name as "name!", uid, body as "body!", logged as "logged!" from (
                 select ns, name, uid, body, false as logged from object where grp = $1 and plural = $2 and rv <= $7
                 union all
                 select ns, name, null, prev, true from (
                   select distinct on (ns, name) ns, name, prev from object_log where grp = $1 and plural = $2 and rv > $7 order by ns, name, rv
                 ) first where prev is not null
               ) then_there
               where ($3::text is null or ns = $3) and (ns, name) > ($4, $5) order by ns, name limit $6"#,
            group,
            plural,
            query.namespace,
            namespace,
            name,
            CHUNK,
            at
        );
        rows.fetch_all(&mut **snapshot).await
    };
    rows.map_err(Error::database("list objects"))
}

async fn count(
    snapshot: &mut Transaction<'_, Postgres>,
    query: &Query,
    at: i64,
    after: Option<&(String, String)>,
) -> Result<i64, Error> {
    let (namespace, name) = after.map_or(("", ""), |(namespace, name)| (namespace, name));
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from (
             select ns, name from object where grp = $1 and plural = $2 and rv <= $6
             union all
             select ns, name from (
               select distinct on (ns, name) ns, name, prev from object_log where grp = $1 and plural = $2 and rv > $6 order by ns, name, rv
             ) first where prev is not null
           ) then_there where ($3::text is null or ns = $3) and (ns, name) > ($4, $5)"#,
        query.resource.group,
        query.resource.plural,
        query.namespace,
        namespace,
        name,
        at
    );
    count.fetch_one(&mut **snapshot).await.map_err(Error::database("count objects"))
}
