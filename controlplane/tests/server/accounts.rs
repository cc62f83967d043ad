//! ServiceAccounts and their tokens: what they say, and what they end with.

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};
use torch_remote::auth::{Authenticator, Issuers};
use torch_remote::store::log::Tail;

use crate::harness::Api;

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

async fn account(api: &Api, name: &str) {
    let body = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    let (code, made) = api.send("POST", ACCOUNTS, body).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
}

async fn token_request(api: &Api, name: &str, spec: Value) -> (StatusCode, Value) {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    api.send("POST", &format!("{ACCOUNTS}/{name}/token"), body).await
}

async fn token(api: &Api, name: &str, spec: Value) -> String {
    let (code, answer) = token_request(api, name, spec).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    answer["status"]["token"].as_str().unwrap().to_owned()
}

/// The code of a call with that token.
async fn code(api: &Api, token: &str) -> StatusCode {
    let authorization = format!("Bearer {token}");
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    api.raw("POST", review, &headers, Body::from("{}")).await.status()
}

/// Waits until calls with the token get that code: caches follow within moments.
async fn until(api: &Api, token: &str, wanted: StatusCode) {
    let so = async {
        while code(api, token).await != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), so).await.expect("in time");
}

async fn review(api: &Api, spec: Value) -> Value {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
    api.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body).await.1["status"].clone()
}

