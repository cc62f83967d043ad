//! What clients rely on without saying so: versions of lists, names that are taken, methods nobody asks for, warnings.

use crate::harness::Api;
use crate::sample::{MACHINES, created, machine, pool};
use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use torch_remote::store::log;
use torch_remote::store::watch_cache::LAG;

const GROUP: &str = "/apis/torchremote.dev/v1alpha1";
const QUOTAS: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default/gpuquotas";
const POOLS: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default/machinepools";

fn quota(metadata: Value) -> Value {
    json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": "GPUQuota", "metadata": metadata, "spec": {}})
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

fn warnings(headers: &http::HeaderMap) -> Vec<String> {
    headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_shows_the_version_it_was_asked_for() {
    let api = Api::start().await;
    let first = created(&api, QUOTAS, quota(json!({"name": "a"}))).await;
    created(&api, QUOTAS, quota(json!({"name": "b"}))).await;
    let at = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let (_, then) = api.get(&format!("{QUOTAS}?resourceVersion={at}&resourceVersionMatch=Exact")).await;
    assert_eq!((names(&then), &then["metadata"]["resourceVersion"]), (vec!["a"], &json!(at)));
    let (_, since) = api.get(&format!("{QUOTAS}?resourceVersion={at}")).await;
    assert_eq!(names(&since), ["a", "b"], "not older than that");
    let (_, any) = api.get(&format!("{QUOTAS}?resourceVersion=0")).await;
    assert!(names(&any).len() <= 2);
    let (_, selected) = api.get(&format!("{QUOTAS}?limit=1&fieldSelector=metadata.name%21%3Dz")).await;
    assert_eq!(selected["metadata"]["remainingItemCount"], Value::Null, "not counted with selectors");
    assert!(selected["metadata"]["continue"].is_string());
    log::compact_beyond(&api.objects, 0.0, 0).await.unwrap();
    let (code, gone) = api.get(&format!("{QUOTAS}?resourceVersion={at}&resourceVersionMatch=Exact")).await;
    assert_eq!((code, &gone["reason"]), (StatusCode::GONE, &json!("Expired")));
    let (code, ahead) = api.get(&format!("{QUOTAS}?resourceVersion=99999999")).await;
    assert_eq!(
        (code, &ahead["details"]["causes"][0]["reason"]),
        (StatusCode::GATEWAY_TIMEOUT, &json!("ResourceVersionTooLarge"))
    );
}

#[tokio::test]
async fn a_generated_name_that_is_taken_is_generated_again_and_not_for_ever() {
    let api = Api::start().await;
    // The first names are taken: the database makes no row of them.
    let taken = "create sequence tries;
        create function taken() returns trigger language plpgsql as $$
        begin if new.plural = 'gpuquotas' and nextval('tries') <= 3 then return null; end if; return new; end $$;
        create trigger taken before insert on object for each row execute function taken();";
    sqlx::raw_sql(taken).execute(api.objects.pool()).await.unwrap();
    let (code, made) = api.send("POST", QUOTAS, quota(json!({"generateName": "team-"}))).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let all_taken = "create or replace function taken() returns trigger language plpgsql as $$
        begin if new.plural = 'gpuquotas' then return null; end if; return new; end $$;";
    sqlx::raw_sql(all_taken).execute(api.objects.pool()).await.unwrap();
    let (code, refused) = api.send("POST", QUOTAS, quota(json!({"generateName": "team-"}))).await;
    assert_eq!((code, &refused["reason"]), (StatusCode::CONFLICT, &json!("AlreadyExists")));
    let (code, named) = api.send("POST", QUOTAS, quota(json!({"name": "mine"}))).await;
    assert_eq!(
        (code, &named["reason"]),
        (StatusCode::CONFLICT, &json!("AlreadyExists")),
        "a name that was chosen is not"
    );
}

#[tokio::test]
async fn methods_that_nobody_serves_are_refused_with_a_status() {
    let api = Api::start().await;
    let authorization = format!("Bearer {}", api.token);
    for (method, uri) in
        [("OPTIONS", MACHINES), ("TRACE", MACHINES), ("PUT", MACHINES), ("OPTIONS", "/apis"), ("POST", "/version")]
    {
        let response = api.raw(method, uri, &[("authorization", &authorization)], Body::empty()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {uri}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(405)), "{method} {uri}");
    }
    let head = api.raw("HEAD", "/version", &[], Body::empty()).await;
    assert_eq!(head.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_watch_of_metadata_alone_shows_no_spec() {
    let api = Api::start().await;
    created(&api, MACHINES, machine("a")).await;
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let mut events = api.watch(&format!("{MACHINES}?watch=1"), accept).await;
    let event = events.next().await.unwrap();
    assert_eq!((&event["object"]["kind"], &event["object"]["spec"]), (&json!("PartialObjectMetadata"), &Value::Null));
    assert_eq!(event["object"]["metadata"]["name"], "a");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_watch_is_cut_off_and_takes_it_up_without_a_gap() {
    let api = Api::start().await;
    created(&api, QUOTAS, quota(json!({"name": "a"}))).await;
    let mut slow = api.watch(&format!("{QUOTAS}?watch=1"), "application/json").await;
    let first = slow.next().await.unwrap();
    let mut at = first["object"]["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let steps = LAG + 10;
    for step in 0..steps {
        let (code, _) = api
            .send("PATCH", &format!("{QUOTAS}/a"), json!({"metadata": {"labels": {"step": step.to_string()}}}))
            .await;
        assert_eq!(code, StatusCode::OK);
    }
    // A list is of the newest version: the cache has them all.
    api.get(QUOTAS).await;
    let mut seen = 0;
    while let Some(event) = slow.next().await {
        assert_ne!(event["type"], "ERROR");
        at = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        seen += 1;
    }
    assert!(seen < steps, "it was cut off, after {seen}");
    let mut again = api.watch(&format!("{QUOTAS}?watch=1&resourceVersion={at}"), "application/json").await;
    for step in seen..steps {
        let event = again.next().await.unwrap();
        assert_eq!(event["object"]["metadata"]["labels"]["step"], step.to_string());
    }
}

#[tokio::test]
async fn answers_warn_of_what_a_machine_costs_and_of_what_is_not_in_force() {
    let api = Api::start().await;
    let provider = json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "cloud"},
        "spec": {"type": "Static", "prices": [{"type": "H100", "perHour": "3.95"}]},
    });
    created(&api, &format!("{GROUP}/providers"), provider).await;
    let mut body = machine("m1");
    body["spec"] = json!({"provider": "cloud", "gpu": {"type": "H100", "count": 2}, "maxPricePerHour": "9"});
    let json = [("content-type", "application/json")];
    let cost = r#"299 - "costs 7.90 USD per hour while it runs (2 H100 at Provider cloud)""#;
    let ignored = r#"299 - "spec.maxPricePerHour is not in force yet: it is kept, and nothing acts on it""#;
    for query in ["?dryRun=All", ""] {
        let (code, headers, _) = api.ask("POST", &format!("{MACHINES}{query}"), &json, body.to_string()).await;
        assert_eq!((code, warnings(&headers)), (StatusCode::CREATED, vec![ignored.to_owned(), cost.to_owned()]));
    }
    let merge = [("content-type", "application/merge-patch+json")];
    let patch = async |change: Value| {
        let (code, headers, _) = api.ask("PATCH", &format!("{MACHINES}/m1"), &merge, change.to_string()).await;
        assert_eq!(code, StatusCode::OK);
        warnings(&headers)
    };
    assert_eq!(patch(json!({"metadata": {"labels": {"a": "b"}}})).await, Vec::<String>::new(), "the spec is the same");
    assert_eq!(patch(json!({"spec": {"maxPricePerHour": null, "idleTimeout": "5m"}})).await, Vec::<String>::new());
    let cost = r#"299 - "costs 3.95 USD per hour while it runs (1 H100 at Provider cloud)""#;
    assert_eq!(patch(json!({"spec": {"gpu": {"count": 1}}})).await, [cost]);
    let mut body = pool("train", 3, 5);
    body["spec"]["template"]["spec"] = json!({"provider": "cloud", "gpu": {"type": "H100"}});
    body["spec"]["warm"] = json!(1);
    let (_, headers, _) = api.ask("POST", POOLS, &json, body.to_string()).await;
    let said = warnings(&headers);
    assert!(said[0].contains("spec.warm is not in force yet"), "{said:?}");
    assert_eq!(said[1], r#"299 - "costs 11.85 USD per hour while all run (3 machines of 1 H100 at Provider cloud)""#);
    let (_, headers, _) = api.ask("POST", QUOTAS, &json, quota(json!({"name": "team"})).to_string()).await;
    assert!(warnings(&headers)[0].contains("quotas are not enforced yet"));
}

#[tokio::test]
async fn answers_warn_of_the_instance_a_change_replaces_and_the_leases_it_waits_for() {
    let api = Api::start().await;
    let provider = json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "local"}, "spec": {"type": "Local"},
    });
    created(&api, &format!("{GROUP}/providers"), provider).await;
    created(&api, MACHINES, machine("m1")).await;
    let status = |leases: Value| json!({"status": {"providerID": "i-7", "keptAliveBy": leases}});
    let merge = [("content-type", "application/merge-patch+json")];
    let patch = async |uri: String, change: Value| {
        let (code, headers, body) = api.ask("PATCH", &uri, &merge, change.to_string()).await;
        assert_eq!(code, StatusCode::OK, "{body}");
        warnings(&headers)
    };
    let uri = format!("{MACHINES}/m1");
    patch(format!("{uri}/status"), status(json!(["default/l1", "team/l2"]))).await;
    let change = json!({"spec": {"cpu": "2"}});
    let held =
        r#"299 - "instance i-7 is replaced by one of the new spec when it is free of leases default/l1, team/l2""#;
    assert_eq!(patch(format!("{uri}?dryRun=All"), change.clone()).await, [held]);
    patch(format!("{uri}/status"), status(json!([]))).await;
    let free = r#"299 - "instance i-7 is replaced by one of the new spec now: no lease holds it""#;
    assert_eq!(patch(uri.clone(), change).await, [free]);
    assert_eq!(
        patch(uri.clone(), json!({"spec": {"timeout": "9h"}})).await,
        Vec::<String>::new(),
        "times replace nothing"
    );
    let image = patch(format!("{uri}?dryRun=All"), json!({"spec": {"image": {"packages": ["numpy==2.1.0"]}}})).await;
    assert!(
        image[0].contains("instance i-7 goes on as it was made: a machine of a Local provider is a process"),
        "{image:?}"
    );
    assert_eq!(patch(uri, json!({"spec": {"suspend": true}})).await, [r#"299 - "instance i-7 ends now""#]);
}

#[tokio::test]
async fn a_namespace_on_its_way_out_says_what_keeps_it() {
    let api = Api::start().await;
    created(&api, "/api/v1/namespaces", json!({"metadata": {"name": "vision"}})).await;
    let inside = format!("{GROUP}/namespaces/vision");
    for name in ["m1", "m2"] {
        created(&api, &format!("{inside}/remotemachines"), machine(name)).await;
    }
    let mut kept = quota(json!({"name": "q"}));
    kept["metadata"]["finalizers"] = json!(["example.org/archive"]);
    created(&api, &format!("{inside}/gpuquotas"), kept).await;
    let uri = "/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dvision";
    let mut events = api.watch(uri, "application/json").await;
    api.send("DELETE", "/api/v1/namespaces/vision", json!({})).await;
    let mut says = async |kind: &str, words: &str| loop {
        let event = events.next().await.unwrap();
        let conditions = event["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let said = conditions.iter().find(|fact| fact["type"] == kind).map(|fact| fact["message"].clone());
        if said.is_some_and(|said| said == words) || event["type"] == words {
            return;
        }
    };
    says(
        "NamespaceContentRemaining",
        "Some resources are remaining: remotemachines.torchremote.dev has 2 resource instances",
    )
    .await;
    for name in ["m1", "m2"] {
        api.send("PATCH", &format!("{inside}/remotemachines/{name}"), json!({"metadata": {"finalizers": null}})).await;
    }
    says(
        "NamespaceContentRemaining",
        "Some resources are remaining: gpuquotas.torchremote.dev has 1 resource instances",
    )
    .await;
    let (_, body) = api.get("/api/v1/namespaces/vision").await;
    let facts = body["status"]["conditions"].as_array().unwrap();
    let words = "Some content in the namespace has finalizers remaining: example.org/archive in 1 resource instances";
    assert!(facts.iter().any(|fact| fact["message"] == words && fact["reason"] == "SomeFinalizersRemain"), "{body}");
    api.send("PATCH", &format!("{inside}/gpuquotas/q"), json!({"metadata": {"finalizers": null}})).await;
    says("", "DELETED").await;
}
