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
