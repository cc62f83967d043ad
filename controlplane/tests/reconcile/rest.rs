//! Machines at rest: off as asked, in no scan, and looked at for good reason alone.

use std::collections::BTreeSet;

use serde_json::json;
use torch_remote::store::{Key, Resource};

use crate::world::{World, until};

const MACHINES: Resource = Resource::MACHINES;

#[tokio::test]
async fn a_machine_at_rest_has_no_claim_and_is_no_part_of_a_scan_until_there_is_something_to_do() {
    let (world, _replica) = World::running().await;
    let scanned = async || {
        let keys = torch_remote::store::machine::restless(&world.pool).await.unwrap();
        keys.into_iter().map(|key| key.name).collect::<Vec<_>>()
    };
    let claims = async || {
        let live = "select count(*) from claim where expires_at > clock_now()";
        sqlx::query_scalar::<_, i64>(live).fetch_one(&world.pool).await.unwrap()
    };
    world.machine("never-started", json!({"suspend": true})).await;
    world.machine("m", json!({})).await;
    world.phase(MACHINES, "never-started", "Suspended").await;
    world.phase(MACHINES, "m", "Ready").await;
    assert_eq!((scanned().await, claims().await), (vec!["m".to_owned()], 1));
    world.patch(MACHINES, "m", |spec| spec["suspend"] = json!(true)).await;
    world.phase(MACHINES, "m", "Suspended").await;
    until("both rest", async || scanned().await.is_empty() && claims().await == 0).await;
    // Its Provider may come back as another.
    let provider = Key::cluster(Resource::PROVIDERS, "fake");
    let mut write = world.objects.begin().await.unwrap();
    write.remove(&provider).await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(scanned().await, ["m", "never-started"]);
    world.create(Resource::PROVIDERS, "", "Provider", "fake", json!({"type": "Static"}), json!({})).await;
    for name in ["m", "never-started"] {
        world.patch(MACHINES, name, |spec| spec["suspend"] = json!(false)).await;
        world.phase(MACHINES, name, "Ready").await;
    }
    assert_eq!(claims().await, 2);
}

#[tokio::test]
async fn what_the_database_says_is_at_rest_is_what_its_body_says() {
    let world = World::new().await;
    let rests = json!({"spec": {"suspend": true}, "status": {"phase": "Suspended", "observedGeneration": 1}, "metadata": {"generation": 1}});
    let cases = [
        (true, json!({})),
        (false, json!({"spec": {"suspend": null}})),
        (false, json!({"spec": {"suspend": false}})),
        (false, json!({"spec": null})),
        (false, json!({"status": null})),
        (false, json!({"status": {"phase": null}})),
        (false, json!({"status": {"phase": "Failed"}})),
        (false, json!({"status": {"observedGeneration": null}})),
        (false, json!({"status": {"observedGeneration": 2}})),
        (false, json!({"status": {"conditions": [{"type": "Reconciling"}, {"type": "Ready", "status": "False"}]}})),
        (true, json!({"status": {"conditions": [{"type": "Suspended", "status": "True"}]}})),
    ];
    for (number, (at_rest, patch)) in cases.into_iter().enumerate() {
        let mut body = rests.clone();
        json_patch::merge(&mut body, &patch);
        let said = sqlx::query_scalar::<_, bool>(
            "insert into object (grp, plural, name, uid, rv, labels, body) values ('torchremote.dev', 'remotemachines', $1, gen_random_uuid(), 0, '{}', $2)
             returning at_rest",
        );
        let said = said.bind(number.to_string()).bind(&body).fetch_one(&world.pool).await.unwrap();
        assert_eq!(said, at_rest, "{body}");
    }
    let other = "insert into object (grp, plural, name, uid, rv, labels, body) values ('', 'secrets', 'x', gen_random_uuid(), 0, '{}', $1) returning at_rest";
    assert!(
        !sqlx::query_scalar::<_, bool>(other).bind(&rests).fetch_one(&world.pool).await.unwrap(),
        "of machines alone"
    );
}

#[tokio::test]
async fn machines_at_rest_are_looked_at_again_where_the_release_before_this_one_has_written_of_them() {
    let world = World::new().await;
    let scanned = async || {
        let keys = torch_remote::store::machine::restless(&world.pool).await.unwrap();
        keys.into_iter().map(|key| key.name).collect::<BTreeSet<_>>()
    };
    for (name, phase, ready) in
        [("rests", "Suspended", false), ("unready", "Suspended", true), ("failed", "Failed", false)]
    {
        let spec = json!({"provider": "fake", "gpu": {"type": "CPU"}, "suspend": true});
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Suspended", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let mut conditions = vec![condition("Suspended", "True")];
        conditions.extend(ready.then(|| condition("Ready", "False")));
        let status = json!({"phase": phase, "observedGeneration": 1, "conditions": conditions});
        world.create(MACHINES, "default", "RemoteMachine", name, spec, status).await;
    }
    assert_eq!(scanned().await, ["failed", "unready"].map(str::to_owned).into());
    let _replica = world.replica("a").await;
    until("all rest", async || scanned().await.is_empty()).await;
    for name in ["rests", "unready", "failed"] {
        let status = world.get(MACHINES, name).await.unwrap()["status"].clone();
        let kinds: Vec<&str> = status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|condition| condition["type"].as_str().unwrap())
            .collect();
        assert!(status["phase"] == "Suspended" && !kinds.contains(&"Ready"), "{name}: {status}");
    }
}

#[tokio::test]
async fn a_machine_that_comes_to_rest_is_not_looked_at_again_for_the_word_that_says_so() {
    let (world, _replica) = World::running().await;
    let mut changes = world.objects.changes();
    let names: Vec<String> = (0..20).map(|number| format!("m-{number}")).collect();
    for name in &names {
        world.machine(name, json!({"suspend": true})).await;
    }
    for name in &names {
        world.phase(MACHINES, name, "Suspended").await;
    }
    // Told of after everything before it.
    world.create(Resource::PROVIDERS, "", "Provider", "last", json!({"type": "Static"}), json!({})).await;
    let mut told = 0;
    loop {
        let key = changes.recv().await.unwrap();
        match key.name.as_str() {
            "last" => break,
            _ => told += usize::from(names.contains(&key.name)),
        }
    }
    // A word that the tail reads before its writer can say that it has looked is told of: of few.
    assert!((names.len()..2 * names.len()).contains(&told), "each was made, and is at rest: told of {told} times");
}
