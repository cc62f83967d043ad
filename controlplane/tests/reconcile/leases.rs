//! Leases, from the queue to the release.

use serde_json::{Value, json};
use torch_remote::store::{Key, Resource, lease};
use torch_remote_api::lease::{RENEWS, TRACEPARENT, WAITER};
use torch_remote_api::object::LEASE_FINALIZER;
use uuid::Uuid;

use crate::world::{World, fact, until};

const MACHINES: Resource = Resource::MACHINES;
const LEASES: Resource = Resource::LEASES;

async fn ready() -> (World, crate::world::Replica) {
    let (world, replica) = World::running().await;
    world.machine("m", json!({})).await;
    world.phase(MACHINES, "m", "Ready").await;
    (world, replica)
}

fn uid(body: &Value) -> Uuid {
    body["metadata"]["uid"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_lease_is_bound_and_says_where() {
    let (world, _replica) = ready().await;
    world.lease("l", json!({"duration": "1h"})).await;
    let body = world.phase(LEASES, "l", "Bound").await;
    let device = &body["status"]["devices"][0];
    assert_eq!(
        (device["machine"].as_str(), device["slot"].as_u64(), device["epoch"].as_u64()),
        (Some("default/m"), Some(0), Some(1))
    );
    let near = json!({"kind": "unix", "address": "/run/slot-0", "tls": "none"});
    let far = json!({"kind": "tcp", "address": "gpu.example.org:7000", "tls": "spkiSHA256:AAAA"});
    assert_eq!(device["endpoints"], json!([near, far]), "all that the agent said, in its order");
    assert!(body["status"]["expiresAt"].is_null(), "its time counts from its first session");
    world.agent().await.open_session(0);
    let body = world.object(LEASES, "l", "opened", |body| body["status"]["openedAt"].is_string()).await;
    assert_eq!(fact(&body, "Active").0, "True");
    assert!(body["status"]["expiresAt"].is_string());
    world.agent().await.lose_session(0, 1);
    world.object(LEASES, "l", "silent", |body| fact(body, "Active").1 == "Disconnected").await;
    let machine =
        world.object(MACHINES, "m", "kept alive", |body| body["status"]["keptAliveBy"] == json!(["default/l"])).await;
    assert!(machine["status"]["idleSince"].is_null());
}

#[tokio::test]
async fn a_lease_expires_when_its_agent_was_told_whatever_its_spec_says_later() {
    let (world, _replica) = ready().await;
    world.lease("l", json!({"duration": "1h"})).await;
    world.phase(LEASES, "l", "Bound").await;
    world.agent().await.open_session(0);
    let body = world.object(LEASES, "l", "opened", |body| body["status"]["openedAt"].is_string()).await;
    world.patch(LEASES, "l", |spec| spec["duration"] = json!("20h")).await;
    let seen = world.object(LEASES, "l", "seen", |body| body["status"]["observedGeneration"] == 2).await;
    assert_eq!(seen["status"]["expiresAt"], body["status"]["expiresAt"]);
}

#[tokio::test]
async fn of_two_that_race_for_one_slot_one_waits_and_gets_it_after_the_release() {
    let (world, _replica) = ready().await;
    tokio::join!(world.lease("a", json!({})), world.lease("b", json!({})));
    until("one is bound", async || {
        let phases = [world.get(LEASES, "a").await.unwrap(), world.get(LEASES, "b").await.unwrap()]
            .map(|body| body["status"]["phase"].clone());
        phases.contains(&json!("Bound")) && phases.contains(&json!("Queued"))
    })
    .await;
    let first_is_a = world.get(LEASES, "a").await.unwrap()["status"]["phase"] == "Bound";
    let (first, second) = if first_is_a { ("a", "b") } else { ("b", "a") };
    let waiting = world.object(LEASES, second, "told its place", |body| body["status"]["queue"]["position"] == 1).await;
    assert!(fact(&waiting, "Reserved").2.contains("default/m"), "{waiting:#}");
    let agent = world.agent().await;
    agent.holding(true);
    world.delete(LEASES, first).await;
    world.phase(LEASES, first, "Releasing").await;
    assert_eq!(world.get(LEASES, second).await.unwrap()["status"]["phase"], "Queued", "ended is not free");
    agent.end(0, "Revoked").await;
    let body = world.phase(LEASES, second, "Bound").await;
    world.gone(LEASES, first).await;
    assert_eq!(body["status"]["devices"][0]["epoch"], 2);
    let epochs: Vec<u64> = agent.bound().iter().map(|(_, epoch, _)| *epoch).collect();
    assert_eq!(epochs, [1, 2], "bound once each");
}

#[tokio::test]
async fn exclusive_takes_every_slot_of_a_gpu_and_shared_takes_one() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({"gpu": {"type": "CPU", "count": 2}, "slotsPerGPU": 2})).await;
    world.phase(MACHINES, "m", "Ready").await;
    world.lease("s", json!({"mode": "Shared"})).await;
    let shared = world.phase(LEASES, "s", "Bound").await;
    world.lease("x", json!({})).await;
    let exclusive = world.phase(LEASES, "x", "Bound").await;
    let slots = |body: &Value| {
        body["status"]["devices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|device| device["slot"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!((slots(&shared), slots(&exclusive)), (vec![0], vec![2, 3]));
}

#[tokio::test]
async fn the_agent_s_end_of_a_lease_is_the_end() {
    for (reason, phase) in [("Goodbye", "Ended"), ("Idle", "Ended"), ("Expired", "Ended"), ("Crashed", "Lost")] {
        let (world, replica) = ready().await;
        world.lease("l", json!({})).await;
        world.phase(LEASES, "l", "Bound").await;
        world.agent().await.end(0, reason).await;
        let body = world
            .object(LEASES, "l", "released", |body| {
                body["status"]["phase"] == phase && fact(body, "Released").0 == "True"
            })
            .await;
        assert_eq!(fact(&body, "Ended").1, reason);
        replica.stop().await;
    }
}

#[tokio::test]
async fn a_release_that_was_lost_is_seen_in_the_next_report() {
    let (world, _replica) = ready().await;
    world.lease("a", json!({})).await;
    world.phase(LEASES, "a", "Bound").await;
    world.agent().await.end_unheard(0);
    world.phase(LEASES, "a", "Ended").await;
    world.lease("b", json!({})).await;
    world.phase(LEASES, "b", "Bound").await;
}

#[tokio::test]
async fn a_bind_without_acknowledgement_quarantines_the_slot_and_the_lease_goes_first() {
    let (world, _replica) = ready().await;
    let agent = world.agent().await;
    agent.deaf(true);
    world.lease("a", json!({})).await;
    world.phase(LEASES, "a", "Binding").await;
    world.lease("b", json!({"priority": 5})).await;
    world.pass(11).await;
    until("the slot is fenced", async || {
        sqlx::query_scalar::<_, i64>("select epoch from slot").fetch_one(&world.pool).await.unwrap() == 2
    })
    .await;
    agent.deaf(false);
    world.pass(31).await;
    let body = world.phase(LEASES, "a", "Bound").await;
    assert_eq!(body["status"]["devices"][0]["epoch"], 3, "fenced with one epoch, bound with the next");
    assert_eq!(world.phase(LEASES, "b", "Queued").await["status"]["queue"]["position"], 1);
    until("an event tells", async || world.events("a", "BindFailed").await.len() == 1).await;
}

#[tokio::test]
async fn a_machine_that_dies_or_starts_anew_loses_its_leases() {
    let (world, _replica) = ready().await;
    world.lease("a", json!({})).await;
    world.phase(LEASES, "a", "Bound").await;
    world.agent().await.reboot();
    let body = world.phase(LEASES, "a", "Lost").await;
    assert!(fact(&body, "Ended").2.contains("started anew"), "{body:#}");
    world.lease("b", json!({})).await;
    let body = world.phase(LEASES, "b", "Bound").await;
    assert_eq!(body["status"]["devices"][0]["epoch"], 2, "the epoch goes on across boots");
    let token = world.provider.running().pop().unwrap();
    world.provider.kill(&token);
    let body = world.phase(LEASES, "b", "Lost").await;
    assert!(fact(&body, "Ended").2.contains("its machine is gone"), "{body:#}");
    world.lease("c", json!({})).await;
    let body = world.phase(LEASES, "c", "Bound").await;
    assert_eq!(body["status"]["devices"][0]["epoch"], 3, "and across instances");
}

#[tokio::test]
async fn a_lease_on_its_way_to_a_machine_that_dies_is_bound_to_the_next_one() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({"gpu": {"type": "CPU", "count": 2}})).await;
    world.phase(MACHINES, "m", "Ready").await;
    let agent = world.agent().await;
    agent.deaf_but(Some(0));
    world.lease("l", json!({"gpu": [{"type": "CPU", "count": 2}]})).await;
    world.phase(LEASES, "l", "Binding").await;
    until("one of two slots is acknowledged", async || {
        let acked = "select count(*) from binding where acked_at is not null";
        sqlx::query_scalar::<_, i64>(acked).fetch_one(&world.pool).await.unwrap() == 1
    })
    .await;
    world.provider.kill(&world.provider.running().pop().unwrap());
    let body = world.phase(LEASES, "l", "Bound").await;
    assert_eq!(world.provider.created().len(), 2);
    assert_eq!(body["status"]["devices"][0]["epoch"], 3, "the first bind is fenced");
    assert_eq!(body["status"]["devices"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_lease_given_back_on_its_way_to_a_machine_that_dies_waits_for_no_agent() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({"retry": {"limit": 0}})).await;
    world.phase(MACHINES, "m", "Ready").await;
    let agent = world.agent().await;
    agent.deaf(true);
    world.lease("l", json!({})).await;
    world.phase(LEASES, "l", "Binding").await;
    world.provider.kill(&world.provider.running().pop().unwrap());
    world.delete(LEASES, "l").await;
    world.gone(LEASES, "l").await;
}

#[tokio::test]
async fn a_broken_connection_ends_no_lease() {
    let (world, _replica) = ready().await;
    world.lease("l", json!({})).await;
    world.phase(LEASES, "l", "Bound").await;
    let agent = world.agent().await;
    agent.open_session(0);
    world.object(LEASES, "l", "opened", |body| body["status"]["openedAt"].is_string()).await;
    for _ in 0..5 {
        agent.cut();
        until("it is connected again", async || agent.connected()).await;
    }
    world.pass(3000).await;
    world.object(MACHINES, "m", "Ready", |body| body["status"]["phase"] == "Ready").await;
    assert_eq!(world.get(LEASES, "l").await.unwrap()["status"]["phase"], "Bound");
    assert_eq!(agent.bound().len(), 1);
}

#[tokio::test]
async fn what_nothing_can_satisfy_fails_at_once_and_says_what_exists() {
    let (world, _replica) = ready().await;
    world.lease("l", json!({"gpu": [{"type": "H100"}]})).await;
    let body = world.phase(LEASES, "l", "Failed").await;
    let (_, reason, message) = fact(&body, "Ended");
    assert_eq!(reason, "Unsatisfiable");
    assert!(message.contains("nothing offers 1 H100 to namespace default; there are default/m (1 CPU)"), "{message}");
    world.lease("n", json!({"gpu": [], "machineRef": {"name": "nope"}})).await;
    let body = world.phase(LEASES, "n", "Failed").await;
    assert!(fact(&body, "Ended").2.starts_with("machine default/nope does not exist"), "{body:#}");
    world.delete(LEASES, "n").await;
    world.gone(LEASES, "n").await;
}

#[tokio::test]
async fn a_waiter_that_is_not_renewed_ends_but_not_while_the_control_plane_was_away() {
    let (world, replica) = ready().await;
    world.lease("held", json!({})).await;
    world.phase(LEASES, "held", "Bound").await;
    let waiter = world.lease("waiter", json!({})).await;
    world.phase(LEASES, "waiter", "Queued").await;
    assert!(lease::renew(&world.pool, uid(&waiter.body)).await.unwrap());
    let agent = world.agent().await;
    let claim = agent.highest_claim();
    replica.kill().await;
    world.pass(600).await;
    let _replica = world.replica("a").await;
    until("it serves", async || agent.highest_claim() > claim).await;
    world.pass(20).await;
    world.phase(MACHINES, "m", "Ready").await;
    let body = world.get(LEASES, "waiter").await.unwrap();
    assert_eq!(fact(&body, "Ended").0, "False", "nobody was there to be renewed with");
    world.pass(11).await;
    let body = world.phase(LEASES, "waiter", "Failed").await;
    assert_eq!(fact(&body, "Ended").1, "Abandoned");
    assert!(!lease::renew(&world.pool, uid(&waiter.body)).await.unwrap(), "over is over");
}

/// As the SDK makes it.
async fn renewing(world: &World, name: &str) -> Value {
    let metadata = json!({"name": name, "namespace": "default", "annotations": {WAITER: RENEWS}});
    let spec = json!({"gpu": [{"type": "CPU"}]});
    let body = json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": "DeviceLease", "metadata": metadata, "spec": spec, "status": {"holder": "ana"}});
    let mut write = world.objects.begin().await.unwrap();
    let object = write.create(LEASES, body).await.unwrap();
    write.commit().await.unwrap();
    object.body
}

#[tokio::test]
async fn a_waiter_that_said_that_it_renews_and_never_did_is_out_of_the_queue_within_its_ttl() {
    let (world, _replica) = ready().await;
    world.lease("held", json!({})).await;
    world.phase(LEASES, "held", "Bound").await;
    renewing(&world, "killed").await;
    world.phase(LEASES, "killed", "Queued").await;
    world.pass(31).await;
    let body = world.phase(LEASES, "killed", "Failed").await;
    assert_eq!(fact(&body, "Ended").1, "Abandoned");
}

#[tokio::test]
async fn a_lease_bound_before_its_first_renewal_keeps_its_slot_for_a_minute_without_a_session() {
    let (world, _replica) = ready().await;
    let body = renewing(&world, "fast").await;
    world.phase(LEASES, "fast", "Bound").await;
    let terms = |uid: Uuid| {
        sqlx::query_scalar::<_, i64>("select (terms->>'openTimeoutMs')::bigint from binding where lease_uid = $1")
            .bind(uid)
            .fetch_one(&world.pool)
    };
    assert_eq!(terms(uid(&body)).await.unwrap(), 60_000);
    world.agent().await.end(0, "NeverOpened").await;
    let other = world.lease("kubectl", json!({})).await;
    world.phase(LEASES, "kubectl", "Bound").await;
    assert_eq!(terms(uid(&other.body)).await.unwrap(), 600_000, "a person who made it by hand has longer");
}

#[tokio::test]
async fn of_two_leases_made_in_one_second_the_elder_is_granted_first() {
    let (world, _replica) = ready().await;
    world.lease("held", json!({})).await;
    world.phase(LEASES, "held", "Bound").await;
    let mut names: Vec<String> = vec![];
    for count in 0..6 {
        let name = format!("l{count}");
        world.lease(&name, json!({})).await;
        names.push(name);
    }
    let last = names.last().unwrap();
    world.object(LEASES, last, "last in the queue", |body| body["status"]["queue"]["position"] == 6).await;
    for (place, name) in names.iter().enumerate() {
        let at = format!("at its place {}", place + 1);
        world.object(LEASES, name, &at, |body| body["status"]["queue"]["position"] == place + 1).await;
    }
    let uids: Vec<String> = sqlx::query_scalar("select o.name from lease_live l join object o on o.uid = l.lease_uid where o.name <> 'held' order by l.created_at")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(uids, names);
}

#[tokio::test]
async fn the_queue_knows_an_elder_lease_though_a_younger_one_was_looked_at_first() {
    let world = World::new().await;
    for name in ["elder", "younger"] {
        let object = world.lease(name, json!({})).await;
        let mut write = world.objects.begin().await.unwrap();
        write.add_finalizer(&Key::new(LEASES, "default", name), LEASE_FINALIZER).await.unwrap();
        write.commit().await.unwrap();
        if name == "younger" {
            lease::enqueue(&world.pool, uid(&object.body), false).await.unwrap();
        }
    }
    let known = async || {
        let mut queue = lease::waiting(&world.pool).await.unwrap();
        queue.sort_by_key(|lease| lease.created_at);
        queue.iter().map(|lease| lease.body["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(known().await, ["younger"]);
    lease::enqueue_all(&world.pool).await.unwrap();
    assert_eq!(known().await, ["elder", "younger"]);
}

#[tokio::test]
async fn a_lease_made_without_the_sdk_waits_for_its_wait_timeout() {
    let (world, _replica) = ready().await;
    world.lease("held", json!({})).await;
    world.phase(LEASES, "held", "Bound").await;
    world.lease("l", json!({"waitTimeout": "5m"})).await;
    world.phase(LEASES, "l", "Queued").await;
    world.pass(301).await;
    let body = world.phase(LEASES, "l", "Failed").await;
    assert_eq!(fact(&body, "Ended").1, "WaitTimeout");
}

#[tokio::test]
async fn a_day_after_its_end_nothing_is_left_of_a_lease_and_of_a_machine_that_is_gone() {
    let (world, _replica) = ready().await;
    world.lease("l", json!({})).await;
    world.phase(LEASES, "l", "Bound").await;
    world.agent().await.end(0, "Goodbye").await;
    world.phase(LEASES, "l", "Ended").await;
    world.delete(MACHINES, "m").await;
    world.gone(MACHINES, "m").await;
    world.pass(23 * 3600).await;
    world.lease("fails", json!({"gpu": [{"type": "H100"}]})).await;
    world.phase(LEASES, "fails", "Failed").await;
    world.pass(3600 + 60).await;
    world.gone(LEASES, "l").await;
    until("its rows and those of the machine are gone", async || {
        let left = "select (select count(*) from binding) + (select count(*) from slot) + (select count(*) from machine_attempt) + (select count(*) from agent_seen)";
        sqlx::query_scalar::<_, i64>(left).fetch_one(&world.pool).await.unwrap() == 0
    })
    .await;
    assert!(world.get(LEASES, "fails").await.is_some(), "not a day has passed since its end");
}

#[tokio::test]
async fn a_silent_client_s_lease_is_reclaimed_when_another_waits() {
    let (world, _replica) = ready().await;
    world.lease("silent", json!({})).await;
    world.phase(LEASES, "silent", "Bound").await;
    let agent = world.agent().await;
    agent.open_session(0);
    world.object(LEASES, "silent", "opened", |body| body["status"]["openedAt"].is_string()).await;
    agent.lose_session(0, 121);
    world.object(LEASES, "silent", "silent", |body| fact(body, "Active").1 == "Disconnected").await;
    assert_eq!(world.get(LEASES, "silent").await.unwrap()["status"]["phase"], "Bound", "nobody waits");
    world.lease("waits", json!({})).await;
    world.phase(LEASES, "waits", "Bound").await;
    let body = world.phase(LEASES, "silent", "Ended").await;
    assert_eq!(fact(&body, "Ended").1, "Silent");
}

#[tokio::test]
async fn a_machine_is_made_for_a_lease_where_a_provider_offers_it() {
    let (world, _replica) = World::running().await;
    let template = json!({"gpus": ["T4"], "namespaces": ["default"], "idleTimeout": "5m"});
    let spec = json!({"type": "Static", "machineTemplate": template, "limits": {"machines": 1}});
    world.create(Resource::PROVIDERS, "", "Provider", "offers", spec, json!({})).await;
    world.lease("l", json!({"gpu": [{"type": "T4"}]})).await;
    let body = world.phase(LEASES, "l", "Bound").await;
    let name = format!("auto-{}", &body["metadata"]["uid"].as_str().unwrap()[..8]);
    let machine = world.get(MACHINES, &name).await.unwrap();
    assert_eq!((&machine["spec"]["idleTimeout"], &machine["spec"]["timeout"]), (&json!("5m"), &json!("8h")));
    world.lease("second", json!({"gpu": [{"type": "T4"}]})).await;
    let limited = |body: &Value| {
        body["status"]["queue"]["position"] == 1
            && fact(body, "Reserved").2.contains("as many machines as spec.limits allows")
    };
    world.object(LEASES, "second", "told of the limit", limited).await;
    world.lease("h100", json!({"gpu": [{"type": "H100"}]})).await;
    world.phase(LEASES, "h100", "Failed").await;
    world.delete(LEASES, "l").await;
    world.phase(LEASES, "second", "Bound").await;
    world.delete(LEASES, "second").await;
    world.gone(LEASES, "second").await;
    world.pass(301).await;
    let body = world.phase(MACHINES, &name, "Expired").await;
    assert_eq!(fact(&body, "Expired").1, "Idle");
}

#[tokio::test]
async fn what_becomes_of_a_lease_is_in_the_audit_from_the_transaction_in_which_it_does() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({})).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = json!({TRACEPARENT: format!("00-{trace}-b7ad6b7169203331-01")});
    let lease = json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "DeviceLease", "metadata": {"name": "l", "namespace": "default", "annotations": traceparent},
        "spec": {"gpu": [{"type": "CPU"}]}, "status": {"holder": "ana"},
    });
    let mut write = world.objects.begin().await.unwrap();
    write.create(LEASES, lease).await.unwrap();
    write.commit().await.unwrap();
    world.phase(Resource::LEASES, "l", "Bound").await;
    world.agent().await.end(0, "Goodbye").await;
    world.phase(Resource::LEASES, "l", "Ended").await;
    let mut rows = torch_remote::store::audit::page(&world.pool, i64::MAX, 100, &[]).await.unwrap().rows;
    rows.reverse();
    let told: Vec<_> =
        rows.iter().map(|row| (row.entry.verb.as_str(), row.entry.name.as_str(), row.entry.who.as_str())).collect();
    let by = "system:control-plane";
    assert_eq!(told, [("grant", "l", by), ("bind", "l", by), ("end", "l", by)]);
    assert!(rows.iter().all(|row| row.entry.trace.as_deref() == Some(trace)), "{rows:?}");
    assert!(rows[1].entry.reason.contains("machine default/m slot 0 epoch 1"), "{}", rows[1].entry.reason);
    assert!(rows[2].entry.reason.contains("Goodbye"), "{}", rows[2].entry.reason);
}
