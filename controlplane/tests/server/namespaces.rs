//! Namespaces go with what is in them.

use crate::harness::Api;
use crate::sample::{created, machine};
use http::StatusCode;
use serde_json::json;

#[tokio::test]
async fn a_namespace_that_others_hold_is_emptied_and_stays() {
    let api = Api::start().await;
    let body = json!({"metadata": {"name": "vision", "finalizers": ["example.org/archive"]}});
    created(&api, "/api/v1/namespaces", body).await;
    let uri = "/api/v1/namespaces/vision";
    let mut events =
        api.watch("/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dvision", "application/json").await;
    api.send("DELETE", uri, json!({})).await;
    while events.next().await.unwrap()["object"]["spec"]["finalizers"] != json!([]) {}
    let (code, body) = api.get(uri).await;
    assert_eq!((code, &body["status"]["phase"]), (StatusCode::OK, &json!("Terminating")));
    let (code, body) = api.send("PATCH", uri, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, StatusCode::OK, "{body}");
    assert_eq!(api.get(uri).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let api = Api::start().await;
    let body = json!({"metadata": {"name": "vision"}});
    let team = created(&api, "/api/v1/namespaces", body).await;
    assert_eq!(team["metadata"]["labels"]["kubernetes.io/metadata.name"], "vision");
    let inside = "/apis/torchremote.dev/v1alpha1/namespaces/vision/remotemachines";
    created(&api, inside, machine("m1")).await;
    let (_, going) = api.send("DELETE", "/api/v1/namespaces/vision", json!({})).await;
    assert_eq!(going["status"]["phase"], "Terminating");
    let (code, refused) = api.send("POST", inside, machine("m2")).await;
    assert_eq!(
        (code, &refused["details"]["causes"][0]["reason"]),
        (StatusCode::FORBIDDEN, &json!("NamespaceTerminating"))
    );
    let mut events = api.watch(&format!("{inside}?watch=1&fieldSelector=metadata.name%3Dm1"), "application/json").await;
    while events.next().await.unwrap()["object"]["metadata"]["deletionTimestamp"].is_null() {}
    let mut spaces =
        api.watch("/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dvision", "application/json").await;
    api.send("PATCH", &format!("{inside}/m1"), json!({"metadata": {"finalizers": null}})).await;
    while spaces.next().await.unwrap()["type"] != "DELETED" {}
}
