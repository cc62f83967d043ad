//! Questions: who am I, what may I do, what may another. Answered by what decides every call.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use torch_remote_api::rbac::{Action, Decision, Policy, Target, User};

use super::failure::Failure;
use super::render::answer;
use crate::auth::Caller;

/// `kubectl auth whoami`.
pub fn myself(caller: &Caller) -> Value {
    let mut user = json!({"username": caller.name, "groups": caller.groups});
    if let Some(uid) = &caller.uid {
        user["uid"] = uid.as_str().into();
    }
    if !caller.extra.is_empty() {
        user["extra"] = json!(caller.extra);
    }
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {"creationTimestamp": null},
        "status": {"userInfo": user},
    })
}

/// `kubectl auth can-i`.
///
/// # Errors
/// The question names neither a resource nor a path, or both.
pub fn access(policy: &Policy, caller: &Caller, question: &Value) -> Result<Value, Failure> {
    decided(policy, caller.user(), "SelfSubjectAccessReview", question)
}

/// What another may do; `namespace`: in the one of the URL alone.
///
/// # Errors
/// The question names neither a resource nor a path, or nobody, or another namespace.
pub fn access_of(policy: &Policy, namespace: Option<&str>, question: &Value) -> Result<Value, Failure> {
    let spec = &question["spec"];
    let name = spec["user"].as_str().unwrap_or_default();
    let groups: Vec<String> =
        spec["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if name.is_empty() && groups.is_empty() {
        let message = "spec.user: Invalid value: \"\": at least one of user or group must be specified";
        return Err(Failure::bad_request(message.to_owned()));
    }
    let kind = match namespace {
        None => "SubjectAccessReview",
        Some(namespace) => {
            let place = &spec["resourceAttributes"]["namespace"];
            if place != namespace {
                let message = format!(
                    "spec.resourceAttributes.namespace: Invalid value: {place}: namespace of the spec must match that of the URL, {namespace:?}"
                );
                return Err(Failure::bad_request(message));
            }
            "LocalSubjectAccessReview"
        }
    };
    decided(policy, User { name, groups: &groups }, kind, question)
}

fn decided(policy: &Policy, user: User<'_>, kind: &str, question: &Value) -> Result<Value, Failure> {
    let spec = &question["spec"];
    let action = action(spec)?;
    let status = match policy.decide(user, &action) {
        Decision::Allowed(by) => json!({"allowed": true, "reason": &*by}),
        Decision::Denied(why) if why.is_empty() => json!({"allowed": false}),
        Decision::Denied(why) => json!({"allowed": false, "reason": why}),
    };
    Ok(json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": kind, "metadata": {"creationTimestamp": null}, "spec": spec, "status": status,
    }))
}

fn action(spec: &Value) -> Result<Action<'_>, Failure> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_null() == path.is_null() {
        let message = "spec must have exactly one of resourceAttributes and nonResourceAttributes";
        return Err(Failure::bad_request(message.to_owned()));
    }
    let text = |field: &str| resource[field].as_str().unwrap_or_default();
    Ok(if path.is_null() {
        let target = Target::Resource {
            group: text("group"),
            resource: text("resource"),
            subresource: text("subresource"),
            namespace: text("namespace"),
            name: text("name"),
        };
        Action { verb: text("verb"), target }
    } else {
        let target = Target::Path(path["path"].as_str().unwrap_or_default());
        Action { verb: path["verb"].as_str().unwrap_or_default(), target }
    })
}

/// `kubectl auth can-i --list`.
///
/// # Errors
/// The question names no namespace.
pub fn rules(policy: &Policy, caller: &Caller, question: &Value) -> Result<Value, Failure> {
    let namespace = question["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Failure::bad_request("no namespace on request".to_owned()));
    }
    let rules = policy.rules_of(caller.user(), namespace);
    let (paths, resources): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| !rule.non_resource_urls.is_empty());
    Ok(json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "metadata": {"creationTimestamp": null},
        "spec": question["spec"], "status": {"resourceRules": resources, "nonResourceRules": paths, "incomplete": false},
    }))
}

/// The answer to a question.
pub fn created(review: &Value) -> Response {
    answer(StatusCode::CREATED, review, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["things"]}]);
        Policy::new([
            &json!({"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": rules}),
            &json!({"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "team"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "ana"}]}),
        ])
    }

    #[test]
    fn answers_are_those_of_the_authoriser() {
        let ana = Caller { name: "ana".into(), ..Caller::default() };
        let asks = |namespace: &str| json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "things", "namespace": namespace}}});
        let said = access(&policy(), &ana, &asks("team")).unwrap();
        assert_eq!(said["status"]["allowed"], true);
        assert_eq!(
            said["status"]["reason"],
            "RBAC: allowed by RoleBinding \"b/team\" of ClusterRole \"r\" to User \"ana\""
        );
        assert_eq!(access(&policy(), &ana, &asks("")).unwrap()["status"], json!({"allowed": false}));
        let mut other = asks("team");
        assert!(access_of(&policy(), None, &other).is_err(), "of whom?");
        other["spec"]["user"] = "ana".into();
        assert_eq!(access_of(&policy(), Some("team"), &other).unwrap()["status"]["allowed"], true);
        assert!(access_of(&policy(), Some("elsewhere"), &other).is_err());
        assert!(access(&policy(), &ana, &json!({"spec": {}})).is_err());
        let listed = rules(&policy(), &ana, &json!({"spec": {"namespace": "team"}})).unwrap();
        assert_eq!(listed["status"]["resourceRules"][0]["resources"], json!(["things"]));
        assert!(rules(&policy(), &ana, &json!({"spec": {}})).is_err());
    }
}
