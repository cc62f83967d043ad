//! Kinds of core/v1.

use serde_json::Value;

use super::{Kind, Subresource};
use crate::{
    column::{Cell, Column},
    event::Event,
    namespace::{NamespaceSpec, NamespaceStatus},
    path,
    schema::{flat_schema, object_schema, structural},
    secret::{self, Secret},
    service_account::ServiceAccount,
    validate,
};

pub(super) fn kinds() -> Vec<Kind> {
    vec![namespace(), event(), secret(), service_account()]
}

fn namespace() -> Kind {
    Kind {
        short_names: &["ns"],
        namespaced: false,
        has_status: true,
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
        ..Kind::base("", "v1", "Namespace", "namespaces")
    }
}

fn secret() -> Kind {
    Kind {
        selectable_fields: &["type"],
        columns: vec![
            Column::name(),
            Column::text("Type", "What it is for.", ".type"),
            Column::text("Data", "How many values it has.", "").of(Cell::Made(|secret| counted(secret, "data"))),
            Column::age(),
        ],
        schema: flat_schema::<Secret>("Values that are kept sealed, and shown only to those who may read them."),
        rule: secret::rule,
        ..Kind::base("", "v1", "Secret", "secrets")
    }
}

fn service_account() -> Kind {
    Kind {
        short_names: &["sa"],
        subresources: &[Subresource {
            name: "token",
            kind: "TokenRequest",
            group: "authentication.k8s.io",
            version: "v1",
            verbs: &["create"],
        }],
        columns: vec![
            Column::name(),
            Column::text("Secrets", "How many Secrets go with it.", "")
                .of(Cell::Made(|account| counted(account, "secrets"))),
            Column::age(),
        ],
        schema: flat_schema::<ServiceAccount>(
            "Who a program is; `kubectl create token NAME` makes it a token that ends.",
        ),
        ..Kind::base("", "v1", "ServiceAccount", "serviceaccounts")
    }
}

/// How many there are in a list or map.
fn counted(object: &Value, field: &str) -> String {
    let count = object[field].as_array().map(Vec::len).or_else(|| object[field].as_object().map(serde_json::Map::len));
    count.unwrap_or_default().to_string()
}

fn event() -> Kind {
    Kind {
        short_names: &["ev"],
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
        schema: flat_schema::<Event>("Something that happened to an object, for people to read."),
        rule: validate::event,
        ..Kind::base("", "v1", "Event", "events")
    }
}
