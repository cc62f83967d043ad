//! Reads JSON and YAML documents that strangers send: notes fields given twice, refuses what Postgres or a later reader could not hold.
//!
//! Invariants: whole numbers are integers, however they were written (`3600.0` is `3600`); no string holds a NUL; of a field given twice the last counts.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A document and what was odd about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Paths of fields given more than once, such as `spec.gpu.type`.
    pub duplicates: Vec<String>,
}

impl Document {
    /// Reads JSON.
    ///
    /// # Errors
    /// It is not one JSON document.
    pub fn json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut duplicates = Vec::new();
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = Node { path: String::new(), duplicates: &mut duplicates }.deserialize(&mut reader)?;
        reader.end()?;
        Ok(Self { value, duplicates })
    }

    /// Reads YAML.
    ///
    /// # Errors
    /// It is not one YAML document of values that JSON has.
    pub fn yaml(bytes: &[u8]) -> Result<Self, serde_yaml::Error> {
        let mut duplicates = Vec::new();
        let reader = serde_yaml::Deserializer::from_slice(bytes);
        let value = Node { path: String::new(), duplicates: &mut duplicates }.deserialize(reader)?;
        Ok(Self { value, duplicates })
    }
}

struct Node<'a> {
    path: String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // Below 2^53 each whole float is one integer.
        if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
            return Ok((value as i64).into());
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(format_args!("{}: not a number that JSON has", self.path)))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        text(&self.path, value).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items
            .next_element_seed(Node { path: format!("{}[{}]", self.path, list.len()), duplicates: self.duplicates })?
        {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let name = text(&self.path, &name)?;
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            let value = fields.next_value_seed(Node { path: path.clone(), duplicates: self.duplicates })?;
            if map.insert(name, value).is_some() {
                self.duplicates.push(path);
            }
        }
        Ok(Value::Object(map))
    }
}

fn text<E: serde::de::Error>(path: &str, value: &str) -> Result<String, E> {
    if value.contains('\0') {
        return Err(E::custom(format_args!("{path}: text must not contain a NUL character")));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_given_twice_are_named_with_their_path() {
        let document = Document::json(br#"{"spec":{"a":1,"list":[{"x":1,"x":2}],"a":3}}"#).unwrap();
        assert_eq!(document.duplicates, ["spec.list[0].x", "spec.a"]);
        assert_eq!(document.value, json!({"spec": {"a": 3, "list": [{"x": 2}]}}));
        let document = Document::yaml(b"spec:\n  a: 1\n  a: 2\n").unwrap();
        assert_eq!(document.duplicates, ["spec.a"]);
    }

    #[test]
    fn whole_numbers_are_integers() {
        assert_eq!(Document::json(b"[3600.0, 1e3, 0.5]").unwrap().value, json!([3600, 1000, 0.5]));
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        for bad in [&br#""a\u0000b""#[..], b"{} {}", b"{", b"nan"] {
            assert!(Document::json(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        for bad in ["a: [", "a: b\n---\nc: d\n", "a: .nan\n", "? [x]\n: y\n"] {
            assert!(Document::yaml(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_document_that_grows_without_end_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(Document::yaml(bomb.as_bytes()).is_err());
        assert!(Document::json("[".repeat(100_000).as_bytes()).is_err());
    }
}
