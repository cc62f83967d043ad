//! Kinds that show what lies elsewhere under the names by which other tools look for it. They can be read and watched.

use serde_json::json;

use super::Kind;
use crate::{
    column::{Cell, Column},
    event::EventView,
    path,
    schema::{flat_schema, object_schema},
};

/// Group of the newer notation of events.
pub(super) const EVENTS: &str = "events.k8s.io";
/// Group of definitions of kinds.
pub(super) const DEFINITIONS: &str = "apiextensions.k8s.io";

pub(super) fn kinds() -> Vec<Kind> {
    vec![event(), definition()]
}

fn event() -> Kind {
    Kind {
        short_names: &["ev"],
        read_only: true,
        selectable_fields: &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        columns: vec![
            Column::text("Last Seen", "Time since it happened last.", "").of(Cell::Since(".deprecatedLastTimestamp")),
            Column::text("Type", "Normal or Warning.", ".type"),
            Column::text("Reason", "What happened, in one word.", ".reason"),
            Column::text("Object", "What it happened to.", "").of(Cell::Made(|event| {
                let part = |at| path::get(event, at).and_then(serde_json::Value::as_str).unwrap_or_default();
                format!("{}/{}", part(".regarding.kind").to_lowercase(), part(".regarding.name"))
            })),
            Column::text("Source", "Who says so.", ".reportingController").wide(),
            Column::text("Message", "What happened.", ".note"),
            Column::text("Count", "How often it happened.", ".deprecatedCount").integer().wide(),
            Column { format: "name", priority: 1, ..Column::name() },
        ],
        schema: flat_schema::<EventView>("Something that happened to an object, in the newer notation."),
        ..Kind::base(EVENTS, "v1", "Event", "events")
    }
}

fn definition() -> Kind {
    let any = |description: &str| json!({"type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": true});
    Kind {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        namespaced: false,
        read_only: true,
        columns: vec![
            Column::name(),
            Column::text("Created At", "When the installation was made.", ".metadata.creationTimestamp"),
        ],
        schema: object_schema(
            "A kind of the server, for tools that look for kinds here. It cannot be changed.",
            vec![
                ("spec", any("Names, scope, versions and schemas."), true),
                ("status", any("It is established."), false),
            ],
        ),
        ..Kind::base(DEFINITIONS, "v1", "CustomResourceDefinition", "customresourcedefinitions")
    }
}
