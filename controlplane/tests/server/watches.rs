//! Watches: each shows every change once, in order, and can be taken up where it ended.

use crate::harness::Api;
use crate::sample::{MACHINES, TABLE, created, machine};
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::HashMap;
use torch_remote::apiserver::{Parts, Server};
use torch_remote::store::log;
use torch_remote::store::log::Tail;

#[tokio::test]
async fn a_watch_shows_the_state_then_every_change_and_resumes_exactly() {
    let api = Api::start().await;
    created(&api, MACHINES, machine("a")).await;
    let mut events = api.watch(&format!("{MACHINES}?watch=true"), "application/json").await;
    let first = events.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("a")));
    created(&api, MACHINES, machine("b")).await;
    let second = events.next().await.unwrap();
    assert_eq!((&second["type"], &second["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("b")));
    let at = second["object"]["metadata"]["resourceVersion"].as_str().unwrap();
    api.send("PATCH", &format!("{MACHINES}/a"), json!({"spec": {"timeout": "3h"}})).await;
    api.send("PATCH", &format!("{MACHINES}/a"), json!({"metadata": {"finalizers": null}})).await;
    api.send("DELETE", &format!("{MACHINES}/a"), json!({})).await;
    let mut resumed = api.watch(&format!("{MACHINES}?watch=1&resourceVersion={at}"), "application/json").await;
    for kind in ["MODIFIED", "MODIFIED", "DELETED"] {
        let (seen, again) = (events.next().await.unwrap(), resumed.next().await.unwrap());
        assert_eq!(seen["type"], kind);
        assert_eq!(seen, again, "the same to all watchers");
    }
    api.stop.cancel();
    assert_eq!(events.next().await, None, "a server that stops ends its watches");
}

#[tokio::test]
async fn a_watch_list_marks_the_end_of_the_state_and_time_is_kept() {
    let api = Api::start().await;
    created(&api, MACHINES, machine("a")).await;
    let uri = format!(
        "{MACHINES}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
    );
    let mut events = api.watch(&uri, "application/json").await;
    assert_eq!(events.next().await.unwrap()["type"], "ADDED");
    let mark = events.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(events.next().await.unwrap()["type"], "BOOKMARK", "the last word before the time is over");
    assert_eq!(events.next().await, None);
}

/// A second replica over the same database.
async fn replica(api: &Api) -> axum::Router {
    let tail = Tail::start(api.objects.clone()).await.unwrap();
    let parts = Parts {
        objects: api.objects.clone(),
        cache: tail.cache(),
        keys: api.keys.clone(),
        virtual_kinds: HashMap::new(),
        limits: torch_remote::apiserver::limit::Settings::default(),
        trail: torch_remote::apiserver::audit::Trail::new(api.objects.pool().clone(), 90).0,
        metrics: None,
        stop: api.stop.clone(),
    };
    tokio::spawn(tail.run(api.stop.clone()));
    Server::new(parts).router()
}

#[tokio::test]
async fn a_watch_from_forgotten_history_is_told_to_list_again() {
    let mut api = Api::start().await;
    let first = created(&api, MACHINES, machine("a")).await;
    created(&api, MACHINES, machine("b")).await;
    let uri = format!("{MACHINES}?watch=1&resourceVersion={}", first["metadata"]["resourceVersion"].as_str().unwrap());
    // One that starts now has no memory of it, but the log has.
    api.router = replica(&api).await;
    let mut events = api.watch(&uri, "application/json").await;
    assert_eq!(events.next().await.unwrap()["object"]["metadata"]["name"], "b");
    log::compact_beyond(&api.objects, 0.0, 0).await.unwrap();
    api.router = replica(&api).await;
    let mut events = api.watch(&uri, "application/json").await;
    let event = events.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["reason"], &event["object"]["code"]),
        (&json!("ERROR"), &json!("Expired"), &json!(410))
    );
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn what_one_replica_wrote_the_other_s_watch_begins_with() {
    let mut api = Api::start().await;
    let (one, other) = (api.router.clone(), replica(&api).await);
    for n in 0..20 {
        api.router = one.clone();
        created(&api, MACHINES, machine(&format!("m{n}"))).await;
        api.router = other.clone();
        let mut events = api.watch(&format!("{MACHINES}?watch=1"), "application/json").await;
        for _ in 0..=n {
            assert_eq!(events.next().await.unwrap()["type"], "ADDED");
        }
    }
}

#[tokio::test]
async fn a_table_watch_names_its_columns_once_and_a_selector_turns_changes_into_coming_and_going() {
    let api = Api::start().await;
    created(&api, MACHINES, machine("a")).await;
    let mut events = api.watch(&format!("{MACHINES}?watch=1&labelSelector=team%3Dvision"), TABLE).await;
    let label = |value: Value| json!({"metadata": {"labels": {"team": value}}});
    let uri = format!("{MACHINES}/a");
    for value in [json!("vision"), json!("speech"), json!("vision"), Value::Null] {
        api.send("PATCH", &uri, label(value)).await;
    }
    let mut kinds = Vec::new();
    let mut columns = Vec::new();
    for _ in 0..4 {
        let event = events.next().await.unwrap();
        kinds.push(event["type"].as_str().unwrap().to_owned());
        columns.push(event["object"]["columnDefinitions"].is_array());
        assert_eq!(event["object"]["rows"].as_array().unwrap().len(), 1);
    }
    assert_eq!(kinds, ["ADDED", "DELETED", "ADDED", "DELETED"]);
    assert_eq!(columns, [true, false, false, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_eight_writers_a_watcher_that_keeps_coming_back_sees_what_one_that_stays_sees() {
    let api = Api::start().await;
    let start =
        created(&api, MACHINES, machine("first")).await["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let uri = |at: &str| format!("{MACHINES}?watch=1&resourceVersion={at}&labelSelector=n%21%3D7");
    let mut staying = api.watch(&uri(&start), "application/json").await;
    let writing = (0..8).map(async |writer| {
        let name = format!("m{writer}");
        created(&api, MACHINES, machine(&name)).await;
        for n in 0..10 {
            let (code, body) = api
                .send("PATCH", &format!("{MACHINES}/{name}"), json!({"metadata": {"labels": {"n": n.to_string()}}}))
                .await;
            assert_eq!(code, StatusCode::OK, "{body}");
        }
    });
    // Each: created, n=0 to 6, gone from view at 7, back at 8, changed at 9.
    let total = 8 * 11;
    let returning = async {
        let (mut at, mut seen) = (start.clone(), Vec::new());
        while seen.len() < total {
            let mut events = api.watch(&uri(&at), "application/json").await;
            for _ in 0..5.min(total - seen.len()) {
                let event = events.next().await.unwrap();
                at = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
                seen.push(event);
            }
        }
        seen
    };
    let (_, returned) = tokio::join!(futures::future::join_all(writing), returning);
    let mut stayed = Vec::new();
    for _ in 0..total {
        stayed.push(staying.next().await.unwrap());
    }
    assert_eq!(stayed, returned);
    let versions: Vec<i64> = stayed
        .iter()
        .map(|event| event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(versions.is_sorted() && versions.windows(2).all(|pair| pair[0] < pair[1]));
}
