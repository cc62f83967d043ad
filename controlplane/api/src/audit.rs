//! AuditEvent: a call that wrote something or was refused, by the API server or by an agent, or an event of a lease.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened, by whom, from where, and what was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// Who did it; empty for a call that did not say believably; `system:control-plane` for what it did by itself.
    #[serde(default)]
    pub user: String,
    /// Groups of the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Who did it in the user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonated_by: Option<String>,
    /// What was done: a verb of the API, `connect` to an agent, or `grant`, `bind`, `wait` and `end` of a lease.
    #[serde(default)]
    pub verb: String,
    /// To what; none for a path that is no resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<AuditObject>,
    /// The path that was called, with its query; of an agent, the method.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Allow or Deny.
    #[serde(default)]
    pub decision: String,
    /// By which role it is allowed, or why it was refused.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// HTTP status code of the answer, 401 where an agent refused; 499: the client went away before it; 0: no call.
    #[serde(default)]
    pub code: i32,
    /// Address of the caller; none where it came over a Unix socket.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Trace of the call.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "traceID")]
    pub trace_id: Option<String>,
    /// It was to change nothing: a dry run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// When the call was received.
    #[serde(default)]
    #[schemars(extend("format" = "date-time"))]
    pub request_received_timestamp: String,
    /// When it was answered.
    #[serde(default)]
    #[schemars(extend("format" = "date-time"))]
    pub stage_timestamp: String,
}

/// An object that was acted on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditObject {
    /// API group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Plural.
    #[serde(default)]
    pub resource: String,
    /// Part of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// Namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name; empty for all of them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}
