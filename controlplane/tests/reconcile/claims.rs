//! Replicas, restarts, and what the schema itself refuses.

use serde_json::json;
use torch_remote::store::slot::{self, Bound, Terms};
use torch_remote::store::{Resource, agent, claim, machine};
use torch_remote_plan::machine::End;
use torch_remote_plan::{Epoch, SlotAt, Uid};
use torch_remote_proto::v1::Report;
use uuid::Uuid;

use crate::world::{World, until};

const MACHINES: Resource = Resource::MACHINES;
const LEASES: Resource = Resource::LEASES;

#[tokio::test]
async fn a_control_plane_that_comes_back_adopts_what_runs_and_ends_nothing() {
    let (world, replica) = World::running().await;
    world.machine("m", json!({})).await;
    world.lease("l", json!({})).await;
    world.phase(LEASES, "l", "Bound").await;
    let agent = world.agent().await;
    agent.open_session(0);
    world.object(LEASES, "l", "opened", |body| body["status"]["openedAt"].is_string()).await;
    world.lease("waiting", json!({})).await;
    world.phase(LEASES, "waiting", "Queued").await;
    let claim = agent.highest_claim();
    replica.kill().await;
    world.pass(600).await;
    let _replica = world.replica("b").await;
    until("the new replica speaks with the agent", async || agent.highest_claim() > claim && agent.connected()).await;
    world.object(MACHINES, "m", "Ready", |body| body["status"]["phase"] == "Ready").await;
    assert_eq!(world.get(LEASES, "l").await.unwrap()["status"]["phase"], "Bound");
    assert_eq!(world.get(LEASES, "waiting").await.unwrap()["status"]["phase"], "Queued", "nothing is granted twice");
    assert_eq!((world.provider.created().len(), agent.bound().len()), (1, 1));
    agent.end(0, "Goodbye").await;
    world.phase(LEASES, "waiting", "Bound").await;
}

#[tokio::test]
async fn a_restart_under_the_same_name_takes_its_machines_at_once_and_another_waits() {
    let (world, replica) = World::running().await;
    world.machine("m", json!({})).await;
    world.phase(MACHINES, "m", "Ready").await;
    let agent = world.agent().await;
    let before = agent.highest_claim();
    let other = world.replica("b").await;
    world.lease("l", json!({})).await;
    world.phase(LEASES, "l", "Bound").await;
    assert_eq!(agent.highest_claim(), before, "a claim that is renewed is not taken");
    other.stop().await;
    replica.kill().await;
    let _again = world.replica("a").await;
    until("the same name is back", async || agent.highest_claim() == before + 1 && agent.connected()).await;
}

#[tokio::test]
async fn what_follows_from_a_stolen_claim_is_refused() {
    let (world, replica) = World::running().await;
    world.machine("m", json!({})).await;
    let body = world.phase(MACHINES, "m", "Ready").await;
    let uid: Uuid = body["metadata"]["uid"].as_str().unwrap().parse().unwrap();
    replica.kill().await;
    let old = claim::acquire(&world.pool, "a", &[uid]).await.unwrap()[0];
    assert!(claim::acquire(&world.pool, "thief", &[uid]).await.unwrap().is_empty(), "not while it is fresh");
    world.pass(16).await;
    let stolen = claim::acquire(&world.pool, "thief", &[uid]).await.unwrap()[0];
    assert_eq!(stolen.number, old.number + 1);
    assert!(claim::renew(&world.pool, "a", &[old]).await.unwrap().is_empty());
    assert!(claim::renew(&world.pool, "a", &[stolen]).await.unwrap().is_empty(), "a number alone says not whose it is");
    assert_eq!(claim::renew(&world.pool, "thief", &[stolen]).await.unwrap(), [uid]);
    assert!(!machine::begin_end(&world.pool, old, 1, (End::Suspended, "late")).await.unwrap());
    assert!(!machine::record_gone(&world.pool, old, 1, (End::Lost, "late")).await.unwrap());
    assert!(!agent::report(&world.pool, old, &Report::default()).await.unwrap());
    assert!(agent::report(&world.pool, stolen, &Report::default()).await.unwrap());
    assert!(machine::begin_end(&world.pool, stolen, 1, (End::Suspended, "in time")).await.unwrap());
}

/// A machine with one free slot, and two leases that wait, with nobody to serve them.
async fn still() -> (World, SlotAt, [Uuid; 2]) {
    let (world, replica) = World::running().await;
    world.machine("m", json!({})).await;
    let body = world.phase(MACHINES, "m", "Ready").await;
    replica.kill().await;
    let mut leases = [Uuid::nil(); 2];
    for lease in &mut leases {
        *lease = Uuid::new_v4();
        torch_remote::store::lease::enqueue(&world.pool, *lease, false).await.unwrap();
    }
    let at = SlotAt { machine: Uid(body["metadata"]["uid"].as_str().unwrap().to_owned()), slot: 0, epoch: Epoch(0) };
    (world, at, leases)
}

fn terms() -> Terms {
    serde_json::from_value(json!({
        "lease": "default/l", "machine": "default/m", "gpu": "CPU", "holder": "ana", "durationMs": 1, "reconnectWindowMs": 1, "orphanMs": 1,
        "resumable": false, "idleTimeoutMs": 1, "openTimeoutMs": 1, "memoryBytes": 0, "traceparent": ""
    }))
    .unwrap()
}

async fn holders(world: &World) -> i64 {
    sqlx::query_scalar("select count(*) from binding where released_at is null").fetch_one(&world.pool).await.unwrap()
}

