use std::time::Duration;

use proptest::prelude::*;

use torch_remote_api::condition::{self, Truth};
use torch_remote_api::lease::LeasePhase;

use super::*;
use crate::{Epoch, Uid};

fn at(second: i64) -> Time {
    chrono::DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a valid second")
}

fn desired() -> Desired {
    Desired { generation: 1, deleting: false, wait_timeout: Some(Duration::from_secs(600)) }
}

/// A database, a queue that binds two slots, and agents, in memory.
#[derive(Debug, Clone)]
struct World {
    now: i64,
    finalizer: bool,
    object: bool,
    live: Option<Live>,
    bindings: Vec<Binding>,
    older: Vec<SlotAt>,
    epochs: [u64; 2],
    fit: Fit,
    serving_since: i64,
    heard: bool,
    wanted: bool,
    status: DeviceLeaseStatus,
}

impl World {
    fn new() -> Self {
        World {
            now: 0,
            finalizer: false,
            object: true,
            live: None,
            bindings: vec![],
            older: vec![],
            epochs: [0; 2],
            fit: Fit::Possible,
            serving_since: 0,
            heard: true,
            wanted: false,
            status: DeviceLeaseStatus::default(),
        }
    }

    fn bound() -> Self {
        let mut world = World::new();
        world.settle(&desired());
        world.bind();
        world.ack();
        world.settle(&desired());
        world
    }

    fn observe(&self) -> Observation {
        let mut bindings = self.bindings.clone();
        for binding in bindings.iter_mut().filter(|_| !self.heard) {
            binding.phase = Phase::Unknown;
        }
        Observation {
            finalizer: self.finalizer,
            live: self.live.clone(),
            bindings,
            older: u32::try_from(self.older.len()).expect("few"),
            wanted: self.wanted,
            fit: self.fit.clone(),
            queue: None,
            serving_since: at(self.serving_since),
            jitter: 0.5,
            status: self.status.clone(),
        }
    }

    fn plan(&self, desired: &Desired) -> Plan {
        plan(desired, &self.observe(), at(self.now))
    }

    fn waiting(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.state == State::Waiting)
    }

    /// What the queue does when both slots are free.
    fn bind(&mut self) {
        if !self.waiting() || !self.older.is_empty() {
            return;
        }
        for slot in 0..2_u32 {
            let epoch = &mut self.epochs[slot as usize];
            *epoch += 1;
            self.bindings.push(Binding {
                at: SlotAt { machine: Uid("m".to_owned()), slot, epoch: Epoch(*epoch) },
                machine: "default/m".to_owned(),
                gpu: slot,
                gpu_type: None,
                bound_at: at(self.now),
                duration: Some(Duration::from_secs(3600)),
                acked: None,
                refused: None,
                session_at: None,
                revoked: false,
                released: None,
                phase: Phase::Idle,
                silent: Duration::ZERO,
                idle: Duration::ZERO,
            });
        }
        self.live.as_mut().expect("waiting").state = State::Bound;
    }

    fn ack(&mut self) {
        for binding in self.bindings.iter_mut().filter(|binding| binding.released.is_none()) {
            binding.acked = Some(vec![]);
        }
    }

    fn session(&mut self) {
        let now = at(self.now);
        for binding in self.bindings.iter_mut().filter(|binding| binding.acked.is_some() && binding.released.is_none())
        {
            binding.session_at.get_or_insert(now);
            binding.phase = Phase::Active;
        }
    }

    /// The agent ends what is revoked.
    fn reap(&mut self) {
        self.older.clear();
        for binding in self.bindings.iter_mut().filter(|binding| binding.revoked && binding.released.is_none()) {
            binding.released = Some(Release { reason: EndReason::Revoked, message: String::new() });
        }
    }

    fn apply(&mut self, action: &Action) {
        let now = at(self.now);
        match action {
            Action::AddFinalizer => self.finalizer = true,
            Action::RemoveFinalizer => {
                self.finalizer = false;
                self.object = false;
            }
            Action::Enqueue => {
                self.live.get_or_insert(Live {
                    state: State::Waiting,
                    waiting_since: now,
                    put_back: 0,
                    renewed_at: None,
                });
            }
            Action::PutBack { quarantine, .. } => {
                if let Some(live) = self.live.as_mut().filter(|live| live.state == State::Bound) {
                    live.state = State::Waiting;
                    live.waiting_since = now;
                    live.put_back += 1;
                    for slot in quarantine {
                        self.epochs[slot.slot as usize] += 1;
                    }
                    self.older.extend(self.bindings.drain(..).map(|binding| binding.at));
                }
            }
            Action::Revoke { slots, .. } => {
                for binding in self.bindings.iter_mut().filter(|binding| slots.contains(&binding.at)) {
                    binding.revoked = true;
                }
            }
            Action::End { reason, message } => {
                let live = self.live.as_mut().expect("an end has a row");
                if !matches!(live.state, State::Ended { .. }) {
                    live.state = State::Ended { reason: *reason, message: message.clone() };
                }
            }
            Action::Report(status) => self.status = (**status).clone(),
        }
    }

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

    fn fact(&self, kind: &str) -> (Truth, &str) {
        let fact = condition::find(&self.status.conditions, kind).expect("conditions are there from the first visit");
        (fact.status, &fact.reason)
    }

    fn ended(&self) -> Option<EndReason> {
        match &self.live.as_ref()?.state {
            State::Ended { reason, .. } => Some(*reason),
            State::Waiting | State::Bound => None,
        }
    }
}

