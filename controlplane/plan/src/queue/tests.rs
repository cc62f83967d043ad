use proptest::prelude::*;

use super::*;
use crate::lease::Fit;

fn at(second: i64) -> Time {
    chrono::DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a valid second")
}

fn waiting(name: &str, age: i64, gpu: GpuType, count: u32, exclusive: bool) -> Waiting {
    Waiting {
        lease: Uid(name.to_owned()),
        namespace: "default".to_owned(),
        head: false,
        not_before: None,
        priority: 0,
        created_at: at(age),
        alternatives: vec![Ask { gpu, count, memory: None }],
        exclusive,
        machine: None,
        pool: None,
    }
}

fn machine(name: &str, gpu: GpuType, count: u32, slots_per_gpu: u32) -> Machine {
    let slots = (0..count * slots_per_gpu).map(|slot| Slot {
        slot,
        gpu: slot / slots_per_gpu,
        epoch: Epoch(7),
        free: true,
        warm: true,
    });
    Machine {
        uid: Uid(format!("uid-{name}")),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        gpu,
        count,
        slots_per_gpu,
        memory: None,
        allowed: vec![],
        never: None,
        pool: None,
        made_for: None,
        ready: true,
        slots: slots.collect(),
    }
}

fn placed(plan: &Plan) -> Vec<(&str, Vec<u32>)> {
    plan.placements
        .iter()
        .map(|placement| (placement.lease.0.as_str(), placement.slots.iter().map(|slot| slot.slot).collect()))
        .collect()
}

#[test]
fn the_older_of_two_gets_the_slot_and_the_other_is_told_its_place() {
    let plan = plan(
        &[waiting("young", 2, GpuType::Cpu, 1, true), waiting("old", 1, GpuType::Cpu, 1, true)],
        &[machine("m", GpuType::Cpu, 1, 1)],
        &[],
        at(9),
    );
    assert_eq!(placed(&plan), [("old", vec![0])]);
    assert_eq!(plan.placements[0].slots[0].epoch, Epoch(7));
    assert_eq!(
        (plan.places[0].0.0.as_str(), plan.places[0].1.position, plan.places[0].1.reason.as_str()),
        ("young", 1, "Waiting")
    );
}

#[test]
fn a_lease_that_was_put_back_goes_first() {
    let back = Waiting { head: true, ..waiting("back", 5, GpuType::Cpu, 1, true) };
    let plan = plan(&[waiting("old", 1, GpuType::Cpu, 1, true), back], &[machine("m", GpuType::Cpu, 1, 1)], &[], at(9));
    assert_eq!(placed(&plan), [("back", vec![0])]);
}

#[test]
fn an_exclusive_lease_takes_every_slot_of_its_gpus_and_a_shared_one_packs() {
    let machines = [machine("m", GpuType::Cpu, 2, 2)];
    let leases = [
        waiting("s1", 1, GpuType::Cpu, 1, false),
        waiting("s2", 2, GpuType::Cpu, 1, false),
        waiting("x", 3, GpuType::Cpu, 1, true),
    ];
    assert_eq!(placed(&plan(&leases, &machines, &[], at(9))), [("s1", vec![0]), ("s2", vec![1]), ("x", vec![2, 3])]);
}

#[test]
fn a_big_lease_is_not_starved_by_small_ones_behind_it() {
    let mut busy = machine("m", GpuType::Cpu, 2, 1);
    busy.slots[0].free = false;
    let leases = [waiting("big", 1, GpuType::Cpu, 2, true), waiting("small", 2, GpuType::Cpu, 1, true)];
    assert_eq!(placed(&plan(&leases, &[busy.clone()], &[], at(9))), []);
    let other = machine("n", GpuType::Cpu, 1, 1);
    assert_eq!(
        placed(&plan(&leases, &[busy, other], &[], at(9))),
        [("small", vec![0])],
        "a machine the big one can not use stays open"
    );
}

#[test]
fn an_unregistered_machine_is_wanted_and_waited_for() {
    let empty = Machine { slots: vec![], ready: false, ..machine("m", GpuType::Cpu, 1, 1) };
    let plan = plan(&[waiting("a", 1, GpuType::Cpu, 1, true)], &[empty], &[], at(9));
    assert_eq!(plan.places[0].1.reason, "Launching");
    assert!(plan.wanted.contains(&Uid("uid-m".to_owned())));
}

