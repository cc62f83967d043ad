//! Laws of the slot machine over arbitrary histories, and its deadlines by example.

use proptest::prelude::*;

use super::*;
use crate::link::Standing;

fn bind(epoch: u64) -> Bind {
    Bind {
        epoch,
        lease_uid: format!("lease-{epoch}"),
        lease_name: "team/lease".to_owned(),
        duration: Duration::from_secs(3600),
        reconnect_window: Duration::from_secs(1800),
        orphan: Duration::from_secs(60),
        resumable: epoch.is_multiple_of(2),
        idle_timeout: Duration::from_secs(600),
        open_timeout: Duration::from_secs(30),
        memory_bytes: 0,
        traceparent: String::new(),
    }
}

/// The world around a slot: a process that lives between Start and Reaped.
#[derive(Debug, Clone)]
enum Event {
    Bind(u64),
    Revoke(u64, u64),
    Ready,
    Pulse { connected: bool, busy: bool, heard: bool },
    Finished,
    Dies,
    Wait(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (1..8u64).prop_map(Event::Bind),
        ((1..8u64), prop_oneof![Just(0), Just(5)]).prop_map(|(epoch, grace)| Event::Revoke(epoch, grace)),
        Just(Event::Ready),
        (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(connected, busy, heard)| Event::Pulse {
            connected,
            busy,
            heard
        }),
        Just(Event::Finished),
        Just(Event::Dies),
        prop_oneof![Just(1u64), Just(31), Just(61), Just(601), Just(3601)].prop_map(Event::Wait),
    ];
    proptest::collection::vec(event, 1..60)
}

#[derive(Default)]
struct World {
    now: Duration,
    /// A process lives; the lease it was told to serve.
    process: Option<Option<u64>>,
    bound: Vec<u64>,
    released: Vec<u64>,
    highest: u64,
    opened_ms: u64,
    heard_ms: u64,
}

impl World {
    fn apply(&mut self, outputs: Vec<Output>) -> Result<(), TestCaseError> {
        for output in outputs {
            match output {
                Output::Start => {
                    prop_assert!(self.process.is_none(), "one process at a time");
                    self.process = Some(None);
                    (self.opened_ms, self.heard_ms) = (0, 0);
                }
                Output::Serve(bind) => {
                    prop_assert_eq!(self.process, Some(None), "a lease gets a process that has served nobody");
                    self.process = Some(Some(bind.epoch));
                }
                Output::Say(News::Bound { epoch, .. }) => {
                    prop_assert_eq!(self.process, Some(Some(epoch)));
                    if self.bound.last() != Some(&epoch) {
                        prop_assert!(epoch > self.highest, "epochs of binds only grow");
                        self.bound.push(epoch);
                    }
                    self.highest = self.highest.max(epoch);
                }
                Output::Say(News::Released { epoch, lease_uid, .. }) => {
                    let serves = self.process.flatten().is_some_and(|served| served <= epoch);
                    prop_assert!(!serves, "Released says that nothing of the epoch runs");
                    if lease_uid == format!("lease-{epoch}") && self.bound.contains(&epoch) {
                        self.released.push(epoch);
                    }
                }
                Output::Kill | Output::End { .. } => prop_assert!(self.process.is_some()),
                Output::Notice { .. } | Output::Say(News::BindRefused { .. }) => {}
            }
        }
        Ok(())
    }

    fn input(&mut self, event: &Event) -> Option<Input> {
        let now_ms = self.now.as_millis() as u64;
        match event {
            Event::Bind(epoch) => Some(Input::Bind(bind(*epoch))),
            Event::Revoke(epoch, grace) => Some(Input::Revoke {
                epoch: *epoch,
                reason: "Test".to_owned(),
                message: String::new(),
                grace: Duration::from_secs(*grace),
            }),
            Event::Ready => self.process.map(|_| Input::Ready),
            Event::Pulse { connected, busy, heard } => {
                self.process.flatten()?;
                if self.opened_ms == 0 {
                    self.opened_ms = now_ms;
                }
                if *heard || self.heard_ms == 0 {
                    self.heard_ms = now_ms;
                }
                Some(Input::Pulse(Pulse {
                    standing: if *connected { Standing::Connected } else { Standing::Disconnected },
                    now_ms,
                    heard_ms: self.heard_ms,
                    lost_ms: self.heard_ms,
                    active_ms: self.heard_ms,
                    busy: *busy,
                    opened_ms: self.opened_ms,
                    ..Pulse::default()
                }))
            }
            Event::Finished => {
                self.process.flatten()?;
                Some(Input::Finished { reason: "Goodbye".to_owned(), message: String::new() })
            }
            Event::Dies => {
                self.process.take()?;
                Some(Input::Reaped { status: "exit status: 0".to_owned() })
            }
            Event::Wait(seconds) => {
                self.now += Duration::from_secs(*seconds);
                Some(Input::Tick)
            }
        }
    }
}

