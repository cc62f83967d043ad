//! Named sealed values, such as the certificate authority's private key. Sealing is the caller's: see `auth::seal`.

use sqlx::PgPool;

use super::Error;

/// The value of that name.
///
/// # Errors
/// The database failed.
pub async fn get(pool: &PgPool, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let value = sqlx::query_scalar!("select sealed from sealed where name = $1", name);
    value.fetch_optional(pool).await.map_err(Error::database("read a sealed value"))
}

/// Stores the value unless there is one of that name; returns the one there is now.
///
/// # Errors
/// The database failed.
pub async fn put_if_absent(pool: &PgPool, name: &str, value: &[u8]) -> Result<Vec<u8>, Error> {
    let put =
        sqlx::query!("insert into sealed (name, sealed) values ($1, $2) on conflict (name) do nothing", name, value);
    put.execute(pool).await.map_err(Error::database("store a sealed value"))?;
    Ok(get(pool, name).await?.unwrap_or_else(|| value.to_owned()))
}
