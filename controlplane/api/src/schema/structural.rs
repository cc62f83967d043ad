//! From a Rust type to a structural schema: no references, no null, no composition.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::object::ObjectMeta;

/// The structural schema of a type.
///
/// # Panics
/// Never on types of this crate; a type that composes schemas in a way that has no structural form fails the test over all kinds.
pub fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    rewrite(&mut schema);
    schema
}

/// The schema of a whole object of a kind: apiVersion, kind and metadata, and the properties of `parts` (name, schema, required).
/// A `spec` that is not required is empty by default. Nothing below `status` is defaulted.
pub fn object_schema(description: &str, parts: Vec<(&str, Value, bool)>) -> Value {
    let mut properties = Map::new();
    properties.insert("apiVersion".into(), json!({"type": "string", "description": "Group and version of the kind."}));
    properties.insert("kind".into(), json!({"type": "string", "description": "The kind of object this is."}));
    properties.insert("metadata".into(), structural::<ObjectMeta>());
    let mut required = Vec::new();
    for (name, mut schema, needed) in parts {
        if name == "status" {
            drop_defaults(&mut schema);
        }
        if needed {
            required.push(name.to_owned());
        } else if name == "spec" {
            schema["default"] = json!({});
        }
        properties.insert(name.to_owned(), schema);
    }
    let mut schema = json!({"type": "object", "description": description, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The schema of a whole object of a kind whose fields stand beside its metadata.
pub fn flat_schema<T: JsonSchema>(description: &str) -> Value {
    let (mut schema, own) = (object_schema(description, Vec::new()), structural::<T>());
    if let (Some(all), Some(own)) = (schema["properties"].as_object_mut(), own["properties"].as_object()) {
        all.extend(own.clone());
    }
    if let Some(required) = own.get("required") {
        schema["required"] = required.clone();
    }
    schema
}

/// Removes defaults; a field that had one is still not required.
fn drop_defaults(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        object.remove("default");
        for child in children(object) {
            drop_defaults(child);
        }
    }
}

fn children(object: &mut Map<String, Value>) -> Vec<&mut Value> {
    let mut all = Vec::new();
    for (keyword, value) in object {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => all.extend(properties.values_mut()),
            ("items" | "additionalProperties", value @ Value::Object(_)) => all.push(value),
            _ => {}
        }
    }
    all
}

fn rewrite(schema: &mut Value) {
    if *schema == Value::Bool(true) {
        *schema = json!({"x-kubernetes-preserve-unknown-fields": true});
    }
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.remove("$schema");
    object.remove("title");
    for keyword in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(branches)) = object.remove(keyword) {
            merge(object, branches);
        }
    }
    if let Some(Value::Array(types)) = object.get("type") {
        let only = types.iter().find(|name| *name != "null").cloned();
        object.insert("type".into(), only.unwrap_or(Value::Null));
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    match object.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32" | "uint64" | "uint") => object.insert("format".into(), "int64".into()),
        Some("int8" | "int16") => object.insert("format".into(), "int32".into()),
        _ => None,
    };
    let empty = match object.get("default") {
        Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        _ => false,
    };
    if empty {
        object.remove("default");
    }
    if object.get("items") == Some(&Value::Bool(true)) {
        object.insert("items".into(), json!({"x-kubernetes-preserve-unknown-fields": true}));
    }
    if object.get("additionalProperties").is_some_and(Value::is_boolean) {
        object.remove("additionalProperties");
        object.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
    }
    for child in children(object) {
        rewrite(child);
    }
}

/// Takes branches up into `object`: values of one enum, or the one branch that is not null. What `object` says itself wins.
fn merge(object: &mut Map<String, Value>, branches: Vec<Value>) {
    let branches: Vec<Value> = branches.into_iter().filter(|branch| branch["type"] != "null").collect();
    let mut values = Vec::new();
    let mut words = Vec::new();
    for branch in &branches {
        let of_branch = match (branch.get("const"), branch.get("enum")) {
            (Some(value), _) => vec![value.clone()],
            (_, Some(Value::Array(list))) => list.clone(),
            _ => Vec::new(),
        };
        if let (Some(description), [Value::String(value)]) = (branch["description"].as_str(), of_branch.as_slice()) {
            words.push(format!("{value}: {description}"));
        }
        values.extend(of_branch);
    }
    if !values.is_empty() {
        object.insert("type".into(), "string".into());
        object.insert("enum".into(), Value::Array(values));
        if !words.is_empty() {
            let own = object.get("description").and_then(Value::as_str).unwrap_or_default();
            let text = format!("{own}\n{}", words.join("\n"));
            object.insert("description".into(), text.trim().into());
        }
        return;
    }
    assert!(branches.len() <= 1, "a schema with several shapes has no structural form: {branches:?}");
    if let Some(Value::Object(mut only)) = branches.into_iter().next() {
        for keyword in ["anyOf", "oneOf", "allOf"] {
            if let Some(Value::Array(inner)) = only.remove(keyword) {
                merge(&mut only, inner);
            }
        }
        for (keyword, value) in only {
            let own_text = keyword == "description" && object.contains_key("description");
            if own_text && value.as_str().is_some_and(|text| text.contains('\n')) {
                // The list of values is kept under the field's own text.
                let own = object["description"].as_str().unwrap_or_default().to_owned();
                let values: Vec<&str> = value.as_str().unwrap_or_default().split('\n').skip(1).collect();
                object.insert(keyword, format!("{own}\n{}", values.join("\n")).into());
            } else {
                object.entry(keyword).or_insert(value);
            }
        }
    }
}
