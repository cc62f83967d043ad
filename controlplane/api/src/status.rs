//! Kubernetes' `Status` object: what every refusal, and every deletion, answers.

mod reason;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use reason::Reason;

use crate::{
    field::{FieldError, aggregate},
    kind::Kind,
    rbac::{Action, Target},
};

/// The answer to a request that was refused, or to a deletion that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    pub kind: String,
    /// Always `v1`.
    pub api_version: String,
    /// Always empty.
    #[serde(default)]
    pub metadata: ListMeta,
    /// `Success` or `Failure`.
    pub status: String,
    /// What happened, why, what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Why, for programs; none on success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Which object, which fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// HTTP status code; none on success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

/// Metadata that is always empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListMeta {}

/// Which object, which fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Name of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its plural; with reason Invalid its kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One for each field or conflict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// Seconds to wait before the next try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

/// One of several causes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusCause {
    /// One word for programs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Path of the field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// Media types that a PATCH is read in.
pub const PATCH_TYPES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

/// Of a PATCH of a kind of Kubernetes itself, beside [`PATCH_TYPES`].
pub const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";

impl Status {
    /// A failure with a message of its own.
    pub fn failure(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            kind: "Status".to_owned(),
            api_version: "v1".to_owned(),
            metadata: ListMeta {},
            status: "Failure".to_owned(),
            message: message.into(),
            reason: Some(reason),
            details: None,
            code: Some(reason.code()),
        }
    }

    /// HTTP status code to answer with.
    pub fn http_code(&self) -> u16 {
        self.code.unwrap_or(200)
    }

    fn of(reason: Reason, kind: &Kind, name: &str, message: String) -> Self {
        let details = Details {
            name: name.to_owned(),
            group: kind.group.to_owned(),
            kind: kind.plural.to_owned(),
            ..Details::default()
        };
        Self { details: Some(details), ..Self::failure(reason, message) }
    }

    fn with_causes(mut self, causes: Vec<StatusCause>) -> Self {
        self.details.get_or_insert_default().causes = causes;
        self
    }

    fn with_retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = Some(seconds);
        self
    }

    /// A deletion that is done.
    pub fn deleted(kind: &Kind, name: &str, uid: &str) -> Self {
        let mut status = Self::of(Reason::NotFound, kind, name, String::new());
        "Success".clone_into(&mut status.status);
        status.reason = None;
        status.code = None;
        if let Some(details) = &mut status.details {
            uid.clone_into(&mut details.uid);
        }
        status
    }

    /// 404: there is no object of that name.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::of(Reason::NotFound, kind, name, format!("{} {name:?} not found", kind.resource()))
    }

    /// 404: there is no such path.
    pub fn no_such_path() -> Self {
        let status = Self::failure(Reason::NotFound, "the server could not find the requested resource");
        Self { details: Some(Details::default()), ..status }
    }

    /// 409: an object of that name is there.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::of(Reason::AlreadyExists, kind, name, format!("{} {name:?} already exists", kind.resource()))
    }

    /// 409: the request does not fit what is there.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.resource());
        Self::of(Reason::Conflict, kind, name, message)
    }

    /// 409: the object has changed since it was read.
    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// 409: another object of that name is there now.
    pub fn other_uid(kind: &Kind, name: &str, asked: &str, actual: &str) -> Self {
        let why = format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {actual}");
        Self::conflict(kind, name, &why)
    }

    /// 422: fields are wrong.
    pub fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Self {
        let message = format!("{} {name:?} is invalid: {}", kind.group_kind(), aggregate(errors));
        let causes = errors.iter().map(|error| StatusCause {
            reason: error.cause.reason().to_owned(),
            message: error.body(),
            field: error.field.clone(),
        });
        let mut status = Self::of(Reason::Invalid, kind, name, message).with_causes(causes.collect());
        if let Some(details) = &mut status.details {
            kind.kind.clone_into(&mut details.kind);
        }
        status
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(Reason::BadRequest, message)
    }

    /// 400: fields that are unknown or there twice, with fieldValidation=Strict.
    pub fn strict(kind: &Kind, unknown: &[String], duplicate: &[String]) -> Self {
        let unknown = unknown.iter().map(|field| format!("unknown field {field:?}"));
        let duplicate = duplicate.iter().map(|field| format!("duplicate field {field:?}"));
        let all: Vec<String> = unknown.chain(duplicate).collect();
        Self::bad_request(format!(
            "{0} in version {1:?} cannot be handled as a {0}: strict decoding error: {2}",
            kind.kind,
            kind.version,
            all.join(", ")
        ))
    }

    /// 400: a field selector names a field that cannot be selected by.
    pub fn field_not_selectable(kind: &Kind, labels: &str, fields: &str, field: &str) -> Self {
        let resource = if kind.group.is_empty() {
            format!("/{}, Resource={}", kind.version, kind.plural)
        } else {
            format!("{}/{}, Resource={}", kind.group, kind.version, kind.plural)
        };
        Self::bad_request(format!(
            "Unable to find {resource:?} that match label selector {labels:?}, field selector {fields:?}: field label not supported: {field}"
        ))
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::failure(Reason::Unauthorized, "Unauthorized")
    }

    /// 403: `why` is the whole reason, such as `User "me" cannot get resource "remotemachines" ...`.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let what = if name.is_empty() { kind.resource() } else { format!("{} {name:?}", kind.resource()) };
        Self::of(Reason::Forbidden, kind, name, format!("{what} is forbidden: {why}"))
    }

    /// 403: no role allows it. `resource` may have a subresource: `deviceleases/token`.
    pub fn not_allowed(
        kind: &Kind,
        name: &str,
        user: &str,
        verb: &str,
        resource: &str,
        namespace: Option<&str>,
    ) -> Self {
        let scope = namespace
            .map_or_else(|| "at the cluster scope".to_owned(), |namespace| format!("in the namespace {namespace:?}"));
        let why = format!("User {user:?} cannot {verb} resource {resource:?} in API group {:?} {scope}", kind.group);
        Self::forbidden(kind, name, &why)
    }

    /// 403: no role allows this. `reason`: more words, may be empty.
    pub fn denied(user: &str, action: &Action<'_>, reason: &str) -> Self {
        let mut why = action.refusal(user);
        if !reason.is_empty() {
            why.push_str(&format!(": {reason}"));
        }
        let (details, what) = match action.target {
            Target::Path(_) => (Details::default(), String::new()),
            Target::Resource { group, resource, name, .. } => {
                let details = Details {
                    name: name.to_owned(),
                    group: group.to_owned(),
                    kind: resource.to_owned(),
                    ..Details::default()
                };
                let whole = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
                (details, if name.is_empty() { whole } else { format!("{whole} {name:?}") })
            }
        };
        let message = if what.is_empty() { format!("forbidden: {why}") } else { format!("{what} is forbidden: {why}") };
        Self { details: Some(details), ..Self::failure(Reason::Forbidden, message) }
    }

    /// 403: the namespace is being emptied.
    pub fn namespace_terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = StatusCause {
            reason: "NamespaceTerminating".to_owned(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        };
        Self::forbidden(kind, name, &why).with_causes(vec![cause])
    }

    /// 405: this cannot be done with objects of the kind.
    pub fn method_not_allowed(kind: &Kind, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind {:?}", kind.resource());
        Self::of(Reason::MethodNotAllowed, kind, "", message)
    }

    /// 405: this cannot be done with the path.
    pub fn method_not_allowed_here() -> Self {
        Self::failure(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource")
    }

    /// 406.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", accepted.join(", "));
        Self::failure(Reason::NotAcceptable, message)
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::failure(Reason::UnsupportedMediaType, message)
    }

    /// 410: the history that a watch asked for is gone.
    pub fn too_old(asked: i64, oldest: i64) -> Self {
        Self::failure(Reason::Expired, format!("too old resource version: {asked} ({oldest})"))
    }

    /// 410: the snapshot that a list went through is gone.
    pub fn continue_expired() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.";
        Self::failure(Reason::Expired, message)
    }

    /// 504.
    pub fn timeout(message: &str, retry_after_seconds: u32) -> Self {
        Self::failure(Reason::Timeout, format!("Timeout: {message}")).with_retry_after(retry_after_seconds)
    }

    /// 504: the resource version asked for is not there yet.
    pub fn too_new(asked: i64, current: i64) -> Self {
        let cause = StatusCause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        };
        Self::timeout(&format!("Too large resource version: {asked}, current: {current}"), 1).with_causes(vec![cause])
    }

    /// 413. `limit` in bytes.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity is too large: limit is {limit}");
        Self::failure(Reason::RequestEntityTooLarge, message)
    }

    /// 429.
    pub fn too_many_requests(retry_after_seconds: u32) -> Self {
        Self::failure(Reason::TooManyRequests, "too many requests, please try again later")
            .with_retry_after(retry_after_seconds)
    }

    /// 500. `error` is shown to the user: it says what failed and what to do, and holds no secret.
    pub fn internal(error: &str) -> Self {
        let cause = StatusCause { message: error.to_owned(), ..StatusCause::default() };
        Self::failure(Reason::InternalError, format!("Internal error occurred: {error}")).with_causes(vec![cause])
    }

    /// 503.
    pub fn unavailable(why: &str, retry_after_seconds: u32) -> Self {
        Self::failure(Reason::ServiceUnavailable, why).with_retry_after(retry_after_seconds)
    }

    /// 409: fields are owned by other appliers. `conflicts`: (owner as shown, field path with a leading point), in order of owner.
    pub fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let mut owners: Vec<&str> = conflicts.iter().map(|(owner, _)| owner.as_str()).collect();
        owners.dedup();
        let message = if let [(owner, field)] = conflicts {
            format!("Apply failed with 1 conflict: conflict with {owner}: {field}")
        } else {
            let parts = owners.iter().map(|owner| {
                let fields = conflicts.iter().filter(|(of, _)| of == owner).map(|(_, field)| format!("\n- {field}"));
                format!("conflicts with {owner}:{}", fields.collect::<String>())
            });
            format!("Apply failed with {} conflicts: {}", conflicts.len(), parts.collect::<Vec<_>>().join("\n"))
        };
        let causes = conflicts.iter().map(|(owner, field)| StatusCause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with {owner}"),
            field: field.clone(),
        });
        Self::failure(Reason::Conflict, message).with_causes(causes.collect())
    }
}
