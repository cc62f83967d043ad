//! How large and how deep a stored object may be. A deeper one could be written and never read again: who reads JSON counts levels, to guard its stack.

use serde_json::Value;

/// Bytes, about, of an object's text; the API takes requests of so many.
pub const LARGEST: usize = 3 * 1024 * 1024;
/// Levels of an object. serde_json reads 127, and what is around an object in a list or an event takes some.
pub const DEEPEST: usize = 100;

/// About the bytes of its text, counted no further than `most`.
pub fn weight(value: &Value, most: usize) -> usize {
    let (mut all, mut open) = (0, vec![value]);
    while let Some(value) = open.pop() {
        all += 8;
        match value {
            Value::String(text) => all += text.len(),
            Value::Array(list) => open.extend(list),
            Value::Object(map) => {
                all += map.keys().map(String::len).sum::<usize>();
                open.extend(map.values());
            }
            _ => {}
        }
        if all > most {
            break;
        }
    }
    all
}

/// Levels of a value: 1 for a scalar. Without recursion, which is what it guards.
pub fn depth(value: &Value) -> usize {
    let (mut deepest, mut open) = (0, vec![(value, 1)]);
    while let Some((value, level)) = open.pop() {
        deepest = deepest.max(level);
        match value {
            Value::Array(list) => open.extend(list.iter().map(|item| (item, level + 1))),
            Value::Object(map) => open.extend(map.values().map(|item| (item, level + 1))),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn levels_are_counted_and_bytes_are_about_those_of_the_text() {
        assert_eq!((depth(&json!(1)), depth(&json!({"a": [1, {"b": 2}]})), depth(&json!([]))), (1, 4, 1));
        let object = json!({"labels": {"a": "b".repeat(1000)}, "list": vec!["c"; 100]});
        let text = object.to_string().len();
        assert!((text / 2..text * 2).contains(&weight(&object, LARGEST)), "{} of {text}", weight(&object, LARGEST));
        assert!(weight(&json!(vec!["c"; 100_000]), 1000) < 2_000_000, "no further than it must");
    }
}
