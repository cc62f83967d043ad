//! [`merge`]: an object with what an applied configuration says laid over it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Element;
use super::shape::{self, Shape};
use crate::schema;

/// What the configuration says, and of the live object whatever it does not speak of.
pub fn merge(schema: &Value, live: &Value, config: &Value) -> Value {
    let shape = shape::of(schema, &[live, config]);
    if shape == Shape::Leaf {
        let mut whole = config.clone();
        // Who owns a value as a whole owns the defaults in it; without them it would differ from the stored one at each apply.
        schema::default(schema, &mut whole);
        return whole;
    }
    if shape::empty(live) && shape::empty(config) {
        return config.clone();
    }
    match shape {
        Shape::Items(keys) => lists(&schema["items"], shape::items(&keys, live), shape::items(&keys, config)),
        _ => objects(schema, live, config),
    }
}

fn objects(schema: &Value, live: &Value, config: &Value) -> Value {
    let mut merged: Map<String, Value> = live.as_object().cloned().unwrap_or_default();
    for (name, value) in config.as_object().into_iter().flatten() {
        let value = match merged.get(name) {
            Some(live) => merge(shape::below(schema, &Element::Field(name.clone())), live, value),
            None => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    Value::Object(merged)
}

/// Items of the configuration in its order, and between them those of the live list alone, where they were.
fn lists(schema: &Value, live: Vec<(Element, &Value)>, config: Vec<(Element, &Value)>) -> Value {
    let places: BTreeMap<&Element, usize> = live.iter().enumerate().map(|(at, (element, _))| (element, at)).collect();
    let named: BTreeSet<&Element> = config.iter().map(|(element, _)| element).collect();
    let configured = |element: &Element| named.contains(element);
    let mut merged = Vec::with_capacity(live.len() + config.len());
    let mut next = 0;
    for (element, value) in &config {
        let at = places.get(element).copied();
        if let Some(at) = at {
            while next < at {
                merged.extend((!configured(&live[next].0)).then(|| live[next].1.clone()));
                next += 1;
            }
            next = next.max(at + 1);
        } else {
            // New items come after what stands here and belongs to others.
            while next < live.len() && !configured(&live[next].0) {
                merged.push(live[next].1.clone());
                next += 1;
            }
        }
        merged.push(at.map_or_else(|| (*value).clone(), |at| merge(schema, live[at].1, value)));
    }
    merged.extend(live[next..].iter().filter(|(element, _)| !configured(element)).map(|(_, value)| (*value).clone()));
    Value::Array(merged)
}
