//! Rules of metadata.

use serde_json::Value;

use crate::{
    field::{Cause, FieldError},
    format,
    kind::Kind,
};

/// Bytes that keys and values of annotations may have together.
const ANNOTATION_BYTES: usize = 256 * 1024;

/// Name, namespace, labels, annotations, finalizers and owner references.
pub fn check(kind: &Kind, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let metadata = &new["metadata"];
    let mut errors = Vec::new();
    check_name(kind, metadata, &mut errors);
    errors.extend(maps("metadata", metadata));
    check_finalizers(metadata, old.map(|old| &old["metadata"]), &mut errors);
    check_owners(metadata, &mut errors);
    errors
}

fn check_name(kind: &Kind, metadata: &Value, errors: &mut Vec<FieldError>) {
    let judge = match (kind.group, kind.kind) {
        ("", "Namespace") => format::label,
        (crate::rbac::GROUP, _) => format::path_segment,
        _ => format::subdomain,
    };
    let text = |field: &str| metadata[field].as_str().filter(|text| !text.is_empty());
    match (text("name"), text("generateName")) {
        (None, None) => errors.push(FieldError::required("metadata.name", "name or generateName is required")),
        (Some(name), _) => {
            errors.extend(
                judge(name).into_iter().map(|detail| FieldError::invalid("metadata.name", name.into(), detail)),
            );
        }
        (None, Some(prefix)) => {
            // The prefix may end in what a name may not, and leaves room for five characters.
            let stem = prefix.trim_end_matches('-');
            errors.extend(
                judge(stem)
                    .into_iter()
                    .map(|detail| FieldError::invalid("metadata.generateName", prefix.into(), detail)),
            );
        }
    }
    match text("namespace") {
        Some(namespace) if kind.namespaced => {
            let wrong = format::label(namespace).into_iter();
            errors.extend(wrong.map(|detail| FieldError::invalid("metadata.namespace", namespace.into(), detail)));
        }
        Some(_) => errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type")),
        None if kind.namespaced => errors.push(FieldError::required("metadata.namespace", "")),
        None => {}
    }
}

/// Labels and annotations of metadata at that path.
pub(super) fn maps(at: &str, metadata: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check_map(at, metadata, "labels", &mut errors);
    check_map(at, metadata, "annotations", &mut errors);
    errors
}

fn check_map(at: &str, metadata: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let Some(map) = metadata[field].as_object() else {
        return;
    };
    let path = format!("{at}.{field}");
    let mut bytes = 0;
    for (key, value) in map {
        let value = value.as_str().unwrap_or_default();
        let judged = if field == "annotations" { key.to_lowercase() } else { key.clone() };
        errors.extend(
            format::qualified_name(&judged)
                .into_iter()
                .map(|detail| FieldError::invalid(&path, key.as_str().into(), detail)),
        );
        if field == "labels" {
            errors.extend(
                format::label_value(value).into_iter().map(|detail| FieldError::invalid(&path, value.into(), detail)),
            );
        }
        bytes += key.len() + value.len();
    }
    if field == "annotations" && bytes > ANNOTATION_BYTES {
        errors.push(FieldError::new(
            Cause::TooLong,
            path,
            Value::Null,
            format!("may not be more than {ANNOTATION_BYTES} bytes"),
        ));
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn check_finalizers(metadata: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let finalizers = texts(&metadata["finalizers"]);
    for (index, finalizer) in finalizers.iter().enumerate() {
        let wrong = format::qualified_name(finalizer).into_iter();
        errors.extend(
            wrong.map(|detail| {
                FieldError::invalid(format!("metadata.finalizers[{index}]"), (*finalizer).into(), detail)
            }),
        );
    }
    let Some(old) = old.filter(|old| old["deletionTimestamp"].is_string()) else {
        return;
    };
    let before = texts(&old["finalizers"]);
    let added: Vec<String> =
        finalizers.iter().filter(|name| !before.contains(name)).map(|name| format!("{name:?}")).collect();
    if !added.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        errors.push(FieldError::forbidden("metadata.finalizers", detail));
    }
}

fn check_owners(metadata: &Value, errors: &mut Vec<FieldError>) {
    let mut controller = None;
    for (index, owner) in metadata["ownerReferences"].as_array().into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field] == "" {
                errors.push(FieldError::invalid(
                    format!("metadata.ownerReferences[{index}].{field}"),
                    "".into(),
                    format!("{field} must not be empty"),
                ));
            }
        }
        if let Some(uid) = owner["uid"].as_str().filter(|uid| !uid.is_empty() && !is_uid(uid)) {
            errors.push(FieldError::invalid(
                format!("metadata.ownerReferences[{index}].uid"),
                uid.into(),
                "must be the uid of an object, a UUID such as \"6ba7b810-9dad-41d1-80b4-00c04fd430c8\"",
            ));
        }
        if owner["controller"] == true {
            let named = format!(
                "{}/{}",
                owner["kind"].as_str().unwrap_or_default(),
                owner["name"].as_str().unwrap_or_default()
            );
            match &controller {
                None => controller = Some(named),
                Some(first) => errors.push(FieldError::invalid(
                    "metadata.ownerReferences",
                    metadata["ownerReferences"].clone(),
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {named}"
                    ),
                )),
            }
        }
    }
}

fn is_uid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.chars().all(|char| char == '-' || matches!(char, '0'..='9' | 'a'..='f'))
}
