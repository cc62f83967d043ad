//! What is particular to a kind: scale, definitions, events in two notations.

use crate::harness::Api;
use crate::sample::{MACHINES, TABLE, created, machine, pool};
use http::StatusCode;
use serde_json::{Value, json};

const POOLS: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default/machinepools";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

#[tokio::test]
async fn a_pool_is_scaled_through_its_subresource() {
    let api = Api::start().await;
    created(&api, POOLS, pool("train", 1, 4)).await;
    let uri = format!("{POOLS}/train/scale");
    let (code, scale) = api.get(&uri).await;
    assert_eq!(
        (code, &scale["kind"], &scale["apiVersion"]),
        (StatusCode::OK, &json!("Scale"), &json!("autoscaling/v1"))
    );
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["replicas"]), (&json!(1), &json!(0)));
    assert_eq!(scale["status"]["selector"], "torchremote.dev/pool=train");
    let (code, scaled) = api.send("PATCH", &uri, json!({"spec": {"replicas": 3}})).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (StatusCode::OK, &json!(3)));
    let (_, stored) = api.get(&format!("{POOLS}/train")).await;
    assert_eq!((&stored["spec"]["replicas"]["min"], &stored["metadata"]["generation"]), (&json!(3), &json!(2)));
    let (code, status) = api.send("PUT", &uri, scale.clone()).await;
    assert_eq!((code, &status["reason"]), (StatusCode::CONFLICT, &json!("Conflict")), "of an older version");
    let mut next = scaled;
    next["spec"]["replicas"] = json!(2);
    let (code, dry) = api.send("PUT", &format!("{uri}?dryRun=All"), next.clone()).await;
    assert_eq!((code, &dry["spec"]["replicas"]), (StatusCode::OK, &json!(2)));
    let (code, put) = api.send("PUT", &uri, next).await;
    assert_eq!((code, &put["spec"]["replicas"]), (StatusCode::OK, &json!(2)), "the dry run kept nothing");
    let (code, status) = api.send("PATCH", &uri, json!({"spec": {"replicas": 9}})).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    let says = "spec.replicas.min: Invalid value: 9: must not be larger than spec.replicas.max (4)";
    assert!(status["message"].as_str().unwrap().contains(says), "{status}");
    let (code, status) = api.send("PATCH", &uri, json!({"spec": {"replicas": -1}})).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(status["message"].as_str().unwrap().contains("must be greater than or equal to 0"), "{status}");
    let (code, _) = api.get(&format!("{POOLS}/none/scale")).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    let (code, _) = api.get(&format!("{MACHINES}/m/scale")).await;
    assert_eq!(code, StatusCode::NOT_FOUND, "machines have none");
}

#[tokio::test]
async fn whoever_scales_a_pool_owns_how_many_there_are() {
    let api = Api::start().await;
    let apply = [("content-type", "application/apply-patch+yaml")];
    let uri = format!("{POOLS}/train?fieldManager=git");
    let (code, _, body) = api.ask("PATCH", &uri, &apply, pool("train", 1, 4).to_string()).await;
    assert_eq!(code, StatusCode::CREATED, "{body}");
    api.send("PATCH", &format!("{POOLS}/train/scale?fieldManager=scaler"), json!({"spec": {"replicas": 3}})).await;
    let (code, _, status) = api.ask("PATCH", &uri, &apply, pool("train", 1, 4).to_string()).await;
    assert_eq!((code, &status["reason"]), (StatusCode::CONFLICT, &json!("Conflict")));
    let says = r#"conflict with "scaler" with subresource "scale""#;
    assert!(status["message"].as_str().unwrap().contains(says), "{status}");
    assert_eq!(status["details"]["causes"][0]["field"], ".spec.replicas.min");
}

