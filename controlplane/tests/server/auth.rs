//! Signing keys, on a real Postgres.

use crate::database;
use serde_json::Value;
use sqlx::PgPool;
use torch_remote::auth::keys::Keys;
use torch_remote::auth::{Refused, Sealer};
use torch_remote_api::token::{API_AUDIENCE, API_TYPE, ApiClaims};

async fn judged(keys: &Keys, token: &str) -> Result<ApiClaims, Refused> {
    keys.verify(API_TYPE, API_AUDIENCE, token).await
}

/// Moves the database's clock.
async fn pass(pool: &PgPool, days: i64) {
    sqlx::query("update clock set offset_ms = offset_ms + $1").bind(days * 86_400_000).execute(pool).await.unwrap();
}

fn signer(keys: &Keys) -> String {
    jsonwebtoken::decode_header(keys.api_token("ana", &[], 600).unwrap()).unwrap().kid.unwrap()
}

#[tokio::test]
async fn keys_are_made_once_and_found_again_and_verify_until_nothing_they_signed_is_valid() {
    let pool = database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let sealer = Sealer::open_or_make(&folder.path().join("key")).unwrap();
    let keys = Keys::load(pool.clone(), sealer.clone(), "https://cp").await.unwrap();
    let token = keys.api_token("ana", &["team"], 600).unwrap();
    let again = Keys::load(pool.clone(), sealer.clone(), "https://cp").await.unwrap();
    assert_eq!(keys.jwks(), again.jwks());
    assert_eq!(judged(&again, &token).await.unwrap().registered.sub, "ana");

    let published = keys.jwks()["keys"].as_array().unwrap().len();
    assert_eq!(published, 2, "current and next");
    pass(&pool, 30).await;
    keys.look().await.unwrap();
    let newer = keys.api_token("ana", &[], 600).unwrap();
    assert!(judged(&keys, &token).await.is_ok(), "the previous key still verifies");
    assert!(judged(&again, &newer).await.is_ok(), "next was published before it signed");
    pass(&pool, 32).await;
    keys.look().await.unwrap();
    assert!(matches!(judged(&keys, &token).await, Err(Refused::UnknownKey)));
    assert!(judged(&keys, &newer).await.is_ok());

    let other = Sealer::open_or_make(&folder.path().join("other")).unwrap();
    let refused = Keys::load(pool.clone(), other, "https://cp").await;
    assert!(refused.unwrap_err().to_string().contains("key file"), "another key file is named as the cause");
    let stored: Vec<Vec<u8>> = sqlx::query_scalar("select sealed from signing_key").fetch_all(&pool).await.unwrap();
    assert!(stored.iter().all(|sealed| sealed.len() == 12 + 32 + 16));
}

#[tokio::test]
async fn over_90_days_a_key_signs_for_30_of_them_with_two_replicas_too() {
    let pool = database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let sealer = Sealer::open_or_make(&folder.path().join("key")).unwrap();
    let a = Keys::load(pool.clone(), sealer.clone(), "https://cp").await.unwrap();
    let b = Keys::load(pool.clone(), sealer, "https://cp").await.unwrap();
    let mut signers = vec![];
    for _ in 0..90 {
        // As at the ticks of one day: one replica may look just after the other has rotated.
        let (first, second) = tokio::join!(a.look(), b.look());
        first.and(second).unwrap();
        a.look().await.unwrap();
        b.look().await.unwrap();
        assert_eq!(signer(&a), signer(&b));
        signers.push(signer(&a));
        pass(&pool, 1).await;
    }
    let days: Vec<usize> = signers.chunk_by(|a, b| a == b).map(<[String]>::len).collect();
    assert_eq!(days, [30, 30, 30]);
}

#[tokio::test]
async fn a_public_key_written_into_the_table_verifies_nothing() {
    let pool = database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let sealer = Sealer::open_or_make(&folder.path().join("key")).unwrap();
    let before = Keys::load(pool.clone(), sealer.clone(), "https://cp").await.unwrap().jwks();
    sqlx::query("update signing_key set public = decode(repeat('aa', 32), 'hex')").execute(&pool).await.unwrap();
    let after: Value = Keys::load(pool, sealer, "https://cp").await.unwrap().jwks();
    assert_eq!(before, after);
}
