use serde_json::{Value, json};

use super::*;
use crate::rbac::Target;

fn role(kind: &str, namespace: &str, name: &str, rules: Value) -> Value {
    json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}, "rules": rules})
}

fn binding(namespace: &str, name: &str, role: (&str, &str), subjects: Value) -> Value {
    let kind = if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
    let mut metadata = json!({"name": name});
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    json!({"kind": kind, "metadata": metadata, "roleRef": {"kind": role.0, "name": role.1}, "subjects": subjects})
}

fn reads(resource: &str) -> Value {
    json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": [resource]}])
}

fn decide(policy: &Policy, user: &str, groups: &[&str], verb: &str, (resource, namespace): (&str, &str)) -> Decision {
    let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    policy.decide(User { name: user, groups: &groups }, &Action::on(verb, ("", resource), namespace, ""))
}

fn sample() -> Policy {
    let objects = [
        role("ClusterRole", "", "reader", reads("things")),
        role("Role", "a", "reader", reads("secrets")),
        binding(
            "a",
            "team",
            ("ClusterRole", "reader"),
            json!([{"kind": "User", "name": "ana"}, {"kind": "Group", "name": "vision"}]),
        ),
        binding("a", "own", ("Role", "reader"), json!([{"kind": "ServiceAccount", "name": "bot"}])),
        binding(
            "",
            "all",
            ("ClusterRole", "reader"),
            json!([{"kind": "ServiceAccount", "name": "bot", "namespace": "b"}, {"kind": "ServiceAccount", "name": "lost"}]),
        ),
        binding("a", "dangling", ("Role", "gone"), json!([{"kind": "User", "name": "eve"}])),
    ];
    Policy::new(&objects)
}

#[test]
fn a_binding_counts_in_its_namespace_and_a_cluster_binding_everywhere() {
    let policy = sample();
    let bot = "system:serviceaccount:a:bot";
    let other = "system:serviceaccount:b:bot";
    for (user, groups, verb, what, allowed) in [
        ("ana", &[][..], "get", ("things", "a"), true),
        ("ana", &[], "get", ("things", "b"), false),
        ("ana", &[], "get", ("things", ""), false),
        ("ana", &[], "delete", ("things", "a"), false),
        ("bob", &["vision"], "list", ("things", "a"), true),
        ("vision", &[], "list", ("things", "a"), false),
        ("bob", &["ana"], "list", ("things", "a"), false),
        (bot, &[], "get", ("secrets", "a"), true),
        (bot, &[], "get", ("things", "a"), false),
        (other, &[], "get", ("things", "c"), true),
        (other, &[], "list", ("things", ""), true),
        ("system:serviceaccount::lost", &[], "get", ("things", "a"), false),
        ("nobody", &[], "get", ("things", "a"), false),
        ("root", &[MASTERS], "whatever", ("anything", ""), true),
    ] {
        assert_eq!(decide(&policy, user, groups, verb, what).allowed(), allowed, "{user} {groups:?} {verb} {what:?}");
    }
}

#[test]
fn the_reason_names_the_binding_or_the_role_that_does_not_exist() {
    let policy = sample();
    let says = |user, groups: &[&str], what| decide(&policy, user, groups, "get", what).reason().to_owned();
    assert_eq!(
        says("ana", &[], ("things", "a")),
        r#"RBAC: allowed by RoleBinding "team/a" of ClusterRole "reader" to User "ana""#
    );
    assert_eq!(
        says("system:serviceaccount:b:bot", &[], ("things", "z")),
        r#"RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "reader" to ServiceAccount "bot/b""#
    );
    assert_eq!(says("eve", &[], ("things", "a")), r#"RBAC: role.rbac.authorization.k8s.io "gone" not found"#);
    assert_eq!(says("bob", &[], ("things", "a")), "");
}

#[test]
fn without_any_object_nobody_but_a_master_may_do_anything() {
    let policy = Policy::new([]);
    assert!(!decide(&policy, "ana", &["system:authenticated"], "get", ("things", "a")).allowed());
    let broken =
        json!({"kind": "ClusterRoleBinding", "metadata": {"name": "x"}, "subjects": [{"kind": "User", "name": "ana"}]});
    assert!(!decide(&Policy::new([&broken]), "ana", &[], "get", ("things", "a")).allowed());
}

#[test]
fn a_cluster_role_takes_up_those_with_such_labels() {
    let mut part = role("ClusterRole", "", "part", reads("things"));
    part["metadata"]["labels"] = json!({"into": "whole"});
    let mut whole = role("ClusterRole", "", "whole", json!([]));
    whole["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"into": "whole"}}]});
    let bound = binding("", "b", ("ClusterRole", "whole"), json!([{"kind": "User", "name": "ana"}]));
    let policy = Policy::new([&whole, &part, &bound]);
    assert!(decide(&policy, "ana", &[], "get", ("things", "")).allowed());
    part["metadata"]["labels"] = json!({"into": "other"});
    let policy = Policy::new([&whole, &part, &bound]);
    assert!(!decide(&policy, "ana", &[], "get", ("things", "")).allowed());
}

#[test]
fn nobody_grants_what_it_does_not_have() {
    let policy = sample();
    let ana = User { name: "ana", groups: &["x".to_owned(), "y".to_owned()] };
    let wanted = |value| serde_json::from_value::<Vec<PolicyRule>>(value).expect("rules");
    assert_eq!(policy.may_grant(ana, "a", &wanted(reads("things"))), Ok(()));
    let refused = policy.may_grant(ana, "a", &wanted(reads("secrets"))).unwrap_err();
    assert_eq!(
        refused,
        "user \"ana\" (groups=[\"x\" \"y\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}"
    );
    assert!(policy.may_grant(ana, "b", &wanted(reads("things"))).is_err(), "held in another namespace");
    let root = User { name: "root", groups: &[MASTERS.to_owned()] };
    let everything =
        json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    assert_eq!(policy.may_grant(root, "", &wanted(everything)), Ok(()));
}

#[test]
fn paths_are_for_the_whole_cluster() {
    let rules = json!([{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]);
    let objects = [
        role("ClusterRole", "", "metrics", rules),
        binding("a", "in", ("ClusterRole", "metrics"), json!([{"kind": "User", "name": "ana"}])),
        binding("", "all", ("ClusterRole", "metrics"), json!([{"kind": "User", "name": "bob"}])),
    ];
    let policy = Policy::new(&objects);
    let asks =
        |name| policy.decide(User { name, groups: &[] }, &Action { verb: "get", target: Target::Path("/metrics") });
    assert!(!asks("ana").allowed());
    assert!(asks("bob").allowed());
}
