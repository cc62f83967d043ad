//! Defaulting: absent and null fields get their default, null without one is dropped, whole numbers are written as integers.

use serde_json::{Map, Value};

/// Fills in defaults; says whether anything was. Doing it twice changes nothing more.
pub fn default(schema: &Value, value: &mut Value) -> bool {
    match value {
        Value::Object(object) => fill_object(schema, object),
        Value::Array(list) => list.iter_mut().fold(false, |filled, item| default(&schema["items"], item) | filled),
        Value::Number(number) if schema["type"] == "integer" => {
            let whole = number.as_f64().filter(|_| number.is_f64()).and_then(as_integer);
            whole.map(|whole| *value = whole.into()).is_some()
        }
        _ => false,
    }
}

fn fill_object(schema: &Value, object: &mut Map<String, Value>) -> bool {
    let given = object.len();
    let mut filled = false;
    if let Some(properties) = schema["properties"].as_object() {
        object.retain(|name, value| !(value.is_null() && properties.contains_key(name)));
        filled |= object.len() != given;
        for (name, property) in properties {
            if let Some(given) = property.get("default").filter(|_| !object.contains_key(name)) {
                object.insert(name.clone(), given.clone());
                filled = true;
            }
            if let Some(value) = object.get_mut(name) {
                filled |= default(property, value);
            }
        }
    }
    if schema["additionalProperties"].is_object() {
        let given = object.len();
        object.retain(|_, value| !value.is_null());
        filled |= object.len() != given;
        for value in object.values_mut() {
            filled |= default(&schema["additionalProperties"], value);
        }
    }
    filled
}

/// The integer that a float is, if it is one exactly.
pub(crate) fn as_integer(float: f64) -> Option<i64> {
    // 2^53: beyond it a float no longer says which integer was meant.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_the_default_or_nothing() {
        let schema = json!({"type": "object", "properties": {
            "kept": {"type": "integer", "default": 3},
            "gone": {"type": "string"},
            "inner": {"type": "object", "default": {}, "properties": {"deep": {"type": "boolean", "default": false}}},
        }});
        let mut value = json!({"kept": null, "gone": null});
        assert!(default(&schema, &mut value));
        assert_eq!(value, json!({"kept": 3, "inner": {"deep": false}}));
        assert!(!default(&schema, &mut value), "nothing was missing");
        for mut missing in [json!({"kept": 3, "inner": {}}), json!({"kept": 3, "inner": {"deep": true}, "gone": null})]
        {
            assert!(default(&schema, &mut missing), "{missing}");
        }
    }

    #[test]
    fn whole_floats_are_integers() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}, "x": {"type": "number"}}});
        let mut value = json!({"n": 3600.0, "x": 2.0});
        default(&schema, &mut value);
        assert_eq!(value, json!({"n": 3600, "x": 2.0}));
        let mut value = json!({"n": 1.5});
        default(&schema, &mut value);
        assert_eq!(value, json!({"n": 1.5}));
    }
}
