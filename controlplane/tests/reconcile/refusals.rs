//! What an agent refused, in the audit.

use std::time::Instant;

use serde_json::json;
use torch_remote::store::Resource;
use torch_remote::store::audit::{self, Only, Row};
use torch_remote_proto::v1::Denied;

use crate::agent::Agent;
use crate::world::{Replica, World, until};

async fn ready() -> (World, Replica, Agent) {
    let (world, replica) = World::running().await;
    world.machine("m", json!({})).await;
    world.phase(Resource::MACHINES, "m", "Ready").await;
    let agent = world.agent().await;
    (world, replica, agent)
}

fn denied(slot: Option<u32>, peer: &str, times: u32) -> Denied {
    Denied {
        slot,
        lease_name: slot.map(|_| "default/l".to_owned()).unwrap_or_default(),
        reason: "TokenSignature".to_owned(),
        message: "the token's signature does not fit".to_owned(),
        peer: peer.to_owned(),
        times,
        ago_ms: 60_000,
    }
}

async fn connects(world: &World) -> Vec<Row> {
    audit::page(&world.pool, i64::MAX, 1000, &[Only::from(("verb", "connect", true))]).await.unwrap().rows
}

#[tokio::test]
async fn a_credential_that_an_agent_refused_is_a_denied_row_with_machine_door_peer_and_reason() {
    let (world, _replica, agent) = ready().await;
    agent.deny(denied(Some(0), "192.0.2.7:4000", 12)).await;
    agent.deny(denied(None, "", 1)).await;
    until("both are written", async || connects(&world).await.len() == 2).await;
    let rows = connects(&world).await;
    let [control, slot] = rows.as_slice() else { panic!("not two rows: {rows:?}") };
    let entry = &slot.entry;
    assert_eq!((entry.who.as_str(), entry.groups.as_slice()), ("", &[][..]), "a name in a token is believed by nobody");
    assert_eq!((entry.denied, entry.code, entry.peer.as_str()), (true, 401, "192.0.2.7:4000"));
    let object = [&entry.namespace, &entry.group, &entry.resource, &entry.name, &entry.subresource];
    assert_eq!(object, ["default", "torchremote.dev", "remotemachines", "m", "slots/0"]);
    assert_eq!(entry.path, "/torchremote.agent.v1.DataPlane/Session");
    let why = "TokenSignature 12 times since it was told last, at a slot that serves the lease default/l: the token's signature does not fit";
    assert_eq!(entry.reason, why);
    assert_eq!((slot.at - slot.received).num_seconds(), 60, "when it was refused, and when that was told");
    assert_eq!((control.entry.subresource.as_str(), control.entry.peer.as_str()), ("control", ""));
    assert_eq!(control.entry.reason, "TokenSignature: the token's signature does not fit");
}

#[tokio::test]
async fn an_agent_that_tells_of_a_flood_has_a_few_rows_and_is_heard_all_the_same() {
    let (world, _replica, agent) = ready().await;
    let start = Instant::now();
    for _ in 0..500 {
        agent.deny(denied(Some(0), "", 1)).await;
    }
    world.lease("l", json!({})).await;
    world.phase(Resource::LEASES, "l", "Bound").await;
    // Bound was said after all of them: what is to be written is in the queue, in order.
    until("they are written", async || connects(&world).await.len() >= 8).await;
    let most = 8 * (start.elapsed().as_secs() as usize + 1);
    let rows = connects(&world).await.len();
    assert!(rows <= most, "{rows} rows in {:?}", start.elapsed());
}