#[test]
fn bound_is_said_only_after_every_agent_has_acknowledged() {
    let mut world = World::new();
    world.settle(&desired());
    world.bind();
    world.bindings[0].acked = Some(vec![]);
    world.settle(&desired());
    assert_eq!(world.fact("Bound"), (Truth::False, "Binding"));
    world.ack();
    world.settle(&desired());
    assert_eq!(world.fact("Bound").0, Truth::True);
    assert_eq!(world.status.expires_at, None, "the duration counts from the first session");
    world.session();
    world.settle(&desired());
    assert_eq!(world.fact("Active").0, Truth::True);
    assert_eq!(world.status.expires_at, Some(at(3600).into()));
}

#[test]
fn a_bind_without_acknowledgement_is_quarantined_and_the_lease_waits_again() {
    let mut world = World::new();
    world.settle(&desired());
    world.bind();
    world.bindings[0].acked = Some(vec![]);
    world.settle(&desired());
    world.now = 10;
    world.settle(&desired());
    assert!(world.waiting());
    assert_eq!(world.epochs, [1, 2], "only the slot that did not answer is fenced");
}

#[test]
fn a_lease_whose_binds_are_refused_waits_again_and_rests_longer_each_time() {
    let mut world = World::new();
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        world.older.clear();
        world.settle(&desired());
        world.bind();
        world.bindings.iter_mut().for_each(|binding| binding.refused = Some("its machine is gone".to_owned()));
        let plan = world.plan(&desired());
        let Some(Action::PutBack { quarantine, revoke, rest }) = plan.actions.first() else { panic!("{plan:?}") };
        assert_eq!((quarantine.len(), revoke.len(), *rest), (2, 0, Duration::from_secs(seconds)));
        world.settle(&desired());
        assert!(world.waiting());
    }
}

#[test]
fn a_deleted_lease_whose_machine_went_before_it_was_bound_waits_for_no_agent() {
    let mut world = World::new();
    world.settle(&desired());
    world.bind();
    world.bindings.iter_mut().for_each(|binding| {
        binding.revoked = true;
        binding.refused = Some("its machine is gone".to_owned());
    });
    world.settle(&Desired { deleting: true, ..desired() });
    assert_eq!(world.ended(), Some(EndReason::Goodbye));
}

#[test]
fn a_warming_slot_has_longer_to_acknowledge() {
    let mut world = World::new();
    world.settle(&desired());
    world.bind();
    world.bindings.iter_mut().for_each(|binding| binding.phase = Phase::Warming);
    world.now = 60;
    world.settle(&desired());
    assert!(!world.waiting());
    world.now = 120;
    world.settle(&desired());
    assert!(world.waiting());
}

#[test]
fn a_waiter_that_is_not_renewed_ends_but_not_for_our_own_absence() {
    let mut world = World::new();
    world.settle(&desired());
    world.live.as_mut().expect("enqueued").renewed_at = Some(at(0));
    world.now = 600;
    world.serving_since = 595;
    let patient = Desired { wait_timeout: None, ..desired() };
    world.settle(&patient);
    assert_eq!(world.ended(), None, "the control plane was away, not the waiter");
    world.now = 625;
    world.settle(&patient);
    assert_eq!(world.ended(), Some(EndReason::Abandoned));
}

#[test]
fn what_nothing_can_satisfy_ends_at_once_and_says_what_exists() {
    let mut world = World::new();
    world.fit = Fit::Never { exists: "there are default/m (1 CPU)".to_owned() };
    world.settle(&desired());
    assert_eq!(world.ended(), Some(EndReason::Unsatisfiable));
    assert_eq!(world.status.phase, Some(LeasePhase::Failed));
}

#[test]
fn an_executor_that_ends_takes_the_whole_lease_with_it() {
    let mut world = World::bound();
    world.session();
    world.bindings[0].released = Some(Release { reason: EndReason::Crashed, message: "signal 11".to_owned() });
    world.settle(&desired());
    assert!(world.bindings[1].revoked);
    assert_eq!(world.ended(), None, "ended is not free");
    assert_eq!(world.fact("Released").0, Truth::False);
    world.reap();
    world.settle(&desired());
    assert_eq!(world.ended(), Some(EndReason::Crashed));
}

#[test]
fn a_deleted_lease_goes_only_when_its_slots_are_released() {
    let mut world = World::bound();
    let deleting = Desired { deleting: true, ..desired() };
    world.settle(&deleting);
    assert!(world.object && world.bindings.iter().all(|binding| binding.revoked));
    world.reap();
    world.settle(&deleting);
    assert!(!world.object);
}

