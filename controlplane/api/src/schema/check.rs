//! Values against a schema, in Kubernetes' texts.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use regex::Regex;
use serde_json::{Map, Value};

use super::{fill::as_integer, join};
use crate::{
    duration::Duration,
    field::{Cause, FieldError},
    format, suggest,
};

/// Everything in `value` that `schema` does not allow, in order of path.
pub fn check(schema: &Value, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(schema, value, "", &mut errors);
    errors
}

fn walk(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Err(error) = check_type(schema, value, path) {
        errors.push(error);
        return;
    }
    if let Some(allowed) = schema["enum"].as_array() {
        check_enum(allowed, value, path, errors);
        return;
    }
    match value {
        Value::Object(object) => check_object(schema, object, path, errors),
        Value::Array(list) => check_list(schema, list, path, errors),
        Value::Number(_) => check_number(schema, value, path, errors),
        Value::String(text) => check_text(schema, text, path, errors),
        _ => {}
    }
    if let (Some(name), Some(text)) = (schema["format"].as_str(), as_text(schema, value)) {
        check_format(schema, name, &text, path, errors);
    }
}

/// The text that a format judges: strings, and integers where both are allowed.
fn as_text(schema: &Value, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if schema["x-kubernetes-int-or-string"] == true => Some(number.to_string()),
        _ => None,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if is_integer(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_integer(number: &serde_json::Number) -> bool {
    !number.is_f64() || number.as_f64().and_then(as_integer).is_some()
}

fn check_type(schema: &Value, value: &Value, path: &str) -> Result<(), FieldError> {
    let actual = type_name(value);
    let wanted = match schema["type"].as_str() {
        Some(wanted) => wanted,
        None if schema["x-kubernetes-int-or-string"] == true => "integer,string",
        None => return Ok(()),
    };
    let fits = wanted.split(',').any(|name| name == actual || (name == "number" && actual == "integer"));
    if fits {
        return Ok(());
    }
    let body = if path.is_empty() { "body".to_owned() } else { format!("{path} in body") };
    let hint = match schema["format"].as_str() {
        Some("duration") => "; write a number with its unit, such as \"90s\", \"15m\" or \"8h\"",
        Some("money") => "; write the amount in quotes, such as \"3.95\"",
        _ => "",
    };
    let detail = format!("{body} must be of type {wanted}: {actual:?}{hint}");
    Err(FieldError::new(Cause::TypeInvalid, path, actual.into(), detail))
}

fn check_enum(allowed: &[Value], value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if allowed.contains(value) {
        return;
    }
    let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    errors.push(not_supported(path, value, &names));
}

/// `Unsupported value`, with what is supported in alphabetical order and what may have been meant.
pub(crate) fn not_supported(path: &str, value: &Value, allowed: &[&str]) -> FieldError {
    let mut sorted = allowed.to_vec();
    sorted.sort_unstable();
    let listed: Vec<String> = sorted.iter().map(|name| format!("{name:?}")).collect();
    let mut detail = format!("supported values: {}", listed.join(", "));
    let near = value.as_str().map(|wrong| suggest::nearest(wrong, sorted.iter().copied())).unwrap_or_default();
    if !near.is_empty() {
        detail.push_str(&format!("; did you mean {}?", suggest::either(&near)));
    }
    FieldError::new(Cause::NotSupported, path, value.clone(), detail)
}

fn check_object(schema: &Value, object: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !object.contains_key(name) {
            errors.push(FieldError::new(Cause::Required, join(path, name), Value::Null, ""));
        }
    }
    let properties = schema["properties"].as_object();
    for (name, child) in object {
        if let Some(property) = properties.and_then(|properties| properties.get(name)) {
            walk(property, child, &join(path, name), errors);
        } else if let Some(others) = schema.get("additionalProperties") {
            walk(others, child, &join(path, name), errors);
        }
    }
}

fn check_list(schema: &Value, list: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    if let Some(most) = schema["maxItems"].as_u64().filter(|most| list.len() as u64 > *most) {
        errors.push(FieldError::new(
            Cause::TooMany,
            path,
            list.len().into(),
            format!("must have at most {most} items"),
        ));
    }
    if let Some(least) = schema["minItems"].as_u64().filter(|least| (list.len() as u64) < *least) {
        let detail = format!("{path} in body should have at least {least} items");
        errors.push(FieldError::new(Cause::Invalid, path, list.len().into(), detail));
    }
    let mut seen = HashSet::new();
    for (index, item) in list.iter().enumerate() {
        let path = format!("{path}[{index}]");
        walk(&schema["items"], item, &path, errors);
        let Some(key) = item_key(schema, item) else {
            continue;
        };
        if !seen.insert(key.to_string()) {
            errors.push(FieldError::new(Cause::Duplicate, path, key, ""));
        }
    }
}

/// What must differ between items of a set or a list that is a map.
fn item_key(schema: &Value, item: &Value) -> Option<Value> {
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array()?.iter().filter_map(Value::as_str);
            let item = item.as_object()?;
            keys.map(|key| Some((key.to_owned(), item.get(key)?.clone())))
                .collect::<Option<Map<_, _>>>()
                .map(Value::Object)
        }
        _ => None,
    }
}

