//! The table `audit`: who did what. Rows are added in batches, read by page, and forgotten when they are old.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Error;

/// Characters kept of a text.
const LONGEST: usize = 1024;

/// A row to add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Name of the caller; empty: it did not say believably.
    pub who: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Who acted in its name.
    pub impersonator: Option<String>,
    /// Verb.
    pub verb: String,
    /// API group; this and the next are empty for a path that is no resource.
    pub group: String,
    /// Plural.
    pub resource: String,
    /// Part of the object.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Path of the call.
    pub path: String,
    /// Address of the caller.
    pub peer: String,
    /// Whether it was refused.
    pub denied: bool,
    /// By which role, or why not.
    pub reason: String,
    /// HTTP status code.
    pub code: u16,
    /// Trace of the call.
    pub trace: Option<String>,
}

/// A row that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number; grows.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub entry: Entry,
}

/// No row holds a NUL, which Postgres takes not, or a novel.
fn text(text: &str) -> String {
    text.chars().filter(|character| *character != '\0').take(LONGEST).collect()
}

/// Adds rows, all or none.
///
/// # Errors
/// The database failed.
pub async fn add(pool: &PgPool, entries: &[Entry]) -> Result<(), Error> {
    let column = |of: fn(&Entry) -> &str| entries.iter().map(|entry| text(of(entry))).collect::<Vec<String>>();
    let optional = |of: fn(&Entry) -> Option<&str>| entries.iter().map(|entry| of(entry).map(text)).collect::<Vec<_>>();
    // An array of arrays must be rectangular, so groups travel as JSON.
    let groups: Vec<serde_json::Value> =
        entries.iter().map(|entry| entry.groups.iter().map(|group| text(group)).collect()).collect();
    let decisions = column(|entry| if entry.denied { "Deny" } else { "Allow" });
    let codes: Vec<i32> = entries.iter().map(|entry| i32::from(entry.code)).collect();
    let added = sqlx::query!(
        "insert into audit (who, groups, impersonator, verb, grp, resource, subresource, ns, name, path, peer, decision, reason, code, trace)
         select who, array(select jsonb_array_elements_text(groups)), impersonator, verb, grp, resource, subresource, ns, name, path, peer, decision, reason, code, trace
         from unnest($1::text[], $2::jsonb[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                     $12::text[], $13::text[], $14::integer[], $15::text[])
              as e (who, groups, impersonator, verb, grp, resource, subresource, ns, name, path, peer, decision, reason, code, trace)",
        &column(|entry| &entry.who),
        &groups,
        &optional(|entry| entry.impersonator.as_deref()) as &[Option<String>],
        &column(|entry| &entry.verb),
        &column(|entry| &entry.group),
        &column(|entry| &entry.resource),
        &column(|entry| &entry.subresource),
        &column(|entry| &entry.namespace),
        &column(|entry| &entry.name),
        &column(|entry| &entry.path),
        &column(|entry| &entry.peer),
        &decisions,
        &column(|entry| &entry.reason),
        &codes,
        &optional(|entry| entry.trace.as_deref()) as &[Option<String>]
    );
    added.execute(pool).await.map_err(Error::database("write the audit")).map(drop)
}

/// Rows with numbers below `before`, the newest first, and the version of the store.
///
/// # Errors
/// The database failed.
pub async fn page(pool: &PgPool, before: i64, limit: i64) -> Result<(Vec<Row>, i64), Error> {
    let version = sqlx::query_scalar!("select rv from cluster_rv");
    let version = version.fetch_one(pool).await.map_err(Error::database("read the version"))?;
    let rows = sqlx::query!(
        "select id, at, who, groups, impersonator, verb, grp, resource, subresource, ns, name, path, peer, decision, reason, code, trace
         from audit where id < $1 order by id desc limit $2",
        before,
        limit
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("read the audit"))?;
    let rows = rows.into_iter().map(|row| Row {
        id: row.id,
        at: row.at,
        entry: Entry {
            who: row.who,
            groups: row.groups,
            impersonator: row.impersonator,
            verb: row.verb,
            group: row.grp,
            resource: row.resource,
            subresource: row.subresource,
            namespace: row.ns,
            name: row.name,
            path: row.path,
            peer: row.peer,
            denied: row.decision == "Deny",
            reason: row.reason,
            code: u16::try_from(row.code).unwrap_or_default(),
            trace: row.trace,
        },
    });
    Ok((rows.collect(), version))
}

/// Forgets some of the rows older than this; returns how many went. None of the last day goes.
///
/// # Errors
/// The database failed.
pub async fn forget(pool: &PgPool, days: u32) -> Result<i64, Error> {
    let gone = sqlx::query_scalar!(r#"select audit_forget($1::float8 * interval '1 day') as "gone!""#, f64::from(days));
    gone.fetch_one(pool).await.map_err(Error::database("forget old rows of the audit"))
}
