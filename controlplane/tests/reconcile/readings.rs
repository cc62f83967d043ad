//! What agents report as the API shows it, and the calls of a lease's holder.

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Builder;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use torch_remote::store::Resource;
use tower::ServiceExt;

use crate::world::{World, until};

const GROUP: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default";

async fn ask(router: &Router, token: &str, method: &str, path: &str, body: &str) -> (StatusCode, Value) {
    send(router, token, Request::builder().method(method).uri(format!("{GROUP}/{path}")), body).await
}

async fn send(router: &Router, token: &str, request: Builder, body: &str) -> (StatusCode, Value) {
    let request = request.header("authorization", format!("Bearer {token}")).header("content-type", "application/json");
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let code = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_is_for_the_holder_alone_and_only_while_the_lease_is_bound() {
    let (world, _replica) = World::running().await;
    let router = world.api().await;
    let ana = world.keys.api_token("ana", &[], 600).unwrap();
    let bob = world.keys.api_token("bob", &[], 600).unwrap();
    let admin = world.keys.api_token("admin", &["system:masters"], 600).unwrap();
    world.machine("m", json!({})).await;
    let machine = world.phase(Resource::MACHINES, "m", "Ready").await;
    world.lease("first", json!({})).await;
    let lease = world.phase(Resource::LEASES, "first", "Bound").await;
    world.lease("second", json!({})).await;
    world.phase(Resource::LEASES, "second", "Queued").await;

    let (code, body) = ask(&router, &ana, "POST", "deviceleases/first/token", "{\"attach\": true}").await;
    assert_eq!(code, StatusCode::OK, "{body:#}");
    assert_eq!(body["endpoints"][0]["address"], "/run/slot-0");
    assert_eq!(body["endpoints"][1]["address"], "gpu.example.org:7000");
    let said = claims(body["token"].as_str().unwrap());
    assert_eq!(
        (&said["aud"], &said["lease"], &said["attach"]),
        (&machine["metadata"]["uid"], &lease["metadata"]["uid"], &json!(true))
    );
    assert_eq!(said["slots"], json!([{"slot": 0, "epoch": 1}]));
    assert!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap() <= 300);

    for other in [&bob, &admin] {
        let (code, body) = ask(&router, other, "POST", "deviceleases/first/token", "{}").await;
        assert_eq!((code, &body["reason"]), (StatusCode::FORBIDDEN, &json!("Forbidden")));
        let (code, _) = ask(&router, other, "POST", "deviceleases/second/renew", "{}").await;
        assert_eq!(code, StatusCode::FORBIDDEN);
    }
    let (code, body) = ask(&router, &ana, "POST", "deviceleases/second/token", "").await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert!(
        body["message"].as_str().unwrap().contains("the lease is Queued; a token is given while it is Bound"),
        "{body:#}"
    );
    let (code, _) = ask(&router, &ana, "POST", "deviceleases/first/token", "{\"atach\": true}").await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    let (code, body) = ask(&router, &ana, "POST", "deviceleases/second/renew", "{}").await;
    assert_eq!((code, &body["ttlSeconds"]), (StatusCode::OK, &json!(30)));
    world.agent().await.end(0, "Goodbye").await;
    world.phase(Resource::LEASES, "first", "Ended").await;
    let (code, body) = ask(&router, &ana, "POST", "deviceleases/first/token", "{}").await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert!(body["message"].as_str().unwrap().contains("the lease is over (Goodbye"), "{body:#}");
    let (code, _) = ask(&router, &ana, "POST", "deviceleases/first/renew", "{}").await;
    assert_eq!(code, StatusCode::CONFLICT);
}

/// Whether an agent with these keys takes the token.
fn takes(keys: &Value, token: &str) -> bool {
    let kid = jsonwebtoken::decode_header(token).unwrap().kid;
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys.clone()).unwrap();
    let Some(key) = kid.and_then(|kid| set.find(&kid).cloned()) else { return false };
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.validate_aud = false;
    jsonwebtoken::decode::<Value>(token, &jsonwebtoken::DecodingKey::from_jwk(&key).unwrap(), &validation).is_ok()
}

#[tokio::test]
async fn a_token_made_after_a_rotation_is_taken_by_an_agent_that_said_hello_before_it() {
    let (world, _replica) = World::running().await;
    let router = world.api().await;
    let ana = world.keys.api_token("ana", &[], 600).unwrap();
    world.machine("m", json!({})).await;
    world.lease("l", json!({})).await;
    world.phase(Resource::LEASES, "l", "Bound").await;
    let agent = world.agent().await;
    let ages = "update signing_key set current_since = clock_now() - interval '30 days' where stage = 'current'";
    for rotation in 1..4 {
        let before = agent.keys().pop().unwrap();
        sqlx::query(ages).execute(&world.pool).await.unwrap();
        world.keys.look().await.unwrap();
        world.keys.look().await.unwrap();
        let (code, body) = ask(&router, &ana, "POST", "deviceleases/l/token", "{}").await;
        assert_eq!(code, StatusCode::OK, "{body:#}");
        assert!(takes(&before, body["token"].as_str().unwrap()), "rotation {rotation}");
        let told = async || agent.keys().pop().unwrap() == world.keys.jwks();
        until("the agent is told the keys of now, on a new stream", told).await;
    }
    assert_eq!(world.get(Resource::LEASES, "l").await.unwrap()["status"]["phase"], "Bound");
}

