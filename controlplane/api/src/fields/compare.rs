//! [`compare`]: which fields differ between two states of an object.

use std::collections::BTreeMap;

use serde_json::Value;

use super::shape::{self, Shape};
use super::{Element, FieldSet};

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// In the new state alone.
    pub added: FieldSet,
    /// In both, with another value.
    pub modified: FieldSet,
    /// In the old state alone.
    pub removed: FieldSet,
}

impl Comparison {
    /// Added or modified.
    pub fn changed(&self) -> FieldSet {
        self.added.clone().union(&self.modified)
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// Compares two states.
pub fn compare(schema: &Value, old: &Value, new: &Value) -> Comparison {
    let mut found = Comparison::default();
    walk(schema, Some(old), Some(new), &mut Vec::new(), &mut found);
    found
}

fn walk(schema: &Value, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<Element>, found: &mut Comparison) {
    let both: Vec<&Value> = old.into_iter().chain(new).collect();
    let shape = shape::of(schema, &both);
    // Whether a container is empty or not there is told apart as it is for a leaf.
    if shape == Shape::Leaf || both.iter().all(|value| shape::empty(value)) {
        match (old, new) {
            (None, _) => found.added.insert(path),
            (_, None) => found.removed.insert(path),
            (Some(old), Some(new)) if old != new => found.modified.insert(path),
            _ => {}
        }
        return;
    }
    for (element, old, new) in pairs(&shape, old, new) {
        let inner = shape::below(schema, &element);
        path.push(element);
        walk(inner, old, new, path, found);
        path.pop();
    }
    match (old, new) {
        (None, _) => found.added.insert(path),
        (_, None) => found.removed.insert(path),
        _ => {}
    }
}

type Pair<'a> = (Element, Option<&'a Value>, Option<&'a Value>);

fn pairs<'a>(shape: &Shape<'_>, old: Option<&'a Value>, new: Option<&'a Value>) -> Vec<Pair<'a>> {
    let children = |value: Option<&'a Value>| -> Vec<(Element, &'a Value)> {
        match (shape, value) {
            (Shape::Items(keys), Some(list)) => shape::items(keys, list),
            (_, value) => {
                let fields = value.and_then(Value::as_object).into_iter().flatten();
                fields.map(|(name, child)| (Element::Field(name.clone()), child)).collect()
            }
        }
    };
    let mut new: BTreeMap<Element, &Value> = children(new).into_iter().collect();
    let mut pairs: Vec<Pair<'a>> = Vec::new();
    for (element, value) in children(old) {
        let other = new.remove(&element);
        pairs.push((element, Some(value), other));
    }
    pairs.extend(new.into_iter().map(|(element, value)| (element, None, Some(value))));
    pairs
}
