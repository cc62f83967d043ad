//! What is refused, and in which words.

use crate::harness::Api;
use crate::sample::{MACHINES, created, machine};
use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use torch_remote::apiserver::{Parts, Server, VirtualKind};
use torch_remote::store::log::Tail;
use torch_remote::store::{Error, List};

#[tokio::test]
async fn refusals_are_status_objects_with_kubernetes_words() {
    let api = Api::start().await;
    created(&api, MACHINES, machine("m1")).await;
    let unknown_field = {
        let mut body = machine("m2");
        body["spec"]["colour"] = json!("red");
        body
    };
    let bad_gpu = {
        let mut body = machine("m2");
        body["spec"]["gpu"]["type"] = json!("A1000");
        body
    };
    let in_nowhere = "/apis/torchremote.dev/v1alpha1/namespaces/nowhere/remotemachines";
    let with_version = {
        let mut body = machine("m2");
        body["metadata"]["resourceVersion"] = json!("5");
        body
    };
    let other_kind = {
        let mut body = machine("m2");
        body["kind"] = json!("Pod");
        body
    };
    let no_kind = {
        let mut body = machine("m2");
        body.as_object_mut().unwrap().remove("kind");
        body
    };
    let elsewhere = {
        let mut body = machine("m2");
        body["metadata"]["namespace"] = json!("other");
        body
    };
    let bad_name = machine("Bad_Name");
    let rows: Vec<(&str, String, Value, u16, &str, &str)> = vec![
        (
            "POST",
            MACHINES.into(),
            machine("m1"),
            409,
            "AlreadyExists",
            r#"remotemachines.torchremote.dev "m1" already exists"#,
        ),
        (
            "GET",
            format!("{MACHINES}/none"),
            json!({}),
            404,
            "NotFound",
            r#"remotemachines.torchremote.dev "none" not found"#,
        ),
        ("POST", in_nowhere.into(), machine("m2"), 404, "NotFound", r#"namespaces "nowhere" not found"#),
        (
            "POST",
            format!("{MACHINES}?fieldValidation=Strict"),
            unknown_field,
            400,
            "BadRequest",
            r#"strict decoding error: unknown field "spec.colour""#,
        ),
        (
            "POST",
            MACHINES.into(),
            bad_gpu,
            422,
            "Invalid",
            r#"RemoteMachine.torchremote.dev "m2" is invalid: spec.gpu.type: Unsupported value: "A1000""#,
        ),
        (
            "POST",
            MACHINES.into(),
            with_version,
            400,
            "BadRequest",
            "resourceVersion should not be set on objects to be created",
        ),
        ("POST", MACHINES.into(), other_kind, 400, "BadRequest", "the kind in the data (Pod) does not match"),
        ("POST", MACHINES.into(), no_kind, 400, "BadRequest", "Object 'kind' is missing"),
        (
            "POST",
            MACHINES.into(),
            elsewhere,
            400,
            "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        ("POST", MACHINES.into(), bad_name, 422, "Invalid", "metadata.name: Invalid value: \"Bad_Name\""),
        (
            "PUT",
            format!("{MACHINES}/m1"),
            machine("m1"),
            422,
            "Invalid",
            "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update",
        ),
        (
            "PUT",
            format!("{MACHINES}/m1"),
            machine("m9"),
            400,
            "BadRequest",
            "the name of the object (m9) does not match the name on the URL (m1)",
        ),
        ("PATCH", format!("{MACHINES}/none"), json!({}), 404, "NotFound", "not found"),
        ("PATCH", format!("{MACHINES}/m1"), json!({"metadata": {"name": "m2"}}), 422, "Invalid", "metadata.name"),
        (
            "PATCH",
            format!("{MACHINES}/m1"),
            json!({"metadata": {"resourceVersion": "1"}}),
            409,
            "Conflict",
            "the object has been modified; please apply your changes to the latest version and try again",
        ),
        (
            "PATCH",
            format!("{MACHINES}/m1"),
            json!({"metadata": {"uid": "other"}}),
            409,
            "Conflict",
            "Precondition failed: UID in precondition: other",
        ),
        ("POST", format!("{MACHINES}/m1"), json!({}), 405, "MethodNotAllowed", "does not allow this method"),
        (
            "GET",
            "/apis/torchremote.dev/v1alpha1/pods".into(),
            json!({}),
            404,
            "NotFound",
            "could not find the requested resource",
        ),
        ("GET", format!("{MACHINES}?labelSelector=%3D"), json!({}), 400, "BadRequest", "unable to parse requirement"),
        (
            "GET",
            format!("{MACHINES}?fieldSelector=spec.colour%3Dred"),
            json!({}),
            400,
            "BadRequest",
            "field label not supported: spec.colour",
        ),
        ("GET", format!("{MACHINES}?resourceVersion=x"), json!({}), 400, "BadRequest", "resourceVersion"),
        (
            "GET",
            format!("{MACHINES}?resourceVersionMatch=Exact"),
            json!({}),
            422,
            "Invalid",
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "GET",
            format!("{MACHINES}?resourceVersion=99999999"),
            json!({}),
            504,
            "Timeout",
            "Too large resource version",
        ),
        (
            "GET",
            format!("{MACHINES}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true"),
            json!({}),
            422,
            "Invalid",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        ("GET", format!("{MACHINES}?continue=zzz"), json!({}), 400, "BadRequest", "continue key is not valid"),
        ("GET", format!("{MACHINES}/a%00b"), json!({}), 404, "NotFound", "could not find"),
        (
            "GET",
            "/apis/torchremote.dev/v1alpha1/namespaces/default/devices?watch=1".into(),
            json!({}),
            405,
            "MethodNotAllowed",
            "watch is not supported",
        ),
        (
            "DELETE",
            "/apis/torchremote.dev/v1alpha1/namespaces/default/tensors/t".into(),
            json!({}),
            405,
            "MethodNotAllowed",
            "delete is not supported",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/default".into(),
            json!({}),
            403,
            "Forbidden",
            "this namespace may not be deleted",
        ),
        (
            "DELETE",
            format!("{MACHINES}/m1"),
            json!({"preconditions": {"uid": "x"}}),
            409,
            "Conflict",
            "Precondition failed: UID",
        ),
        (
            "DELETE",
            format!("{MACHINES}/m1"),
            json!({"preconditions": {"resourceVersion": "1"}}),
            409,
            "Conflict",
            "has been modified",
        ),
        (
            "POST",
            format!("{MACHINES}?dryRun=Some"),
            machine("m2"),
            422,
            "Invalid",
            r#"CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All""#,
        ),
        (
            "PUT",
            format!("{MACHINES}/m1?fieldValidation=Sure"),
            machine("m1"),
            422,
            "Invalid",
            r#"UpdateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Sure": supported values: "", "Ignore", "Strict", "Warn""#,
        ),
        (
            "DELETE",
            format!("{MACHINES}/m1"),
            json!({"dryRun": ["Some"]}),
            422,
            "Invalid",
            r#"DeleteOptions.meta.k8s.io "" is invalid: dryRun"#,
        ),
    ];
    for (method, uri, body, code, reason, words) in rows {
        let (got, status) = api.send(method, &uri, body).await;
        let message = status["message"].as_str().unwrap_or("");
        assert!(message.contains(words), "{method} {uri}: {status}");
        assert_eq!(
            (got.as_u16(), &status["reason"], &status["kind"]),
            (code, &json!(reason), &json!("Status")),
            "{method} {uri}: {status}"
        );
        assert_eq!(status["code"], code);
    }
    let (_, machines) = api.get(MACHINES).await;
    assert_eq!(machines["items"].as_array().unwrap().len(), 1, "nothing half-done");
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused() {
    let api = Api::start().await;
    let rows: [(&str, Vec<u8>, u16, &str); 7] = [
        ("application/json", b"{".to_vec(), 400, "not valid JSON"),
        ("application/json", b"[]".to_vec(), 400, "must be an object"),
        ("application/yaml", b"a: [".to_vec(), 400, "not valid YAML"),
        ("text/plain", b"{}".to_vec(), 415, "accepted media types include: application/json"),
        ("application/vnd.kubernetes.protobuf", b"{}".to_vec(), 400, "protobuf envelope"),
        ("application/json", vec![b' '; 3 * 1024 * 1024 + 1], 413, "Request entity is too large"),
        ("application/json", br#"{"kind":"\u0000"}"#.to_vec(), 400, "NUL"),
    ];
    for (media_type, body, code, words) in rows {
        let (got, _, status) = api.ask("POST", MACHINES, &[("content-type", media_type)], body).await;
        assert_eq!(got.as_u16(), code, "{status}");
        assert!(status["message"].as_str().unwrap_or("").contains(words), "{status}");
    }
    created(&api, MACHINES, machine("m1")).await;
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let (code, _, status) = api.ask("PATCH", &format!("{MACHINES}/m1"), &strategic, "{}").await;
    assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let taken = "accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    assert!(status["message"].as_str().unwrap().ends_with(taken), "{status}");
}

struct Panics;

impl VirtualKind for Panics {
    fn list<'a>(&'a self, _: Option<&'a str>) -> futures::future::BoxFuture<'a, Result<List, Error>> {
        panic!("a mistake of ours")
    }
}

#[tokio::test]
async fn mistakes_of_the_server_and_a_database_that_is_down_are_status_objects_too() {
    let mut api = Api::start().await;
    let tail = Tail::start(api.objects.clone()).await.unwrap();
    let parts = Parts {
        objects: api.objects.clone(),
        cache: tail.cache(),
        keys: api.keys.clone(),
        virtual_kinds: HashMap::from([("devices", Arc::new(Panics) as _)]),
        limits: torch_remote::apiserver::limit::Settings::default(),
        trail: torch_remote::apiserver::audit::Trail::new(api.objects.pool().clone(), 90).0,
        metrics: None,
        stop: api.stop.clone(),
    };
    api.router = Server::new(parts).router();
    let (code, status) = api.get("/apis/torchremote.dev/v1alpha1/namespaces/default/devices").await;
    assert_eq!((code, &status["reason"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("InternalError")));
    assert!(!status.to_string().contains("a mistake of ours"), "the log has it, strangers do not: {status}");
    api.objects.pool().close().await;
    let (code, headers, status) = api.ask("GET", MACHINES, &[], "").await;
    assert_eq!((code, &status["reason"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("ServiceUnavailable")));
    assert_eq!(headers["retry-after"], "1");
    let ready = api.raw("GET", "/readyz", &[], Body::empty()).await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let live = api.raw("GET", "/livez", &[], Body::empty()).await;
    assert_eq!(live.status(), StatusCode::OK, "a process is not restarted for its database");
}
