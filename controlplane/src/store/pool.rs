//! How pools of connections are made.

use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgPool, Postgres, Transaction};

use super::{Error, lineage};

/// Longest wait for a connection.
pub const ACQUIRE: Duration = Duration::from_secs(10);

/// A connection is asked whether it is alive when it was last in use longer ago.
const FRESH: Duration = Duration::from_secs(1);

/// Options every pool over the store starts from: each wait has an end.
///
/// A statement that hangs (on another's lock, say) is ended by the server, as is a transaction that its owner has left open: both would hold their locks, and
/// the key they are for, for ever. A connection that was in use a moment ago is given out as it is: sqlx asks the server whether it is alive when it is put
/// back, and asking again at each use is a round trip for each statement. Statements are short: to compile one takes longer than to run it.
pub fn options() -> PgPoolOptions {
    let options = PgPoolOptions::new().acquire_timeout(ACQUIRE).test_before_acquire(false);
    let options = options.before_acquire(|connection, used| {
        Box::pin(async move {
            if used.idle_for > FRESH {
                connection.ping().await?;
            }
            Ok(true)
        })
    });
    options.after_connect(|connection, _| {
        Box::pin(async move {
            let limits =
                "set statement_timeout = '30s'; set idle_in_transaction_session_timeout = '60s'; set jit = off";
            sqlx::raw_sql(limits).execute(&mut *connection).await?;
            // A server that was restored or has taken over is always one of a new connection.
            sqlx::raw_sql(lineage::TAKE).execute(connection).await?;
            Ok(())
        })
    })
}

/// Begins a transaction; every one over the store begins here or in [`snapshot`].
///
/// It is not cancelled with its caller: a `begin` that is cancelled between asking and hearing (a client that hangs up, a task that is stopped) leaves a
/// transaction open that sqlx does not know of. Whoever got the connection next would write into it, and nothing of that would ever be committed.
///
/// # Errors
/// The database failed.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, Error> {
    begin_with(pool, "begin").await.map_err(Error::database("begin a transaction"))
}

/// Begins a transaction that reads one state, and cannot write. Not cancelled with its caller, as [`begin`].
///
/// # Errors
/// The database failed.
pub async fn snapshot(pool: &PgPool) -> Result<Transaction<'static, Postgres>, Error> {
    let begun = begin_with(pool, "begin isolation level repeatable read, read only").await;
    begun.map_err(Error::database("begin a snapshot"))
}

async fn begin_with(pool: &PgPool, statement: &'static str) -> sqlx::Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.begin_with(statement).await }).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::PgPool;

    use crate::postgres::Postgres;

    const SLOW: &str = "begin; select pg_sleep(0.2)";

    /// Whether a write is lost that follows a `begin` that was cancelled before its answer.
    async fn lost<T>(begin: impl AsyncFn(PgPool) -> sqlx::Result<T>) -> bool {
        let scratch = Postgres::scratch().await.expect("a database");
        let other = scratch.pool().await.expect("a pool");
        sqlx::query("create table t (n integer)").execute(&other).await.expect("a table");
        let one = super::options().max_connections(1);
        let pool = one.connect_with(scratch.options()).await.expect("a pool");
        assert!(tokio::time::timeout(Duration::from_millis(50), begin(pool.clone())).await.is_err(), "it was slow");
        sqlx::query("insert into t values (1)").execute(&pool).await.expect("a row");
        sqlx::query_scalar::<_, i64>("select count(*) from t").fetch_one(&other).await.expect("a count") == 0
    }

    #[tokio::test]
    async fn a_begin_that_is_cancelled_loses_no_later_write() {
        assert!(!lost(async |pool| super::begin_with(&pool, SLOW).await).await);
    }

    #[tokio::test]
    async fn a_begin_of_sqlx_that_is_cancelled_would_lose_later_writes() {
        let lost = lost(async |pool| pool.begin_with(SLOW).await).await;
        assert!(lost, "sqlx has learnt to undo it: ours can go");
    }

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
