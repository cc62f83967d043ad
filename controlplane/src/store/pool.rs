//! How pools of connections are made.

use std::time::Duration;

use sqlx::postgres::PgPoolOptions;

/// Longest wait for a connection.
pub const ACQUIRE: Duration = Duration::from_secs(10);

/// Options every pool over the store starts from: each wait has an end, and a connection comes back without an open transaction.
///
/// A statement that hangs (on another's lock, say) is ended by the server, as is a transaction that its owner has left open: both would hold their locks, and
/// the key they are for, for ever.
///
/// A `begin` that is cancelled between asking and hearing (a client that hangs up, a task that is stopped) leaves a transaction open that sqlx does not
/// know of. Whoever got the connection next would write into it, and nothing of that would ever be committed.
pub fn options() -> PgPoolOptions {
    let options = PgPoolOptions::new().acquire_timeout(ACQUIRE).after_connect(|connection, _| {
        Box::pin(async move {
            let limits = "set statement_timeout = '30s'; set idle_in_transaction_session_timeout = '60s'";
            sqlx::raw_sql(limits).execute(connection).await?;
            Ok(())
        })
    });
    options.after_release(|connection, _| {
        Box::pin(async move {
            // Begins first, because to undo nothing is worth a notice to Postgres each time; to begin twice is, and should not happen.
            sqlx::raw_sql("begin; rollback").execute(connection).await?;
            Ok(true)
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::postgres::Postgres;

    #[tokio::test]
    async fn a_statement_that_hangs_is_ended_by_the_server_on_every_connection_also_after_a_migration() {
        let pool = Postgres::scratch().await.expect("a database").pool().await.expect("a pool");
        crate::store::migrate(&pool).await.expect("the schema");
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut connection = pool.acquire().await.expect("a connection");
            let limit: String =
                sqlx::query_scalar("show statement_timeout").fetch_one(&mut *connection).await.expect("an answer");
            assert_eq!(limit, "30s");
            held.push(connection);
        }
        assert_eq!(pool.options().get_acquire_timeout(), super::ACQUIRE);
    }
}