#[tokio::test]
async fn an_agent_is_told_of_a_bind_within_the_trace_of_the_call_that_made_the_lease() {
    use opentelemetry::trace::TracerProvider;
    use tracing_subscriber::layer::SubscriberExt;
    let tracer = opentelemetry_sdk::trace::SdkTracerProvider::builder().build().tracer("test");
    let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
    // With one dispatcher alone, tracing lets each thread's default decide once for all threads whether a span is wanted.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let (world, _replica) = World::running().await;
    let router = world.api().await;
    let ana = world.keys.api_token("ana", &["system:masters"], 600).unwrap();
    world.machine("m", json!({})).await;
    world.phase(Resource::MACHINES, "m", "Ready").await;
    let call = |trace: &str| {
        let request = Request::builder().method("POST").uri(format!("{GROUP}/deviceleases"));
        request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
    };
    let traces = ["4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"];
    for (name, trace) in ["first", "second"].into_iter().zip(traces) {
        let lease = json!({
            "apiVersion": "torchremote.dev/v1alpha1", "kind": "DeviceLease", "metadata": {"name": name},
            "spec": {"gpu": [{"type": "CPU"}]}
        });
        let (code, body) = send(&router, &ana, call(trace), &lease.to_string()).await;
        assert_eq!(code, StatusCode::CREATED, "{body:#}");
    }
    world.phase(Resource::LEASES, "first", "Bound").await;
    world.agent().await.end(0, "Goodbye").await;
    world.phase(Resource::LEASES, "second", "Bound").await;
    let told = world.agent().await.traces();
    let ids: Vec<&str> = told.iter().map(|told| told.split('-').nth(1).unwrap_or_default()).collect();
    assert_eq!(ids, traces, "{told:?}");
    assert!(told.iter().all(|told| !told.contains("00f067aa0ba902b7")), "below spans of our own: {told:?}");
}

#[tokio::test]
async fn live_storages_and_devices_are_shown_as_their_agent_reports_them() {
    let (world, _replica) = World::running().await;
    let router = world.api().await;
    let ana = world.keys.api_token("ana", &[], 600).unwrap();
    world.machine("m", json!({})).await;
    world.lease("l", json!({})).await;
    let lease = world.phase(Resource::LEASES, "l", "Bound").await["metadata"]["uid"].as_str().unwrap().to_owned();
    let agent = world.agent().await;
    agent.make_storage(&lease, 7, &[2, 3], "aten::randn");
    agent.make_storage(&lease, u64::MAX, &[], "keep: loss");
    let tensors = async || ask(&router, &ana, "GET", "tensors", "").await.1["items"].as_array().unwrap().clone();
    until("both are shown", async || tensors().await.len() == 2).await;
    let shown: Vec<Value> = tensors().await.into_iter().map(|item| item["status"].clone()).collect();
    let first = shown.iter().find(|status| status["storage"] == 7).unwrap();
    assert_eq!(
        (&first["label"], &first["shape"], &first["dtype"], &first["bytes"]),
        (&json!("aten::randn"), &json!([2, 3]), &json!("float32"), &json!(24))
    );
    assert_eq!(
        (&first["machine"], &first["holder"], &first["lease"]),
        (&json!("default/m"), &json!("ana"), &json!("l"))
    );
    assert!(shown.iter().any(|status| status["storage"] == json!(u64::MAX)), "ids use all 64 bits: {shown:#?}");
    let (code, one) = ask(&router, &ana, "GET", "tensors/l-7", "").await;
    assert_eq!((code, &one["kind"]), (StatusCode::OK, &json!("Tensor")));

    agent.drop_storage(&lease, 7);
    until("the one that vanished is not shown", async || tensors().await.len() == 1).await;
    // What a cut connection lost is made up for by the whole list of the next one.
    agent.make_storage(&lease, 9, &[4], "aten::add");
    agent.cut();
    until("the new one is shown", async || tensors().await.iter().any(|item| item["status"]["storage"] == 9)).await;

    let devices = ask(&router, &ana, "GET", "devices", "").await.1;
    let device = &devices["items"][0];
    assert_eq!(
        (&device["metadata"]["name"], &device["status"]["phase"], &device["status"]["holder"]),
        (&json!("m-0"), &json!("Leased"), &json!("ana"))
    );
    assert!(devices["metadata"]["resourceVersion"].as_str().unwrap().parse::<i64>().unwrap() > 1);
    agent.end(0, "Goodbye").await;
    until("nothing is left of the lease", async || tensors().await.is_empty()).await;
}
