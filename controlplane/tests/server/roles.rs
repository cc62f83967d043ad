//! Roles over HTTP: who may do what, who grants what, who acts as whom, and what each is told.

use http::StatusCode;
use serde_json::{Value, json};

use crate::harness::Api;
use crate::sample::{LEASES, MACHINES, created, lease, machine};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const CLUSTER_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

fn role(kind: &str, name: &str, rules: Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "rules": rules})
}

fn binding(kind: &str, name: &str, role: (&str, &str), user: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
        "subjects": [{"kind": "User", "name": user}],
    })
}

#[tokio::test]
async fn whoever_has_no_role_is_refused_before_it_learns_what_exists() {
    let api = Api::start().await;
    created(&api, MACHINES, machine("m1")).await;
    let said = |name: &str| {
        format!(
            "remotemachines.torchremote.dev \"{name}\" is forbidden: User \"bob\" cannot get resource \"remotemachines\" in API group \"torchremote.dev\" in the namespace \"default\""
        )
    };
    for name in ["m1", "absent"] {
        let (code, status) = api.send_as("bob", "GET", &format!("{MACHINES}/{name}"), Value::Null).await;
        assert_eq!((code, &status["message"]), (StatusCode::FORBIDDEN, &json!(said(name))));
        assert_eq!(status["details"], json!({"name": name, "group": "torchremote.dev", "kind": "remotemachines"}));
    }
    let (code, status) = api.send_as("bob", "GET", "/no/such/path", Value::Null).await;
    assert_eq!(
        (code, &status["message"]),
        (StatusCode::FORBIDDEN, &json!("forbidden: User \"bob\" cannot get path \"/no/such/path\""))
    );
    let (code, _) = api.get("/no/such/path").await;
    assert_eq!(code, StatusCode::NOT_FOUND, "who may ask for anything is told that there is nothing");
    let (code, status) = api.send_as("bob", "GET", "/apis/torchremote.dev/v1alpha1/remotemachines", Value::Null).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert!(status["message"].as_str().unwrap().ends_with("at the cluster scope"), "{status}");
}

