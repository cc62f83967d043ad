use serde_json::{Value, json};

use super::*;
use crate::rbac::Target;

fn role(kind: &str, namespace: &str, name: &str, rules: Value) -> Value {
    json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}, "rules": rules})
}

/// A ClusterRole labelled `into: ..`, that takes up those labelled `into: NAME`.
fn taker(name: &str, into: &str) -> Value {
    let mut taker = role("ClusterRole", "", name, json!([]));
    taker["metadata"]["labels"] = json!({"into": into});
    taker["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"into": name}}]});
    taker
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
    let mut whole = taker("whole", "");
    whole["rules"] = reads("secrets");
    let bound = binding("", "b", ("ClusterRole", "whole"), json!([{"kind": "User", "name": "ana"}]));
    let policy = Policy::new([&whole, &part, &bound]);
    assert!(decide(&policy, "ana", &[], "get", ("things", "")).allowed());
    assert!(!decide(&policy, "ana", &[], "get", ("secrets", "")).allowed(), "what it says itself does not count");
    part["metadata"]["labels"] = json!({"into": "other"});
    let policy = Policy::new([&whole, &part, &bound]);
    assert!(!decide(&policy, "ana", &[], "get", ("things", "")).allowed());
}

#[test]
fn a_cluster_role_takes_up_what_those_take_up_that_it_does_and_a_circle_ends() {
    let mut leaf = role("ClusterRole", "", "leaf", reads("things"));
    leaf["metadata"]["labels"] = json!({"into": "low"});
    let mut other = role("ClusterRole", "", "other", reads("secrets"));
    other["metadata"]["labels"] = json!({"into": "top"});
    let bound = |role| binding("", role, ("ClusterRole", role), json!([{"kind": "User", "name": role}]));
    let (top, middle, low) = (taker("top", "low"), taker("middle", "top"), taker("low", "middle"));
    let objects = [&bound("top"), &top, &leaf, &bound("low"), &middle, &low, &other, &bound("middle")];
    let mut policy = Policy::new(objects);
    for user in ["top", "middle", "low"] {
        for resource in ["things", "secrets"] {
            assert!(decide(&policy, user, &[], "get", (resource, "")).allowed(), "{user} {resource}");
        }
    }
    let rules = policy.rules_of(User { name: "top", groups: &[] }, "");
    assert_eq!(rules.iter().map(|rules| rules.len()).sum::<usize>(), 2, "each rule once: {rules:?}");
    policy.change([Change::Gone(&middle)]);
    assert!(!decide(&policy, "top", &[], "get", ("things", "")).allowed(), "nothing leads there any more");
    assert!(decide(&policy, "top", &[], "get", ("secrets", "")).allowed());
    assert!(decide(&policy, "low", &[], "get", ("things", "")).allowed());
}

#[test]
fn a_policy_that_followed_changes_is_one_of_the_objects_there_are() {
    let subjects = |name: &str| json!([{"kind": "User", "name": name}, {"kind": "Group", "name": "vision"}, {"kind": "User", "name": name}]);
    let mut part = role("ClusterRole", "", "part", reads("parts"));
    part["metadata"]["labels"] = json!({"into": "reader"});
    let versions = [
        [
            role("ClusterRole", "", "reader", reads("things")),
            taker("reader", ""),
            role("ClusterRole", "", "reader", reads("others")),
        ],
        [part.clone(), role("ClusterRole", "", "part", reads("parts")), part],
        [
            role("Role", "a", "own", reads("secrets")),
            role("Role", "a", "own", json!([])),
            role("Role", "a", "own", reads("others")),
        ],
        ["ana", "bob", "eve"].map(|name| binding("a", "b", ("ClusterRole", "reader"), subjects(name))),
        ["bob", "eve", "ana"].map(|name| binding("a", "c", ("Role", "own"), subjects(name))),
        ["eve", "ana", "bob"].map(|name| binding("", "b", ("ClusterRole", "part"), subjects(name))),
    ];
    let mut random = 7_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).expect("31 bits") % below
    };
    let (mut policy, mut there) = (Policy::default(), [None; 6]);
    for step in 0..500 {
        let (which, version) = (next(6), next(4));
        let change = match (versions[which].get(version), there[which]) {
            (Some(object), _) => Change::Is(object),
            (None, Some(object)) => Change::Gone(object),
            (None, None) => continue,
        };
        there[which] = versions[which].get(version);
        policy.change([change]);
        let anew = Policy::new(there.into_iter().flatten());
        for user in ["ana", "bob", "eve", "zoe"] {
            for (resource, namespace) in
                [("things", "a"), ("parts", "a"), ("secrets", "a"), ("others", ""), ("parts", "b")]
            {
                let asked = |policy| decide(policy, user, &["vision"], "get", (resource, namespace));
                assert_eq!(asked(&policy), asked(&anew), "step {step}: {user} {resource} {namespace}");
            }
        }
    }
    policy.change(there.into_iter().flatten().map(Change::Gone));
    assert_eq!(format!("{policy:?}"), format!("{:?}", Policy::default()), "nothing is left behind");
}

#[test]
fn nobody_grants_what_it_does_not_have() {
    let policy = sample();
    let ana = User { name: "ana", groups: &["x".to_owned(), "y".to_owned()] };
    let may_grant = |user: User<'_>, namespace: &str, wanted: Value| {
        let wanted: Vec<PolicyRule> = serde_json::from_value(wanted).expect("rules");
        may_grant(user, &policy.rules_of(user, namespace), &wanted)
    };
    assert_eq!(may_grant(ana, "a", reads("things")), Ok(()));
    let refused = may_grant(ana, "a", reads("secrets")).unwrap_err();
    assert_eq!(
        refused,
        "user \"ana\" (groups=[\"x\" \"y\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}"
    );
    assert!(may_grant(ana, "b", reads("things")).is_err(), "held in another namespace");
    let root = User { name: "root", groups: &[MASTERS.to_owned()] };
    let everything =
        json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    assert_eq!(may_grant(root, "", everything), Ok(()));
    // A few hundred kilobytes that would be a thousand million rights.
    let names = |letter: &str| (0..1000).map(|index| format!("{letter}{index}")).collect::<Vec<_>>();
    let many = json!([{"verbs": names("v"), "apiGroups": [""], "resources": names("r"), "resourceNames": names("n")}]);
    let refused = may_grant(root, "", many).unwrap_err();
    assert!(refused.contains("more than 50000 rights") && refused.contains("split it"), "{refused}");
    let as_many_as_may_be = json!([{"verbs": ["get"], "apiGroups": [""], "resources": vec!["things"; 50_000]}]);
    assert_eq!(may_grant(ana, "a", as_many_as_may_be), Ok(()));
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
