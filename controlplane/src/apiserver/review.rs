//! Questions of a caller about itself: who am I, what may I do. In this release an authenticated caller may do everything that is not a lease's own.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::failure::Failure;
use super::render::answer;
use crate::auth::Caller;

/// `kubectl auth whoami`.
pub fn myself(caller: &Caller) -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {"creationTimestamp": null},
        "status": {"userInfo": {"username": caller.name, "groups": caller.groups}},
    })
}

/// `kubectl auth can-i`.
///
/// # Errors
/// The question names neither a resource nor a path.
pub fn access(question: &Value) -> Result<Value, Failure> {
    let spec = &question["spec"];
    if spec["resourceAttributes"].is_null() && spec["nonResourceAttributes"].is_null() {
        let message = "spec must have exactly one of resourceAttributes and nonResourceAttributes";
        return Err(Failure::bad_request(message.to_owned()));
    }
    Ok(json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {"creationTimestamp": null}, "spec": spec,
        "status": {"allowed": true, "reason": "every authenticated user may; a lease is renewed and ended by its holder alone"},
    }))
}

/// `kubectl auth can-i --list`.
pub fn rules(question: &Value) -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "metadata": {"creationTimestamp": null},
        "spec": question["spec"],
        "status": {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        },
    })
}

/// The answer to a question.
pub fn created(review: &Value) -> Response {
    answer(StatusCode::CREATED, review, &[])
}
