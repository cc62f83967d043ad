//! Questions: who am I, what may I do, what may another. Answered by what decides every call.

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use torch_remote_api::field::FieldError;
use torch_remote_api::rbac::{Action, Decision, Policy, Target, User};

use super::failure::Failure;
use super::render::answer;
use crate::auth::{Caller, Policies};

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
/// 400: the question is not one of its type; 422: it names neither a resource nor a path, or both.
pub fn access(policy: &Policy, caller: &Caller, question: &Value) -> Result<Value, Failure> {
    const KIND: &str = "SelfSubjectAccessReview";
    let spec = Spec::read(question)?;
    let mut wrong = spec.wrong();
    wrong.extend(metadata(question, &[], "must be empty"));
    judge(KIND, &wrong)?;
    Ok(decided(policy, caller.user(), KIND, question, &spec))
}

/// What another may do; `namespace`: in the one of the URL alone.
///
/// # Errors
/// 400: the question is not one of its type, or of another namespace than the URL; 422: it names neither a resource nor a path, or both, or nobody.
pub fn access_of(policy: &Policy, namespace: Option<&str>, question: &Value) -> Result<Value, Failure> {
    let spec = Spec::read(question)?;
    let mut wrong = spec.wrong();
    let (name, groups) = (spec.user.as_deref().unwrap_or_default(), spec.groups.as_deref().unwrap_or_default());
    if name.is_empty() && groups.is_empty() {
        wrong.push(FieldError::invalid("spec.user", "".into(), "at least one of user or group must be specified"));
    }
    let kind = match namespace {
        None => {
            wrong.extend(metadata(question, &[], "must be empty"));
            "SubjectAccessReview"
        }
        Some(namespace) => {
            let own = question["metadata"]["namespace"].as_str().unwrap_or_default();
            if !own.is_empty() && own != namespace {
                let message = "the namespace of the provided object does not match the namespace sent on the request";
                return Err(Failure::bad_request(message.to_owned()));
            }
            wrong.extend(metadata(question, &["namespace"], "must be empty except for namespace"));
            wrong.extend(spec.wrong_in(namespace));
            "LocalSubjectAccessReview"
        }
    };
    judge(kind, &wrong)?;
    Ok(decided(policy, User { name, groups }, kind, question, &spec))
}

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    resource_attributes: Option<ResourceAttributes>,
    non_resource_attributes: Option<PathAttributes>,
    user: Option<String>,
    groups: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct ResourceAttributes {
    namespace: Option<String>,
    verb: Option<String>,
    group: Option<String>,
    resource: Option<String>,
    subresource: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PathAttributes {
    path: Option<String>,
    verb: Option<String>,
}

impl Spec {
    fn read(question: &Value) -> Result<Self, Failure> {
        let spec = if question["spec"].is_null() { &json!({}) } else { &question["spec"] };
        Self::deserialize(spec).map_err(|error| Failure::bad_request(format!("the spec of the review: {error}")))
    }

    /// In Kubernetes' words, which show what is missing as the text `null`.
    fn wrong(&self) -> Vec<FieldError> {
        match (&self.resource_attributes, &self.non_resource_attributes) {
            (None, None) => {
                let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                vec![FieldError::invalid("spec.resourceAttributes", "null".into(), detail)]
            }
            (Some(_), Some(path)) => {
                let detail = "cannot be specified in combination with resourceAttributes";
                vec![FieldError::invalid("spec.nonResourceAttributes", json!(path), detail)]
            }
            _ => Vec::new(),
        }
    }

    /// What may not be asked in one namespace.
    fn wrong_in(&self, namespace: &str) -> Vec<FieldError> {
        let mut wrong = Vec::new();
        let place = self.resource_attributes.as_ref().map(|asked| asked.namespace.as_deref().unwrap_or_default());
        if let Some(other) = place.filter(|place| *place != namespace) {
            let field = "spec.resourceAttributes.namespace";
            wrong.push(FieldError::invalid(field, other.into(), "must match metadata.namespace"));
        }
        if let Some(path) = &self.non_resource_attributes {
            let detail = "disallowed on this kind of request";
            wrong.push(FieldError::invalid("spec.nonResourceAttributes", json!(path), detail));
        }
        wrong
    }

    fn action(&self) -> Action<'_> {
        fn text(text: Option<&String>) -> &str {
            text.map(String::as_str).unwrap_or_default()
        }
        if let Some(path) = &self.non_resource_attributes {
            return Action { verb: text(path.verb.as_ref()), target: Target::Path(text(path.path.as_ref())) };
        }
        let asked = self.resource_attributes.as_ref();
        let part = |of: fn(&ResourceAttributes) -> Option<&String>| text(asked.and_then(of));
        let target = Target::Resource {
            group: part(|asked| asked.group.as_ref()),
            resource: part(|asked| asked.resource.as_ref()),
            subresource: part(|asked| asked.subresource.as_ref()),
            namespace: part(|asked| asked.namespace.as_ref()),
            name: part(|asked| asked.name.as_ref()),
        };
        Action { verb: part(|asked| asked.verb.as_ref()), target }
    }
}