#[test]
fn another_namespace_needs_to_be_allowed() {
    let foreign = Waiting { namespace: "team-b".to_owned(), ..waiting("a", 1, GpuType::Cpu, 1, true) };
    let mut shared = machine("m", GpuType::Cpu, 1, 1);
    let Fit::Never { exists } = fit(&foreign, &[shared.clone()], &[]) else { panic!("not allowed") };
    assert_eq!(
        exists,
        "nothing offers 1 CPU to namespace team-b; there are no machines for it; apply a RemoteMachine first"
    );
    shared.allowed = vec!["team-b".to_owned()];
    assert_eq!(fit(&foreign, &[shared.clone()], &[]), Fit::Possible);
    shared.allowed = vec!["*".to_owned()];
    assert_eq!(fit(&foreign, &[shared], &[]), Fit::Possible);
}

#[test]
fn what_can_never_be_satisfied_says_what_exists() {
    let machines = [machine("m", GpuType::Cpu, 1, 1), machine("n", GpuType::T4, 2, 1)];
    let Fit::Never { exists } = fit(&waiting("a", 1, GpuType::H100, 1, true), &machines, &[]) else {
        panic!("there is no H100")
    };
    assert_eq!(
        exists,
        "nothing offers 1 H100 to namespace default; there are default/m (1 CPU), default/n (2 T4); ask for one of these, or apply another RemoteMachine"
    );
    let named =
        Waiting { machine: Some(("default".to_owned(), "m".to_owned())), ..waiting("a", 1, GpuType::Cpu, 2, true) };
    let Fit::Never { exists } = fit(&named, &machines, &[]) else { panic!("m has one") };
    assert_eq!(
        exists,
        "machine default/m has 1 CPU, and the lease asks for 2 CPU; ask for what it has, or name another machine"
    );
    let over = Machine { never: Some("Expired".to_owned()), ..machine("m", GpuType::Cpu, 1, 1) };
    assert!(
        matches!(fit(&waiting("a", 1, GpuType::Cpu, 1, true), &[over], &[]), Fit::Never { exists } if exists.contains("Expired"))
    );
}

#[test]
fn a_machine_is_made_once_for_a_lease_that_nothing_serves() {
    let offer = Offer {
        provider: "cloud".to_owned(),
        gpus: vec![GpuType::H100],
        max_count: 2,
        namespaces: vec!["default".to_owned()],
        room: true,
    };
    let lease = waiting("a", 1, GpuType::H100, 2, true);
    let machines = [machine("m", GpuType::Cpu, 1, 1)];
    assert!(matches!(fit(&lease, &machines, &[]), Fit::Never { .. }));
    let first = plan(std::slice::from_ref(&lease), &machines, std::slice::from_ref(&offer), at(9));
    assert_eq!(
        (first.makes[0].provider.as_str(), first.makes[0].count, first.places[0].1.reason.as_str()),
        ("cloud", 2, "Launching")
    );
    let made = Machine {
        made_for: Some(lease.lease.clone()),
        ready: false,
        slots: vec![],
        ..machine("auto", GpuType::H100, 2, 1)
    };
    let second = plan(std::slice::from_ref(&lease), std::slice::from_ref(&made), std::slice::from_ref(&offer), at(9));
    assert_eq!(second.makes, []);
    let failed = Machine { never: Some("5 attempts failed".to_owned()), ..made };
    assert!(
        matches!(fit(&lease, &[failed], std::slice::from_ref(&offer)), Fit::Never { exists } if exists.contains("5 attempts failed"))
    );
    let full = Offer { room: false, ..offer.clone() };
    let third = plan(std::slice::from_ref(&lease), &machines, &[full], at(9));
    assert_eq!((third.makes, third.places[0].1.reason.as_str()), (vec![], "Waiting"));
    let foreign = Waiting { namespace: "team-b".to_owned(), ..lease };
    assert!(matches!(fit(&foreign, &machines, &[offer]), Fit::Never { .. }));
}

#[test]
fn two_leases_do_not_wait_for_one_start() {
    let offer = Offer {
        provider: "cloud".to_owned(),
        gpus: vec![GpuType::T4],
        max_count: 1,
        namespaces: vec!["*".to_owned()],
        room: true,
    };
    let starting = Machine { slots: vec![], ready: false, ..machine("m", GpuType::T4, 1, 1) };
    let leases = [waiting("a", 1, GpuType::T4, 1, true), waiting("b", 2, GpuType::T4, 1, true)];
    let plan = plan(&leases, &[starting], &[offer], at(9));
    assert_eq!(plan.makes.iter().map(|make| make.lease.0.as_str()).collect::<Vec<_>>(), ["b"]);
}

