use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use torch_remote_api::rbac::{Action, User};

use super::*;

fn object(kind: &str, namespace: &str, more: Value) -> Value {
    let mut object = json!({"kind": kind, "metadata": {"name": "x", "namespace": namespace}});
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// A right moves from a ClusterRole to a Role and back, each time at once: whoever has both roles has it at any time.
#[test]
fn roles_of_all_kinds_are_judged_as_of_one_version() {
    let cache = WatchCache::new();
    let binding = |name: &str, kind: &str| {
        let mut binding = object(
            "RoleBinding",
            "a",
            json!({"roleRef": {"kind": kind, "name": "x"}, "subjects": [{"kind": "User", "name": "ana"}]}),
        );
        binding["metadata"]["name"] = name.into();
        State::from_body(Key::new(Resource::ROLE_BINDINGS, "a", name), &binding)
    };
    let right = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["things"]}]);
    let roles = |first: bool| {
        let rules = |has: bool| json!({"rules": if has { right.clone() } else { json!([]) }});
        let cluster = (Key::cluster(Resource::CLUSTER_ROLES, "x"), object("ClusterRole", "", rules(first)));
        let roles = [cluster, (Key::new(Resource::ROLES, "a", "x"), object("Role", "a", rules(!first)))];
        roles.map(|(key, body)| State::from_body(key, &body))
    };
    let start: Vec<_> = [binding("b", "ClusterRole"), binding("c", "Role")].into_iter().chain(roles(true)).collect();
    cache.reset(start, 1);
    let (ended, asked) = (AtomicBool::new(false), Action::on("get", ("", "things"), "a", ""));
    let decided = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let decision = cache.policies().decide(User { name: "ana", groups: &[] }, &asked);
                assert!(decision.allowed(), "{}", decision.reason());
                decided.fetch_add(1, Ordering::Relaxed);
            }
        });
        let wait_for_more_than = |before: usize| {
            while decided.load(Ordering::Relaxed) <= before && !reader.is_finished() {
                std::thread::yield_now();
            }
        };
        wait_for_more_than(0);
        let before = decided.load(Ordering::Relaxed);
        for version in 2..5000 {
            let logged = roles(version % 2 == 0).map(|state| Logged {
                version,
                before: None,
                after: Arc::new(state),
                deleted: false,
            });
            cache.apply(logged.into(), version);
            // However busy the machine is, some are decided in the midst of the changes.
            if version == 2500 {
                wait_for_more_than(before);
            }
        }
        let during = decided.load(Ordering::Relaxed) - before;
        assert!(during > 0 || reader.is_finished(), "nothing was asked while the roles changed");
        ended.store(true, Ordering::Relaxed);
    });
}

/// A change of one machine, with so many bytes in it.
fn changed(version: i64, bytes: usize) -> Logged {
    let body = object("RemoteMachine", "default", json!({"spec": {"filler": "x".repeat(bytes)}}));
    let after = Arc::new(State::from_body(Key::new(Resource::MACHINES, "default", "x"), &body));
    Logged { version, before: None, after, deleted: false }
}

#[test]
fn of_large_objects_less_history_is_kept_and_who_is_behind_by_more_is_cut_off() {
    let cache = WatchCache::new();
    cache.reset(vec![], 1);
    let (mut slow, mut fast) = (cache.subscribe(Resource::MACHINES), cache.subscribe(Resource::MACHINES));
    for version in 2..100 {
        cache.apply(vec![changed(version, 1 << 20)], version);
        assert_eq!(fast.waiting().unwrap().map(|change| change.version), Some(version));
    }
    assert_eq!(slow.waiting(), Err(Ended::Lagged));
    let (resumed, floor) = cache.resume_from_ring(Resource::MACHINES, 1);
    let kept: usize = resumed.backlog.iter().map(|change| change.bytes()).sum();
    assert!((RING_BYTES / 2..=RING_BYTES).contains(&kept), "{kept} bytes");
    assert_eq!(resumed.backlog.first().map(|oldest| oldest.version), Some(floor + 1), "below that the log is read");
}

#[test]
fn a_bookmark_covers_what_was_seen_and_what_is_of_other_kinds_and_nothing_that_waits() {
    let cache = WatchCache::new();
    cache.reset(vec![], 1);
    let mut watcher = cache.subscribe(Resource::MACHINES);
    assert_eq!(watcher.progress(), Some(1));
    cache.apply(vec![changed(2, 1)], 2);
    assert_eq!(watcher.progress(), None, "a change waits");
    watcher.waiting().unwrap().unwrap();
    assert_eq!(watcher.progress(), Some(2));
    cache.apply(vec![], 7);
    assert_eq!(
        watcher.progress(),
        Some(7),
        "others' changes are no news to it, and it need not resume from before them"
    );
    cache.reset(vec![], 1_000_000_007);
    assert_eq!(watcher.progress(), None, "it has not seen what came between");
    assert_eq!(watcher.waiting(), Err(Ended::Reset));
}
