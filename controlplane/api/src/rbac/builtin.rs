//! The roles every installation has, and who has them from the start. `docs/roles.md` says the same for people.

use serde_json::{Value, json};

use super::{AUTHENTICATED, GROUP, MASTERS};

/// Annotation of objects that each start brings up to date, unless it says `false`.
pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Looks, in a namespace or everywhere; no secrets, no roles, no audit.
pub const VIEWER: &str = "viewer";
/// A viewer who also leases devices.
pub const USER: &str = "user";
/// A user who also has the machines, secrets, service accounts and roles of a namespace.
pub const TEAM_ADMIN: &str = "team-admin";
/// A team-admin who also has what lies in no namespace: providers, quotas, namespaces, roles; reads the audit.
pub const OPERATOR: &str = "operator";

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];
const PRODUCT: &str = "torchremote.dev";

/// The ClusterRoles and ClusterRoleBindings.
pub fn objects() -> Vec<Value> {
    let (star, paths) = (json!(["*"]), |urls: &[&str]| json!({"verbs": ["get"], "nonResourceURLs": urls}));
    let everything =
        json!([{"verbs": star, "apiGroups": star, "resources": star}, {"verbs": star, "nonResourceURLs": star}]);
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let monitoring = ["/healthz", "/livez", "/metrics", "/readyz"];
    let about_oneself = json!([
        rule(&["create"], "authentication.k8s.io", &["selfsubjectreviews"]),
        rule(&["create"], "authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
    ]);
    vec![
        role("cluster-admin", everything),
        role("system:discovery", json!([paths(&discovery)])),
        role("system:basic-user", about_oneself),
        role("system:monitoring", json!([paths(&monitoring)])),
        role(VIEWER, viewer().into()),
        role(USER, user().into()),
        role(TEAM_ADMIN, team_admin().into()),
        role(OPERATOR, operator().into()),
        binding("cluster-admin", MASTERS),
        binding("system:discovery", AUTHENTICATED),
        binding("system:basic-user", AUTHENTICATED),
        binding("system:monitoring", "system:monitoring"),
    ]
}

fn viewer() -> Vec<Value> {
    let product = [
        "devices",
        "deviceleases",
        "deviceleases/status",
        "gpuquotas",
        "gpuquotas/status",
        "machinepools",
        "machinepools/scale",
        "machinepools/status",
        "providers",
        "providers/status",
        "remotemachines",
        "remotemachines/status",
        "tensors",
    ];
    vec![
        rule(&READ, PRODUCT, &product),
        rule(&READ, "", &["events", "namespaces", "namespaces/status", "serviceaccounts", "services"]),
        rule(&READ, "events.k8s.io", &["events"]),
        rule(&READ, "apiextensions.k8s.io", &["customresourcedefinitions", "customresourcedefinitions/status"]),
    ]
}

fn user() -> Vec<Value> {
    let own = [
        rule(&WRITE, PRODUCT, &["deviceleases"]),
        rule(&["create"], PRODUCT, &["deviceleases/renew", "deviceleases/token"]),
    ];
    viewer().into_iter().chain(own).collect()
}

fn team_admin() -> Vec<Value> {
    let own = [
        rule(&WRITE, PRODUCT, &["machinepools", "remotemachines"]),
        rule(&["patch", "update"], PRODUCT, &["machinepools/scale"]),
        rule(&READ, "", &["secrets"]),
        rule(&WRITE, "", &["secrets", "serviceaccounts"]),
        rule(&["create"], "", &["serviceaccounts/token"]),
        rule(&READ, GROUP, &["rolebindings", "roles"]),
        rule(&WRITE, GROUP, &["rolebindings", "roles"]),
        rule(&["create"], "authorization.k8s.io", &["localsubjectaccessreviews"]),
    ];
    user().into_iter().chain(own).collect()
}

fn operator() -> Vec<Value> {
    let own = [
        rule(&WRITE, PRODUCT, &["gpuquotas", "providers"]),
        rule(&["get", "list"], PRODUCT, &["auditevents"]),
        rule(&WRITE, "", &["namespaces"]),
        rule(&["create", "patch", "update"], "", &["events"]),
        rule(&READ, GROUP, &["clusterrolebindings", "clusterroles"]),
        rule(&WRITE, GROUP, &["clusterrolebindings", "clusterroles"]),
        rule(&["create"], "authorization.k8s.io", &["subjectaccessreviews"]),
        rule(&["create"], "authentication.k8s.io", &["tokenreviews"]),
        // What it may hand on to others: it grants no more than it has.
        rule(&["create"], "authentication.k8s.io", &["selfsubjectreviews"]),
        rule(&["create"], "authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
        json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]}),
    ];
    team_admin().into_iter().chain(own).collect()
}

fn rule(verbs: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": resources})
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    })
}

fn role(name: &str, rules: Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": metadata(name), "rules": rules})
}

/// Binds the role to a group under its own name.
fn binding(name: &str, group: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata(name),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": group}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use crate::rbac::{Action, Policy, PolicyRule, User, rule::missing};

    fn rules(name: &str) -> Vec<PolicyRule> {
        let role = objects().into_iter().find(|object| object["metadata"]["name"] == name).expect("a role");
        serde_json::from_value(role["rules"].clone()).expect("rules")
    }

    #[test]
    fn each_role_has_what_the_one_below_has() {
        for (above, below) in [(USER, VIEWER), (TEAM_ADMIN, USER), (OPERATOR, TEAM_ADMIN), ("cluster-admin", OPERATOR)]
        {
            let held = rules(above);
            assert!(missing(&held.iter().collect::<Vec<_>>(), &rules(below)).is_empty(), "{above} {below}");
            let held = rules(below);
            assert!(!missing(&held.iter().collect::<Vec<_>>(), &rules(above)).is_empty(), "{above} {below}");
        }
    }

    #[test]
    fn all_are_as_validation_wants_them() {
        for mut object in objects() {
            let kind = crate::by_kind(GROUP, object["kind"].as_str().expect("a kind")).expect("registered");
            let before = object.clone();
            kind.default(&mut object);
            assert_eq!(object, before, "defaults would change it at each start");
            assert_eq!(kind.validate(&object, None), [], "{object}");
            assert!(kind.unknown_fields(&object).is_empty());
        }
    }

    #[test]
    fn a_viewer_sees_every_kind_but_secrets_roles_and_the_audit() {
        let mut all = objects();
        all.push(json!({"kind": "ClusterRoleBinding", "metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": VIEWER}, "subjects": [{"kind": "User", "name": "ana"}]}));
        let policy = Policy::new(&all);
        for kind in kinds().iter().filter(|kind| kind.served) {
            let hidden = kind.group == GROUP || ["secrets", "auditevents"].contains(&kind.plural);
            for verb in READ {
                let action = Action::on(verb, (kind.group, kind.plural), "", "");
                let decision = policy.decide(User { name: "ana", groups: &[] }, &action);
                assert_eq!(decision.allowed(), !hidden, "{verb} {}", kind.resource());
            }
        }
    }
}
