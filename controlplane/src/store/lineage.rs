//! The line of history that versions belong to. A database that was restored from a copy, or a standby that took over, may lack the last versions that were
//! told; were their numbers given out again, a client that resumes from one of them would miss changes and never know, and a compare-and-set would take the
//! one for the other.
//!
//! So in another line than before the counter leaps beyond every number of the old ones, and nothing before the leap is history: all who watch list again. Each
//! new connection sees to it ([`TAKE`]), before anything is read or written over it; the tail looks again at each reading, for connections that a standby's
//! promotion left open. The functions are those of migration 0028.

use sqlx::PgPool;

use super::Error;

/// For a new connection. Before the migration that brings the function there is nothing to take.
pub(super) const TAKE: &str =
    "do $$ begin if to_regprocedure('lineage_take()') is not null then perform lineage_take(); end if; end $$";

/// Leaps, if the line is another one.
///
/// # Errors
/// The database failed.
pub(super) async fn take(pool: &PgPool) -> Result<(), Error> {
    sqlx::raw_sql(TAKE).execute(pool).await.map_err(Error::database("read the line of history")).map(drop)
}

/// Leaps beyond a version that was told, if the counter is behind it: then this is another line, though nothing else says so.
///
/// # Errors
/// The database failed.
pub(super) async fn leap_beyond(pool: &PgPool, told: i64) -> Result<(), Error> {
    let leap =
        sqlx::query!("select lineage_leap($1) from (select from cluster_rv where rv < $1 for update) behind", told);
    leap.execute(pool).await.map_err(Error::database("leap beyond a version")).map(drop)
}