/// A review is stored nowhere, and has no metadata but these fields.
fn metadata(question: &Value, fields: &[&str], detail: &str) -> Option<FieldError> {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    let metadata = &question["metadata"];
    let more = metadata
        .as_object()?
        .iter()
        .any(|(field, value)| field != "managedFields" && !fields.contains(&field.as_str()) && !empty(value));
    more.then(|| FieldError::invalid("metadata", metadata.clone(), detail))
}

fn judge(kind: &str, wrong: &[FieldError]) -> Result<(), Failure> {
    if wrong.is_empty() { Ok(()) } else { Err(Failure::invalid("authorization.k8s.io", kind, wrong)) }
}

fn decided(policy: &Policy, user: User<'_>, kind: &str, question: &Value, spec: &Spec) -> Value {
    let status = match policy.decide(user, &spec.action()) {
        Decision::Allowed(by) => json!({"allowed": true, "reason": by}),
        Decision::Denied(why) if why.is_empty() => json!({"allowed": false}),
        Decision::Denied(why) => json!({"allowed": false, "reason": why}),
    };
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": kind, "metadata": {"creationTimestamp": null},
        "spec": question["spec"], "status": status,
    })
}

/// `kubectl auth can-i --list`.
///
/// # Errors
/// The question names no namespace.
pub fn rules(policies: &Policies, caller: &Caller, question: &Value) -> Result<Value, Failure> {
    let namespace = question["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Failure::bad_request("no namespace on request".to_owned()));
    }
    let held = policies.current().rules_of(caller.user(), namespace);
    let rules = held.iter().flat_map(|rules| &**rules);
    let (paths, resources): (Vec<_>, Vec<_>) = rules.partition(|rule| !rule.non_resource_urls.is_empty());
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
        other["spec"]["user"] = "ana".into();
        assert_eq!(access_of(&policy(), Some("team"), &other).unwrap()["status"]["allowed"], true);
        let policies = Policies::default();
        policies.reset(policy());
        let listed = rules(&policies, &ana, &json!({"spec": {"namespace": "team"}})).unwrap();
        assert_eq!(listed["status"]["resourceRules"][0]["resources"], json!(["things"]));
        assert!(rules(&policies, &ana, &json!({"spec": {}})).is_err());
    }

    #[test]
    fn questions_that_cannot_be_answered_are_refused_in_kubernetes_words() {
        let ana = Caller { name: "ana".into(), ..Caller::default() };
        let (resource, path) = (json!({"verb": "get", "namespace": "team"}), json!({"verb": "get", "path": "/x"}));
        let mine = |question: Value| access(&policy(), &ana, &question).unwrap_err();
        let others = |question: Value| access_of(&policy(), None, &question).unwrap_err();
        let local = |question: Value| access_of(&policy(), Some("other"), &question).unwrap_err();
        for (failure, kind, wrong) in [
            (
                mine(json!({"spec": {}})),
                "SelfSubjectAccessReview",
                "spec.resourceAttributes: Invalid value: \"null\": exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ),
            (
                mine(json!({"metadata": {"name": "x"}, "spec": {"resourceAttributes": resource}})),
                "SelfSubjectAccessReview",
                "metadata: Invalid value: {\"name\":\"x\"}: must be empty",
            ),
            (
                others(json!({"spec": {"user": "ana", "resourceAttributes": resource, "nonResourceAttributes": path}})),
                "SubjectAccessReview",
                "spec.nonResourceAttributes: Invalid value: {\"path\":\"/x\",\"verb\":\"get\"}: cannot be specified in combination with resourceAttributes",
            ),
            (
                others(json!({"spec": {"resourceAttributes": resource}})),
                "SubjectAccessReview",
                "spec.user: Invalid value: \"\": at least one of user or group must be specified",
            ),
            (
                local(json!({"spec": {"user": "ana", "resourceAttributes": resource}})),
                "LocalSubjectAccessReview",
                "spec.resourceAttributes.namespace: Invalid value: \"team\": must match metadata.namespace",
            ),
            (
                local(json!({"spec": {"user": "ana", "nonResourceAttributes": path}})),
                "LocalSubjectAccessReview",
                "spec.nonResourceAttributes: Invalid value: {\"path\":\"/x\",\"verb\":\"get\"}: disallowed on this kind of request",
            ),
        ] {
            let status = failure.status();
            assert_eq!(status.http_code(), 422, "{wrong}");
            assert_eq!(status.message, format!("{kind}.authorization.k8s.io \"\" is invalid: {wrong}"));
            let details = status.details.as_ref().unwrap();
            let (field, rest) = wrong.split_once(": ").unwrap();
            assert_eq!((details.kind.as_str(), details.group.as_str()), (kind, "authorization.k8s.io"));
            assert_eq!((details.causes[0].field.as_str(), details.causes[0].message.as_str()), (field, rest));
        }
        let empty = json!({"metadata": {"creationTimestamp": null, "managedFields": [{}]}, "spec": {"resourceAttributes": resource}});
        assert!(access(&policy(), &ana, &empty).is_ok());
        let elsewhere =
            json!({"metadata": {"namespace": "team"}, "spec": {"user": "ana", "resourceAttributes": resource}});
        assert_eq!(local(elsewhere).status().http_code(), 400);
        let typed = json!({"spec": {"groups": "vision", "resourceAttributes": resource}});
        assert_eq!(others(typed).status().http_code(), 400, "no group is overlooked");
    }
}
