//! Tables: how a server renders objects for `kubectl get`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::kind::Kind;

/// What of each object goes with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Include {
    /// `includeObject=Metadata`.
    #[default]
    Metadata,
    /// `includeObject=Object`.
    Object,
    /// `includeObject=None`.
    None,
}

impl Include {
    /// From the query parameter `includeObject`; `None` for other texts.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "Object" => Some(Self::Object),
            "None" => Some(Self::None),
            _ => None,
        }
    }
}

/// A `meta.k8s.io/v1` Table of objects. `metadata` is that of the list. In a watch only the first table has `definitions`.
pub fn table<'a>(
    kind: &Kind,
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: Value,
    include: Include,
    definitions: bool,
    now: DateTime<Utc>,
) -> Value {
    let rows: Vec<Value> = objects.into_iter().map(|object| row(kind, object, include, now)).collect();
    let columns =
        if definitions { kind.columns.iter().map(super::column::Column::definition).collect() } else { Value::Null };
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows})
}

fn row(kind: &Kind, object: &Value, include: Include, now: DateTime<Utc>) -> Value {
    let cells = kind.row(object, now);
    match include {
        Include::Metadata => json!({"cells": cells, "object": partial(object)}),
        Include::Object => json!({"cells": cells, "object": object}),
        Include::None => json!({"cells": cells, "object": null}),
    }
}

/// The object's metadata alone, as `PartialObjectMetadata`.
pub fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}
