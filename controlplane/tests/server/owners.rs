//! What an object's end means for those it owns.

use crate::harness::Api;
use crate::sample::{MACHINES, created, machine, pool};
use http::StatusCode;
use serde_json::{Value, json};

const GROUP: &str = "/apis/torchremote.dev/v1alpha1";
const POOLS: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default/machinepools";
const QUOTAS: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default/gpuquotas";

/// A quota: of all kinds that can be owned the one that nothing else holds.
fn quota(name: &str, owners: &[Value]) -> Value {
    json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "GPUQuota",
        "metadata": {"name": name, "ownerReferences": owners}, "spec": {},
    })
}

fn owner(object: &Value, blocks: bool) -> Value {
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"], "uid": object["metadata"]["uid"],
        "blockOwnerDeletion": blocks,
    })
}

/// Waits until a quota is so; `None`: gone.
async fn until(api: &Api, name: &str, so: impl Fn(Option<&Value>) -> bool) {
    let look = async {
        loop {
            let (code, body) = api.get(&format!("{QUOTAS}/{name}")).await;
            if so((code == StatusCode::OK).then_some(&body)) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let what = tokio::time::timeout(std::time::Duration::from_secs(20), look).await;
    assert!(what.is_ok(), "{name}: {}", api.get(&format!("{QUOTAS}/{name}")).await.1);
}

#[tokio::test]
async fn what_an_object_owns_goes_after_it_and_what_that_owns_too() {
    let api = Api::start().await;
    let first = created(&api, POOLS, pool("train", 0, 1)).await;
    let second = created(&api, QUOTAS, quota("second", &[owner(&first, false)])).await;
    created(&api, QUOTAS, quota("third", &[owner(&second, false)])).await;
    created(&api, QUOTAS, quota("other", &[])).await;
    let (code, gone) = api.send("DELETE", &format!("{POOLS}/train"), json!({"propagationPolicy": "Background"})).await;
    assert_eq!((code, &gone["status"]), (StatusCode::OK, &json!("Success")));
    until(&api, "third", |quota| quota.is_none()).await;
    assert_eq!(api.get(&format!("{QUOTAS}/second")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.get(&format!("{QUOTAS}/other")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_object_deleted_in_the_foreground_waits_for_those_that_block_it() {
    let api = Api::start().await;
    let first = created(&api, POOLS, pool("train", 0, 1)).await;
    let mut held = quota("held", &[owner(&first, true)]);
    held["metadata"]["finalizers"] = json!(["example.org/archive"]);
    created(&api, QUOTAS, held).await;
    created(&api, QUOTAS, quota("free", &[owner(&first, false)])).await;
    let mut pools =
        api.watch(&format!("{POOLS}?watch=1&fieldSelector=metadata.name%3Dtrain"), "application/json").await;
    let (code, marked) =
        api.send("DELETE", &format!("{POOLS}/train"), json!({"propagationPolicy": "Foreground"})).await;
    assert_eq!((code, &marked["metadata"]["finalizers"]), (StatusCode::OK, &json!(["foregroundDeletion"])));
    until(&api, "held", |quota| quota.is_some_and(|quota| quota["metadata"]["deletionTimestamp"].is_string())).await;
    assert_eq!(api.get(&format!("{POOLS}/train")).await.0, StatusCode::OK, "it waits");
    until(&api, "free", |quota| quota.is_none()).await;
    assert_eq!(api.get(&format!("{POOLS}/train")).await.0, StatusCode::OK, "it waits still");
    api.send("PATCH", &format!("{QUOTAS}/held"), json!({"metadata": {"finalizers": null}})).await;
    while pools.next().await.unwrap()["type"] != "DELETED" {}
}

#[tokio::test]
async fn orphans_stay_and_forget_their_owner() {
    let api = Api::start().await;
    for (name, options) in
        [("one", json!({"propagationPolicy": "Orphan"})), ("other", json!({"orphanDependents": true}))]
    {
        let first = created(&api, POOLS, pool(name, 0, 1)).await;
        created(&api, QUOTAS, quota(name, &[owner(&first, true)])).await;
        let mut pools =
            api.watch(&format!("{POOLS}?watch=1&fieldSelector=metadata.name%3D{name}"), "application/json").await;
        api.send("DELETE", &format!("{POOLS}/{name}"), options).await;
        while pools.next().await.unwrap()["type"] != "DELETED" {}
        let (code, quota) = api.get(&format!("{QUOTAS}/{name}")).await;
        assert_eq!((code, &quota["metadata"]["ownerReferences"]), (StatusCode::OK, &Value::Null));
    }
}

#[tokio::test]
async fn an_owner_that_never_was_or_was_made_again_or_lies_elsewhere_keeps_nothing() {
    let api = Api::start().await;
    let mut never = json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": "MachinePool", "name": "none"});
    never["uid"] = json!("11111111-2222-4333-8444-555555555555");
    created(&api, QUOTAS, quota("never", &[never])).await;
    until(&api, "never", |quota| quota.is_none()).await;

    let first = created(&api, POOLS, pool("train", 0, 1)).await;
    api.send("DELETE", &format!("{POOLS}/train"), json!({})).await;
    created(&api, POOLS, pool("train", 0, 1)).await;
    created(&api, QUOTAS, quota("old", &[owner(&first, false)])).await;
    until(&api, "old", |quota| quota.is_none()).await;

    created(&api, "/api/v1/namespaces", json!({"metadata": {"name": "vision"}})).await;
    let elsewhere = created(&api, &format!("{GROUP}/namespaces/vision/machinepools"), pool("theirs", 0, 1)).await;
    created(&api, QUOTAS, quota("across", &[owner(&elsewhere, false)])).await;
    until(&api, "across", |quota| quota.is_none()).await;
    let mut events = api.watch("/api/v1/namespaces/default/events?watch=1", "application/json").await;
    let event = events.next().await.unwrap()["object"].clone();
    assert_eq!(event["reason"], "OwnerRefInvalidNamespace");
    let says = event["message"].as_str().unwrap();
    assert!(says.ends_with("] does not exist in namespace \"default\"") && says.contains("name: theirs"), "{says}");
}

#[tokio::test]
async fn one_owner_that_is_left_keeps_an_object_which_forgets_the_others() {
    let api = Api::start().await;
    let (a, b) = (created(&api, POOLS, pool("a", 0, 1)).await, created(&api, POOLS, pool("b", 0, 1)).await);
    created(&api, QUOTAS, quota("shared", &[owner(&a, false), owner(&b, false)])).await;
    api.send("DELETE", &format!("{POOLS}/a"), json!({})).await;
    until(&api, "shared", |quota| {
        quota.is_some_and(|quota| {
            quota["metadata"]["ownerReferences"].as_array().is_some_and(|owners| owners.len() == 1)
        })
    })
    .await;
    api.send("DELETE", &format!("{POOLS}/b"), json!({})).await;
    until(&api, "shared", |quota| quota.is_none()).await;
}

#[tokio::test]
async fn a_cluster_scoped_owner_takes_what_it_owns_in_any_namespace() {
    let api = Api::start().await;
    let body = json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "here"}, "spec": {"type": "Local"}});
    let provider = created(&api, &format!("{GROUP}/providers"), body).await;
    created(&api, QUOTAS, quota("mine", &[owner(&provider, false)])).await;
    api.send("DELETE", &format!("{GROUP}/providers/here"), json!({})).await;
    until(&api, "mine", |quota| quota.is_none()).await;
}

#[tokio::test]
async fn how_to_delete_must_be_a_word_that_is_known_and_said_once() {
    let api = Api::start().await;
    created(&api, MACHINES, machine("m1")).await;
    let uri = format!("{MACHINES}/m1");
    let (code, status) = api.send("DELETE", &uri, json!({"propagationPolicy": "Sideways"})).await;
    let says = r#"DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Sideways": supported values: "Foreground", "Background", "Orphan", "nil""#;
    assert_eq!((code, status["message"].as_str().unwrap()), (StatusCode::UNPROCESSABLE_ENTITY, says));
    let both = json!({"propagationPolicy": "Orphan", "orphanDependents": true});
    let (code, status) = api.send("DELETE", &uri, both).await;
    let says = "orphanDependents and deletionPropagation cannot be both set";
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(status["message"].as_str().unwrap().ends_with(says), "{status}");
    // Asked again in another way, the last word counts.
    api.send("DELETE", &uri, json!({"propagationPolicy": "Foreground"})).await;
    let (_, marked) = api.send("DELETE", &uri, json!({"propagationPolicy": "Background"})).await;
    assert_eq!(marked["metadata"]["finalizers"], json!(["torchremote.dev/machine"]));
}

#[tokio::test]
async fn a_collection_is_deleted_by_selectors_in_pages_and_not_in_a_dry_run() {
    let api = Api::start().await;
    for (name, team) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let mut body = quota(name, &[]);
        body["metadata"]["labels"] = json!({"team": team});
        created(&api, QUOTAS, body).await;
    }
    let names = async || {
        let (_, list) = api.get(QUOTAS).await;
        let items = list["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (code, _) = api.send("DELETE", &format!("{QUOTAS}?labelSelector=team%3Dx&dryRun=All"), json!({})).await;
    assert_eq!((code, names().await.len()), (StatusCode::OK, 3));
    let wrong = json!({"preconditions": {"uid": "11111111-2222-4333-8444-555555555555"}});
    let (code, _) = api.send("DELETE", QUOTAS, wrong).await;
    assert_eq!((code, names().await.len()), (StatusCode::CONFLICT, 3));
    let (_, page) = api.send("DELETE", &format!("{QUOTAS}?labelSelector=team%3Dx&limit=1"), json!({})).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(names().await, ["b", "c"]);
    api.send("DELETE", &format!("{QUOTAS}?labelSelector=team%3Dx"), json!({})).await;
    assert_eq!(names().await, ["c"]);
}