proptest! {
    #[test]
    fn an_epoch_only_grows_and_no_lease_shares_a_process_or_is_lost(events in events()) {
        let mut world = World { now: Duration::from_secs(1), ..World::default() };
        let (mut slot, outputs) = Slot::new(world.now);
        world.apply(outputs)?;
        for event in &events {
            let before = slot.highest();
            let Some(input) = world.input(event) else { continue };
            let (next, outputs) = slot.step(input, world.now);
            world.apply(outputs)?;
            prop_assert!(next.highest() >= before);
            prop_assert!(next.highest() >= world.highest);
            slot = next;
        }
        // Whatever came before: revoked and reaped, each lease that was bound is released exactly once, and the slot is of use again.
        let (next, outputs) = slot.step(Input::Revoke { epoch: 100, reason: "End".to_owned(), message: String::new(), grace: Duration::ZERO }, world.now);
        world.apply(outputs)?;
        slot = next;
        if let Some(input) = world.input(&Event::Dies) {
            let (next, outputs) = slot.step(input, world.now);
            world.apply(outputs)?;
            slot = next;
        }
        prop_assert_eq!(&world.bound, &world.released);
        world.now += Duration::from_secs(5);
        for input in [Input::Tick, Input::Ready, Input::Bind(bind(101))] {
            let (next, outputs) = slot.step(input, world.now);
            world.apply(outputs)?;
            slot = next;
        }
        prop_assert_eq!(world.bound.last(), Some(&101));
    }
}

/// A slot that serves epoch 1 (not resumable) or 2 (resumable), with a session opened at second 10.
fn open(epoch: u64) -> Slot {
    let (slot, _) = Slot::new(at(0));
    let (slot, _) = slot.step(Input::Ready, at(1));
    let (slot, _) = slot.step(Input::Bind(bind(epoch)), at(2));
    slot.step(pulse(10, 10, None), at(10)).0
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(1_000_000 + seconds)
}

/// A pulse made at second `now` by a clock that runs 1000 s behind the supervisor's.
fn pulse(now: u64, heard: u64, lost: Option<u64>) -> Input {
    let raw = |second: u64| (second + 999_000) * 1000;
    Input::Pulse(Pulse {
        standing: if lost.is_some() { Standing::Disconnected } else { Standing::Connected },
        now_ms: raw(now),
        heard_ms: raw(heard),
        lost_ms: lost.map_or(0, raw),
        active_ms: raw(heard),
        busy: false,
        opened_ms: raw(10),
        ..Pulse::default()
    })
}

fn ended(outputs: &[Output]) -> Option<&str> {
    outputs.iter().find_map(|output| if let Output::End { reason, .. } = output { Some(reason.as_str()) } else { None })
}

/// The second of the first tick that ends the lease, and why.
fn end_of(mut slot: Slot, from: u64) -> (u64, String) {
    for second in from..from + 10_000 {
        let (next, outputs) = slot.step(Input::Tick, at(second));
        if let Some(reason) = ended(&outputs) {
            return (second, reason.to_owned());
        }
        slot = next;
    }
    panic!("the lease never ends");
}

