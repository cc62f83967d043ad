use std::time::Duration;

use proptest::prelude::*;

use torch_remote_api::condition::{self, Truth};
use torch_remote_api::gpu::GpuType;

use super::*;

fn at(second: i64) -> Time {
    chrono::DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a valid second")
}

fn desired() -> Desired {
    Desired {
        generation: 1,
        deleting: false,
        suspend: false,
        launch: "a".to_owned(),
        accepted: Ok(()),
        timeout: Some(Duration::from_secs(3600)),
        idle_timeout: Some(Duration::from_secs(300)),
        startup_timeout: Duration::from_secs(60),
        retry_limit: 3,
        gpu: Gpu { gpu_type: GpuType::Cpu, count: 2 },
        slots: 2,
        prices: vec![],
    }
}

/// A provider, an agent and a database in memory.
#[derive(Debug, Clone)]
struct World {
    now: i64,
    finalizer: bool,
    object: bool,
    attempt: Option<Attempt>,
    /// Attempts that run at the provider, by number.
    running: Vec<u32>,
    created: Vec<u32>,
    /// Agents that have come up, by attempt.
    warm: bool,
    can_look: bool,
    heard: bool,
    leases: Vec<String>,
    wanted: bool,
    status: RemoteMachineStatus,
}

impl World {
    fn new() -> Self {
        World {
            now: 0,
            finalizer: false,
            object: true,
            attempt: None,
            running: vec![],
            created: vec![],
            warm: true,
            can_look: true,
            heard: true,
            leases: vec![],
            wanted: false,
            status: RemoteMachineStatus::default(),
        }
    }

    fn observe(&self) -> Observation {
        let number = self.attempt.as_ref().map_or(0, |attempt| attempt.number);
        let runs = self.running.contains(&number);
        let instance = match self.can_look {
            false => Observed::Unknown,
            true if runs => Observed::Known(Instance::Running { provider_id: format!("i-{number}") }),
            true => Observed::Known(Instance::Absent { why: String::new() }),
        };
        let agent = match (self.heard, runs) {
            (false, _) => Agent::Unknown,
            (true, false) => Agent::Unheard { since: at(0) },
            (true, true) => Agent::Heard {
                boot_id: format!("b-{number}"),
                version: "1".to_owned(),
                torch: "2.13.0".to_owned(),
                warm: if self.warm { 2 } else { 0 },
            },
        };
        Observation {
            finalizer: self.finalizer,
            attempt: self.attempt.clone(),
            instance,
            agent,
            leases: self.leases.clone(),
            last_release: None,
            wanted: self.wanted,
            jitter: 0.5,
            status: self.status.clone(),
        }
    }

    fn plan(&self, desired: &Desired) -> Plan {
        plan(desired, &self.observe(), at(self.now))
    }

    fn attempt_mut(&mut self, number: u32) -> Option<&mut Attempt> {
        self.attempt.as_mut().filter(|attempt| attempt.number == number)
    }

    /// As the shell applies it: each with its precondition, each safe to repeat.
    fn apply(&mut self, action: &Action) {
        let now = at(self.now);
        match action {
            Action::AddFinalizer => self.finalizer = true,
            Action::RemoveFinalizer => {
                self.finalizer = false;
                self.object = false;
            }
            Action::RecordIntent(intent) => {
                let latest = self.attempt.as_ref().map_or(0, |attempt| attempt.number);
                if intent.number == latest + 1 {
                    self.attempt = Some(Attempt {
                        number: intent.number,
                        run: intent.run,
                        run_at: intent.run_at.unwrap_or(now),
                        failures: intent.failures,
                        generation: intent.generation,
                        launch: intent.launch.clone(),
                        intended_at: now,
                        ready_at: None,
                        state: AttemptState::Intent,
                    });
                }
            }
            Action::Create { number } => {
                if !self.running.contains(number) {
                    self.running.push(*number);
                    self.created.push(*number);
                }
            }
            Action::RecordCreated { number, provider_id } => {
                let state = AttemptState::Created { provider_id: provider_id.clone() };
                if let Some(attempt) = self.attempt_mut(*number) {
                    attempt.state = state;
                }
            }
            Action::RecordReady { number } => {
                if let Some(attempt) = self.attempt_mut(*number) {
                    attempt.ready_at = Some(now);
                }
            }
            Action::BeginEnd { number, end, message } => {
                let state = AttemptState::Ending { since: now, end: *end, message: message.clone() };
                if let Some(attempt) = self.attempt_mut(*number) {
                    attempt.state = state;
                }
            }
            Action::Terminate { number, .. } => self.running.retain(|running| running != number),
            Action::RecordGone { number, end, message } => {
                let state = AttemptState::Gone { at: now, end: *end, message: message.clone() };
                if let Some(attempt) = self.attempt_mut(*number) {
                    attempt.state = state;
                }
                self.leases.clear();
            }
            Action::Report(status) => self.status = (**status).clone(),
        }
    }

