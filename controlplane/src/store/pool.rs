//! How pools of connections are made.

use sqlx::postgres::PgPoolOptions;

/// Options every pool over the store starts from: a connection comes back without an open transaction.
///
/// A `begin` that is cancelled between asking and hearing (a client that hangs up, a task that is stopped) leaves a transaction open that sqlx does not
/// know of. Whoever got the connection next would write into it, and nothing of that would ever be committed.
pub fn options() -> PgPoolOptions {
    PgPoolOptions::new().after_release(|connection, _| {
        Box::pin(async move {
            // Outside a transaction this is a notice and nothing else.
            sqlx::raw_sql("rollback").execute(connection).await?;
            Ok(true)
        })
    })
}
