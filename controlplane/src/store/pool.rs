//! How pools of connections are made.

use sqlx::postgres::PgPoolOptions;

/// Options every pool over the store starts from: a connection comes back without an open transaction.
///
/// A `begin` that is cancelled between asking and hearing (a client that hangs up, a task that is stopped) leaves a transaction open that sqlx does not
/// know of. Whoever got the connection next would write into it, and nothing of that would ever be committed.
pub fn options() -> PgPoolOptions {
    PgPoolOptions::new().after_release(|connection, _| {
        Box::pin(async move {
            // Begins first, because to undo nothing is worth a notice to Postgres each time; to begin twice is, and should not happen.
            sqlx::raw_sql("begin; rollback").execute(connection).await?;
            Ok(true)
        })
    })
}