    /// Plans and applies until nothing is left to do at this moment.
    fn settle(&mut self, desired: &Desired) -> usize {
        for round in 0..50 {
            let plan = self.plan(desired);
            if plan.actions.is_empty() {
                return round;
            }
            for action in &plan.actions {
                self.apply(action);
            }
        }
        panic!("no fixpoint: {:?}", self.plan(desired).actions);
    }

    fn truth(&self, kind: &str) -> (Truth, String) {
        let fact = condition::find(&self.status.conditions, kind).expect("conditions are there from the first visit");
        (fact.status, fact.reason.clone())
    }
}

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

#[test]
fn an_idle_machine_ends_and_comes_back_when_it_is_wanted() {
    let desired = desired();
    let mut world = World::new();
    world.settle(&desired);
    world.leases = vec!["default/a".to_owned()];
    world.now = 400;
    world.settle(&desired);
    assert_eq!(world.running, [1], "a lease keeps it");
    world.leases.clear();
    world.settle(&desired);
    world.now = 800;
    world.settle(&desired);
    assert_eq!((world.running.len(), world.truth("Ready").1), (0, "Idle".to_owned()));
    world.wanted = true;
    world.settle(&desired);
    assert_eq!((world.running.clone(), world.truth("Ready").0), (vec![2], Truth::True));
    assert_eq!(world.status.expires_at, Some(at(800 + 3600).into()), "a new run has its own time");
}

#[test]
fn the_timeout_ends_a_leased_machine_for_good() {
    let desired = desired();
    let mut world = World::new();
    world.settle(&desired);
    world.leases = vec!["default/a".to_owned()];
    world.now = 3600;
    world.settle(&desired);
    assert_eq!((world.running.len(), world.truth("Ready").1), (0, "Expired".to_owned()));
    world.wanted = true;
    world.now = 9000;
    assert_eq!(world.settle(&desired), 0);
}

#[test]
fn another_spec_replaces_an_instance_without_leases_only() {
    let mut world = World::new();
    world.settle(&desired());
    world.leases = vec!["default/a".to_owned()];
    let changed = Desired { launch: "b".to_owned(), generation: 2, ..desired() };
    world.settle(&changed);
    assert_eq!(world.running, [1]);
    world.leases.clear();
    world.settle(&changed);
    assert_eq!(world.running, [2]);
}

#[test]
fn a_machine_is_deleted_when_its_provider_says_so_and_not_before() {
    let mut world = World::new();
    world.settle(&desired());
    let deleting = Desired { deleting: true, ..desired() };
    world.can_look = false;
    world.settle(&deleting);
    assert!(world.object && world.finalizer, "the provider does not answer");
    assert_eq!(world.running, [1]);
    world.can_look = true;
    world.settle(&deleting);
    assert!(!world.object && world.running.is_empty());
}

#[derive(Debug, Clone)]
enum Event {
    Pass(i64),
    Dies,
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
        world.settle(&wish);
        prop_assert_eq!(world.plan(&wish).actions, vec![], "fixpoint");
        for _ in 0..20 {
            let Some(wake) = world.plan(&wish).wake.filter(|_| world.object) else { break };
            if world.truth("Launched").1 == "BackOff" { world.now = (wake - at(0)).num_seconds() + 1; world.settle(&wish); }
        }
        match (wish.deleting, wish.suspend) {
            (true, _) => prop_assert!(!world.object && world.running.is_empty()),
            (false, true) => prop_assert!(world.running.is_empty()),
            (false, false) => {
                let (truth, reason) = world.truth("Ready");
                prop_assert!(truth == Truth::True || ["Idle", "Expired", "RetriesExhausted"].contains(&reason.as_str()), "{:?} {}", truth, reason);
            }
        }
    }
}
