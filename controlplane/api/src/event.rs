//! Event (core/v1): something that happened to an object, for people to read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

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
    #[schemars(extend("format" = "date-time"))]
    pub last_observed_time: String,
}

/// An event in the notation of events.k8s.io/v1: what only that group's clients read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// When it happened first, to the microsecond.
    #[schemars(extend("format" = "date-time"))]
    pub event_time: String,
    /// The object it happened to.
    #[serde(default)]
    pub regarding: ObjectReference,
    /// Another object it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related: Option<ObjectReference>,
    /// What happened, as one CamelCase word.
    #[serde(default)]
    pub reason: String,
    /// What happened, as a sentence.
    #[serde(default)]
    pub note: String,
    /// Normal or Warning.
    #[serde(default, rename = "type")]
    pub event_type: String,
    /// What was being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub reporting_controller: String,
    /// Which replica says so.
    #[serde(default)]
    pub reporting_instance: String,
    /// How often, and when last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<EventSeries>,
    /// Who says so, in the older notation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated_source: Option<EventSource>,
    /// When it happened first, in the older notation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated_first_timestamp: Option<Time>,
    /// When it happened last, in the older notation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated_last_timestamp: Option<Time>,
    /// How often it happened, in the older notation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated_count: Option<i32>,
}

/// A core/v1 Event as events.k8s.io/v1 shows it: the same object in other words.
pub fn view(event: &Value) -> Value {
    let mut shown = Map::new();
    shown.insert("apiVersion".to_owned(), json!("events.k8s.io/v1"));
    shown.insert("kind".to_owned(), json!("Event"));
    shown.insert("metadata".to_owned(), event["metadata"].clone());
    shown.insert("eventTime".to_owned(), event_time(event).into());
    let same = ["action", "reason", "related", "reportingInstance", "series", "type"].map(|field| (field, field));
    let renamed = [
        ("involvedObject", "regarding"),
        ("message", "note"),
        ("reportingComponent", "reportingController"),
        ("source", "deprecatedSource"),
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"),
        ("count", "deprecatedCount"),
    ];
    for (from, to) in same.into_iter().chain(renamed) {
        if !event[from].is_null() {
            shown.insert(to.to_owned(), event[from].clone());
        }
    }
    if shown.get("reportingController").is_none_or(|name| name == "") {
        shown
            .insert("reportingController".to_owned(), event["source"]["component"].as_str().unwrap_or_default().into());
    }
    shown.into()
}

/// Clients of the newer group require it, with microseconds.
fn event_time(event: &Value) -> String {
    if let Some(time) = event["eventTime"].as_str() {
        return time.to_owned();
    }
    let first = [&event["firstTimestamp"], &event["lastTimestamp"], &event["metadata"]["creationTimestamp"]];
    let first = first.into_iter().find_map(Value::as_str).unwrap_or("1970-01-01T00:00:00Z");
    first.strip_suffix('Z').map_or_else(|| first.to_owned(), |seconds| format!("{seconds}.000000Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_the_same_in_both_notations() {
        let event = json!({
            "metadata": {"name": "m.1", "namespace": "default"}, "involvedObject": {"kind": "RemoteMachine", "name": "m"},
            "reason": "Ready", "message": "slots can be leased", "type": "Normal", "source": {"component": "torch-remote"}, "count": 2,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:01:00Z", "eventTime": null, "reportingComponent": "",
        });
        let shown = view(&event);
        assert_eq!(shown["eventTime"], "2026-01-01T00:00:00.000000Z");
        assert_eq!((&shown["regarding"]["name"], &shown["note"]), (&json!("m"), &json!("slots can be leased")));
        assert_eq!((&shown["reportingController"], &shown["deprecatedCount"]), (&json!("torch-remote"), &json!(2)));
        serde_json::from_value::<EventView>(shown).expect("its own type");
    }
}
