//! The line of history that versions belong to. A database that was restored from a copy, or a standby that took over, may lack the last versions that were
//! told; were their numbers given out again, a client that resumes from one of them would miss changes and never know.
//!
//! So in another line than before the counter leaps beyond every number of the old one, and nothing before the leap is history: all who watch list again.

use sqlx::PgPool;

use super::Error;

/// More versions than are ever told between a copy and its restore: 1,000 a second for eleven days.
const LEAP: i64 = 1_000_000_000;

/// Takes the database's present line for that of the counter, which leaps unless it had none. One of several replicas that come at once does it.
///
/// # Errors
/// The database failed.
pub(super) async fn take(pool: &PgPool) -> Result<(), Error> {
    let leapt = sqlx::query!(
        r#"update cluster_rv set rv = next.rv, compacted = case when next.leaps then next.rv else compacted end, lineage = lineage_now()
         from (select lineage is not null as leaps, case when lineage is null then rv else rv + $1 end as rv from cluster_rv for update) next
         where lineage is distinct from lineage_now() and lineage_now() is not null
         returning cluster_rv.rv, next.leaps as "leaps!""#,
        LEAP
    );
    let leapt = leapt.fetch_optional(pool).await.map_err(Error::database("read the line of history"))?;
    if let Some(leapt) = leapt.filter(|leapt| leapt.leaps) {
        tracing::warn!(
            version = leapt.rv,
            "the database was restored from a copy, or another server has taken over for it; versions go on beyond all that were told, and everyone lists again"
        );
    }
    Ok(())
}
