//! The API's protocol, asked without a network.

use crate::harness::{Api, Nothing};
use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use torch_remote::apiserver::routes::{Access, routes};
use torch_remote::apiserver::{Parts, Server, VirtualKind};
use torch_remote::store::log;
use torch_remote::store::log::Tail;
use torch_remote::store::{Error, List};

const MACHINES: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default/remotemachines";
const LEASES: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default/deviceleases";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

fn machine(name: &str) -> Value {
    json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "metadata": {"name": name},
        "spec": {"provider": "local", "gpu": {"type": "CPU", "count": 1}},
    })
}

fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "DeviceLease", "metadata": {"name": name},
        "spec": {"gpu": [{"type": "CPU"}]},
    })
}

async fn created(api: &Api, uri: &str, body: Value) -> Value {
    let (code, body) = api.send("POST", uri, body).await;
    assert_eq!(code, StatusCode::CREATED, "{body}");
    body
}

#[tokio::test]
async fn every_route_but_the_public_ones_refuses_a_call_without_a_token() {
    let api = Api::start().await;
    let tail = Tail::start(api.objects.clone()).await.unwrap();
    let parts = Parts {
        objects: api.objects.clone(),
        cache: tail.cache(),
        keys: api.keys.clone(),
        virtual_kinds: HashMap::from([("devices", Arc::new(Nothing(api.objects.clone())) as _)]),
        metrics: None,
        stop: api.stop.clone(),
    };
    let table = routes(&Server::new(parts));
    assert!(table.len() > 30, "{}", table.len());
    let expired = api.keys.api_token("ana", &[], -10).unwrap();
    let other = api.keys.sign("lease+jwt", &api.keys.registered("ana", "torch-remote-api", 60)).unwrap();
    let mut public = Vec::new();
    for route in &table {
        let uri = route.path.replace("{namespace}", "default").replace("{name}", "x");
        if route.access == Access::Public {
            public.push(route.path.as_str());
            continue;
        }
        for method in route.methods.iter().copied().chain(["OPTIONS"]) {
            for authorization in
                ["", "Bearer", "Bearer x", "Basic YTpi", &format!("Bearer {expired}"), &format!("Bearer {other}")]
            {
                let headers = [("authorization", authorization)];
                let headers = if authorization.is_empty() { &[][..] } else { &headers[..] };
                let response = api.raw(method, &uri, headers, Body::empty()).await;
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {uri} {authorization}");
                assert!(response.headers().contains_key("www-authenticate"));
                let body: Value =
                    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
                assert_eq!(
                    (&body["kind"], &body["reason"], &body["code"]),
                    (&json!("Status"), &json!("Unauthorized"), &json!(401))
                );
            }
        }
    }
    public.sort_unstable();
    let health = [
        "/.well-known/openid-configuration",
        "/healthz",
        "/livez",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
        "/version/",
    ];
    assert_eq!(public, health);
    let unknown = api.raw("GET", "/no/such/path", &[], Body::empty()).await;
    assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED, "what exists is not told to strangers");
}

