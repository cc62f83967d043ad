//! What must hold after any history.

use proptest::prelude::*;

use torch_remote_api::condition;

use super::super::*;
use super::world::{World, at, desired};

#[derive(Debug, Clone)]
enum Event {
    Pass(i64),
    Dies,
    Obeys(bool),
    DiesAtStart(bool),
    Silent(bool),
    CanLook(bool),
    Heard(bool),
    Warm(bool),
    Lease(bool),
    Wanted(bool),
    Suspend(bool),
    Change,
    Delete,
    /// Applies this many actions of the plan, then forgets the rest: a crash.
    Apply(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0..500_i64).prop_map(Event::Pass),
        Just(Event::Dies),
        any::<bool>().prop_map(Event::Obeys),
        any::<bool>().prop_map(Event::DiesAtStart),
        any::<bool>().prop_map(Event::Silent),
        any::<bool>().prop_map(Event::CanLook),
        any::<bool>().prop_map(Event::Heard),
        any::<bool>().prop_map(Event::Warm),
        any::<bool>().prop_map(Event::Lease),
        any::<bool>().prop_map(Event::Wanted),
        any::<bool>().prop_map(Event::Suspend),
        Just(Event::Change),
        Just(Event::Delete),
        (0..3_usize).prop_map(Event::Apply),
        (1..3_usize).prop_map(Event::Apply),
        (1..3_usize).prop_map(Event::Apply),
    ];
    proptest::collection::vec(event, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws_hold_from_every_prefix(events in events()) {
        let mut world = World::new();
        let mut wish = desired();
        for event in events {
            match event {
                Event::Pass(seconds) => world.now += seconds,
                Event::Dies => world.running.clear(),
                Event::Obeys(yes) => world.obeys = yes,
                Event::DiesAtStart(yes) => world.dies_at_start = yes,
                Event::Silent(yes) => world.silent = yes.then_some(world.now),
                Event::CanLook(yes) => world.can_look = yes,
                Event::Heard(yes) => world.heard = yes,
                Event::Warm(yes) => world.warm = yes,
                Event::Lease(yes) => world.leases = if yes && !world.running.is_empty() { vec!["default/a".to_owned()] } else { vec![] },
                Event::Wanted(yes) => world.wanted = yes,
                Event::Suspend(yes) => { wish.suspend = yes; wish.generation += 1; }
                Event::Change => { wish.launch.push('x'); wish.generation += 1; }
                Event::Delete => {
                    wish.deleting = true;
                    // The API server lets an object without finalizers go at once.
                    world.object &= world.finalizer;
                }
                Event::Apply(count) => {
                    let plan = world.plan(&wish);
                    prop_assert_eq!(&plan, &world.plan(&wish), "repeatable");
                    for action in plan.actions.iter().take(count) {
                        if !world.can_look {
                            let destructive = matches!(action, Action::Terminate { .. } | Action::RecordGone { .. } | Action::Create { .. });
                            prop_assert!(!destructive, "planned on Unknown: {:?}", action);
                        }
                        if let Action::Create { number } = action {
                            prop_assert!(world.running.is_empty(), "a second instance beside {:?}", world.running);
                            prop_assert!(world.attempt.as_ref().is_some_and(|attempt| attempt.number == *number), "created without an intent");
                        }
                        if *action == Action::RemoveFinalizer {
                            prop_assert!(world.running.is_empty(), "let go of what runs: {:?}", world.running);
                        }
                        if matches!(action, Action::Create { .. } | Action::Terminate { .. }) {
                            let forced = matches!(action, Action::Terminate { force: true, .. });
                            let asked = world.attempt.as_ref().and_then(|attempt| attempt.asked);
                            let waited = asked.is_none_or(|asked| at(world.now) >= asked.last + ASK_AGAIN.0);
                            prop_assert!(waited || forced, "asked again at once: {:?}", action);
                        }
                        world.apply(action);
                        world.apply(action);
                    }
                }
            }
            prop_assert!(world.running.len() <= 1);
            if !world.object { return Ok(()); }
        }
        // Left alone with a provider that answers it comes to rest, and to what was asked for.
        world.can_look = true;
        world.heard = true;
        world.warm = true;
        world.obeys = true;
        world.dies_at_start = false;
        world.silent = None;
        world.settle(&wish);
        if world.attempt.as_ref().is_some_and(|attempt| attempt.asked.is_some()) {
            // What the provider did not do is asked of it again, in a minute at the latest.
            world.now += 61;
            world.settle(&wish);
        }
        prop_assert_eq!(world.plan(&wish).actions, vec![], "fixpoint");
        for _ in 0..20 {
            let Some(wake) = world.plan(&wish).wake.filter(|_| world.object) else { break };
            if world.truth("Launched").1 == "BackOff" { world.now = (wake - at(0)).num_seconds() + 1; world.settle(&wish); }
        }
        match (wish.deleting, wish.suspend) {
            (true, _) => prop_assert!(!world.object && world.running.is_empty()),
            (false, true) => prop_assert!(world.running.is_empty()),
            (false, false) => {
                let (truth, reason) = world.truth("Launched");
                let ready = condition::holds(&world.status.conditions, "Ready");
                prop_assert!(ready || ["Idle", "Expired", "RetriesExhausted"].contains(&reason.as_str()), "{:?} {}", truth, reason);
            }
        }
    }
}