#[tokio::test]
async fn tools_find_the_kinds_in_their_definitions_and_can_watch_them() {
    let api = Api::start().await;
    let (code, list) = api.get(DEFINITIONS).await;
    assert_eq!((code, &list["kind"]), (StatusCode::OK, &json!("CustomResourceDefinitionList")));
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"machinepools.torchremote.dev") && names.is_sorted(), "{names:?}");
    let (code, one) = api.get(&format!("{DEFINITIONS}/remotemachines.torchremote.dev")).await;
    assert_eq!((code, &one["spec"]["names"]["kind"]), (StatusCode::OK, &json!("RemoteMachine")));
    assert!(one["metadata"]["creationTimestamp"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(one["status"]["conditions"][1]["type"], "Established");
    let (code, _) = api.send("DELETE", &format!("{DEFINITIONS}/remotemachines.torchremote.dev"), json!({})).await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    let (_, _, table) = api.ask("GET", DEFINITIONS, &[("accept", TABLE)], "").await;
    assert_eq!(table["rows"].as_array().unwrap().len(), names.len());

    let marked = format!(
        "{DEFINITIONS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
    );
    let mut events = api.watch(&marked, "application/json").await;
    for name in &names {
        let event = events.next().await.unwrap();
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!(name)));
    }
    let complete = events.next().await.unwrap();
    assert_eq!(complete["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(events.next().await.unwrap()["type"], "BOOKMARK", "the last word");
    assert_eq!(events.next().await, None);
    // From where a list stands there is nothing new; from before this server there may have been.
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = api
        .watch(&format!("{DEFINITIONS}?watch=1&resourceVersion={version}&timeoutSeconds=1"), "application/json")
        .await;
    assert_eq!(events.next().await, None);
    let mut events = api.watch(&format!("{DEFINITIONS}?watch=1&resourceVersion=1"), "application/json").await;
    assert_eq!(events.next().await.unwrap()["object"]["reason"], "Expired");
}

#[tokio::test]
async fn an_event_can_be_read_in_both_notations() {
    let api = Api::start().await;
    let made = created(&api, MACHINES, machine("m1")).await;
    // Of a time to come: old ones are removed.
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "m1.1"}, "reason": "Ready", "message": "slots can be leased", "type": "Normal",
        "involvedObject": {"kind": "RemoteMachine", "name": "m1", "namespace": "default", "uid": made["metadata"]["uid"]},
        "source": {"component": "torch-remote"}, "firstTimestamp": "2126-01-01T00:00:00Z", "lastTimestamp": "2126-01-01T00:01:00Z", "count": 2,
    });
    created(&api, "/api/v1/namespaces/default/events", event).await;
    let newer = "/apis/events.k8s.io/v1/namespaces/default/events";
    let (code, list) = api.get(&format!("{newer}?fieldSelector=regarding.name%3Dm1,type%3DNormal")).await;
    assert_eq!(
        (code, &list["kind"], &list["apiVersion"]),
        (StatusCode::OK, &json!("EventList"), &json!("events.k8s.io/v1"))
    );
    let shown = &list["items"][0];
    assert_eq!((&shown["note"], &shown["deprecatedCount"]), (&json!("slots can be leased"), &json!(2)));
    assert_eq!(shown["eventTime"], "2126-01-01T00:00:00.000000Z");
    let (_, none) = api.get(&format!("{newer}?fieldSelector=regarding.name%3Dm2")).await;
    assert_eq!(none["items"], json!([]));
    let (code, _) = api.get(&format!("{newer}?fieldSelector=involvedObject.name%3Dm1")).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    let (code, one) = api.get(&format!("{newer}/m1.1")).await;
    assert_eq!((code, &one["regarding"]["kind"]), (StatusCode::OK, &json!("RemoteMachine")));
    let (_, _, table) = api.ask("GET", newer, &[("accept", TABLE)], "").await;
    assert_eq!(table["rows"][0]["cells"][3], "remotemachine/m1");
    let mut events = api.watch(&format!("{newer}?watch=1"), "application/json").await;
    let seen = events.next().await.unwrap();
    assert_eq!((&seen["type"], &seen["object"]["apiVersion"]), (&json!("ADDED"), &json!("events.k8s.io/v1")));
    let (code, _) = api.send("POST", newer, json!({})).await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED, "they are written in the older one");
    // The table of the older one is what kubectl sorts.
    let (_, old) = api.get("/api/v1/namespaces/default/events/m1.1").await;
    assert_eq!((&old["lastTimestamp"], &old["count"]), (&json!("2126-01-01T00:01:00Z"), &json!(2)));
}

#[tokio::test]
async fn discovery_knows_categories_short_names_and_scale_also_with_a_slash_at_the_end() {
    let api = Api::start().await;
    let (code, list) = api.get("/apis/torchremote.dev/v1alpha1/").await;
    assert_eq!(code, StatusCode::OK);
    let rows = list["resources"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).cloned().unwrap_or(Value::Null);
    assert_eq!(row("machinepools")["shortNames"], json!(["gpupool"]));
    assert!(row("remotemachines")["categories"].as_array().unwrap().contains(&json!("gpu")));
    assert!(row("remotemachines")["categories"].as_array().unwrap().contains(&json!("all")));
    let scale = row("machinepools/scale");
    assert_eq!(
        (&scale["kind"], &scale["group"], &scale["version"]),
        (&json!("Scale"), &json!("autoscaling"), &json!("v1"))
    );
    for uri in ["/api/", "/apis/", "/api/v1/", "/apis/torchremote.dev/"] {
        assert_eq!(api.get(uri).await.0, StatusCode::OK, "{uri}");
    }
}
