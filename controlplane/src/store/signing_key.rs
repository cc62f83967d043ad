//! Signing keys as stored: public parts in the open, private parts sealed.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

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
    /// When it was made.
    pub created: DateTime<Utc>,
}

/// All keys there are.
///
/// # Errors
/// The database failed.
pub async fn all(pool: &PgPool) -> Result<Vec<SigningKey>, Error> {
    let keys = sqlx::query_as!(
        SigningKey,
        "select kid, stage, public, sealed, created from signing_key order by created, kid"
    );
    keys.fetch_all(pool).await.map_err(Error::database("read the signing keys"))
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
        "insert into signing_key (kid, stage, public, sealed) values ($1, $2, $3, $4)",
        key.kid,
        key.stage,
        key.public,
        key.sealed
    );
    inserted.execute(connection).await.map_err(Error::database("store a signing key")).map(drop)
}

/// Current becomes previous, next becomes current; previous ones made more than `keep_seconds` ago go.
///
/// # Errors
/// The database failed.
pub async fn advance(connection: &mut PgConnection, keep_seconds: f64) -> Result<(), Error> {
    let steps = [
        sqlx::query!(
            "delete from signing_key where stage = 'previous' and created < now() - $1 * interval '1 second'",
            keep_seconds
        )
        .execute(&mut *connection)
        .await,
        sqlx::query!("update signing_key set stage = 'previous' where stage = 'current'")
            .execute(&mut *connection)
            .await,
        sqlx::query!("update signing_key set stage = 'current' where stage = 'next'").execute(&mut *connection).await,
    ];
    steps.into_iter().try_for_each(|step| step.map(drop).map_err(Error::database("rotate the signing keys")))
}

/// Removes every key that no longer signs.
///
/// # Errors
/// The database failed.
pub async fn retire(connection: &mut PgConnection) -> Result<(), Error> {
    let gone = sqlx::query!("delete from signing_key where stage = 'previous'");
    gone.execute(connection).await.map_err(Error::database("retire the signing keys")).map(drop)
}
