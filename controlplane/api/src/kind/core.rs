//! Kinds of core/v1.

use schemars::JsonSchema;
use serde_json::Value;

use super::{Kind, Subresource};
use crate::{
    column::{Cell, Column},
    event::Event,
    namespace::{NamespaceSpec, NamespaceStatus},
    path,
    schema::{object_schema, structural},
    secret::{self, Secret},
    service_account::ServiceAccount,
    validate,
};

pub(super) fn kinds() -> Vec<Kind> {
    vec![namespace(), event(), secret(), service_account()]
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

/// Schema of a kind whose fields stand beside its metadata.
fn flat<T: JsonSchema>(description: &str) -> Value {
    let mut schema = object_schema(description, Vec::new());
    let own = structural::<T>();
    if let (Some(all), Some(own)) = (schema["properties"].as_object_mut(), own["properties"].as_object()) {
        all.extend(own.clone());
    }
    if !own["required"].is_null() {
        schema["required"] = own["required"].clone();
    }
    schema
}

fn secret() -> Kind {
    Kind {
        group: "",
        version: "v1",
        kind: "Secret",
        plural: "secrets",
        singular: "secret",
        short_names: &[],
        categories: &[],
        namespaced: true,
        read_only: false,
        served: true,
        has_status: false,
        subresources: &[],
        selectable_fields: &["type"],
        columns: vec![
            Column::name(),
            Column::text("Type", "What it is for.", ".type"),
            Column::text("Data", "How many values it has.", "").of(Cell::Made(|secret| counted(secret, "data"))),
            Column::age(),
        ],
        schema: flat::<Secret>("Values that are kept sealed, and shown only to those who may read them."),
        rule: secret::rule,
    }
}

fn service_account() -> Kind {
    Kind {
        group: "",
        version: "v1",
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        categories: &[],
        namespaced: true,
        read_only: false,
        served: true,
        has_status: false,
        subresources: &[Subresource {
            name: "token",
            kind: "TokenRequest",
            group: "authentication.k8s.io",
            version: "v1",
            verbs: &["create"],
        }],
        selectable_fields: &[],
        columns: vec![
            Column::name(),
            Column::text("Secrets", "How many Secrets go with it.", "")
                .of(Cell::Made(|account| counted(account, "secrets"))),
            Column::age(),
        ],
        schema: flat::<ServiceAccount>("Who a program is; `kubectl create token NAME` makes it a token that ends."),
        rule: validate::none,
    }
}

/// How many there are in a list or map.
fn counted(object: &Value, field: &str) -> String {
    let count = object[field].as_array().map(Vec::len).or_else(|| object[field].as_object().map(serde_json::Map::len));
    count.unwrap_or_default().to_string()
}

fn event() -> Kind {
    let schema = flat::<Event>("Something that happened to an object, for people to read.");
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
