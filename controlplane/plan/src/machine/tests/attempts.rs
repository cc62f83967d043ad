//! Attempts: made once, adopted, repeated after waits, and given up in time.

use torch_remote_api::condition::Truth;

use super::super::*;
use super::world::{World, at, desired, pass};

#[test]
fn a_new_machine_becomes_ready_with_one_create() {
    let mut world = World::new();
    world.settle(&desired());
    assert_eq!(world.created, [1]);
    assert_eq!(world.truth("Ready"), (Truth::True, "Ready".to_owned()));
    assert_eq!(world.status.expires_at, Some(at(3600).into()));
}

#[test]
fn the_intent_is_recorded_before_the_provider_is_asked() {
    let mut world = World::new();
    world.finalizer = true;
    let first = world.plan(&desired());
    assert!(matches!(first.actions[0], Action::RecordIntent(_)), "{first:?}");
    world.apply(&first.actions[0]);
    assert!(matches!(world.plan(&desired()).actions[0], Action::Create { number: 1 }));
}

#[test]
fn a_lost_answer_is_adopted_and_not_repeated() {
    let mut world = World::new();
    world.finalizer = true;
    let intent = world.plan(&desired()).actions[0].clone();
    world.apply(&intent);
    world.apply(&Action::Create { number: 1 });
    assert_eq!(world.plan(&desired()).actions[0], Action::RecordCreated { number: 1, provider_id: "i-1".to_owned() });
    world.settle(&desired());
    assert_eq!(world.created, [1]);
}

#[test]
fn a_lost_instance_is_replaced_after_back_off_and_not_past_the_limit() {
    let desired = desired();
    let mut world = World::new();
    world.settle(&desired);
    for failures in 1..=4 {
        world.running.clear();
        world.settle(&desired);
        if failures == 4 {
            break;
        }
        assert_eq!(world.truth("Ready"), (Truth::False, "BackOff".to_owned()));
        let wake = world.plan(&desired).wake.expect("the next attempt has its time");
        world.now = (wake - at(0)).num_seconds() + 1;
        world.settle(&desired);
        assert_eq!(world.created.len(), failures + 1);
    }
    assert_eq!(world.truth("Launched"), (Truth::False, "RetriesExhausted".to_owned()));
    let changed = Desired { generation: 2, ..desired };
    world.now += 1;
    world.settle(&changed);
    assert_eq!(world.truth("Ready").0, Truth::True, "a new spec starts anew");
}

#[test]
fn a_provider_that_makes_nothing_is_asked_again_after_growing_waits_and_the_attempt_is_given_up_in_time() {
    let desired = desired();
    let mut world = World::new();
    world.obeys = false;
    world.settle(&desired);
    pass(&mut world, &desired, 59);
    let asked: Vec<i64> = world.asked.iter().map(|(_, when)| *when).collect();
    assert_eq!(asked, [0, 1, 3, 7, 15, 31], "jitter is in the middle of its range");
    assert_eq!(world.truth("Launched"), (Truth::False, "Launching".to_owned()));
    pass(&mut world, &desired, 1);
    let AttemptState::Gone { end, message, .. } = &world.attempt.as_ref().expect("one").state else { panic!() };
    assert_eq!(*end, End::StartupTimeout);
    assert!(message.contains("was asked 6 times"), "{message}");
    world.obeys = true;
    pass(&mut world, &desired, 2);
    assert_eq!((world.created.clone(), world.truth("Ready").0), (vec![2], Truth::True));
}

#[test]
fn an_instance_that_ends_at_its_start_is_a_failure_and_its_attempt_is_not_made_again() {
    let desired = desired();
    let mut world = World::new();
    world.dies_at_start = true;
    world.settle(&desired);
    assert_eq!(world.truth("Launched"), (Truth::False, "BackOff".to_owned()));
    pass(&mut world, &desired, 600);
    assert_eq!(world.asked, [(1, 0), (2, 1), (3, 3), (4, 7)], "each once, after a wait that doubles");
    assert_eq!(world.truth("Launched").1, "RetriesExhausted");
}

#[test]
fn an_end_that_the_provider_ignores_is_asked_for_after_growing_waits_and_by_force_on_time() {
    let desired = desired();
    let mut world = World::new();
    world.settle(&desired);
    world.asked.clear();
    world.obeys = false;
    let deleting = Desired { deleting: true, ..desired };
    let mut forced = vec![];
    for second in 0..58 {
        world.now = second;
        while let Some(action) = world.plan(&deleting).actions.first().cloned() {
            if matches!(action, Action::Terminate { force: true, .. }) {
                forced.push(second);
            }
            world.apply(&action);
        }
    }
    let asked: Vec<i64> = world.asked.iter().map(|(_, when)| *when).collect();
    assert_eq!(asked, [0, 1, 3, 7, 10, 26], "the grace of 10 s is no longer for the waits before it");
    assert_eq!(forced, [10, 26]);
    let wake = world.plan(&deleting).wake.expect("it is asked for again");
    assert_eq!(wake, at(58));
}

#[test]
fn an_agent_that_fell_silent_before_it_was_ready_is_given_up_and_one_that_was_ready_is_not() {
    let desired = desired();
    let mut world = World::new();
    world.warm = false;
    world.settle(&desired);
    world.now = 10;
    world.silent = Some(10);
    world.settle(&desired);
    world.now = 69;
    assert_eq!(world.settle(&desired), 0);
    assert_eq!(world.plan(&desired).wake, Some(at(70)));
    world.now = 70;
    world.settle(&desired);
    assert_eq!(world.truth("Launched").1, "BackOff");
    let mut world = World::new();
    world.settle(&desired);
    world.silent = Some(0);
    world.now = 299;
    world.settle(&desired);
    assert_eq!((world.running.clone(), world.truth("Ready").1), (vec![1], "AgentSilent".to_owned()));
}

#[test]
fn an_agent_that_never_answers_is_ended_only_if_somebody_listened() {
    let desired = desired();
    let mut world = World::new();
    world.heard = false;
    world.settle(&desired);
    world.now = 1000;
    world.settle(&desired);
    assert_eq!(world.running, [1], "nobody listened, so nobody knows");
    world.heard = true;
    world.warm = false;
    world.settle(&desired);
    assert_eq!(world.truth("Launched").1, "BackOff");
}
