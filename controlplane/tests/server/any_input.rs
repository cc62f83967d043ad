//! Whatever is sent: the server never fails.

use crate::harness::Api;
use crate::sample::{LEASES, MACHINES, lease, machine};
use http::StatusCode;
use serde_json::{Value, json};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("metadata".to_owned()),
        Just("name".to_owned()),
        Just("spec".to_owned()),
        Just("status".to_owned()),
        Just("gpu".to_owned()),
        Just("type".to_owned()),
        Just("CPU".to_owned()),
        Just("finalizers".to_owned()),
        Just("labels".to_owned()),
        Just("uid".to_owned()),
        Just("resourceVersion".to_owned()),
        Just("ownerReferences".to_owned()),
        Just("deletionTimestamp".to_owned()),
        Just("m1".to_owned()),
        ".{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(word.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const SPACES: &str = "/api/v1/namespaces";
const PLACES: [&str; 18] = [
    "/metadata/managedFields",
    "/spec/env",
    "/metadata",
    "/metadata/labels",
    "/metadata/annotations",
    "/metadata/finalizers",
    "/metadata/name",
    "/metadata/generateName",
    "/metadata/namespace",
    "/metadata/ownerReferences",
    "/metadata/resourceVersion",
    "/metadata/deletionTimestamp",
    "/spec",
    "/spec/gpu",
    "/spec/finalizers",
    "/status",
    "/status/conditions",
    "",
];

fn valid(kind: usize) -> (&'static str, Value) {
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "m1"}});
    [(MACHINES, machine("m1")), (LEASES, lease("m1")), (SPACES, space)][kind].clone()
}

fn put(object: &mut Value, place: &str, value: Value) {
    match place.rsplit_once('/') {
        None => *object = value,
        Some((parent, field)) => {
            if object.pointer(parent).is_none() {
                put(object, parent, json!({}));
            }
            object.pointer_mut(parent).unwrap()[field] = value;
        }
    }
}

/// Whatever is sent, the answer is a decision, never a failure of the server, and what was there can still be read.
#[test]
fn never_makes_the_server_fail() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let api = runtime.block_on(Api::start());
    let methods = prop_oneof![Just("POST"), Just("PUT"), Just("PATCH"), Just("APPLY"), Just("DELETE")];
    let calls = (methods, 0..3_usize, prop::sample::select(&PLACES[..]), any_json(), any::<bool>(), ".{0,20}");
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
    runner
        .run(&calls, |(method, kind, place, value, status, query)| {
            let (collection, mut body) = valid(kind);
            put(&mut body, place, value);
            let query = query.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let uri = match (method, status) {
                ("POST", _) => collection.to_owned(),
                ("PUT" | "PATCH" | "APPLY", true) => format!("{collection}/m1/status"),
                _ => format!("{collection}/m1"),
            };
            // There is something to change, most of the time.
            runtime.block_on(api.send("POST", collection, valid(kind).1));
            let uri = format!("{uri}?fieldManager={query}&labelSelector={query}");
            let (code, headers, answer) = runtime.block_on(api.ask(
                if method == "APPLY" { "PATCH" } else { method },
                &uri,
                &[("traceparent", "00-1-2-01"), ("content-type", media_type(method))],
                body.to_string(),
            ));
            prop_assert!(code.as_u16() < 500, "{} {} {}: {:?} {}", method, uri, body, headers, answer);
            prop_assert!(code.is_success() || answer["kind"] == "Status", "{}", answer);
            let (code, answer) = runtime.block_on(api.get(collection));
            prop_assert_eq!(code, StatusCode::OK, "{}", answer);
            Ok(())
        })
        .unwrap();
}

fn media_type(method: &str) -> &'static str {
    match method {
        "PATCH" => "application/merge-patch+json",
        "APPLY" => "application/apply-patch+yaml",
        _ => "application/json",
    }
}