#[tokio::test]
async fn an_account_s_token_speaks_for_it_for_an_hour_at_most() {
    let api = Api::start().await;
    account(&api, "robot").await;
    let (made, answer) = token_request(&api, "robot", json!({"expirationSeconds": 86400})).await;
    assert_eq!(made, StatusCode::CREATED);
    assert_eq!(answer["spec"]["expirationSeconds"], 3600);
    let token = answer["status"]["token"].as_str().unwrap();
    let status = review(&api, json!({"token": token})).await;
    assert_eq!(status["authenticated"], true, "{status}");
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:robot");
    let groups = ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"];
    assert_eq!(status["user"]["groups"], json!(groups));
    // Real seconds pass too.
    api.keys.clock().pass(3540);
    assert_eq!(code(&api, token).await, StatusCode::CREATED);
    api.keys.clock().pass(60);
    assert_eq!(code(&api, token).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_ends_with_its_account_and_does_not_pass_to_another_of_that_name() {
    let api = Api::start().await;
    account(&api, "robot").await;
    let token = token(&api, "robot", json!({})).await;
    assert_eq!(code(&api, &token).await, StatusCode::CREATED);
    assert_eq!(api.send("DELETE", &format!("{ACCOUNTS}/robot"), json!({})).await.0, StatusCode::OK);
    until(&api, &token, StatusCode::UNAUTHORIZED).await;
    account(&api, "robot").await;
    let new = self::token(&api, "robot", json!({})).await;
    assert_eq!(code(&api, &new).await, StatusCode::CREATED);
    assert_eq!(code(&api, &token).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_bound_to_a_secret_ends_with_it() {
    let api = Api::start().await;
    account(&api, "robot").await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "session"}});
    let (_, secret) = api.send("POST", SECRETS, secret).await;
    let reference = json!({"kind": "Secret", "apiVersion": "v1", "name": "session", "uid": secret["metadata"]["uid"]});
    let token = token(&api, "robot", json!({"boundObjectRef": reference})).await;
    assert_eq!(code(&api, &token).await, StatusCode::CREATED);
    api.send("DELETE", &format!("{SECRETS}/session"), json!({})).await;
    until(&api, &token, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn a_replica_that_is_behind_waits_until_it_knows_the_account() {
    let api = Api::start().await;
    let behind = Tail::start(api.objects.clone()).await.unwrap();
    account(&api, "robot").await;
    let token = token(&api, "robot", json!({})).await;
    let (cache, issuers) = (behind.cache(), Issuers::default());
    let authenticator = Authenticator { keys: &api.keys, cache: &cache, issuers: &issuers };
    let judged = authenticator.judge(&token, "torch-remote-api");
    let (judged, advanced) = tokio::join!(judged, behind.advance());
    advanced.unwrap();
    assert_eq!(judged.unwrap().name, "system:serviceaccount:default:robot");
}

#[tokio::test]
async fn a_token_for_another_audience_opens_nothing_here() {
    let api = Api::start().await;
    account(&api, "robot").await;
    let token = token(&api, "robot", json!({"audiences": ["registry"]})).await;
    assert_eq!(code(&api, &token).await, StatusCode::UNAUTHORIZED);
    let status = review(&api, json!({"token": token, "audiences": ["other", "registry"]})).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["registry"])));
    let status = review(&api, json!({"token": token})).await;
    assert_eq!(status["authenticated"], false);
    assert!(status["error"].as_str().unwrap().contains("audience"), "{status}");
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_in_kubernetes_words() {
    let api = Api::start().await;
    account(&api, "robot").await;
    for (spec, expected, says) in [
        (json!({"expirationSeconds": 60}), 422, "may not specify a duration less than 10 minutes"),
        (json!({"expirationSeconds": 1_u64 << 33}), 422, "may not specify a duration larger than 2^32 seconds"),
        (json!({"audiences": ["a", "b"]}), 422, "one audience"),
        (json!({"audiences": "registry"}), 400, "spec.audiences must be a list"),
        (json!({"audiences": {"a": "b"}}), 400, "spec.audiences must be a list"),
        (json!({"audiences": [7]}), 400, "spec.audiences must be a list"),
        (json!({"audiences": [""]}), 400, "spec.audiences must be a list"),
        (json!({"audiences": ["a".repeat(257)]}), 400, "spec.audiences must be a list"),
        (
            json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "x"}}),
            400,
            "cannot bind token to object of type /v1, Kind=Pod",
        ),
        (
            json!({"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "x"}}),
            404,
            "secrets \"x\" not found",
        ),
    ] {
        let (code, status) = token_request(&api, "robot", spec.clone()).await;
        assert_eq!(code, expected, "{spec}: {status}");
        assert!(status["message"].as_str().unwrap().contains(says), "{spec}: {status}");
    }
    assert_eq!(token_request(&api, "nobody", json!({})).await.0, StatusCode::NOT_FOUND);
    for (body, says) in [
        (json!({"kind": "TokenReview"}), "must be a TokenRequest"),
        (json!({"apiVersion": "v1"}), "must be a TokenRequest of authentication.k8s.io/v1"),
        (json!({"metadata": {"name": "other"}}), "the name of the object (other) does not match the name on the URL"),
        (json!({"metadata": {"namespace": "other"}}), "the namespace of the object (other) does not match"),
    ] {
        let (code, status) = api.send("POST", &format!("{ACCOUNTS}/robot/token"), body.clone()).await;
        assert_eq!(code, StatusCode::BAD_REQUEST, "{body}: {status}");
        assert!(status["message"].as_str().unwrap().contains(says), "{body}: {status}");
    }
    let many: Vec<String> = (0..11).map(|number| number.to_string()).collect();
    let spec = json!({"token": "x", "audiences": many});
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
    let (code, _) = api.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_secret_that_kubectl_applies_again_is_written_once() {
    let api = Api::start().await;
    let config = api.serve().await;
    let manifest = api.folder.path().join("secret.yaml");
    let text =
        "{apiVersion: v1, kind: Secret, metadata: {name: db}, stringData: {password: hunter2}, data: {user: YW5h}}";
    std::fs::write(&manifest, text).unwrap();
    let kubectl = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new("kubectl");
        command.env("KUBECONFIG", &config).env("HOME", api.folder.path()).args(arguments);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for how in [&["apply"][..], &["apply", "--server-side"]] {
        let apply = [how, &["-f", manifest.to_str().unwrap()]].concat();
        kubectl(&apply).await;
        let (_, first) = api.get(&format!("{SECRETS}/db")).await;
        assert_eq!(first["data"], json!({"password": "aHVudGVyMg==", "user": "YW5h"}), "{how:?}");
        assert!(first["stringData"].is_null());
        kubectl(&apply).await;
        let (_, second) = api.get(&format!("{SECRETS}/db")).await;
        assert_eq!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"], "{how:?}");
        assert_eq!(api.send("DELETE", &format!("{SECRETS}/db"), json!({})).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn kubectl_makes_accounts_secrets_and_tokens() {
    let api = Api::start().await;
    let config = api.serve().await;
    let kubectl = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new("kubectl");
        command.env("KUBECONFIG", &config).env("HOME", api.folder.path()).args(arguments);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    kubectl(&["create", "serviceaccount", "robot"]).await;
    kubectl(&["create", "secret", "generic", "session", "--from-literal=password=hunter2"]).await;
    let read = kubectl(&["get", "secret", "session", "-o", "jsonpath={.data.password}"]).await;
    assert_eq!(read, "aHVudGVyMg==");
    assert!(kubectl(&["describe", "secret", "session"]).await.contains("password:  7 bytes"));
    let token = kubectl(&[
        "create",
        "token",
        "robot",
        "--duration=20m",
        "--bound-object-kind=Secret",
        "--bound-object-name=session",
    ])
    .await;
    let who = kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo}", "--token", token.trim()]).await;
    let who: serde_json::Value = serde_json::from_str(&who).unwrap();
    assert_eq!(who["username"], "system:serviceaccount:default:robot");
    let groups = ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"];
    assert_eq!(who["groups"], serde_json::json!(groups));
    assert_eq!(code(&api, token.trim()).await, StatusCode::CREATED);
    assert!(kubectl(&["get", "sa"]).await.contains("robot"));
    kubectl(&["delete", "secret", "session"]).await;
    until(&api, token.trim(), StatusCode::UNAUTHORIZED).await;
}
