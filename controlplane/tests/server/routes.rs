//! Who may ask what: access, discovery, and the routes that are open to anyone.

use crate::harness::{Api, Nothing};
use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use torch_remote::apiserver::audit::Trail;
use torch_remote::apiserver::limit::{Rate, Settings};
use torch_remote::apiserver::routes::{Access, routes};
use torch_remote::apiserver::{Parts, Server};
use torch_remote::store::log::Tail;

#[tokio::test]
async fn every_route_but_the_public_ones_refuses_a_call_without_a_token() {
    let any = Rate { per_second: 1e6, burst: 1e6 };
    let api = Api::limited(Settings { failures: any, ..Settings::default() }).await;
    let tail = Tail::start(api.objects.clone()).await.unwrap();
    let parts = Parts {
        objects: api.objects.clone(),
        cache: tail.cache(),
        keys: api.keys.clone(),
        virtual_kinds: HashMap::from([("devices", Arc::new(Nothing(api.objects.clone())) as _)]),
        limits: Settings::default(),
        trail: Trail::new(api.objects.pool().clone(), 90).0,
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
        "/.well-known/torch-remote-login",
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
        ("/livez?verbose", "[+]ping ok"),
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
    // As kubectl up to 1.29 asks, and as later ones do, which know both.
    let aggregated =
        |version: &str| format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let (older, newer) = (aggregated("v2beta1"), aggregated("v2"));
    for (accept, version) in
        [(format!("{older},application/json"), "v2beta1"), (format!("{newer},{older},application/json"), "v2")]
    {
        for uri in ["/api", "/apis"] {
            let (code, headers, body) = api.ask("GET", uri, &[("accept", &accept)], "").await;
            assert_eq!((code, headers["content-type"].to_str().unwrap()), (StatusCode::OK, &*aggregated(version)));
            let said = (&body["apiVersion"], &body["kind"]);
            assert_eq!(said, (&json!(format!("apidiscovery.k8s.io/{version}")), &json!("APIGroupDiscoveryList")));
            let machines = uri == "/api" || body.to_string().contains(r#""resource":"remotemachines""#);
            assert!(machines && !body["items"].as_array().unwrap().is_empty(), "{uri}: {body}");
        }
    }
    let response =
        api.raw("GET", "/openapi/v2", &[("authorization", &format!("Bearer {}", api.token))], Body::empty()).await;
    assert_eq!(&response.into_body().collect().await.unwrap().to_bytes()[..], [0x0a, 0x03, 0x32, 0x2e, 0x30]);
}
