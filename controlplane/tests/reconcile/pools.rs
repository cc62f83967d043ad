//! Pools keep the machines that their templates ask for.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use torch_remote::store::{Key, Resource};

use crate::world::{World, fact, until};

const POOLS: Resource = Resource::POOLS;
const MACHINES: Resource = Resource::MACHINES;

async fn pool(world: &World, name: &str, replicas: Value) {
    let spec = json!({
        "template": {"metadata": {"labels": {"team": "vision"}}, "spec": {"provider": "fake", "gpu": {"type": "CPU"}}},
        "replicas": replicas,
    });
    world.create(POOLS, "default", "MachinePool", name, spec, json!({})).await;
}

async fn machines(world: &World) -> Vec<Value> {
    let list = world.objects.list(MACHINES, Some("default")).await.unwrap().items;
    list.into_iter().map(|object| object.body).collect()
}

async fn names(world: &World) -> BTreeSet<String> {
    machines(world).await.iter().map(|body| body["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_pool_makes_its_machines_and_says_when_they_are_ready() {
    let (world, _replica) = World::running().await;
    pool(&world, "train", json!({"min": 2, "max": 3})).await;
    let body = world.object(POOLS, "train", "ready", |body| body["status"]["ready"] == 2).await;
    assert_eq!((&body["status"]["replicas"], &body["status"]["warm"]), (&json!(2), &json!(2)));
    let body = world
        .object(POOLS, "train", "settled", |body| {
            body["status"]["conditions"].is_array() && fact(body, "Reconciling").0 == "False"
        })
        .await;
    assert_eq!((fact(&body, "Ready").0, fact(&body, "Stalled").0), ("True", "False"));
    assert_eq!(body["status"]["observedGeneration"], 1);
    let made = machines(&world).await;
    assert_eq!(names(&world).await, BTreeSet::from(["train-0".to_owned(), "train-1".to_owned()]));
    for machine in made {
        let owner = &machine["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["uid"], &owner["controller"]), (&body["metadata"]["uid"], &json!(true)));
        assert_eq!(owner["blockOwnerDeletion"], true);
        assert_eq!(machine["metadata"]["labels"], json!({"team": "vision", "torchremote.dev/pool": "train"}));
    }
}

#[tokio::test]
async fn a_machine_that_is_taken_away_is_made_again_and_fewer_are_kept_when_fewer_are_asked_for() {
    let (world, _replica) = World::running().await;
    pool(&world, "train", json!({"min": 2, "max": 2})).await;
    world.object(POOLS, "train", "ready", |body| body["status"]["ready"] == 2).await;
    let first = world.get(MACHINES, "train-0").await.unwrap()["metadata"]["uid"].clone();
    world.delete(MACHINES, "train-0").await;
    world.object(MACHINES, "train-0", "another", |body| body["metadata"]["uid"] != first).await;
    world.object(POOLS, "train", "ready again", |body| body["status"]["ready"] == 2).await;
    world.patch(POOLS, "train", |spec| spec["replicas"]["min"] = json!(1)).await;
    until("one is left", async || machines(&world).await.len() == 1).await;
    let body = world.object(POOLS, "train", "one", |body| body["status"]["replicas"] == 1).await;
    assert_eq!(fact(&body, "Ready").0, "True");
}

#[tokio::test]
async fn another_template_replaces_what_no_lease_holds() {
    let (world, _replica) = World::running().await;
    pool(&world, "train", json!({"min": 2, "max": 3})).await;
    world.object(POOLS, "train", "ready", |body| body["status"]["ready"] == 2).await;
    world.lease("l", json!({"machineRef": {"name": "train-0"}})).await;
    world.phase(Resource::LEASES, "l", "Bound").await;
    world.object(POOLS, "train", "leased", |body| body["status"]["leased"] == 1).await;
    let held = world.get(MACHINES, "train-0").await.unwrap()["metadata"]["uid"].clone();
    let old = world.get(MACHINES, "train-1").await.unwrap()["metadata"]["uid"].clone();
    world.patch(POOLS, "train", |spec| spec["template"]["spec"]["env"] = json!([{"name": "A", "value": "1"}])).await;
    until("the free one is another", async || {
        let machines = machines(&world).await;
        machines.len() == 2 && machines.iter().all(|machine| machine["metadata"]["uid"] != old)
    })
    .await;
    assert_eq!(world.get(MACHINES, "train-0").await.unwrap()["metadata"]["uid"], held, "a lease holds it");
    assert_eq!(world.get(Resource::LEASES, "l").await.unwrap()["status"]["phase"], "Bound");
    let body = world
        .object(POOLS, "train", "settled", |body| {
            fact(body, "Reconciling").0 == "False" && body["status"]["observedGeneration"] == 2
        })
        .await;
    assert_eq!(fact(&body, "Ready").2, "1 machines of an older template are kept until no lease holds them");
    world.delete(Resource::LEASES, "l").await;
    until("it is replaced when the lease is over", async || {
        let machines = machines(&world).await;
        machines.len() == 2 && machines.iter().all(|machine| machine["metadata"]["uid"] != held)
    })
    .await;
}

#[tokio::test]
async fn two_replicas_make_no_machine_too_many() {
    let world = World::new().await;
    let _replicas = (world.replica("a").await, world.replica("b").await);
    for pools in ["p", "q", "r"] {
        pool(&world, pools, json!({"min": 3, "max": 9})).await;
    }
    for name in ["p", "q", "r"] {
        world.object(POOLS, name, "ready", |body| body["status"]["ready"] == 3).await;
    }
    let (mut seen, all) = (names(&world).await, world.provider.created().len());
    assert_eq!((seen.len(), all), (9, 9), "{seen:?}");
    seen.retain(|name| !name.ends_with("-0") && !name.ends_with("-1") && !name.ends_with("-2"));
    assert_eq!(seen, BTreeSet::new());
}

#[tokio::test]
async fn a_lease_of_a_pool_takes_one_of_its_machines() {
    let (world, _replica) = World::running().await;
    world.machine("a", json!({})).await;
    pool(&world, "train", json!({"min": 1, "max": 1})).await;
    world.lease("l", json!({"gpu": [], "poolRef": {"name": "train"}})).await;
    let body = world.phase(Resource::LEASES, "l", "Bound").await;
    assert_eq!(body["status"]["devices"][0]["machine"], "default/train-0");
    world.lease("none", json!({"poolRef": {"name": "nowhere"}})).await;
    let body = world.phase(Resource::LEASES, "none", "Failed").await;
    assert!(fact(&body, "Ended").2.contains("machine pool default/nowhere does not exist"), "{body}");
}

#[tokio::test]
async fn a_pool_whose_machines_cannot_be_made_says_that_it_stalls() {
    let (world, _replica) = World::running().await;
    pool(&world, "train", json!({"min": 1, "max": 1})).await;
    world.patch(POOLS, "train", |spec| spec["template"]["spec"]["provider"] = json!("nowhere")).await;
    let stalled = |body: &Value| body["status"]["conditions"].is_array() && fact(body, "Stalled").0 == "True";
    let body = world.object(POOLS, "train", "stalled", stalled).await;
    assert_eq!(fact(&body, "Ready"), ("False", "MachinesFailed", "0 of 1 machines are ready"));
}

#[tokio::test]
async fn a_quota_says_that_it_is_not_in_force() {
    let (world, _replica) = World::running().await;
    world.create(Resource::QUOTAS, "default", "GPUQuota", "team", json!({"weight": 1}), json!({})).await;
    let body = world.object(Resource::QUOTAS, "team", "judged", |body| body["status"]["conditions"].is_array()).await;
    assert_eq!((fact(&body, "Enforced").0, fact(&body, "Enforced").1), ("False", "NotYetEnforced"));
    assert_eq!((fact(&body, "Ready").0, &body["status"]["observedGeneration"]), ("True", &json!(1)));
}

/// Until the queue has judged what waits now.
async fn judged(world: &World, name: &str) {
    world.lease(name, json!({"gpu": [], "poolRef": {"name": "nowhere"}})).await;
    world.phase(Resource::LEASES, name, "Failed").await;
}

#[tokio::test]
async fn a_lease_waits_while_the_machine_of_its_pool_is_replaced() {
    let (world, _replica) = World::running().await;
    pool(&world, "train", json!({"min": 1, "max": 1})).await;
    world.object(POOLS, "train", "ready", |body| body["status"]["ready"] == 1).await;
    let key = Key::new(MACHINES, "default", "train-0");
    let mut write = world.objects.begin().await.unwrap();
    write.add_finalizer(&key, "example.org/archive").await.unwrap();
    write.commit().await.unwrap();
    world.patch(POOLS, "train", |spec| spec["template"]["spec"]["env"] = json!([{"name": "A", "value": "1"}])).await;
    world.object(MACHINES, "train-0", "deleted", |body| body["metadata"]["deletionTimestamp"].is_string()).await;
    world.lease("l", json!({"gpu": [], "poolRef": {"name": "train"}})).await;
    judged(&world, "none").await;
    assert_ne!(world.get(Resource::LEASES, "l").await.unwrap()["status"]["phase"], "Failed");
    let mut write = world.objects.begin().await.unwrap();
    write.remove_finalizer(&key, "example.org/archive").await.unwrap();
    write.commit().await.unwrap();
    world.phase(Resource::LEASES, "l", "Bound").await;
}

#[tokio::test]
async fn a_lease_waits_for_what_the_template_of_its_pool_has_become() {
    let (world, _replica) = World::running().await;
    pool(&world, "train", json!({"min": 1, "max": 1})).await;
    world.lease("held", json!({"gpu": [], "poolRef": {"name": "train"}})).await;
    world.phase(Resource::LEASES, "held", "Bound").await;
    world.patch(POOLS, "train", |spec| spec["template"]["spec"]["gpu"] = json!({"type": "A100-40GB"})).await;
    world.lease("l", json!({"gpu": [{"type": "A100-40GB"}], "poolRef": {"name": "train"}})).await;
    world.lease("other", json!({"gpu": [{"type": "H100"}], "poolRef": {"name": "train"}})).await;
    let body = world.phase(Resource::LEASES, "other", "Failed").await;
    assert!(fact(&body, "Ended").2.contains("the machines of pool default/train have 1 A100-40GB"), "{body}");
    judged(&world, "none").await;
    assert_ne!(world.get(Resource::LEASES, "l").await.unwrap()["status"]["phase"], "Failed");
    world.delete(Resource::LEASES, "held").await;
    world.phase(Resource::LEASES, "l", "Bound").await;
}

#[tokio::test]
async fn a_pool_is_for_the_namespaces_that_its_template_names() {
    let (world, _replica) = World::running().await;
    torch_remote::store::namespace::ensure(&world.objects, &["vision"]).await.unwrap();
    let spec = |allowed: Value| {
        let template = json!({"provider": "nowhere", "gpu": {"type": "CPU"}, "allowedNamespaces": allowed});
        json!({"template": {"spec": template}, "replicas": {"min": 1, "max": 1}})
    };
    world.create(POOLS, "vision", "MachinePool", "theirs", spec(json!([])), json!({})).await;
    world.create(POOLS, "vision", "MachinePool", "shared", spec(json!(["default"])), json!({})).await;
    for name in ["theirs", "shared"] {
        world.lease(name, json!({"gpu": [], "poolRef": {"namespace": "vision", "name": name}})).await;
    }
    let body = world.phase(Resource::LEASES, "theirs", "Failed").await;
    assert!(fact(&body, "Ended").2.contains("machine pool vision/theirs is not for namespace default"), "{body}");
    judged(&world, "none").await;
    assert_ne!(world.get(Resource::LEASES, "shared").await.unwrap()["status"]["phase"], "Failed");
}
