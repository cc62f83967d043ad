//! [`Shape`]: into which fields a value is taken apart.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::element::{Element, Scalar};

/// What a value is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape<'a> {
    /// One field.
    Leaf,
    /// Its fields or entries.
    Fields,
    /// Its items, told apart by these fields; of a set, by themselves.
    Items(Vec<&'a str>),
}

/// How these values, all of one schema, are taken apart. A value of a wrong type is one field, so that validation can name it.
pub(super) fn of<'a>(schema: &'a Value, values: &[&Value]) -> Shape<'a> {
    let all = |fits: fn(&Value) -> bool| values.iter().all(|value| value.is_null() || fits(value));
    let free = untyped(schema);
    if schema["x-kubernetes-map-type"] == "atomic" {
        return Shape::Leaf;
    }
    match schema["type"].as_str() {
        Some("object") if all(Value::is_object) => Shape::Fields,
        None if free && all(Value::is_object) && values.iter().any(|value| value.is_object()) => Shape::Fields,
        Some("array") if all(Value::is_array) => match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Shape::Items(Vec::new()),
            Some("map") => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                Shape::Items(keys.filter_map(Value::as_str).collect())
            }
            _ => Shape::Leaf,
        },
        _ => Shape::Leaf,
    }
}

fn untyped(schema: &Value) -> bool {
    schema["type"].is_null() && schema["x-kubernetes-int-or-string"] != true
}

/// The schema of what an element leads to; null where there is none.
pub(super) fn below<'a>(schema: &'a Value, element: &Element) -> &'a Value {
    match element {
        Element::Field(name) => {
            schema["properties"].get(name).or_else(|| schema.get("additionalProperties")).unwrap_or(&Value::Null)
        }
        _ => &schema["items"],
    }
}

/// Whether the schema names this field.
pub(super) fn named(schema: &Value, element: &Element) -> bool {
    matches!(element, Element::Field(name) if schema["properties"].get(name).is_some())
}

/// Whether the schema has fields of its own.
pub(super) fn has_fields(schema: &Value) -> bool {
    schema["properties"].is_object()
}

/// Null, `{}` or `[]`.
pub(super) fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// The items of a list, in order. One without its keys, or there twice, goes by its place: validation names it.
pub(super) fn items<'a>(keys: &[&str], list: &'a Value) -> Vec<(Element, &'a Value)> {
    let mut seen = BTreeSet::new();
    let items = list.as_array().into_iter().flatten().enumerate();
    let items = items.map(|(index, item)| {
        let element = element(keys, item).filter(|element| seen.insert(element.clone()));
        (element.unwrap_or(Element::Index(index)), item)
    });
    items.collect()
}

fn element(keys: &[&str], item: &Value) -> Option<Element> {
    if keys.is_empty() {
        return Some(Element::Item(Scalar::from(item)));
    }
    let field = |key: &&str| Some(((*key).to_owned(), Scalar::from(item.get(*key)?)));
    keys.iter().map(field).collect::<Option<BTreeMap<_, _>>>().map(Element::Key)
}
