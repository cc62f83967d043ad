//! A fresh database for each test.

use sqlx::PgPool;
use torch_remote::postgres::Postgres;

/// A database with this release's schema.
pub async fn fresh() -> PgPool {
    let pool = Postgres::scratch().await.unwrap().pool().await.unwrap();
    torch_remote::store::migrate(&pool).await.unwrap();
    pool
}
