//! Machines, from intent to gone.

use serde_json::{Value, json};
use torch_remote::provider::fake::Fault;
use torch_remote::store::{Key, Resource};

use crate::world::{World, fact, until};

const MACHINES: Resource = Resource::MACHINES;

#[tokio::test]
async fn a_machine_becomes_ready_and_says_so() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({"gpu": {"type": "CPU", "count": 2}, "slotsPerGPU": 2})).await;
    let body = world.phase(MACHINES, "m", "Ready").await;
    assert_eq!(fact(&body, "Registered").0, "True");
    assert_eq!(body["status"]["observedGeneration"], 1);
    assert_eq!(body["status"]["torchVersion"], "2.13.0");
    assert!(
        body["status"]["bootID"].is_string()
            && body["status"]["providerID"].is_string()
            && body["status"]["expiresAt"].is_string()
    );
    let slots: Vec<(i32, i32)> =
        sqlx::query_as("select slot, gpu from slot order by slot").fetch_all(&world.pool).await.unwrap();
    assert_eq!(slots, [(0, 0), (1, 0), (2, 1), (3, 1)]);
    until("an event tells", async || world.events("m", "Ready").await.len() == 1).await;
}

#[tokio::test]
async fn a_machine_says_what_an_hour_of_all_its_gpus_costs_where_its_provider_names_a_price() {
    let (world, _replica) = World::running().await;
    let spec =
        json!({"type": "Static", "prices": [{"type": "T4", "perHour": "0.59"}, {"type": "L4", "perHour": "0.80"}]});
    world.create(Resource::PROVIDERS, "", "Provider", "priced", spec, json!({})).await;
    world.machine("m", json!({"provider": "priced", "gpu": {"type": "T4", "count": 2}})).await;
    assert_eq!(world.phase(MACHINES, "m", "Ready").await["status"]["pricePerHour"], "1.18");
    world.machine("free", json!({"provider": "priced"})).await;
    assert!(world.phase(MACHINES, "free", "Ready").await["status"]["pricePerHour"].is_null(), "no price for CPU");
    world.patch(MACHINES, "m", |spec| spec["suspend"] = json!(true)).await;
    assert!(world.phase(MACHINES, "m", "Suspended").await["status"]["pricePerHour"].is_null(), "nothing runs");
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_instance() {
    let world = World::new().await;
    world.provider.inject(Fault::LoseCreateAnswer);
    world.provider.inject(Fault::LoseFind);
    let _replica = world.replica("a").await;
    world.machine("m", json!({})).await;
    world.phase(MACHINES, "m", "Ready").await;
    assert_eq!(world.provider.created().len(), 1);
}

#[tokio::test]
async fn a_create_that_was_lost_is_repeated_with_the_same_token() {
    let world = World::new().await;
    world.provider.inject(Fault::LoseCreate);
    let _replica = world.replica("a").await;
    world.machine("m", json!({})).await;
    let body = world.phase(MACHINES, "m", "Ready").await;
    assert_eq!((world.provider.asked(), body["status"]["attempt"].clone()), (2, json!(1)));
}

#[tokio::test]
async fn a_machine_that_dies_is_replaced_after_back_off() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({})).await;
    world.phase(MACHINES, "m", "Ready").await;
    let first = world.provider.running().pop().unwrap();
    world.provider.kill(&first);
    let body = world
        .object(MACHINES, "m", "Ready again", |body| {
            body["status"]["attempt"] == 2 && body["status"]["phase"] == "Ready"
        })
        .await;
    assert_eq!(fact(&body, "Launched").0, "True");
    assert_eq!(world.provider.created().len(), 2);
    until("an event tells why", async || {
        world.events("m", "BackOff").await.iter().any(|text| text.contains("attempt 1 ended with Lost"))
    })
    .await;
}

#[tokio::test]
async fn a_refused_create_is_given_up_after_the_limit_and_says_what_to_do() {
    let world = World::new().await;
    for _ in 0..2 {
        world.provider.inject(Fault::RefuseCreate);
    }
    let _replica = world.replica("a").await;
    world.machine("m", json!({"retry": {"limit": 1}})).await;
    let body = world.phase(MACHINES, "m", "Failed").await;
    let (_, reason, message) = fact(&body, "Failed");
    assert_eq!(reason, "RetriesExhausted");
    assert!(message.contains("no capacity") && message.contains("to start anew"), "{message}");
    world.patch(MACHINES, "m", |spec| spec["timeout"] = json!("2h")).await;
    world.phase(MACHINES, "m", "Ready").await;
}

