//! Kinds of core/v1.

use super::Kind;
use crate::{
    column::{Cell, Column},
    event::Event,
    namespace::{NamespaceSpec, NamespaceStatus},
    path,
    schema::{object_schema, structural},
    validate,
};

pub(super) fn kinds() -> Vec<Kind> {
    vec![namespace(), event()]
}

fn namespace() -> Kind {
    Kind {
        group: "",
        version: "v1",
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        categories: &[],
        namespaced: false,
        read_only: false,
        served: true,
        has_status: true,
        subresources: &[],
        selectable_fields: &["status.phase"],
        columns: vec![
            Column::name(),
            Column::text("Status", "Active, or Terminating while it is emptied.", ".status.phase"),
            Column::age(),
        ],
        schema: object_schema(
            "A namespace is a team: its machines, leases and quotas.",
            vec![("spec", structural::<NamespaceSpec>(), false), ("status", structural::<NamespaceStatus>(), false)],
        ),
        rule: validate::namespace,
    }
}

fn event() -> Kind {
    let mut schema = object_schema("Something that happened to an object, for people to read.", Vec::new());
    let own = structural::<Event>();
    if let (Some(all), Some(own)) = (schema["properties"].as_object_mut(), own["properties"].as_object()) {
        all.extend(own.clone());
    }
    schema["required"] = own["required"].clone();
    Kind {
        group: "",
        version: "v1",
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        categories: &[],
        namespaced: true,
        read_only: false,
        served: true,
        has_status: false,
        subresources: &[],
        selectable_fields: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        columns: vec![
            Column::text("Last Seen", "Time since it happened last.", "").of(Cell::Since(".lastTimestamp")),
            Column::text("Type", "Normal or Warning.", ".type"),
            Column::text("Reason", "What happened, in one word.", ".reason"),
            Column::text("Object", "What it happened to.", "").of(Cell::Made(|event| {
                let part = |at| path::get(event, at).and_then(serde_json::Value::as_str).unwrap_or_default();
                format!("{}/{}", part(".involvedObject.kind").to_lowercase(), part(".involvedObject.name"))
            })),
            Column::text("Source", "Who says so.", ".source.component").wide(),
            Column::text("Message", "What happened.", ".message"),
            Column::text("First Seen", "Time since it happened first.", "").of(Cell::Since(".firstTimestamp")).wide(),
            Column::text("Count", "How often it happened.", ".count").integer().wide(),
            Column { format: "name", priority: 1, ..Column::name() },
        ],
        schema,
        rule: validate::event,
    }
}