fn check_number(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(number) = value.as_f64() else { return };
    let mut fail = |detail: String| errors.push(FieldError::new(Cause::Invalid, path, value.clone(), detail));
    if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
        fail(format!("{path} in body should be greater than or equal to {least}"));
    }
    if let Some(most) = schema["maximum"].as_f64().filter(|most| number > *most) {
        fail(format!("{path} in body should be less than or equal to {most}"));
    }
    if schema["format"] == "int32" && number.abs() > f64::from(i32::MAX) {
        fail(format!("{path} in body must be of type int32: {value}"));
    }
}

fn check_text(schema: &Value, text: &str, path: &str, errors: &mut Vec<FieldError>) {
    let length = text.chars().count() as u64;
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
        errors.push(FieldError::new(Cause::TooLong, path, text.into(), format!("may not be more than {most} bytes")));
    }
    if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
        let detail = format!("{path} in body should be at least {least} chars long");
        errors.push(FieldError::new(Cause::Invalid, path, text.into(), detail));
    }
    if let Some(pattern) = schema["pattern"].as_str().filter(|pattern| !matches(pattern, text)) {
        errors.push(FieldError::new(
            Cause::Invalid,
            path,
            text.into(),
            format!("{path} in body should match '{pattern}'"),
        ));
    }
}

/// Patterns are few and come from this crate: each is compiled once.
fn matches(pattern: &str, text: &str) -> bool {
    static COMPILED: Mutex<Option<HashMap<String, Regex>>> = Mutex::new(None);
    let mut compiled = COMPILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let compiled = compiled.get_or_insert_with(HashMap::new);
    if !compiled.contains_key(pattern) {
        let regex = Regex::new(pattern).expect("patterns of schemas are checked by a test over all kinds");
        compiled.insert(pattern.to_owned(), regex);
    }
    compiled[pattern].is_match(text)
}

fn check_format(schema: &Value, name: &str, text: &str, path: &str, errors: &mut Vec<FieldError>) {
    let mut fail = |detail: String| errors.push(FieldError::new(Cause::Invalid, path, text.into(), detail));
    let wrong = match name {
        "duration" => text.parse::<Duration>().err().map(|e| e.to_string()).or_else(|| out_of_range(schema, text)),
        "money" => text.parse::<crate::money::Money>().err().map(|e| e.to_string()),
        "quantity" => text.parse::<crate::quantity::Quantity>().err().map(|e| e.to_string()),
        "date-time" => chrono::DateTime::parse_from_rfc3339(text)
            .is_err()
            .then(|| "not an instant: use RFC 3339, such as \"2026-01-02T03:04:05Z\"".to_owned()),
        "uri" => (!text.starts_with("https://") && !text.starts_with("http://"))
            .then(|| "not a URL: it must start with https:// or http://".to_owned()),
        "name" => return format::subdomain(text).into_iter().for_each(fail),
        "namespace" => return format::label(text).into_iter().for_each(fail),
        "namespace-or-star" if text == "*" => None,
        "namespace-or-star" => return format::label(text).into_iter().for_each(fail),
        _ => None,
    };
    if let Some(detail) = wrong {
        fail(detail);
    }
}

fn out_of_range(schema: &Value, text: &str) -> Option<String> {
    let bounds = schema["x-torchremote-range"].as_array()?;
    let bound = |index: usize| bounds.get(index)?.as_str()?.parse::<Duration>().ok();
    let (least, most) = (bound(0)?, bound(1)?);
    let duration: Duration = text.parse().ok()?;
    (duration < least || duration > most).then(|| format!("must be between {least} and {most}"))
}
