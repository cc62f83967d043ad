//! Objects: written, patched, listed and deleted.

use crate::harness::Api;
use crate::sample::{LEASES, MACHINES, TABLE, created, lease, machine};
use http::StatusCode;
use serde_json::{Value, json};
use torch_remote::store::log;

#[tokio::test]
async fn unknown_and_repeated_fields_are_refused_warned_of_or_dropped_as_asked() {
    let api = Api::start().await;
    let text = machine("m1").to_string().replacen(
        "\"spec\":{",
        "\"spec\":{\"timeout\":\"1h\",\"timeout\":\"2h\",\"colour\":1,",
        1,
    );
    let json = [("content-type", "application/json")];
    let (code, _, status) = api.ask("POST", &format!("{MACHINES}?fieldValidation=Strict"), &json, text.clone()).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    let says = r#"RemoteMachine in version "v1alpha1" cannot be handled as a RemoteMachine: strict decoding error: unknown field "spec.colour", duplicate field "spec.timeout""#;
    assert_eq!(status["message"], says);
    let (code, headers, body) = api.ask("POST", MACHINES, &json, text.clone()).await;
    assert_eq!(code, StatusCode::CREATED);
    let warnings: Vec<&str> = headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(
        warnings,
        [
            r#"299 - "unknown field \"spec.colour\"""#,
            r#"299 - "duplicate field \"spec.timeout\"""#,
            r#"299 - "Provider local does not exist yet: nothing is made until it does""#,
        ]
    );
    assert_eq!((&body["spec"]["timeout"], &body["spec"]["colour"]), (&json!("2h"), &Value::Null));
    let yaml = "apiVersion: torchremote.dev/v1alpha1\nkind: RemoteMachine\nmetadata: {name: m2}\nspec:\n  provider: local\n  colour: red\n  colour: blue\n  gpu: {type: CPU}\n";
    let media_type = [("content-type", "application/yaml")];
    let (code, headers, _) = api.ask("POST", &format!("{MACHINES}?fieldValidation=Ignore"), &media_type, yaml).await;
    let fields = headers.get_all("warning").iter().filter(|value| value.to_str().unwrap().contains("field")).count();
    assert_eq!((code, fields), (StatusCode::CREATED, 0));
}

