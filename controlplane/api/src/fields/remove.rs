//! [`remove`]: an object without some of its fields.

use serde_json::{Map, Value};

use super::shape::{self, Shape};
use super::{Element, FieldSet, Node};

/// The object without these fields and what is below them; what held nothing else goes too, unless it is in `kept` itself.
pub fn remove(schema: &Value, object: &Value, fields: &FieldSet, kept: &FieldSet) -> Value {
    without(schema, object, fields, kept).unwrap_or_else(|| Value::Object(Map::new()))
}

fn without(schema: &Value, value: &Value, fields: &FieldSet, kept: &FieldSet) -> Option<Value> {
    if fields.is_empty() {
        return Some(value.clone());
    }
    let nothing = Node::default();
    let keep = |element: &Element, child: &Value| match fields.0.get(element) {
        None => Some(child.clone()),
        Some(node) if node.member => None,
        Some(node) => {
            let kept = kept.0.get(element).unwrap_or(&nothing);
            let left = without(shape::below(schema, element), child, &node.below, &kept.below);
            left.or_else(|| {
                kept.member.then(|| if child.is_array() { Value::Array(Vec::new()) } else { Value::Object(Map::new()) })
            })
        }
    };
    match (shape::of(schema, &[value]), value) {
        (Shape::Fields, Value::Object(map)) => {
            let left = map.iter().filter_map(|(name, child)| {
                keep(&Element::Field(name.clone()), child).map(|child| (name.clone(), child))
            });
            let left: Map<String, Value> = left.collect();
            (map.is_empty() || !left.is_empty()).then_some(Value::Object(left))
        }
        (Shape::Items(keys), list @ Value::Array(_)) => {
            let items = shape::items(&keys, list);
            let left: Vec<Value> = items.iter().filter_map(|(element, item)| keep(element, item)).collect();
            (items.is_empty() || !left.is_empty()).then_some(Value::Array(left))
        }
        _ => Some(value.clone()),
    }
}
