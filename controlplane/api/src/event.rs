//! Event (core/v1): something that happened to an object, for people to read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{object::ObjectMeta, time::Time};

/// Something that happened to an object. Repeats raise `count` and move `lastTimestamp`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `v1`.
    #[serde(default)]
    #[schemars(skip)]
    pub api_version: String,
    /// `Event`.
    #[serde(default)]
    #[schemars(skip)]
    pub kind: String,
    /// Name and namespace; the namespace is that of the object, `default` for cluster-scoped ones.
    #[serde(default)]
    #[schemars(skip)]
    pub metadata: ObjectMeta,
    /// The object it happened to.
    pub involved_object: ObjectReference,
    /// What happened, as one CamelCase word.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub reason: String,
    /// What happened, as a sentence.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Normal or Warning.
    #[serde(default, rename = "type")]
    pub event_type: String,
    /// Who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<EventSource>,
    /// When it happened first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_timestamp: Option<Time>,
    /// When it happened last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_timestamp: Option<Time>,
    /// How often it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<i32>,
    /// When it happened, to the microsecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub event_time: Option<String>,
    /// How often, and when last, in the newer notation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<EventSeries>,
    /// What was being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Another object it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related: Option<ObjectReference>,
    /// Who says so, in the newer notation.
    #[serde(default)]
    pub reporting_component: String,
    /// Which replica says so.
    #[serde(default)]
    pub reporting_instance: String,
}

/// Which object an event is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// Its apiVersion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its uid: without it, `describe` does not show the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Its resourceVersion then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// A part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_path: Option<String>,
}

/// Who says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventSource {
    /// Component, such as `machine-reconciler`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Host it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Repeats of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventSeries {
    /// How often.
    pub count: i32,
    /// When last, to the microsecond.
    pub last_observed_time: String,
}
