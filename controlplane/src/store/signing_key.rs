//! Signing keys as stored: public parts in the open, private parts sealed.

use sqlx::{PgConnection, PgExecutor, PgPool};

use super::Error;

/// One row.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// Thumbprint of the public key.
    pub kid: String,
    /// `previous`, `current` or `next`.
    pub stage: String,
    /// Raw Ed25519 public key.
    pub public: Vec<u8>,
    /// The sealed private key.
    pub sealed: Vec<u8>,
}

/// All keys there are.
///
/// # Errors
/// The database failed.
pub async fn all(pool: &PgPool) -> Result<Vec<SigningKey>, Error> {
    let keys = sqlx::query_as!(SigningKey, "select kid, stage, public, sealed from signing_key order by created, kid");
    keys.fetch_all(pool).await.map_err(Error::database("read the signing keys"))
}

/// For how many seconds the current key has been signing.
///
/// # Errors
/// The database failed.
pub async fn signing_seconds(executor: impl PgExecutor<'_>) -> Result<f64, Error> {
    // A release that did not know the column may have made the key current.
    let seconds = sqlx::query_scalar!(
        r#"select coalesce(max(extract(epoch from clock_now() - coalesce(current_since, created))), 0)::float8 as "seconds!"
           from signing_key where stage = 'current'"#
    );
    seconds.fetch_one(executor).await.map_err(Error::database("read the age of the signing key"))
}

/// Keeps other replicas from changing the keys until the end of the transaction.
///
/// # Errors
/// The database failed.
pub async fn lock(connection: &mut PgConnection) -> Result<(), Error> {
    let lock = sqlx::query!("lock table signing_key in share row exclusive mode");
    lock.execute(connection).await.map_err(Error::database("lock the signing keys")).map(drop)
}

/// The kid of the key at a stage that has one key at most.
///
/// # Errors
/// The database failed.
pub async fn at(connection: &mut PgConnection, stage: &str) -> Result<Option<String>, Error> {
    let kid = sqlx::query_scalar!("select kid from signing_key where stage = $1", stage);
    kid.fetch_optional(connection).await.map_err(Error::database("read the signing keys"))
}

/// Adds a key.
///
/// # Errors
/// The database failed.
pub async fn insert(connection: &mut PgConnection, key: &SigningKey) -> Result<(), Error> {
    let inserted = sqlx::query!(
        "insert into signing_key (kid, stage, public, sealed, created, current_since)
         values ($1, $2, $3, $4, clock_now(), case when $2 = 'current' then clock_now() end)",
        key.kid,
        key.stage,
        key.public,
        key.sealed
    );
    inserted.execute(connection).await.map_err(Error::database("store a signing key")).map(drop)
}

/// Next becomes current; all others go.
///
/// # Errors
/// The database failed.
pub async fn discard(connection: &mut PgConnection) -> Result<(), Error> {
    let steps = [
        sqlx::query!("delete from signing_key where stage <> 'next'").execute(&mut *connection).await,
        sqlx::query!("update signing_key set stage = 'current', current_since = clock_now() where stage = 'next'")
            .execute(&mut *connection)
            .await,
    ];
    steps.into_iter().try_for_each(|step| step.map(drop).map_err(Error::database("replace the signing keys")))
}

/// Current becomes previous, next becomes current; previous ones that began to sign more than `keep_seconds` ago go.
///
/// # Errors
/// The database failed.
pub async fn advance(connection: &mut PgConnection, keep_seconds: f64) -> Result<(), Error> {
    let steps = [
        sqlx::query!(
            "delete from signing_key where stage = 'previous' and coalesce(current_since, created) < clock_now() - $1 * interval '1 second'",
            keep_seconds
        )
        .execute(&mut *connection)
        .await,
        sqlx::query!("update signing_key set stage = 'previous' where stage = 'current'")
            .execute(&mut *connection)
            .await,
        sqlx::query!("update signing_key set stage = 'current', current_since = clock_now() where stage = 'next'")
            .execute(&mut *connection)
            .await,
    ];
    steps.into_iter().try_for_each(|step| step.map(drop).map_err(Error::database("rotate the signing keys")))
}
