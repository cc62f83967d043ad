//! [`remove`]: an object without some of its fields.

use serde_json::{Map, Value};

use super::shape::{self, Shape};
use super::{Element, FieldSet};

/// The object without these fields and what is below them; what held nothing else goes too.
pub fn remove(schema: &Value, object: &Value, fields: &FieldSet) -> Value {
    without(schema, object, fields).unwrap_or_else(|| Value::Object(Map::new()))
}

fn without(schema: &Value, value: &Value, fields: &FieldSet) -> Option<Value> {
    if fields.is_empty() {
        return Some(value.clone());
    }
    let keep = |element: &Element, child: &Value| match fields.0.get(element) {
        None => Some(child.clone()),
        Some(node) if node.member => None,
        Some(node) => without(shape::below(schema, element), child, &node.below),
    };
    match (shape::of(schema, &[value]), value) {
        (Shape::Fields, Value::Object(map)) => {
            let left = map.iter().filter_map(|(name, child)| {
                keep(&Element::Field(name.clone()), child).map(|child| (name.clone(), child))
            });
            let left: Map<String, Value> = left.collect();
            (map.is_empty() || !left.is_empty()).then(|| Value::Object(left))
        }
        (Shape::Items(keys), list @ Value::Array(_)) => {
            let items = shape::items(&keys, list);
            let left: Vec<Value> = items.iter().filter_map(|(element, item)| keep(element, item)).collect();
            (items.is_empty() || !left.is_empty()).then(|| Value::Array(left))
        }
        _ => Some(value.clone()),
    }
}