#[tokio::test]
async fn a_dry_run_answers_as_if_and_keeps_nothing() {
    let api = Api::start().await;
    let body = created(&api, &format!("{MACHINES}?dryRun=All"), machine("m1")).await;
    assert_eq!(body["metadata"]["uid"].as_str().unwrap().len(), 36);
    let (code, _) = api.get(&format!("{MACHINES}/m1")).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    let before = created(&api, MACHINES, machine("m1")).await;
    let (code, patched) =
        api.send("PATCH", &format!("{MACHINES}/m1?dryRun=All"), json!({"spec": {"timeout": "7h"}})).await;
    assert_eq!((code, &patched["spec"]["timeout"]), (StatusCode::OK, &json!("7h")));
    let (code, _) = api.send("DELETE", &format!("{MACHINES}/m1"), json!({"dryRun": ["All"]})).await;
    assert_eq!(code, StatusCode::OK);
    let (_, after) = api.get(&format!("{MACHINES}/m1")).await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_machine_is_deleted_when_its_finalizer_is_gone_and_deleting_twice_is_once() {
    let api = Api::start().await;
    let uri = format!("{MACHINES}/m1");
    let machine = created(&api, MACHINES, machine("m1")).await;
    assert_eq!(machine["metadata"]["finalizers"], json!(["torchremote.dev/machine"]));
    let (code, marked) = api.send("DELETE", &uri, json!({"propagationPolicy": "Background"})).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(marked["metadata"]["generation"], 2);
    let (_, again) = api.send("DELETE", &uri, json!({})).await;
    assert_eq!(again, marked);
    let (code, refused) = api.send("POST", MACHINES, self::machine("m1")).await;
    let words = r#"object is being deleted: remotemachines.torchremote.dev "m1" already exists"#;
    assert_eq!((code, &refused["message"]), (StatusCode::CONFLICT, &json!(words)));
    let (code, refused) = api
        .send("PATCH", &uri, json!({"metadata": {"finalizers": ["torchremote.dev/machine", "new.example/x"]}}))
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    let (code, _) = api.send("PATCH", &uri, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, StatusCode::OK);
    let (code, _) = api.get(&uri).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn status_is_written_through_its_own_path_alone() {
    let api = Api::start().await;
    let uri = format!("{MACHINES}/m1");
    let mut body = machine("m1");
    body["status"] = json!({"phase": "Ready"});
    let object = created(&api, MACHINES, body).await;
    assert_eq!(object["status"], json!({"observedGeneration": 0}), "seen by nobody yet");
    let (code, object) = api
        .send("PATCH", &format!("{uri}/status"), json!({"status": {"phase": "Ready"}, "spec": {"timeout": "9h"}}))
        .await;
    assert_eq!(code, StatusCode::OK, "{object}");
    assert_eq!(object["status"]["phase"], "Ready");
    assert_ne!(object["spec"]["timeout"], "9h");
    let (_, object) = api.send("PATCH", &uri, json!({"status": {"phase": "Failed"}})).await;
    assert_eq!(object["status"]["phase"], "Ready");
    let mut whole = object.clone();
    whole["status"]["phase"] = json!("Starting");
    let (code, object) = api.send("PUT", &format!("{uri}/status"), whole).await;
    assert_eq!(code, StatusCode::OK, "{object}");
    assert_eq!(object["status"]["phase"], "Starting");
}

#[tokio::test]
async fn a_lease_belongs_to_who_made_it() {
    let mut api = Api::start().await;
    let admin = api.token.clone();
    api.grant("ana", "user", "default").await;
    api.grant("bob", "user", "default").await;
    api.token = api.keys.api_token("ana", &["team"], 600).unwrap();
    let mut body = lease("l1");
    body["status"] = json!({"holder": "bob"});
    let object = created(&api, LEASES, body).await;
    assert_eq!(object["status"]["holder"], "ana");
    assert_eq!(object["metadata"]["finalizers"], json!(["torchremote.dev/lease"]));
    let stolen = api.send("PATCH", &format!("{LEASES}/l1/status"), json!({"status": {"holder": "bob"}})).await;
    assert_eq!(stolen.0, StatusCode::FORBIDDEN, "{}", stolen.1);
    api.token.clone_from(&admin);
    let stolen = api.send("PATCH", &format!("{LEASES}/l1/status"), json!({"status": {"holder": "bob"}})).await;
    assert_eq!(stolen.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", stolen.1);
    api.token = api.keys.api_token("bob", &["team"], 600).unwrap();
    for (method, uri) in [
        ("DELETE", format!("{LEASES}/l1")),
        ("DELETE", LEASES.to_owned()),
        ("POST", format!("{LEASES}/l1/renew")),
        ("POST", format!("{LEASES}/l1/token")),
    ] {
        let (code, status) = api.send(method, &uri, json!({})).await;
        assert_eq!(code, StatusCode::FORBIDDEN, "{method} {uri}");
        assert!(status["message"].as_str().unwrap().contains("User \"bob\" cannot"), "{status}");
    }
    api.token = admin;
    let (code, _) = api.send("DELETE", &format!("{LEASES}/l1"), json!({})).await;
    assert_eq!(code, StatusCode::OK);
}

#[tokio::test]
async fn a_lease_names_the_trace_of_the_call_that_made_it() {
    use opentelemetry::trace::TracerProvider;
    use tracing_subscriber::layer::SubscriberExt;
    let tracer = opentelemetry_sdk::trace::SdkTracerProvider::builder().build().tracer("test");
    let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
    // With one dispatcher alone, tracing lets each thread's default decide once for all threads whether a span is wanted.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let api = Api::start().await;
    let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (_, _, object) = api.ask("POST", LEASES, &[("traceparent", theirs)], lease("l1").to_string()).await;
    let ours =
        object["metadata"]["annotations"]["torchremote.dev/traceparent"].as_str().unwrap_or_else(|| panic!("{object}"));
    assert_eq!(&ours[..36], &theirs[..36], "the trace of the caller");
    assert_ne!(&ours[36..52], &theirs[36..52], "below the span of the call");
}

#[tokio::test]
async fn twenty_patches_at_once_all_count_and_none_conflicts() {
    let api = Api::start().await;
    created(&api, MACHINES, machine("m1")).await;
    let uri = format!("{MACHINES}/m1");
    let patches = (0..20).map(|i| {
        let patch = json!({"metadata": {"labels": {format!("l{i}"): "x"}}});
        api.send("PATCH", &uri, patch)
    });
    for (code, body) in futures::future::join_all(patches).await {
        assert_eq!(code, StatusCode::OK, "{body}");
    }
    let (_, object) = api.get(&uri).await;
    assert_eq!(object["metadata"]["labels"].as_object().unwrap().len(), 20);
    assert_eq!(object["metadata"]["generation"], 1);
}

#[tokio::test]
async fn lists_come_whole_in_pages_as_tables_and_as_metadata() {
    let api = Api::start().await;
    for name in ["a", "b", "c"] {
        created(&api, MACHINES, machine(name)).await;
    }
    let (_, page) = api.get(&format!("{MACHINES}?limit=2")).await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["metadata"]["remainingItemCount"]), (2, &json!(1)));
    let next = page["metadata"]["continue"].as_str().unwrap();
    created(&api, MACHINES, machine("d")).await;
    let (_, rest) = api.get(&format!("{MACHINES}?limit=2&continue={next}")).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 1, "the page shows the version of the first");
    assert_eq!(rest["metadata"]["resourceVersion"], page["metadata"]["resourceVersion"]);
    // The newest list waits until this replica has seen `d`: until then it still has the version of the first page, and may show it.
    api.get(MACHINES).await;
    log::compact_beyond(&api.objects, 0.0, 0).await.unwrap();
    let (code, gone) = api.get(&format!("{MACHINES}?limit=2&continue={next}")).await;
    assert_eq!((code, &gone["reason"]), (StatusCode::GONE, &json!("Expired")));
    let (_, _, table) = api.ask("GET", MACHINES, &[("accept", TABLE)], "").await;
    assert_eq!((&table["kind"], table["rows"].as_array().unwrap().len()), (&json!("Table"), 4));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let (_, _, list) = api.ask("GET", MACHINES, &[("accept", metadata)], "").await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["spec"], Value::Null);
    let (code, _, _) = api.ask("GET", MACHINES, &[("accept", "application/vnd.kubernetes.protobuf")], "").await;
    assert_eq!(code, StatusCode::NOT_ACCEPTABLE);
    let (_, elsewhere) = api.get("/apis/torchremote.dev/v1alpha1/namespaces/nowhere/remotemachines").await;
    assert_eq!(elsewhere["items"], json!([]));
}

#[tokio::test]
async fn names_are_made_for_those_who_ask() {
    let api = Api::start().await;
    let mut body = machine("");
    body["metadata"] = json!({"generateName": "box-"});
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let name = created(&api, MACHINES, body.clone()).await["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(name.len() == 9 && name.starts_with("box-"), "{name}");
        names.insert(name);
    }
    assert_eq!(names.len(), 20);
}
