//! Paths to fields, as in printer columns and field selectors: `.spec.gpu.type`, `.status.conditions[?(@.type=="Ready")].status`.

use serde_json::Value;

/// What is at `path`, if all of it is there. A leading point may be left out.
///
/// Steps are field names, `[0]`, and `[?(@.field=="text")]` for the first item whose field has that text.
pub fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut rest = path.trim_start_matches('.');
    let mut at = value;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (step, after) = inside.split_once(']')?;
            at = item(at, step)?;
            rest = after.trim_start_matches('.');
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            at = at.get(&rest[..end])?;
            rest = rest[end..].trim_start_matches('.');
        }
    }
    (!at.is_null()).then_some(at)
}

fn item<'a>(list: &'a Value, step: &str) -> Option<&'a Value> {
    if let Ok(index) = step.parse::<usize>() {
        return list.get(index);
    }
    let condition = step.strip_prefix("?(@.")?.strip_suffix(')')?;
    let (field, text) = condition.split_once("==")?;
    let text = text.trim_matches(['"', '\'']);
    list.as_array()?.iter().find(|item| item[field] == text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_items_and_conditions_are_found() {
        let value = json!({"a": {"b": 1}, "l": [{"type": "Ready", "status": "True"}], "none": null});
        assert_eq!(get(&value, ".a.b"), Some(&json!(1)));
        assert_eq!(get(&value, "a.b"), Some(&json!(1)));
        assert_eq!(get(&value, ".l[0].type"), Some(&json!("Ready")));
        assert_eq!(get(&value, r#".l[?(@.type=="Ready")].status"#), Some(&json!("True")));
        assert_eq!(get(&value, r#".l[?(@.type=="Other")].status"#), None);
        assert_eq!(get(&value, ".none"), None);
        assert_eq!(get(&value, ".a.x.y"), None);
    }
}
