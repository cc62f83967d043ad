//! The schema: brought to this release's at each start, and shared with the release before while replicas are exchanged one by one.
//!
//! Owns which programs may work with which schema. Invariants: a migration leaves what the previous release reads and writes; a program of that release
//! therefore also starts over it; one that is older than `schema_floor` does not start; a migration waits for nobody while others wait for it.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgPool};

use super::{Error, Objects, namespace, role};

/// Until the next try, when others held a table.
const AGAIN: Duration = Duration::from_secs(1);

/// This release's migrations; forward only. Those of a newer release that the database has already are passed over.
pub fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!("../migrations");
    migrations.set_ignore_missing(true);
    migrations
}

/// Brings the database to this release's schema and makes the namespaces and roles every installation has. Waits as long as others hold what a migration
/// must change.
///
/// # Errors
/// [`Error::Outgrown`]; the database refused.
pub async fn migrate(pool: &PgPool) -> Result<(), Error> {
    while let Err(error) = apply(pool).await {
        if !held(&error) {
            return Err(error);
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "another replica migrates, or a long transaction (a backup?) holds a table; trying again"
        );
        tokio::time::sleep(AGAIN).await;
    }
    fit(pool).await?;
    let objects = Objects::new(pool.clone());
    namespace::ensure(&objects, &["default", "kube-system"]).await?;
    role::ensure(&objects).await
}

/// Each migration is one transaction, so what fails may be tried again.
async fn apply(pool: &PgPool) -> Result<(), Error> {
    // On a connection of its own: a migration may take as long as it takes, and with the connection goes its lock on all others.
    let connection = pool.acquire().await.map_err(Error::database("connect"))?;
    let mut connection = connection.detach();
    // Whoever comes after one that waits for a table waits too. Shorter than Postgres' `deadlock_timeout`: of two that wait for each other, the migration
    // gives way, and no client's write.
    let limits = "set statement_timeout = 0; set lock_timeout = '800ms'";
    sqlx::raw_sql(limits).execute(&mut connection).await.map_err(Error::database("prepare a migration"))?;
    migrations().run(&mut connection).await.map_err(|source| Error::Migrate { source })?;
    connection.close().await.map_err(Error::database("end a migration"))
}

/// Refuses a schema that no longer has what this program reads and writes.
async fn fit(pool: &PgPool) -> Result<(), Error> {
    let floor = sqlx::query_scalar!("select version from schema_floor");
    let floor = floor.fetch_one(pool).await.map_err(Error::database("read which releases the schema is for"))?;
    let newest = migrations().iter().map(|migration| migration.version).max().unwrap_or_default();
    if newest < floor { Err(Error::Outgrown { newest, floor }) } else { Ok(()) }
}

/// Whether it failed only because others held a lock: the limit on waiting, or a deadlock.
fn held(error: &Error) -> bool {
    let Error::Migrate { source: MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) } = error
    else {
        return false;
    };
    let code = source.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}
