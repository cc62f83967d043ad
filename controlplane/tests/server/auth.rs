//! Signing keys, on a real Postgres.

use crate::database;
use serde_json::Value;
use torch_remote::auth::keys::Keys;
use torch_remote::auth::{Refused, Sealer};
use torch_remote_api::token::{API_AUDIENCE, API_TYPE, ApiClaims};

async fn judged(keys: &Keys, token: &str) -> Result<ApiClaims, Refused> {
    keys.verify(API_TYPE, API_AUDIENCE, token).await
}

#[tokio::test]
async fn keys_are_made_once_and_found_again_and_rotation_keeps_old_tokens_until_an_emergency() {
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
    keys.rotate(false).await.unwrap();
    let newer = keys.api_token("ana", &[], 600).unwrap();
    assert!(judged(&keys, &token).await.is_ok(), "the previous key still verifies");
    assert!(judged(&again, &newer).await.is_ok(), "next was published before it signed");
    keys.rotate(true).await.unwrap();
    assert!(matches!(judged(&keys, &token).await, Err(Refused::UnknownKey)));
    assert!(matches!(judged(&keys, &newer).await, Err(Refused::UnknownKey)));

    let other = Sealer::open_or_make(&folder.path().join("other")).unwrap();
    let refused = Keys::load(pool.clone(), other, "https://cp").await;
    assert!(refused.unwrap_err().to_string().contains("key file"), "another key file is named as the cause");
    let stored: Vec<Vec<u8>> = sqlx::query_scalar("select sealed from signing_key").fetch_all(&pool).await.unwrap();
    assert!(stored.iter().all(|sealed| sealed.len() == 12 + 32 + 16));
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