#[tokio::test]
async fn a_machine_of_an_unknown_provider_says_which_there_are() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({"provider": "fack"})).await;
    let body = world.phase(MACHINES, "m", "Failed").await;
    let (_, reason, message) = fact(&body, "Accepted");
    assert_eq!(
        (reason, message),
        ("NoSuchProvider", "spec.provider names \"fack\", which does not exist; there are: fake")
    );
}

#[tokio::test]
async fn a_machine_is_gone_only_when_its_provider_says_so() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({})).await;
    world.phase(MACHINES, "m", "Ready").await;
    world.provider.stubborn();
    world.delete(MACHINES, "m").await;
    world.phase(MACHINES, "m", "Terminating").await;
    until("the end is recorded", async || {
        sqlx::query_scalar::<_, i64>("select count(*) from machine_attempt where state = 'Ending'")
            .fetch_one(&world.pool)
            .await
            .unwrap()
            == 1
    })
    .await;
    assert!(
        world.get(MACHINES, "m").await.is_some() && !world.provider.running().is_empty(),
        "it ignores what it is asked"
    );
    world.pass(11).await;
    world.gone(MACHINES, "m").await;
    assert!(world.provider.running().is_empty(), "forced after the grace");
}

#[tokio::test]
async fn an_idle_machine_ends_and_comes_back_for_a_lease() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({"idleTimeout": "10m"})).await;
    world.phase(MACHINES, "m", "Ready").await;
    world.pass(601).await;
    let body = world.phase(MACHINES, "m", "Expired").await;
    assert_eq!(fact(&body, "Expired").1, "Idle");
    assert!(world.provider.running().is_empty());
    world.lease("l", json!({})).await;
    world.phase(Resource::LEASES, "l", "Bound").await;
    assert_eq!(world.provider.created().len(), 2);
}

#[tokio::test]
async fn suspending_ends_a_machine_and_resuming_starts_it() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({})).await;
    world.phase(MACHINES, "m", "Ready").await;
    world.patch(MACHINES, "m", |spec| spec["suspend"] = json!(true)).await;
    world.phase(MACHINES, "m", "Suspended").await;
    assert!(world.provider.running().is_empty());
    world.patch(MACHINES, "m", |spec| spec["suspend"] = json!(false)).await;
    world.phase(MACHINES, "m", "Ready").await;
}

#[tokio::test]
async fn a_provider_drops_what_it_kept_of_a_machine_before_the_machine_is_gone_and_not_sooner() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({})).await;
    let uid = world.phase(MACHINES, "m", "Ready").await["metadata"]["uid"].as_str().unwrap().to_owned();
    world.patch(MACHINES, "m", |spec| spec["suspend"] = json!(true)).await;
    world.phase(MACHINES, "m", "Suspended").await;
    assert_eq!(world.provider.forgotten(), [] as [String; 0]);
    world.delete(MACHINES, "m").await;
    world.gone(MACHINES, "m").await;
    assert_eq!(world.provider.forgotten(), [uid]);
}

#[tokio::test]
async fn an_instance_whose_object_was_removed_by_force_is_ended() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({})).await;
    let uid = world.phase(MACHINES, "m", "Ready").await["metadata"]["uid"].as_str().unwrap().to_owned();
    let mut write = world.objects.begin().await.unwrap();
    write.remove(&torch_remote::store::Key::new(MACHINES, "default", "m")).await.unwrap();
    write.commit().await.unwrap();
    until("the instance is gone", async || world.provider.running().is_empty()).await;
    until("the attempt is gone", async || {
        sqlx::query_scalar::<_, i64>("select count(*) from machine_attempt where state <> 'Gone'")
            .fetch_one(&world.pool)
            .await
            .unwrap()
            == 0
    })
    .await;
    until("nothing is kept of it", async || world.provider.forgotten() == [uid.as_str()]).await;
}

