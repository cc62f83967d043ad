//! OpenAPI v3: the index at `/openapi/v3`, and one document for each group and version.
//!
//! kubectl reads three things: the `fieldValidation` parameter of each patch operation (the server validates), the
//! `x-kubernetes-group-version-kind` beside it, and the schemas (for `explain`).

mod paths;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::kind::{Kind, kinds};

/// The constant answer to `/openapi/v2`: a protobuf document that says `swagger: "2.0"` and nothing else.
/// With [`V2_TYPE`] it satisfies kubectl 1.27 and 1.28; later ones do not need it.
pub const V2: [u8; 5] = [0x0a, 0x03, 0x32, 0x2e, 0x30];
/// Content type of [`V2`].
pub const V2_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// One group and version, and its document.
#[derive(Debug, Clone)]
pub struct Document {
    /// `api/v1`, or `apis/torchremote.dev/v1alpha1`.
    pub path: String,
    /// The document.
    pub body: Value,
    /// Changes when the document does; 64 hexadecimal digits.
    pub hash: String,
}

/// The documents of all served kinds, in order of path.
pub fn documents() -> Vec<Document> {
    let mut versions: Vec<(&str, &str)> =
        kinds().iter().filter(|kind| kind.served).map(|kind| (kind.group, kind.version)).collect();
    versions.sort_unstable();
    versions.dedup();
    versions.into_iter().map(|(group, version)| document(group, version)).collect()
}

/// The answer to `/openapi/v3`.
pub fn index(documents: &[Document]) -> Value {
    let paths = documents.iter().map(|document| {
        let url = format!("/openapi/v3/{}?hash={}", document.path, document.hash);
        (document.path.clone(), json!({"serverRelativeURL": url}))
    });
    json!({"paths": paths.collect::<Map<_, _>>()})
}

fn document(group: &str, version: &str) -> Document {
    let mut schemas = shared_schemas();
    let mut all_paths = Map::new();
    for kind in kinds().iter().filter(|kind| kind.served && kind.group == group && kind.version == version) {
        schemas.insert(schema_name(kind), object(kind));
        schemas.insert(format!("{}List", schema_name(kind)), list(kind));
        paths::add(kind, &mut all_paths);
        if kind.subresources.iter().any(|part| part.name == "scale") {
            schemas.insert(SCALE.to_owned(), scale());
        }
    }
    let body = json!({
        "openapi": "3.0.0",
        "info": {"title": "torch-remote", "version": env!("CARGO_PKG_VERSION")},
        "paths": all_paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"BearerToken": {
                "type": "http", "scheme": "bearer", "description": "A token of torch-remote.",
            }},
        },
    });
    let hash = Sha256::digest(body.to_string().as_bytes());
    let hash = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    Document { path: root(group, version), body, hash }
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `dev.torchremote.v1alpha1.RemoteMachine`, `io.k8s.api.core.v1.Namespace`.
fn schema_name(kind: &Kind) -> String {
    if kind.group.is_empty() {
        return format!("io.k8s.api.core.{}.{}", kind.version, kind.kind);
    }
    if let Some(group) = kind.group.strip_suffix(".k8s.io") {
        let first = group.split('.').next().unwrap_or(group);
        return format!("io.k8s.api.{first}.{}.{}", kind.version, kind.kind);
    }
    let reversed: Vec<&str> = kind.group.split('.').rev().collect();
    format!("{}.{}.{}", reversed.join("."), kind.version, kind.kind)
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Schema of what a subresource `scale` speaks of.
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn version_kind(kind: &Kind, name: &str) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": name})
}

fn object(kind: &Kind) -> Value {
    let mut schema = kind.schema.clone();
    publish(&mut schema);
    schema["properties"]["metadata"] = json!({"allOf": [reference(&format!("{META}.ObjectMeta"))]});
    schema["x-kubernetes-group-version-kind"] = json!([version_kind(kind, kind.kind)]);
    schema
}

/// What `explain` would not show otherwise: quantities are text (as Kubernetes shows its own; what may be integer or text
/// would be called an Object), and descriptions end with the default and the range.
fn publish(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("format").is_some_and(|format| format == "quantity") {
                object.insert("type".into(), "string".into());
            }
            describe(object);
            object.values_mut().for_each(publish);
        }
        Value::Array(list) => list.iter_mut().for_each(publish),
        _ => {}
    }
}

