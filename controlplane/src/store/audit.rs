//! The table `audit`: who did what. Rows are added in batches, or with the write they are of; read by page, and forgotten when they are old.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::Error;

/// Characters kept of a text.
const LONGEST: usize = 1024;

/// Numbers looked through for one page.
const WINDOW: i64 = 200_000;

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
    /// Nothing was to be kept of it.
    pub dry_run: bool,
    /// When the call was received; none: as it is written.
    pub received: Option<Instant>,
    /// When it was answered; none: as it is written.
    pub answered: Option<Instant>,
}

/// A row that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number; grows.
    pub id: i64,
    /// When the call was received.
    pub received: DateTime<Utc>,
    /// When it was answered.
    pub at: DateTime<Utc>,
    /// What.
    pub entry: Entry,
}

/// No row holds a NUL, which Postgres takes not, or a novel.
fn text(text: &str) -> String {
    text.chars().filter(|character| *character != '\0').take(LONGEST).collect()
}

/// Adds rows, all or none. The times in them are told from when this is called, so the connection is one that was waited for already.
///
/// # Errors
/// The database failed.
pub async fn add(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), Error> {
    // One clock judges, the database's: how long ago is all that this process knows.
    let now = Instant::now();
    let rows: Value = entries.iter().map(|entry| row(entry, now)).collect();
    let added = sqlx::query!(
        "insert into audit (who, groups, impersonator, verb, grp, resource, subresource, ns, name, path, peer, decision, reason, code, trace, dry_run,
                            received, at)
         select who, groups, impersonator, verb, grp, resource, subresource, ns, name, path, peer, decision, reason,
                code, trace, dry_run, at - received * interval '1 second', at - answered * interval '1 second'
         from (select clock_timestamp() + offset_ms * interval '1 millisecond' as at from clock) as written,
              jsonb_to_recordset($1) as e (who text, groups text[], impersonator text, verb text, grp text, resource text, subresource text, ns text,
                    name text, path text, peer text, decision text, reason text, code integer, trace text, dry_run bool,
                    received float8, answered float8)",
        rows
    );
    added.execute(connection).await.map_err(Error::database("write the audit")).map(drop)
}

fn row(entry: &Entry, now: Instant) -> Value {
    let ago = |at: Option<Instant>| at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
    json!({
        "who": text(&entry.who),
        "groups": entry.groups.iter().map(|group| text(group)).collect::<Vec<_>>(),
        "impersonator": entry.impersonator.as_deref().map(text),
        "verb": text(&entry.verb),
        "grp": text(&entry.group),
        "resource": text(&entry.resource),
        "subresource": text(&entry.subresource),
        "ns": text(&entry.namespace),
        "name": text(&entry.name),
        "path": text(&entry.path),
        "peer": text(&entry.peer),
        "decision": if entry.denied { "Deny" } else { "Allow" },
        "reason": text(&entry.reason),
        "code": entry.code,
        "trace": entry.trace.as_deref().map(text),
        "dry_run": entry.dry_run,
        "received": ago(entry.received),
        "answered": ago(entry.answered),
    })
}

/// A requirement on a field of the rows, by its name in an AuditEvent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Only {
    field: String,
    value: String,
    equal: bool,
}

impl From<(&str, &str, bool)> for Only {
    fn from((field, value, equal): (&str, &str, bool)) -> Self {
        Self { field: field.to_owned(), value: value.to_owned(), equal }
    }
}

/// Part of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The newest first.
    pub rows: Vec<Row>,
    /// The version of the store.
    pub version: i64,
    /// There may be more rows with numbers below this.
    pub next: Option<i64>,
}

/// At most so many rows that fulfil all requirements, of the [`WINDOW`] of numbers below `before`: however rare they are, one statement is short.
///
/// # Errors
/// The database failed.
pub async fn page(pool: &PgPool, before: i64, limit: i64, only: &[Only]) -> Result<Page, Error> {
    let bounds = sqlx::query!(
        r#"select rv, (select coalesce(min(id), 0) from audit) as "lowest!", (select coalesce(max(id), 0) from audit) as "highest!" from cluster_rv"#
    );
    let bounds = bounds.fetch_one(pool).await.map_err(Error::database("read the version"))?;
    let before = before.min(bounds.highest.saturating_add(1));
    let from = before.saturating_sub(WINDOW);
    let rows = sqlx::query!(
        r#"select id, at, coalesce(received, at) as "received!", who, groups, impersonator, verb, grp, resource, subresource, ns, name, path, peer, decision, reason,
                  code, trace, dry_run
         from audit
         where id < $1 and id >= $6
           and not exists (
               select from unnest($3::text[], $4::text[], $5::boolean[]) as wanted (field, value, equal)
               where equal is distinct from (value = case field
                   when 'metadata.name' then id::text
                   when 'user' then who
                   when 'impersonatedBy' then coalesce(impersonator, '')
                   when 'verb' then verb
                   when 'decision' then decision
                   when 'code' then code::text
                   when 'from' then peer
                   when 'traceID' then coalesce(trace, '')
                   when 'object.resource' then resource
                   when 'object.namespace' then ns
                   when 'object.name' then name
               end))
         order by id desc limit $2"#,
        before,
        limit,
        &only.iter().map(|only| only.field.clone()).collect::<Vec<_>>(),
        &only.iter().map(|only| only.value.clone()).collect::<Vec<_>>(),
        &only.iter().map(|only| only.equal).collect::<Vec<_>>(),
        from
    );
    let rows = rows.fetch_all(pool).await.map_err(Error::database("read the audit"))?;
    let read = rows.into_iter().map(|row| Row {
        id: row.id,
        received: row.received,
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
            dry_run: row.dry_run,
            ..Entry::default()
        },
    });
    let rows: Vec<Row> = read.collect();
    let full = i64::try_from(rows.len()).is_ok_and(|count| count >= limit);
    let end = rows.last().filter(|_| full).map_or(from, |row| row.id);
    Ok(Page { rows, version: bounds.rv, next: (end > bounds.lowest).then_some(end) })
}

/// Forgets some of the rows older than this; returns how many went. None of the last day goes.
///
/// # Errors
/// The database failed.
pub async fn forget(pool: &PgPool, days: u32) -> Result<i64, Error> {
    let gone = sqlx::query_scalar!(r#"select audit_forget($1::float8 * interval '1 day') as "gone!""#, f64::from(days));
    gone.fetch_one(pool).await.map_err(Error::database("forget old rows of the audit"))
}