#[tokio::test]
async fn a_role_counts_from_the_answer_on_that_says_it_was_given_and_until_it_is_taken() {
    let api = Api::start().await;
    for round in 0..5 {
        assert_eq!(api.send_as("ana", "GET", MACHINES, Value::Null).await.0, StatusCode::FORBIDDEN, "{round}");
        api.grant("ana", "viewer", "default").await;
        assert_eq!(api.send_as("ana", "GET", MACHINES, Value::Null).await.0, StatusCode::OK, "{round}");
        let taken = [format!("{BINDINGS}/ana-viewer"), format!("{BINDINGS}?fieldSelector=metadata.name%3Dana-viewer")];
        assert_eq!(api.send("DELETE", &taken[round % 2], json!({})).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn of_a_deletion_that_fails_half_way_what_was_taken_counts_from_the_answer_on() {
    let api = Api::start().await;
    let rules = json!([{"verbs": ["list"], "apiGroups": ["torchremote.dev"], "resources": ["remotemachines"]}]);
    for round in 0..5 {
        let first = created(&api, ROLES, role("Role", "a", rules.clone())).await;
        created(&api, ROLES, role("Role", "b", json!([]))).await;
        created(&api, BINDINGS, binding("RoleBinding", "x", ("Role", "a"), "ana")).await;
        assert_eq!(api.send_as("ana", "GET", MACHINES, Value::Null).await.0, StatusCode::OK, "{round}");
        let require = json!({"preconditions": {"resourceVersion": first["metadata"]["resourceVersion"]}});
        assert_eq!(
            api.send("DELETE", ROLES, require).await.0,
            StatusCode::CONFLICT,
            "of another version than the first"
        );
        assert_eq!(api.send_as("ana", "GET", MACHINES, Value::Null).await.0, StatusCode::FORBIDDEN, "{round}");
        for uri in [format!("{ROLES}/b"), format!("{BINDINGS}/x")] {
            assert_eq!(api.send("DELETE", &uri, json!({})).await.0, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn nobody_grants_what_it_does_not_have() {
    let api = Api::start().await;
    api.grant("ana", "team-admin", "default").await;
    let rules = |verbs: &[&str], resource: &str| json!([{"verbs": verbs, "apiGroups": ["torchremote.dev"], "resources": [resource]}]);
    let own = role("Role", "own", rules(&["get", "create"], "deviceleases"));
    let (code, body) = api.send_as("ana", "POST", ROLES, own).await;
    assert_eq!(code, StatusCode::CREATED, "{body}");
    let more = role("Role", "more", rules(&["get", "create", "delete"], "providers"));
    let (code, status) = api.send_as("ana", "POST", ROLES, more).await;
    let says = "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"ana\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"torchremote.dev\"], Resources:[\"providers\"], Verbs:[\"create\" \"delete\"]}";
    assert_eq!((code, &status["message"]), (StatusCode::FORBIDDEN, &json!(says)));
    let names: Vec<String> = (0..60_000).map(|index| format!("n{index}")).collect();
    let mut many = rules(&["get"], "deviceleases");
    many[0]["resourceNames"] = json!(names);
    let (code, status) = api.send_as("ana", "POST", ROLES, role("Role", "many", many)).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert!(status["message"].as_str().unwrap().contains("split it into several roles"), "{status}");
    let patched =
        api.send_as("ana", "PATCH", &format!("{ROLES}/own"), json!({"rules": rules(&["*"], "providers")})).await;
    assert_eq!(patched.0, StatusCode::FORBIDDEN, "{}", patched.1);
    let (code, body) =
        api.send_as("ana", "PATCH", &format!("{ROLES}/own"), json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(code, StatusCode::OK, "{body}");

    for (name, code) in [
        ("viewer", 201),
        ("user", 201),
        ("team-admin", 201),
        ("operator", 403),
        ("cluster-admin", 403),
        ("no-such", 404),
    ] {
        let (answered, body) =
            api.send_as("ana", "POST", BINDINGS, binding("RoleBinding", name, ("ClusterRole", name), "bob")).await;
        assert_eq!(answered.as_u16(), code, "{name}: {body}");
    }
    let (_, status) =
        api.send_as("ana", "POST", BINDINGS, binding("RoleBinding", "n", ("Role", "no-such"), "bob")).await;
    assert_eq!(status["message"], "roles.rbac.authorization.k8s.io \"no-such\" not found");
    let moved = json!({"roleRef": {"name": "cluster-admin"}});
    let (code, status) = api.send_as("ana", "PATCH", &format!("{BINDINGS}/viewer"), moved).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(status["message"].as_str().unwrap().ends_with("cannot change roleRef"), "{status}");
    let (code, _) = api
        .send_as("ana", "POST", CLUSTER_BINDINGS, binding("ClusterRoleBinding", "b", ("ClusterRole", "viewer"), "ana"))
        .await;
    assert_eq!(code, StatusCode::FORBIDDEN, "what one has in a namespace is not given everywhere");
}

#[tokio::test]
async fn who_may_bind_or_escalate_need_not_have_what_it_grants() {
    let api = Api::start().await;
    let rules = json!([
        {"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings", "roles"]},
        {"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["user"]},
        {"verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "resourceNames": ["wide"]},
    ]);
    created(&api, CLUSTER_ROLES, role("ClusterRole", "giver", rules)).await;
    api.grant("ana", "giver", "default").await;
    for (uri, body, code) in [
        (BINDINGS, binding("RoleBinding", "a", ("ClusterRole", "user"), "bob"), 201),
        (BINDINGS, binding("RoleBinding", "b", ("ClusterRole", "viewer"), "bob"), 403),
        (ROLES, role("Role", "wide", json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}])), 201),
        (ROLES, role("Role", "other", json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}])), 403),
    ] {
        let (answered, said) = api.send_as("ana", "POST", uri, body).await;
        assert_eq!(answered.as_u16(), code, "{said}");
    }
}

#[tokio::test]
async fn a_lease_is_its_holders_whatever_the_roles_say() {
    let api = Api::start().await;
    api.grant("ana", "user", "default").await;
    api.grant("bob", "operator", "").await;
    let (code, body) = api.send_as("ana", "POST", LEASES, lease("l1")).await;
    assert_eq!((code, &body["status"]["holder"]), (StatusCode::CREATED, &json!("ana")));
    for (method, uri, body) in [
        ("DELETE", format!("{LEASES}/l1"), json!({})),
        ("PATCH", format!("{LEASES}/l1"), json!({"spec": {"duration": "1m"}})),
        ("POST", format!("{LEASES}/l1/renew"), json!({})),
        ("POST", format!("{LEASES}/l1/token"), json!({})),
    ] {
        let (code, status) = api.send_as("bob", method, &uri, body).await;
        assert_eq!(code, StatusCode::FORBIDDEN, "{method} {uri}: {status}");
    }
    let (code, body) = api.send_as("ana", "PATCH", &format!("{LEASES}/l1"), json!({"spec": {"duration": "3h"}})).await;
    assert_eq!(code, StatusCode::OK, "{body}");
    assert_eq!(api.send_as("ana", "DELETE", &format!("{LEASES}/l1"), json!({})).await.0, StatusCode::OK);
}

#[tokio::test]
async fn who_may_impersonate_acts_as_the_other_with_its_rights_and_no_more() {
    let api = Api::start().await;
    api.grant("ana", "user", "default").await;
    let lease_as = async |token: &str, headers: &[(&str, &str)], name: &str| {
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
        let (code, _, body) = api.ask_with(token, "POST", LEASES, &headers, lease(name).to_string()).await;
        (code, body)
    };
    let (code, body) = lease_as(&api.token, &[("impersonate-user", "ana")], "l1").await;
    assert_eq!((code, &body["status"]["holder"]), (StatusCode::CREATED, &json!("ana")));
    let (code, _) = lease_as(&api.token, &[("impersonate-user", "eve")], "l2").await;
    assert_eq!(code, StatusCode::FORBIDDEN, "the administrator's own rights are laid down");
    let bob = api.token_of("bob");
    let (code, status) = lease_as(&bob, &[("impersonate-user", "ana")], "l3").await;
    let says = r#"users "ana" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope"#;
    assert_eq!((code, &status["message"]), (StatusCode::FORBIDDEN, &json!(says)));
    let (code, status) = lease_as(&api.token, &[("impersonate-group", "vision")], "l4").await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{status}");
}

#[tokio::test]
async fn what_one_may_do_is_answered_as_it_is_decided() {
    let api = Api::start().await;
    api.grant("ana", "user", "default").await;
    let reviews = "/apis/authorization.k8s.io/v1";
    let resource = |verb: &str, resource: &str, namespace: &str| json!({"verb": verb, "group": "torchremote.dev", "resource": resource, "namespace": namespace});
    for (attributes, allowed) in [
        (resource("create", "deviceleases", "default"), true),
        (resource("create", "deviceleases", "elsewhere"), false),
        (resource("create", "deviceleases", ""), false),
        (resource("create", "remotemachines", "default"), false),
        (resource("*", "*", "default"), false),
    ] {
        let question = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}});
        let (code, review) = api.send_as("ana", "POST", &format!("{reviews}/selfsubjectaccessreviews"), question).await;
        assert_eq!((code, &review["status"]["allowed"]), (StatusCode::CREATED, &json!(allowed)), "{review}");
        let question = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": "ana", "resourceAttributes": attributes}});
        let (code, review) = api.send("POST", &format!("{reviews}/subjectaccessreviews"), question.clone()).await;
        assert_eq!((code, &review["status"]["allowed"]), (StatusCode::CREATED, &json!(allowed)), "{review}");
        assert_eq!(
            api.send_as("ana", "POST", &format!("{reviews}/subjectaccessreviews"), question).await.0,
            StatusCode::FORBIDDEN
        );
    }
    let question = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": resource("*", "*", "")}});
    let (_, review) = api.send("POST", &format!("{reviews}/selfsubjectaccessreviews"), question).await;
    assert_eq!(review["status"]["allowed"], true);
    let local = format!("{reviews}/namespaces/default/localsubjectaccessreviews");
    for (namespace, code) in [("default", StatusCode::CREATED), ("elsewhere", StatusCode::UNPROCESSABLE_ENTITY)] {
        let spec = json!({"user": "ana", "resourceAttributes": resource("get", "devices", namespace)});
        let (answered, said) = api
            .send(
                "POST",
                &local,
                json!({"apiVersion": "authorization.k8s.io/v1", "kind": "LocalSubjectAccessReview", "spec": spec}),
            )
            .await;
        assert_eq!(answered, code, "{said}");
    }
}