#[test]
fn each_deadline_counts_from_its_own_beginning() {
    let (slot, _) = open(2).step(pulse(100, 90, Some(95)), at(100));
    assert_eq!(end_of(slot, 100), (690, "Idle".to_owned()), "idle from the last operator, 90");
    let (slot, _) = open(1).step(pulse(100, 90, Some(95)), at(100));
    assert_eq!(end_of(slot, 100), (155, "Orphaned".to_owned()), "an orphan from the lost connection, 95");
    let mut slot = open(2);
    for second in (20..3700).step_by(10) {
        let (next, outputs) = slot.step(pulse(second, second, None), at(second));
        assert!(outputs.is_empty());
        let (next, outputs) = next.step(Input::Tick, at(second));
        if let Some(reason) = ended(&outputs) {
            assert_eq!((second, reason), (3610, "Expired"), "the duration from the first session, 10");
            return;
        }
        slot = next;
    }
    panic!("the lease outlived its duration");
}

#[test]
fn a_client_that_is_silent_within_the_window_keeps_its_lease() {
    let mut lease = bind(2);
    lease.idle_timeout = Duration::ZERO;
    lease.duration = Duration::ZERO;
    let (slot, _) = Slot::new(at(0));
    let (slot, _) = slot.step(Input::Ready, at(1));
    let (slot, _) = slot.step(Input::Bind(lease), at(2));
    let (slot, _) = slot.step(pulse(10, 10, None), at(10));
    // Two minutes of SIGSTOP, seen by pulses that hear nothing new.
    let (slot, outputs) = slot.step(pulse(130, 10, None), at(130));
    assert!(outputs.is_empty());
    let (slot, outputs) = slot.step(Input::Tick, at(130));
    assert!(outputs.is_empty());
    assert_eq!(slot.figures(at(130)).silent, Duration::from_secs(120));
    assert_eq!(end_of(slot, 131), (1810, "Silent".to_owned()));
}

#[test]
fn time_that_only_the_supervisors_clock_saw_counts() {
    let slot = open(1);
    let (slot, _) = slot.step(pulse(20, 15, Some(20)), at(20));
    // The supervisor's clock jumps by 50 s, the executor's does not: the same stamps are the same moments.
    let (slot, _) = slot.step(pulse(21, 15, Some(20)), at(71));
    assert_eq!(end_of(slot, 71).0, 80);
}

#[test]
fn a_notice_comes_once_and_again_after_activity() {
    let notices = |outputs: &[Output]| outputs.iter().filter(|output| matches!(output, Output::Notice { .. })).count();
    let (slot, first) = open(2).step(Input::Tick, at(10 + 545));
    let (slot, second) = slot.step(Input::Tick, at(10 + 546));
    assert_eq!((notices(&first), notices(&second)), (1, 0));
    let (slot, _) = slot.step(pulse(560, 560, None), at(560));
    let (slot, quiet) = slot.step(Input::Tick, at(561));
    let (_, third) = slot.step(Input::Tick, at(560 + 550));
    assert_eq!((notices(&quiet), notices(&third)), (0, 1));
}

#[test]
fn a_revoke_with_grace_ends_at_its_deadline_and_says_so_before() {
    let revoke = Input::Revoke {
        epoch: 2,
        reason: "Preempted".to_owned(),
        message: String::new(),
        grace: Duration::from_secs(30),
    };
    let (slot, outputs) = open(2).step(revoke, at(20));
    assert!(matches!(&outputs[..], [Output::Notice { reason: "Revoked", deadline, .. }] if deadline.as_secs() == 30));
    assert_eq!(end_of(slot, 21), (50, "Revoked".to_owned()));
}

#[test]
fn a_revoke_that_is_repeated_does_not_put_the_end_off_and_each_epoch_is_answered() {
    let revoke = |epoch, grace| Input::Revoke {
        epoch,
        reason: "Preempted".to_owned(),
        message: String::new(),
        grace: Duration::from_secs(grace),
    };
    let (slot, _) = open(2).step(revoke(3, 30), at(20));
    let (slot, outputs) = slot.step(revoke(3, 30), at(25));
    assert_eq!(outputs, vec![], "the user knows");
    let (slot, _) = slot.step(revoke(4, 60), at(26));
    assert_eq!(end_of(slot.clone(), 27), (50, "Revoked".to_owned()));
    let (_, outputs) = slot.step(Input::Reaped { status: "exit status: 0".to_owned() }, at(30));
    let released = |output: &Output| match output {
        Output::Say(News::Released { epoch, .. }) => Some(*epoch),
        _ => None,
    };
    assert_eq!(outputs.iter().filter_map(released).collect::<Vec<_>>(), vec![2, 3, 4]);
}
