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
    /// Creates and terminations do what they should; else they are lost.
    obeys: bool,
    /// Instances end as soon as they are made, and the provider says so.
    dies_at_start: bool,
    ended: Vec<u32>,
    heard: bool,
    /// Heard once, and no more since then.
    silent: Option<i64>,
    /// Calls of create and of terminate: attempt, when.
    asked: Vec<(u32, i64)>,
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
            obeys: true,
            dies_at_start: false,
            ended: vec![],
            heard: true,
            silent: None,
            asked: vec![],
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
            true if self.ended.contains(&number) => {
                Observed::Known(Instance::Absent { why: "exit status: 1".to_owned() })
            }
            true => Observed::Known(Instance::Absent { why: String::new() }),
        };
        let agent = match (self.heard, runs) {
            (false, _) => Agent::Unknown,
            (true, false) => Agent::Unheard { since: at(0) },
            (true, true) if self.silent.is_some() => Agent::Silent {
                boot_id: format!("b-{number}"),
                since: at(self.silent.unwrap_or_default()),
                listening: at(0),
            },
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

    fn ask(&mut self, number: u32) {
        let now = self.now;
        self.asked.push((number, now));
        if let Some(attempt) = self.attempt_mut(number) {
            attempt.asked = Some(Asked { times: attempt.asked.map_or(0, |asked| asked.times) + 1, last: at(now) });
        }
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
                        asked: None,
                        state: AttemptState::Intent,
                    });
                }
            }
            Action::Create { number } => {
                self.ask(*number);
                if self.obeys && !self.running.contains(number) && !self.ended.contains(number) {
                    self.created.push(*number);
                    if self.dies_at_start { &mut self.ended } else { &mut self.running }.push(*number);
                }
            }
            Action::RecordCreated { number, provider_id } => {
                let state = AttemptState::Created { provider_id: provider_id.clone() };
                if let Some(attempt) = self.attempt_mut(*number) {
                    (attempt.state, attempt.asked) = (state, None);
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
                    (attempt.state, attempt.asked) = (state, None);
                }
            }
            Action::Terminate { number, .. } => {
                self.ask(*number);
                if self.obeys {
                    self.running.retain(|running| running != number);
                }
            }
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
fn tools_that_know_only_the_status_conventions_read_a_machine_right() {
    let (mut world, mut desired) = (World::new(), self::desired());
    world.warm = false;
    world.settle(&desired);
    let standing = |world: &World| (world.truth("Reconciling").0, world.truth("Stalled").0);
    let ready = |world: &World| condition::find(&world.status.conditions, "Ready").map(|ready| ready.status);
    assert_eq!((standing(&world), world.truth("Reconciling").1), ((Truth::True, Truth::False), "Warming".to_owned()));
    world.warm = true;
    world.settle(&desired);
    assert_eq!(standing(&world), (Truth::False, Truth::False));
    desired = Desired { suspend: true, generation: 2, ..desired };
    let first = world.plan(&desired);
    assert!(matches!(&first.actions[..], [Action::BeginEnd { .. }]), "not told as seen while it still runs: {first:?}");
    world.settle(&desired);
    assert_eq!(
        (standing(&world), world.status.observed_generation),
        ((Truth::False, Truth::False), Some(2)),
        "off is as asked"
    );
    assert_eq!(ready(&world), None, "what is not True would be waited for");
    desired.suspend = false;
    world.warm = false;
    world.settle(&desired);
    assert_eq!((standing(&world), ready(&world)), ((Truth::True, Truth::False), Some(Truth::False)));
}

#[test]
fn tools_that_know_only_the_status_conventions_read_a_refused_machine_right() {
    let standing = |world: &World| (world.truth("Reconciling").0, world.truth("Stalled").0);
    let ready = |world: &World| condition::find(&world.status.conditions, "Ready").map(|ready| ready.status);
    let refusal = Refusal { reason: "NoSuchProvider", message: "there is none".to_owned() };
    let (mut world, refused) = (World::new(), Desired { accepted: Err(refusal), ..self::desired() });
    world.settle(&refused);
    assert_eq!(
        (standing(&world), world.truth("Stalled").1),
        ((Truth::False, Truth::True), "NoSuchProvider".to_owned())
    );
    world.settle(&Desired { suspend: true, ..refused.clone() });
    assert_eq!((standing(&world), ready(&world)), ((Truth::False, Truth::False), None), "nothing is to be made");
    assert_eq!((world.truth("Failed").0, world.truth("Suspended").0), (Truth::False, Truth::True));

    let mut world = World::new();
    world.settle(&desired());
    world.settle(&Desired { suspend: true, ..desired() });
    world.settle(&refused);
    assert_eq!(standing(&world), (Truth::False, Truth::True), "that it ran before makes it no more possible");
}

#[test]
fn a_machine_that_runs_and_is_changed_to_what_cannot_be_is_stalled_and_runs_on() {
    let standing = |world: &World| (world.truth("Reconciling").0, world.truth("Stalled"), world.truth("Ready").0);
    let refusal = Refusal { reason: "NoSuchGPU", message: "there is none".to_owned() };
    let mut world = World::new();
    world.settle(&desired());
    let unchanged = Desired { accepted: Err(refusal.clone()), generation: 2, ..desired() };
    world.settle(&unchanged);
    let calm = (Truth::False, (Truth::False, "NotFailed".to_owned()), Truth::True);
    assert_eq!(standing(&world), calm, "what it is made from is as before");
    let changed = Desired { launch: "b".to_owned(), ..unchanged };
    world.settle(&changed);
    assert_eq!(standing(&world), (Truth::False, (Truth::True, "NoSuchGPU".to_owned()), Truth::True));
    assert_eq!((world.running.clone(), world.truth("Failed").0), (vec![1], Truth::False));
    world.warm = false;
    world.settle(&changed);
    let cold = (Truth::False, (Truth::True, "NoSuchGPU".to_owned()), Truth::False);
    assert_eq!(standing(&world), cold, "warm or not, it is not what was asked for");
    world.warm = true;
    world.settle(&desired());
    assert_eq!(standing(&world), calm, "changed back");
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

/// Lives through so many seconds, looking at each.
fn pass(world: &mut World, desired: &Desired, seconds: i64) {
    for _ in 0..seconds {
        world.now += 1;
        world.settle(desired);
    }
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
    assert_eq!((world.running.len(), world.truth("Launched").1), (0, "Idle".to_owned()));
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
    assert_eq!((world.running.len(), world.truth("Launched").1), (0, "Expired".to_owned()));
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