#[tokio::test]
async fn a_start_brings_the_built_in_roles_up_to_date_unless_told_not_to() {
    let api = Api::start().await;
    let rules = |name: &str| {
        let uri = format!("{CLUSTER_ROLES}/{name}");
        let api = &api;
        async move { api.get(&uri).await.1["rules"].clone() }
    };
    let (viewer, user) = (rules("viewer").await, rules("user").await);
    let less = json!({"rules": []});
    for name in ["viewer", "user"] {
        assert_eq!(api.send("PATCH", &format!("{CLUSTER_ROLES}/{name}"), less.clone()).await.0, StatusCode::OK);
    }
    let keep = json!({"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}});
    assert_eq!(api.send("PATCH", &format!("{CLUSTER_ROLES}/user"), keep).await.0, StatusCode::OK);
    torch_remote::store::role::ensure(&api.objects).await.unwrap();
    assert_eq!(rules("viewer").await, viewer);
    assert_ne!(rules("user").await, user);
    let before = api.objects.version().await.unwrap();
    torch_remote::store::role::ensure(&api.objects).await.unwrap();
    assert_eq!(api.objects.version().await.unwrap(), before, "a start that changes nothing writes nothing");
}

#[tokio::test]
async fn an_apply_grants_no_more_than_a_create_and_makes_nothing_for_who_may_only_patch() {
    let api = Api::start().await;
    api.grant("ana", "team-admin", "default").await;
    let rules = json!([{"verbs": ["patch", "get"], "apiGroups": ["torchremote.dev"], "resources": ["remotemachines"]}]);
    created(&api, CLUSTER_ROLES, role("ClusterRole", "patcher", rules)).await;
    api.grant("bob", "patcher", "default").await;
    let apply = async |user: &str, uri: String, body: Value| {
        let headers = [("content-type", "application/apply-patch+yaml")];
        let uri = format!("{uri}?fieldManager=test");
        let (code, _, body) = api.ask_with(&api.token_of(user), "PATCH", &uri, &headers, body.to_string()).await;
        (code, body)
    };
    for (name, code) in [("viewer", 201), ("operator", 403), ("cluster-admin", 403)] {
        let wanted = binding("RoleBinding", name, ("ClusterRole", name), "ana");
        let (answered, body) = apply("ana", format!("{BINDINGS}/{name}"), wanted).await;
        assert_eq!(answered.as_u16(), code, "{name}: {body}");
    }
    let wide = role("Role", "wide", json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]));
    assert_eq!(apply("ana", format!("{ROLES}/wide"), wide).await.0, StatusCode::FORBIDDEN);
    let (code, status) = apply("bob", format!("{MACHINES}/m1"), machine("m1")).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    let says =
        "remotemachines.torchremote.dev \"m1\" is forbidden: User \"bob\" cannot create resource \"remotemachines\"";
    assert!(status["message"].as_str().unwrap().starts_with(says), "{status}");
    created(&api, MACHINES, machine("m1")).await;
    let (code, body) = apply("bob", format!("{MACHINES}/m1"), machine("m1")).await;
    assert_eq!(code, StatusCode::OK, "{body}");
}