fn describe(schema: &mut Map<String, Value>) {
    let Some(Value::String(own)) = schema.get("description") else { return };
    // Descriptions of values follow on lines of their own.
    let (first, rest) = own.split_once('\n').map_or((own.as_str(), None), |(first, rest)| (first, Some(rest)));
    let mut text = first.to_owned();
    match schema.get("default") {
        Some(Value::String(default)) => text.push_str(&format!(" Default: {default}.")),
        Some(default @ (Value::Number(_) | Value::Bool(_))) => text.push_str(&format!(" Default: {default}.")),
        _ => {}
    }
    let bounds = schema.get("x-torchremote-range").and_then(Value::as_array).map(Vec::as_slice);
    if let Some([Value::String(least), Value::String(most)]) = bounds {
        text.push_str(&format!(" Between {least} and {most}."));
    }
    if let Some(rest) = rest {
        text.push('\n');
        text.push_str(rest);
    }
    schema.insert("description".into(), text.into());
}

fn list(kind: &Kind) -> Value {
    json!({
        "type": "object",
        "description": format!("A list of objects of kind {}.", kind.kind),
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Group and version of the kind."},
            "kind": {"type": "string", "description": "The kind of list this is."},
            "metadata": {"allOf": [reference(&format!("{META}.ListMeta"))], "description": "Version of the list."},
            "items": {"type": "array", "description": "The objects.", "items": {"allOf": [reference(&schema_name(kind))]}},
        },
        "x-kubernetes-group-version-kind": [version_kind(kind, &kind.list_kind())],
    })
}

fn scale() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let number = |description: &str| json!({"type": "integer", "format": "int32", "description": description});
    json!({
        "type": "object",
        "description": "How many there are to be.",
        "properties": {
            "apiVersion": text("autoscaling/v1."),
            "kind": text("Scale."),
            "metadata": {"allOf": [reference(&format!("{META}.ObjectMeta"))]},
            "spec": {"type": "object", "description": "What is asked.", "properties": {"replicas": number("How many there are to be.")}},
            "status": {"type": "object", "description": "What was seen.", "required": ["replicas"], "properties": {
                "replicas": number("How many there are."), "selector": text("Selects them by their labels."),
            }},
        },
        "x-kubernetes-group-version-kind": [{"group": "autoscaling", "version": "v1", "kind": "Scale"}],
    })
}

/// Schemas that every document refers to.
fn shared_schemas() -> Map<String, Value> {
    let text = |description: &str| json!({"type": "string", "description": description});
    let metadata = kinds().first().map(|kind| kind.schema["properties"]["metadata"].clone()).unwrap_or_default();
    let list_metadata = json!({
        "type": "object",
        "description": "Version of a list, and how to go on reading it.",
        "properties": {
            "resourceVersion": text("Where a watch of what follows starts."),
            "continue": text("The parameter continue of the next request; empty at the end."),
            "remainingItemCount": {"type": "integer", "format": "int64", "description": "Objects that are left."},
            "selfLink": text("Not used."),
        },
    });
    let delete_options = json!({
        "type": "object",
        "description": "How to delete.",
        "properties": {
            "apiVersion": text("v1."),
            "kind": text("DeleteOptions."),
            "dryRun": {"type": "array", "items": {"type": "string"}, "description": "[All]: everything is checked, nothing is done."},
            "gracePeriodSeconds": {"type": "integer", "format": "int64", "description": "Not used."},
            "orphanDependents": {"type": "boolean", "description": "The older form of propagationPolicy."},
            "propagationPolicy": text("Background, Foreground or Orphan."),
            "preconditions": {"type": "object", "description": "What must be so.", "properties": {
                "uid": text("Uid of the object."), "resourceVersion": text("Its version."),
            }},
        },
    });
    let status = json!({
        "type": "object",
        "description": "Why a request was refused.",
        "properties": {
            "apiVersion": text("v1."), "kind": text("Status."), "status": text("Success or Failure."), "message": text("In words."),
            "reason": text("In one word."), "code": {"type": "integer", "format": "int32", "description": "HTTP status code."},
            "metadata": {"allOf": [reference(&format!("{META}.ListMeta"))], "description": "Empty."},
            "details": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "Which object, which fields."},
        },
    });
    let patch =
        json!({"type": "object", "description": "A change to an object; the content type says in which notation."});
    [
        ("ObjectMeta", metadata),
        ("ListMeta", list_metadata),
        ("DeleteOptions", delete_options),
        ("Status", status),
        ("Patch", patch),
    ]
    .into_iter()
    .map(|(name, schema)| (format!("{META}.{name}"), schema))
    .collect()
}