fn scene() -> impl Strategy<Value = (Vec<Waiting>, Vec<Machine>)> {
    let one_machine = (0..2_usize, 1..4_u32, 1..3_u32, proptest::collection::vec(any::<bool>(), 8))
        .prop_map(|(gpu, count, per, free)| ([GpuType::Cpu, GpuType::T4][gpu], count, per, free));
    let machines = proptest::collection::vec(one_machine, 0..4).prop_map(|all| {
        let make = |(index, (gpu, count, per, free)): (usize, (GpuType, u32, u32, Vec<bool>))| {
            let mut machine = machine(&format!("m{index}"), gpu, count, per);
            machine.slots.iter_mut().zip(free).for_each(|(slot, free)| slot.free = free);
            machine
        };
        all.into_iter().enumerate().map(make).collect()
    });
    let one_lease = (0..2_usize, 1..3_u32, any::<bool>(), 0..5_i64, -1..2_i32, any::<bool>());
    let leases = proptest::collection::vec(one_lease, 0..10).prop_map(|all| {
        let make =
            |(index, (gpu, count, exclusive, age, priority, head)): (usize, (usize, u32, bool, i64, i32, bool))| {
                Waiting {
                    priority,
                    head,
                    ..waiting(&format!("l{index}"), age, [GpuType::Cpu, GpuType::T4][gpu], count, exclusive)
                }
            };
        all.into_iter().enumerate().map(make).collect()
    });
    (leases, machines)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws_of_the_queue((leases, machines) in scene()) {
        let first = plan(&leases, &machines, &[], at(9));
        prop_assert_eq!(&first, &plan(&leases, &machines, &[], at(9)), "repeatable");
        let mut given = BTreeSet::new();
        for placement in &first.placements {
            let lease = leases.iter().find(|lease| lease.lease == placement.lease).expect("a lease of the queue");
            let machine = machines.iter().find(|machine| machine.uid == placement.slots[0].machine).expect("a machine there is");
            let mut gpus = BTreeSet::new();
            for slot in &placement.slots {
                let there = machine.slots.iter().find(|other| other.slot == slot.slot).expect("a slot of that machine");
                prop_assert!(there.free && there.epoch == slot.epoch);
                prop_assert!(given.insert((slot.machine.clone(), slot.slot)), "a slot given twice");
                gpus.insert(there.gpu);
            }
            prop_assert_eq!(gpus.len(), lease.alternatives[0].count as usize);
            prop_assert_eq!(placement.slots.len(), gpus.len() * if lease.exclusive { machine.slots_per_gpu as usize } else { 1 });
        }
        // Fixpoint: with what was placed applied, nothing more is placed.
        let mut after = machines.clone();
        for slot in after.iter_mut().flat_map(|machine| { let uid = machine.uid.clone(); machine.slots.iter_mut().map(move |slot| (uid.clone(), slot)) }) {
            if given.contains(&(slot.0, slot.1.slot)) { slot.1.free = false; }
        }
        let left: Vec<Waiting> = leases.iter().filter(|lease| first.placements.iter().all(|placement| placement.lease != lease.lease)).cloned().collect();
        let second = plan(&left, &after, &[], at(9));
        prop_assert_eq!(second.placements, vec![], "fixpoint");
        prop_assert_eq!(second.places, first.places);
    }
}

#[test]
fn a_lease_of_a_pool_takes_a_machine_of_it_and_no_other() {
    let mut lease = waiting("l", 1, GpuType::Cpu, 1, true);
    lease.pool = Some(("default".to_owned(), "train".to_owned()));
    let mut member = machine("train-0", GpuType::Cpu, 1, 1);
    let other = machine("a", GpuType::Cpu, 1, 1);
    let Fit::Never { exists } = fit(&lease, std::slice::from_ref(&other), &[]) else { panic!("it has no machine") };
    assert!(exists.starts_with("machine pool default/train has no machines"), "{exists}");
    member.pool = Some("train".to_owned());
    let plan = plan(std::slice::from_ref(&lease), &[other, member.clone()], &[], at(9));
    assert_eq!(plan.placements[0].slots[0].machine, member.uid);
    lease.namespace = "vision".to_owned();
    let Fit::Never { exists } = fit(&lease, &[member], &[]) else { panic!("it is not for vision") };
    assert!(exists.contains("is not for namespace vision"), "{exists}");
}
