//! What one caller may ask for, over HTTP.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use torch_remote::apiserver::limit::{REQUESTS_AT_ONCE, Rate, Settings};
use tower::ServiceExt;

use crate::audit::rows;
use crate::harness::Api;
use crate::sample::{LEASES, MACHINES};

#[tokio::test]
async fn a_caller_that_asks_too_much_is_told_to_come_back_and_others_and_its_leases_go_on() {
    let slow = Rate { per_second: 0.1, burst: 3.0 };
    let api = Api::limited(Settings {
        requests: slow,
        renewals: Rate { per_second: 0.1, burst: 2.0 },
        ..Settings::default()
    })
    .await;
    api.grant("ana", "user", "default").await;
    for _ in 0..3 {
        assert_eq!(api.send_as("ana", "GET", MACHINES, Value::Null).await.0, StatusCode::OK);
    }
    let (code, headers, status) = api.ask_with(&api.token_of("ana"), "GET", MACHINES, &[], "").await;
    assert_eq!(code, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u32 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((5..=10).contains(&seconds), "{seconds}");
    assert_eq!(
        (&status["reason"], &status["details"]["retryAfterSeconds"]),
        (&json!("TooManyRequests"), &json!(seconds))
    );
    for _ in 0..2 {
        let (code, _) = api.send_as("ana", "POST", &format!("{LEASES}/none/renew"), json!({})).await;
        assert_eq!(code, StatusCode::NOT_FOUND, "renewals have a lane of their own");
    }
    let (code, _) = api.send_as("ana", "POST", &format!("{LEASES}/none/token"), json!({})).await;
    assert_eq!(code, StatusCode::TOO_MANY_REQUESTS, "which has an end too");
    assert_eq!(
        api.send_as("bob", "GET", MACHINES, Value::Null).await.0,
        StatusCode::FORBIDDEN,
        "others are not held up"
    );
    for _ in 0..10 {
        assert_eq!(api.get(MACHINES).await.0, StatusCode::OK, "nor are administrators");
    }
    let told = rows(&api, |row| row["code"] == 429).await;
    assert!(told.iter().filter(|row| row["code"] == 429).all(|row| row["user"] == "ana"), "{told:?}");
}

#[tokio::test]
async fn one_caller_s_bodies_that_never_come_hold_up_nobody_else() {
    let api = Api::start().await;
    for user in ["ana", "bob"] {
        api.grant(user, "user", "default").await;
    }
    let authorization = format!("Bearer {}", api.token_of("ana"));
    let never = || Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::convert::Infallible>>());
    let mut open = tokio::task::JoinSet::new();
    for _ in 0..REQUESTS_AT_ONCE {
        let request = Request::builder().method("POST").uri(LEASES).header("authorization", &authorization);
        open.spawn(api.router.clone().oneshot(request.body(never()).unwrap()));
    }
    let all_places_are_taken = async {
        while api.send_as("ana", "GET", LEASES, Value::Null).await.0 != StatusCode::TOO_MANY_REQUESTS {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all_places_are_taken).await.expect("a caller has so many at once");
    assert_eq!(api.send_as("bob", "GET", LEASES, Value::Null).await.0, StatusCode::OK);
    let (code, _) = api.send_as("ana", "POST", &format!("{LEASES}/none/renew"), json!({})).await;
    assert_eq!(code, StatusCode::NOT_FOUND, "its own leases go on");
    let headers = [("authorization", authorization.as_str())];
    let renewal = api.raw("POST", &format!("{LEASES}/none/renew"), &headers, never()).await;
    assert_eq!(renewal.status(), StatusCode::NOT_FOUND, "a renewal's body is not waited for");
}

#[tokio::test]
async fn a_caller_has_so_many_watches_at_once() {
    let api = Api::limited(Settings { watches: 1, ..Settings::default() }).await;
    for user in ["ana", "bob"] {
        api.grant(user, "viewer", "default").await;
    }
    let watch = async |user: &str| {
        let authorization = format!("Bearer {}", api.token_of(user));
        api.raw("GET", &format!("{MACHINES}?watch=true"), &[("authorization", &authorization)], Body::empty()).await
    };
    let first = watch("ana").await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = watch("ana").await;
    assert_eq!(
        (second.status(), second.headers()["retry-after"].to_str().unwrap()),
        (StatusCode::TOO_MANY_REQUESTS, "5")
    );
    assert_eq!(watch("bob").await.status(), StatusCode::OK);
    drop(first);
    assert_eq!(watch("ana").await.status(), StatusCode::OK, "the place is given back");
}

#[tokio::test]
async fn who_calls_without_a_good_token_again_and_again_is_told_to_stop() {
    let api = Api::start().await;
    let mut codes = Vec::new();
    for _ in 0..300 {
        codes.push(api.ask_with("rubbish", "GET", MACHINES, &[], "").await.0);
    }
    assert_eq!(codes[0], StatusCode::UNAUTHORIZED);
    assert!(codes.contains(&StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(api.get(MACHINES).await.0, StatusCode::OK);
}
