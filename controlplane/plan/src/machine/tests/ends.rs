//! The ends of a machine: idle, out of time, replaced, deleted.

use torch_remote_api::condition::Truth;

use super::super::*;
use super::world::{World, at, desired};

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