#[tokio::test]
async fn public_routes_answer_anyone() {
    let api = Api::start().await;
    for (uri, says) in [
        ("/livez", "ok"),
        ("/readyz", "ok"),
        ("/readyz?verbose", "[+]database ok"),
        ("/version", "\"minor\":\"32\""),
        ("/openid/v1/jwks", "\"crv\":\"Ed25519\""),
    ] {
        let response = api.raw("GET", uri, &[], Body::empty()).await;
        assert_eq!(response.status(), StatusCode::OK, "{uri}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(says), "{uri}: {body:?}");
    }
}

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
        ("POST", format!("{MACHINES}?dryRun=Some"), machine("m2"), 400, "BadRequest", "dryRun must be All"),
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
    for media_type in ["application/apply-patch+yaml", "application/strategic-merge-patch+json"] {
        created(&api, MACHINES, machine(&format!("m{}", media_type.len()))).await;
        let uri = format!("{MACHINES}/m{}", media_type.len());
        let (code, _, status) = api.ask("PATCH", &uri, &[("content-type", media_type)], "{}").await;
        assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(
            status["message"]
                .as_str()
                .unwrap()
                .contains("accepted media types include: application/json-patch+json, application/merge-patch+json")
        );
    }
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
    assert_eq!(warnings, [r#"299 - "unknown field \"spec.colour\"""#, r#"299 - "duplicate field \"spec.timeout\"""#]);
    assert_eq!((&body["spec"]["timeout"], &body["spec"]["colour"]), (&json!("2h"), &Value::Null));
    let yaml = "apiVersion: torchremote.dev/v1alpha1\nkind: RemoteMachine\nmetadata: {name: m2}\nspec:\n  provider: local\n  colour: red\n  colour: blue\n  gpu: {type: CPU}\n";
    let media_type = [("content-type", "application/yaml")];
    let (code, headers, _) = api.ask("POST", &format!("{MACHINES}?fieldValidation=Ignore"), &media_type, yaml).await;
    assert_eq!((code, headers.contains_key("warning")), (StatusCode::CREATED, false));
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
    assert_eq!(object["status"], Value::Null);
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
    api.token = api.keys.api_token("ana", &["team"], 600).unwrap();
    let mut body = lease("l1");
    body["status"] = json!({"holder": "bob"});
    let object = created(&api, LEASES, body).await;
    assert_eq!(object["status"]["holder"], "ana");
    assert_eq!(object["metadata"]["finalizers"], json!(["torchremote.dev/lease"]));
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

#[tokio::test]
async fn discovery_has_etags_and_speaks_to_old_and_new_clients() {
    let api = Api::start().await;
    for uri in [
        "/api",
        "/apis",
        "/api/v1",
        "/apis/torchremote.dev/v1alpha1",
        "/openapi/v3",
        "/openapi/v3/apis/torchremote.dev/v1alpha1",
    ] {
        let (code, headers, _) = api.ask("GET", uri, &[], "").await;
        assert_eq!(code, StatusCode::OK, "{uri}");
        let etag = headers["etag"].to_str().unwrap().to_owned();
        let (code, _, body) = api.ask("GET", uri, &[("if-none-match", &etag)], "").await;
        assert_eq!((code, body), (StatusCode::NOT_MODIFIED, json!("")), "{uri}");
    }
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let (_, headers, body) =
        api.ask("GET", "/apis", &[("accept", &format!("{aggregated},application/json"))], "").await;
    assert_eq!(
        (headers["content-type"].to_str().unwrap(), &body["kind"]),
        (aggregated, &json!("APIGroupDiscoveryList"))
    );
    let response =
        api.raw("GET", "/openapi/v2", &[("authorization", &format!("Bearer {}", api.token))], Body::empty()).await;
    assert_eq!(&response.into_body().collect().await.unwrap().to_bytes()[..], [0x0a, 0x03, 0x32, 0x2e, 0x30]);
}

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
async fn nobody_acts_as_another() {
    let api = Api::start().await;
    for (header, value, resource) in
        [("impersonate-user", "bob", "users"), ("impersonate-group", "system:masters", "groups")]
    {
        let (code, _, status) = api.ask("GET", MACHINES, &[(header, value)], "").await;
        assert_eq!(code, StatusCode::FORBIDDEN);
        let words =
            format!("{resource} \"{value}\" is forbidden: User \"admin\" cannot impersonate resource \"{resource}\"");
        assert!(status["message"].as_str().unwrap().starts_with(&words), "{status}");
    }
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

mod any_input {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;

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
    const PLACES: [&str; 16] = [
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
        let methods = prop_oneof![Just("POST"), Just("PUT"), Just("PATCH"), Just("DELETE")];
        let calls = (methods, 0..3_usize, prop::sample::select(&PLACES[..]), any_json(), any::<bool>(), ".{0,20}");
        let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
        runner
            .run(&calls, |(method, kind, place, value, status, query)| {
                let (collection, mut body) = valid(kind);
                put(&mut body, place, value);
                let query = query.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
                let uri = match (method, status) {
                    ("POST", _) => collection.to_owned(),
                    ("PUT" | "PATCH", true) => format!("{collection}/m1/status"),
                    _ => format!("{collection}/m1"),
                };
                // There is something to change, most of the time.
                runtime.block_on(api.send("POST", collection, valid(kind).1));
                let uri = format!("{uri}?fieldManager={query}&labelSelector={query}");
                let (code, headers, answer) = runtime.block_on(api.ask(
                    method,
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
        if method == "PATCH" { "application/merge-patch+json" } else { "application/json" }
    }
}