#[test]
fn a_silent_client_s_lease_is_reclaimed_only_when_others_wait() {
    let mut world = World::bound();
    world.session();
    for binding in &mut world.bindings {
        binding.phase = Phase::Disconnected;
        binding.silent = Duration::from_secs(119);
    }
    world.settle(&desired());
    world.wanted = true;
    world.settle(&desired());
    assert!(world.bindings.iter().all(|binding| !binding.revoked), "not before two minutes");
    world.bindings[0].silent = Duration::from_secs(120);
    world.heard = false;
    world.settle(&desired());
    assert!(world.bindings.iter().all(|binding| !binding.revoked), "nothing is known of it now");
    world.heard = true;
    world.settle(&desired());
    assert!(world.bindings.iter().all(|binding| binding.revoked));
}

#[test]
fn idleness_is_shown_once_it_is_a_minute_and_does_not_flicker() {
    let mut world = World::bound();
    world.session();
    world.now = 100;
    world.bindings[0].idle = Duration::from_secs(90);
    world.bindings[1].idle = Duration::from_secs(59);
    world.settle(&desired());
    assert_eq!(world.status.idle_since, None, "one of its executors is not idle");
    world.bindings[1].idle = Duration::from_secs(80);
    world.settle(&desired());
    assert_eq!(world.status.idle_since, Some(at(20).into()));
    world.now = 130;
    world.bindings[1].idle = Duration::from_secs(108);
    assert_eq!(world.settle(&desired()), 0, "the same idleness, reported a little later");
    world.bindings[1].idle = Duration::ZERO;
    world.settle(&desired());
    assert_eq!(world.status.idle_since, None);
}

#[derive(Debug, Clone)]
enum Event {
    Pass(i64),
    Bind,
    Ack,
    AckOne(usize),
    Refuse(usize),
    Session,
    Crash(usize),
    Reap,
    Heard(bool),
    Delete,
    Restart,
    Apply(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0..90_i64).prop_map(Event::Pass),
        Just(Event::Bind),
        Just(Event::Bind),
        Just(Event::Ack),
        (0..2_usize).prop_map(Event::AckOne),
        (0..2_usize).prop_map(Event::Refuse),
        Just(Event::Session),
        (0..2_usize).prop_map(Event::Crash),
        Just(Event::Reap),
        any::<bool>().prop_map(Event::Heard),
        Just(Event::Delete),
        Just(Event::Restart),
        (1..4_usize).prop_map(Event::Apply),
        (1..4_usize).prop_map(Event::Apply),
        (1..4_usize).prop_map(Event::Apply),
    ];
    proptest::collection::vec(event, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws_hold_from_every_prefix(events in events()) {
        let mut world = World::new();
        let mut wish = desired();
        for event in events {
            let epochs = world.epochs;
            match event {
                Event::Pass(seconds) => world.now += seconds,
                Event::Bind => world.bind(),
                Event::Ack => world.ack(),
                Event::AckOne(slot) => if let Some(binding) = world.bindings.get_mut(slot) { binding.acked = Some(vec![]) },
                Event::Refuse(slot) => if let Some(binding) = world.bindings.get_mut(slot) { binding.refused = Some("busy".to_owned()) },
                Event::Session => world.session(),
                Event::Crash(slot) => if let Some(binding) = world.bindings.get_mut(slot) {
                    binding.released.get_or_insert(Release { reason: EndReason::Crashed, message: String::new() });
                },
                Event::Reap => world.reap(),
                Event::Heard(yes) => world.heard = yes,
                Event::Delete => {
                    wish.deleting = true;
                    world.object &= world.finalizer;
                }
                Event::Restart => world.serving_since = world.now,
                Event::Apply(count) => {
                    let plan = world.plan(&wish);
                    prop_assert_eq!(&plan, &world.plan(&wish), "repeatable");
                    for action in plan.actions.iter().take(count) {
                        let held = world.bindings.iter().filter(|binding| binding.released.is_none()).count() + world.older.len();
                        prop_assert!(world.bindings.is_empty() || world.bindings.len() == 2, "bound to a part");
                        match action {
                            Action::RemoveFinalizer => prop_assert_eq!(held, 0, "let go of slots that are held"),
                            Action::End { .. } => prop_assert!(world.waiting() || held == 0, "ended with slots held"),
                            Action::Revoke { .. } => {
                                let cause = wish.deleting || world.bindings.iter().any(|binding| binding.released.is_some());
                                prop_assert!(cause, "revoked without a cause: {:?}", world);
                            }
                            _ => {}
                        }
                        world.apply(action);
                        world.apply(action);
                    }
                }
            }
            prop_assert!(epochs.iter().zip(world.epochs).all(|(before, after)| *before <= after), "a lower epoch");
            if !world.object { return Ok(()); }
        }
        // Left alone with agents that answer it comes to rest; deleted, it goes.
        wish.deleting = true;
        world.heard = true;
        for _ in 0..5 {
            world.settle(&wish);
            world.reap();
        }
        prop_assert!(!world.object || !world.finalizer, "{:?}", world);
    }
}