#[tokio::test]
async fn an_operator_gets_no_rights_by_what_decides_over_rules_without_being_one() {
    let api = Api::start().await;
    created(&api, CLUSTER_BINDINGS, binding("ClusterRoleBinding", "bob", ("ClusterRole", "operator"), "bob")).await;
    let mut tools = role("ClusterRole", "tools", json!([]));
    tools["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"tools": "true"}}]});
    created(&api, CLUSTER_ROLES, tools).await;
    let all = format!("{CLUSTER_ROLES}/cluster-admin");
    let label = json!({"metadata": {"labels": {"tools": "true"}}});
    for (method, uri, body, what) in [
        ("PATCH", all.as_str(), label, "its label has another role take its rules up"),
        ("PATCH", &all, json!({"rules": []}), "the next start gives them back"),
        ("POST", CLUSTER_BINDINGS, binding("ClusterRoleBinding", "b", ("ClusterRole", "cluster-admin"), "bob"), "bind"),
        (
            "PATCH",
            &format!("{CLUSTER_BINDINGS}/cluster-admin"),
            json!({"subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}]}),
            "subjects",
        ),
    ] {
        let (code, status) = api.send_as("bob", method, uri, body).await;
        assert_eq!(code, StatusCode::FORBIDDEN, "{what}: {status}");
    }
    // Also when somebody who may has taken the rules away for now.
    assert_eq!(api.send("PATCH", &all, json!({"rules": []})).await.0, StatusCode::OK);
    let own = binding("ClusterRoleBinding", "b", ("ClusterRole", "cluster-admin"), "bob");
    assert_eq!(api.send_as("bob", "POST", CLUSTER_BINDINGS, own).await.0, StatusCode::FORBIDDEN);
    let (code, body) = api
        .send_as("bob", "PATCH", &format!("{CLUSTER_ROLES}/viewer"), json!({"metadata": {"labels": {"a": "b"}}}))
        .await;
    assert_eq!(code, StatusCode::OK, "whose rules bob has: {body}");
}
