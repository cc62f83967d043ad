//! How a machine reads to tools that know only the conventions of status.

use torch_remote_api::condition::{self, Truth};

use super::super::*;
use super::world::{World, desired};

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