#[tokio::test]
async fn an_agent_that_ends_at_its_start_is_replaced_after_growing_waits_and_made_once_per_attempt() {
    let world = World::new().await;
    for _ in 0..3 {
        world.provider.inject(Fault::DieAtStart);
    }
    let _replica = world.replica("a").await;
    world.machine("m", json!({"retry": {"limit": 2}})).await;
    for attempt in 1..=2 {
        let body = world
            .object(MACHINES, "m", "waiting after a failure", |body| {
                body["status"]["attempt"] == attempt && fact(body, "Launched").1 == "BackOff"
            })
            .await;
        assert!(fact(&body, "Launched").2.contains("exit status: 1"), "{body:#}");
        assert_eq!(world.provider.asked(), attempt);
        world.pass(300).await;
    }
    let body = world.phase(MACHINES, "m", "Failed").await;
    assert_eq!(fact(&body, "Failed").1, "RetriesExhausted");
    assert_eq!((world.provider.asked(), world.provider.created().len()), (3, 3));
}

#[tokio::test]
async fn a_provider_that_loses_every_create_is_asked_a_few_times_and_the_attempt_is_given_up_in_time() {
    let world = World::new().await;
    for _ in 0..1000 {
        world.provider.inject(Fault::LoseCreate);
    }
    let _replica = world.replica("a").await;
    world.machine("m", json!({"startupTimeout": "60s", "retry": {"limit": 1}})).await;
    // Each step of the database's clock is a change of the object, so that the reconcilers look at it.
    let mut seconds = 0;
    until("it is given up", async || {
        seconds += 1;
        world.pass(1).await;
        world.touch(MACHINES, "m", seconds).await;
        world.get(MACHINES, "m").await.is_some_and(|body| body["status"]["phase"] == "Failed")
    })
    .await;
    assert!(seconds >= 120, "each attempt has its startupTimeout: {seconds} s");
    let body = world.phase(MACHINES, "m", "Failed").await;
    assert!(fact(&body, "Launched").2.contains("not made within spec.startupTimeout (60 s)"), "{body:#}");
    let asked = world.provider.asked();
    assert!((4..=16).contains(&asked), "asked {asked} times in two attempts of 60 s");
}

#[tokio::test]
async fn an_end_that_is_ignored_is_not_asked_for_at_every_look() {
    let (world, _replica) = World::running().await;
    world.machine("m", json!({})).await;
    world.phase(MACHINES, "m", "Ready").await;
    world.provider.stubborn();
    world.delete(MACHINES, "m").await;
    until("it is asked to end", async || world.provider.asked_to_end() > 0).await;
    // The clock stands still but for the moments this takes.
    for count in 0..50 {
        world.touch(MACHINES, "m", count).await;
    }
    assert!(world.provider.asked_to_end() <= 5, "asked {} times", world.provider.asked_to_end());
    world.pass(11).await;
    world.gone(MACHINES, "m").await;
}

#[tokio::test]
async fn a_reconcile_that_panics_holds_its_key_no_longer_than_any_failure() {
    let world = World::new().await;
    world.provider.inject(Fault::PanicInFind);
    let _replica = world.replica("a").await;
    world.machine("m", json!({})).await;
    world.phase(MACHINES, "m", "Ready").await;
}

#[tokio::test]
async fn a_machine_that_runs_is_stalled_by_a_spec_that_cannot_be_and_not_by_the_loss_of_its_provider() {
    let (world, _replica) = World::running().await;
    let accepted = async |truth: &str| {
        let so = |body: &Value| body["status"]["conditions"].is_array() && fact(body, "Accepted").0 == truth;
        world.object(MACHINES, "m", &format!("Accepted={truth}"), so).await
    };
    world.machine("m", json!({})).await;
    world.phase(MACHINES, "m", "Ready").await;
    world.patch(MACHINES, "m", |spec| spec["provider"] = json!("fack")).await;
    let body = accepted("False").await;
    let there = "spec.provider names \"fack\", which does not exist; there are: fake";
    assert_eq!((fact(&body, "Stalled"), fact(&body, "Reconciling").0), (("True", "NoSuchProvider", there), "False"));
    assert_eq!(body["status"]["phase"], "Ready", "it runs on as it was");
    world.patch(MACHINES, "m", |spec| spec["provider"] = json!("fake")).await;
    assert_eq!(fact(&accepted("True").await, "Stalled").0, "False");
    let mut write = world.objects.begin().await.unwrap();
    write.remove(&Key::cluster(Resource::PROVIDERS, "fake")).await.unwrap();
    write.commit().await.unwrap();
    world.touch(MACHINES, "m", 1).await;
    assert_eq!(fact(&accepted("False").await, "Stalled").0, "False", "nothing says that it is not as asked");
}
