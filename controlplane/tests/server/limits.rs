//! What one caller may ask for, over HTTP.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, StatusCode};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use torch_remote::apiserver::limit::{REQUESTS_AT_ONCE, Rate, Settings};
use torch_remote::auth::Clock;
use torch_remote::auth::issuer::Pace;
use tower::ServiceExt;

use crate::audit::rows;
use crate::harness::Api;
use crate::issuer::Issuer;
use crate::sample::{LEASES, MACHINES, created};

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
async fn watches_count_of_who_asks_for_them_whomever_it_acts_as() {
    let api = Api::limited(Settings { watches: 1, ..Settings::default() }).await;
    let impersonate = json!([{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]}]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "actor"}, "rules": impersonate});
    created(&api, "/apis/rbac.authorization.k8s.io/v1/clusterroles", role).await;
    api.grant("ana", "actor", "").await;
    for user in ["bob", "eve"] {
        api.grant(user, "viewer", "default").await;
    }
    let watch = async |user: &str, acts_as: Option<&str>| {
        let authorization = format!("Bearer {}", api.token_of(user));
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(acts_as.map(|other| ("impersonate-user", other)));
        api.raw("GET", &format!("{MACHINES}?watch=true"), &headers, Body::empty()).await
    };
    let first = watch("ana", Some("bob")).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(watch("ana", Some("eve")).await.status(), StatusCode::TOO_MANY_REQUESTS, "ana has one already");
    assert_eq!(watch("bob", None).await.status(), StatusCode::OK, "bob has none");
}

/// What a call with this token is answered that comes from this address.
async fn from(api: &Api, peer: &str, token: &str) -> StatusCode {
    let peer: SocketAddr = peer.parse().unwrap();
    let request = Request::builder().uri(MACHINES).header("authorization", format!("Bearer {token}"));
    let request = request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap();
    api.router.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn who_calls_without_a_good_token_again_and_again_is_not_looked_at_unless_it_was_good_before() {
    let slow = Rate { per_second: 0.01, burst: 3.0 };
    let api = Api::limited(Settings { failures: slow, ..Settings::default() }).await;
    assert_eq!(api.get(MACHINES).await.0, StatusCode::OK);
    for _ in 0..3 {
        assert_eq!(api.ask_with("rubbish", "GET", MACHINES, &[], "").await.0, StatusCode::UNAUTHORIZED);
    }
    for _ in 0..5 {
        assert_eq!(api.get(MACHINES).await.0, StatusCode::OK, "others at this address go on");
    }
    let (code, headers, _) = api.ask_with("rubbish", "GET", MACHINES, &[], "").await;
    assert_eq!(code, StatusCode::TOO_MANY_REQUESTS);
    assert!(headers.contains_key("retry-after"));
    // Known to be good only by looking.
    let fresh = api.keys.api_token("admin", &["system:masters"], 1800).unwrap();
    assert_eq!(api.ask_with(&fresh, "GET", MACHINES, &[], "").await.0, StatusCode::TOO_MANY_REQUESTS);
    let told = rows(&api, |row| row["code"] == 429).await;
    let told = told.iter().find(|row| row["code"] == 429).unwrap();
    assert!(!told["reason"].as_str().unwrap().contains("times since"), "those who went on are not counted: {told}");
}

#[tokio::test]
async fn who_calls_from_this_machine_is_always_looked_at() {
    let slow = Rate { per_second: 0.01, burst: 1.0 };
    let api = Api::limited(Settings { failures: slow, ..Settings::default() }).await;
    for (peer, fresh_too) in [
        ("192.0.2.1:7", StatusCode::TOO_MANY_REQUESTS),
        ("[2001:db8::1]:7", StatusCode::TOO_MANY_REQUESTS),
        ("127.0.0.1:7", StatusCode::OK),
        ("[::1]:7", StatusCode::OK),
        ("[::ffff:127.0.0.1]:7", StatusCode::OK),
    ] {
        let rubbish = [from(&api, peer, "rubbish").await, from(&api, peer, "rubbish").await];
        // The last is of the same address as one before.
        assert_eq!(rubbish[1], StatusCode::TOO_MANY_REQUESTS, "{peer}: what is not good is refused all the same");
        let fresh = api.keys.api_token(peer, &["system:masters"], 1800).unwrap();
        assert_eq!(from(&api, peer, &fresh).await, fresh_too, "{peer}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_judged_is_no_failure_of_its_caller() {
    let slow = Rate { per_second: 0.01, burst: 1.0 };
    let issuer = Issuer::start(Clock::default()).await;
    issuer.state.away.store(true, Ordering::Relaxed);
    let trusted = issuer.trusted(Pace::default());
    let api = Api::limited_with(Settings { failures: slow, ..Settings::default() }, trusted).await;
    let token = issuer.token("ana", Algorithm::ES256);
    for _ in 0..3 {
        let (code, _, _) = api.ask_with(&token, "GET", MACHINES, &[], "").await;
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(api.get(MACHINES).await.0, StatusCode::OK);
    assert_eq!(api.ask_with("rubbish", "GET", MACHINES, &[], "").await.0, StatusCode::UNAUTHORIZED);
}
