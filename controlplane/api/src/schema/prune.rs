//! Unknown fields: finding and removing them.

use serde_json::Value;

use super::join;

/// Full paths (`spec.gpu.kind`, `spec.fallback[0].gpus`) of fields that the schema does not have, in order.
pub fn unknown(schema: &Value, value: &Value) -> Vec<String> {
    let mut copy = value.clone();
    prune(schema, &mut copy)
}

/// Removes fields that the schema does not have; returns their full paths, in order.
pub fn prune(schema: &Value, value: &mut Value) -> Vec<String> {
    let mut removed = Vec::new();
    walk(schema, value, "", &mut removed);
    removed
}

fn walk(schema: &Value, value: &mut Value, path: &str, removed: &mut Vec<String>) {
    let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
    match value {
        Value::Object(object) => {
            let properties = schema["properties"].as_object();
            let others = schema.get("additionalProperties");
            object.retain(|name, child| {
                let path = join(path, name);
                match properties.and_then(|properties| properties.get(name)).or(others) {
                    Some(property) => walk(property, child, &path, removed),
                    None if free => {}
                    // The type is wrong: that is reported once, for the whole value.
                    None if schema["type"] != "object" => {}
                    None => {
                        removed.push(path);
                        return false;
                    }
                }
                true
            });
        }
        Value::Array(list) => {
            for (index, item) in list.iter_mut().enumerate() {
                walk(&schema["items"], item, &format!("{path}[{index}]"), removed);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_named_by_full_path() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "object", "properties": {"b": {"type": "string"}}},
            "l": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}},
            "m": {"type": "object", "additionalProperties": {"type": "string"}},
            "f": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        let mut value = json!({"a": {"b": "1", "c": "2"}, "l": [{"x": "1"}, {"y": "2"}], "m": {"any": "1"}, "f": {"any": 1}, "z": 1});
        assert_eq!(prune(&schema, &mut value), ["a.c", "l[1].y", "z"]);
        assert_eq!(value, json!({"a": {"b": "1"}, "l": [{"x": "1"}, {}], "m": {"any": "1"}, "f": {"any": 1}}));
        assert!(unknown(&schema, &value).is_empty());
    }
}