#[tokio::test]
async fn two_replicas_that_bind_one_slot_at_once_bind_it_once() {
    let (world, at, leases) = still().await;
    let since = world.objects.now().await.unwrap();
    let slots = [at];
    let terms = terms();
    let (a, b) = tokio::join!(
        slot::bind(&world.pool, leases[0], &slots, &terms, since),
        slot::bind(&world.pool, leases[1], &slots, &terms, since)
    );
    let mut results = [a.unwrap(), b.unwrap()];
    results.sort_by_key(|bound| *bound != Bound::Yes);
    assert_eq!(results, [Bound::Yes, Bound::Taken]);
    assert_eq!(holders(&world).await, 1);
}

/// A planner with a bug: it thinks a held slot free, and knows its newest epoch.
async fn bind_over(world: &World, mut at: SlotAt, leases: [Uuid; 2]) -> Bound {
    let since = world.objects.now().await.unwrap();
    assert_eq!(slot::bind(&world.pool, leases[0], &[at.clone()], &terms(), since).await.unwrap(), Bound::Yes);
    at.epoch = Epoch(1);
    slot::bind(&world.pool, leases[1], &[at], &terms(), since).await.unwrap()
}

#[tokio::test]
async fn the_schema_refuses_a_second_live_lease_on_a_slot() {
    let (world, at, leases) = still().await;
    assert_eq!(bind_over(&world, at, leases).await, Bound::Taken);
    assert_eq!(holders(&world).await, 1);
}

#[tokio::test]
async fn without_the_index_a_slot_would_have_two_leases() {
    let (world, at, leases) = still().await;
    sqlx::query("drop index binding_one_live_lease_per_slot").execute(&world.pool).await.unwrap();
    assert_eq!(bind_over(&world, at, leases).await, Bound::Yes, "the negative control of the test above");
    assert_eq!(holders(&world).await, 2);
}

#[tokio::test]
async fn the_schema_refuses_a_lower_epoch() {
    let (world, at, leases) = still().await;
    let since = world.objects.now().await.unwrap();
    slot::bind(&world.pool, leases[0], &[at], &terms(), since).await.unwrap();
    let error = sqlx::query("update slot set epoch = 0").execute(&world.pool).await.unwrap_err();
    assert_eq!(error.as_database_error().and_then(|error| error.constraint()), Some("slot_epoch_grows"));
}

#[tokio::test]
async fn an_end_that_waits_for_leases_does_not_begin_over_a_bind_that_came_first() {
    let (world, at, leases) = still().await;
    let since = world.objects.now().await.unwrap();
    let uid: Uuid = at.machine.0.parse().unwrap();
    let claim = claim::acquire(&world.pool, "a", &[uid]).await.unwrap()[0];
    assert_eq!(slot::bind(&world.pool, leases[0], &[at], &terms(), since).await.unwrap(), Bound::Yes);
    for end in [End::Idle, End::SpecChanged] {
        assert!(!machine::begin_end(&world.pool, claim, 1, (end, "planned before the bind")).await.unwrap());
    }
    assert!(machine::begin_end(&world.pool, claim, 1, (End::Suspended, "waits for nobody")).await.unwrap());
}

#[tokio::test]
async fn a_bind_and_an_end_at_once_do_not_both_happen() {
    for _ in 0..5 {
        let (world, at, leases) = still().await;
        let since = world.objects.now().await.unwrap();
        let uid: Uuid = at.machine.0.parse().unwrap();
        let claim = claim::acquire(&world.pool, "a", &[uid]).await.unwrap()[0];
        let (slots, terms) = ([at], terms());
        let (bound, ended) = tokio::join!(
            slot::bind(&world.pool, leases[0], &slots, &terms, since),
            machine::begin_end(&world.pool, claim, 1, (End::Idle, "no lease"))
        );
        assert_eq!(bound.unwrap() == Bound::Yes, !ended.unwrap());
    }
}

#[tokio::test]
async fn nothing_is_bound_to_a_machine_that_is_to_end() {
    let (world, at, leases) = still().await;
    let since = world.objects.now().await.unwrap();
    let uid: Uuid = at.machine.0.parse().unwrap();
    assert!(slot::all(&world.pool).await.unwrap()[&uid][0].free);
    let claim = claim::acquire(&world.pool, "a", &[uid]).await.unwrap()[0];
    assert!(machine::begin_end(&world.pool, claim, 1, (End::Idle, "no lease")).await.unwrap());
    assert!(!slot::all(&world.pool).await.unwrap()[&uid][0].free, "although its agent is heard");
    assert_eq!(slot::bind(&world.pool, leases[0], &[at], &terms(), since).await.unwrap(), Bound::Taken);
}

#[tokio::test]
async fn a_waiter_that_is_gone_is_not_bound() {
    let (world, at, leases) = still().await;
    let since = world.objects.now().await.unwrap();
    torch_remote::store::lease::renew(&world.pool, leases[0]).await.unwrap();
    world.pass(31).await;
    // The agent is heard: only the waiter is silent.
    sqlx::query("update agent_seen set seen_at = clock_now()").execute(&world.pool).await.unwrap();
    assert_eq!(
        slot::bind(&world.pool, leases[0], std::slice::from_ref(&at), &terms(), since).await.unwrap(),
        Bound::NotWaiting
    );
    assert_eq!(slot::bind(&world.pool, leases[1], &[at], &terms(), since).await.unwrap(), Bound::Yes);
}
